"""Nodes inside the module call that made them, newest first: loss, criterion, net.3, net.2.

A node belongs to the innermost call whose span of sequence numbers contains its own: `grad_fn._sequence_nr()` is
monotonic per thread, and the counter was read before and after each call.
"""

from __future__ import annotations

from stepdbg.agent.graph.layout import LEAF, LOSS, MODULE, OP, REFERENCE, Layout
from stepdbg.agent.graph.record import GraphRecord

OPEN_END = 2**63


class _Call:
    """One call of a module, with what ran inside."""

    __slots__ = ("first", "inside", "last", "module")

    def __init__(self, first: int, last: int, module: int) -> None:
        self.first, self.last, self.module = first, last, module
        self.inside: list[_Call | int] = []
        """Calls and numbers of nodes, oldest first."""


def lay_out(record: GraphRecord) -> Layout:
    """The rows. About 1 µs a node."""
    top = _nest(record)
    layout = Layout()
    layout.add(LOSS, 0, 0, -1)
    own: list[int] = []
    row_of, leaf_of, add = layout.row_of, record.leaf_of, layout.add
    leaves = frozenset(leaf_of)
    ends, starts = record.ends, record.starts
    waiting: list[tuple[_Call | int, int, int, bool]] = [(item, 1, 0, False) for item in top.inside]
    while waiting:
        item, depth, parent, hidden = waiting.pop()
        if isinstance(item, _Call):
            row = add(MODULE, len(layout.calls), depth, parent)
            path, kind = record.paths.get(item.module, ("", ""))
            nodes = [i for i in reversed(item.inside) if not isinstance(i, _Call)]
            layout.calls.append((path or "(module)", kind, _ops(record, nodes)))
            layout.newest.append(_newest(item))
            waiting.extend((inner, depth + 1, row, True) for inner in item.inside)
            continue
        row_of[item] = row = add(OP, item, depth, parent)
        if hidden:
            own.append(row)
        below = ends[starts[item] : starts[item + 1]]
        if leaves.isdisjoint(below):
            continue
        # What a module's own node leads to hangs from the module: it is shown while the node is not.
        at, under = (depth, parent) if hidden else (depth + 1, row)
        for end in [end for end in dict.fromkeys(below) if end in leaf_of]:
            seen = end in row_of
            leaf = add(REFERENCE if seen else LEAF, end, at, under)
            if not seen:
                row_of[end] = leaf
    layout.own = bytearray(len(layout.kind))
    for row in own:
        layout.own[row] = 1
    for root in record.roots:
        if root in leaf_of and root not in row_of:
            row_of[root] = add(LEAF, root, 1, 0)
    return layout.finish()


def _nest(record: GraphRecord) -> _Call:
    """Sort every node into the innermost call that contains its number; calls without any are left out."""
    top = _Call(0, OPEN_END, 0)
    # A call is noted when it ends: of two with the same span the later one is around the other.
    latest_first = record.spans[::-1]
    calls = iter(sorted(latest_first, key=lambda s: (s[0], -s[1])))
    upcoming = next(calls, None)
    stack = [top]
    put: list[bool] = [True]
    seq_of = record.seq_of
    inside = top.inside
    until, begins = OPEN_END, upcoming[0] if upcoming is not None else OPEN_END
    for node in reversed(record.order):
        seq = seq_of[node]
        if seq >= until or seq >= begins:
            while upcoming is not None and upcoming[0] <= seq:
                if upcoming[1] > seq:
                    while stack[-1].last <= upcoming[0]:
                        stack.pop()
                        put.pop()
                    stack.append(_Call(*upcoming))
                    put.append(False)
                upcoming = next(calls, None)
            while stack[-1].last <= seq:
                stack.pop()
                put.pop()
            for at in range(1, len(stack)):
                if not put[at]:
                    stack[at - 1].inside.append(stack[at])
                    put[at] = True
            inside = stack[-1].inside
            until, begins = stack[-1].last, upcoming[0] if upcoming is not None else OPEN_END
        inside.append(node)
    return top


def _newest(call: _Call) -> int:
    """The newest node inside: the last thing of a call that is not another call."""
    item: _Call | int = call
    while isinstance(item, _Call):
        item = item.inside[-1]
    return item


def _ops(record: GraphRecord, nodes: list[int]) -> str:
    """The ops of one call, newest first, without the suffix that every node has: "Addmm, 2 T"."""
    counts: dict[str, int] = {}
    for node in nodes:
        short = record.ops[node].rstrip("0123456789").removesuffix("Backward")
        counts[short] = counts.get(short, 0) + 1
    parts = [name if n == 1 else f"{n} {name}" for name, n in counts.items()]
    return ", ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")
