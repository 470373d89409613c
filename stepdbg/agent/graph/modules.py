"""Nodes inside the module call that made them, newest first: loss, criterion, net.3, net.2.

A node belongs to the innermost call whose span of sequence numbers contains its own: `grad_fn._sequence_nr()` is
monotonic per thread, and the counter was read before and after each call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import chain

import torch
from torch import Tensor

from stepdbg.agent.graph.layout import LEAF, LOSS, MODULE, OP, REFERENCE, Layout
from stepdbg.agent.graph.record import GraphRecord, numbers, once

OPEN_END = 2**63


class _Call:
    """One call of a module, with what ran inside."""

    __slots__ = ("first", "inside", "last", "module")

    def __init__(self, first: int, last: int, module: int) -> None:
        self.first, self.last, self.module = first, last, module
        self.inside: list[_Call | range] = []
        """Calls, and runs of nodes by their places among all, oldest first."""


class _Flat:
    """The rows of all nodes, newest first, each before the leaves that it leads to: calls take slices of them.

    Rows of calls nest as their spans of numbers do, so the order of rows is that of the numbers throughout.
    """

    def __init__(self, record: GraphRecord) -> None:
        order = record.order
        self._count = len(order)
        places, leaves = self._leaf_edges(record)
        self._places: list[int] = places.tolist()
        """Places in `order` of the nodes that lead to leaves, once for each leaf, rising."""
        self.leaves: set[int] = set(leaves.tolist())
        total = self._count + len(places)
        self.kind = bytearray((OP,)) * total
        self.of: list[int] = []
        if not total:
            return
        # A leaf's row is behind the rows of all nodes up to its own, and of the leaves before it.
        rows = places + torch.arange(1, len(places) + 1, device="cpu")
        kinds = torch.frombuffer(self.kind, dtype=torch.uint8)
        kinds[rows] = REFERENCE
        of = torch.empty(total, dtype=torch.int64, device="cpu")
        of[kinds == OP] = numbers(order)
        of[rows] = leaves
        first = torch.full((record.count,), total, dtype=torch.int64, device="cpu")
        first.scatter_reduce_(0, leaves, rows, "amin")
        kinds[first[first < total]] = LEAF
        self.of = of.tolist()

    @staticmethod
    def _leaf_edges(record: GraphRecord) -> tuple[Tensor, Tensor]:
        """Of each edge to a leaf: place in `order` of the node, and the leaf; those of one node once, as they are."""
        starts, ends = record.edge_tensors()
        is_leaf = torch.zeros(record.count, dtype=torch.bool, device="cpu")
        is_leaf[numbers(list(record.leaf_of))] = True
        edges = torch.nonzero(is_leaf[ends]).flatten()
        place = torch.zeros(record.count, dtype=torch.int64, device="cpu")
        place[numbers(record.order)] = torch.arange(len(record.order), device="cpu")
        places = place[torch.searchsorted(starts, edges, right=True) - 1]
        places, by_place = torch.sort(places, stable=True)
        return once(places, ends[edges[by_place]], record.count)

    def slice_of(self, run: range) -> slice:
        """The rows of a run of places among the oldest first."""
        first, last = self._count - run.stop, self._count - run.start
        before = bisect_left(self._places, first)
        return slice(first + before, last + bisect_left(self._places, last, before))


_OWN = bytes(int(kind == OP) for kind in range(256))
"""Of rows inside a module: which are its own nodes, by their kind."""
_DRAWN = bytes(int(kind in (OP, LEAF)) for kind in range(256))


def lay_out(record: GraphRecord) -> Layout:
    """The rows. About 0.5 µs a node."""
    flat, layout = _Flat(record), Layout()
    layout.add(LOSS, 0, 0, -1)
    kinds, ofs, depths, parents = layout.kind, layout.of, layout.depth, layout.parent
    outside: list[range] = []
    extents = [0]
    top = _nest(record)
    waiting: list[tuple[_Call | range | None, int, int]] = [(item, 1, 0) for item in top.inside]
    while waiting:
        item, depth, parent = waiting.pop()
        if item is None:
            extents[parent] = len(ofs) - parent - 1  # the call in that row is complete
        elif isinstance(item, range):
            rows = flat.slice_of(item)
            count, first = rows.stop - rows.start, len(ofs)
            kinds += flat.kind[rows]
            ofs += flat.of[rows]
            depths += [depth] * count
            parents += [parent] * count
            extents += [0] * count
            if depth == 1:
                outside.append(range(first, first + count))
        else:
            row = layout.add(MODULE, len(layout.calls), depth, parent)
            extents.append(0)
            path, kind = record.paths.get(item.module, ("", ""))
            own = [run for run in reversed(item.inside) if isinstance(run, range)]
            layout.calls.append((path or "(module)", kind, own))
            layout.newest.append(record.order[-1 - _newest(item)])
            waiting.append((None, 0, row))
            waiting.extend([(inner, depth + 1, row) for inner in item.inside])
    for root in record.roots:
        if root in record.leaf_of and root not in flat.leaves:
            layout.add(LEAF, root, 1, 0)
            extents.append(0)
    extents[0] = len(ofs) - 1
    layout.below = extents
    layout.own = kinds.translate(_OWN)
    for rows_outside in outside:
        _hang_leaves(layout, rows_outside)
    drawn = torch.frombuffer(kinds.translate(_DRAWN), dtype=torch.bool)
    row_of = torch.full((record.count,), -1, dtype=torch.int64, device="cpu")
    row_of[numbers(ofs)[drawn]] = torch.nonzero(drawn).flatten()
    layout.row_of = row_of.tolist()
    return layout


def _hang_leaves(layout: Layout, rows: range) -> None:
    """Outside of modules nothing is a module's own, and leaves hang from the node that leads to them. Inside they hang
    from the module: they are shown while its nodes are not.
    """
    layout.own[rows.start : rows.stop] = bytes(len(rows))
    if layout.kind.count(OP, rows.start, rows.stop) == len(rows):
        return
    node = rows.start
    for row in rows:
        if layout.kind[row] == OP:
            node = row
        else:
            layout.depth[row], layout.parent[row] = layout.depth[node] + 1, node
            layout.below[node] += 1


def _nest(record: GraphRecord) -> _Call:
    """Sort every node into the innermost call that contains its number; calls without any are left out."""
    top = _Call(0, OPEN_END, 0)
    # A call is noted when it ends: of two with the same span the later one is around the other.
    latest_first = record.spans[::-1]
    calls = iter(sorted(latest_first, key=lambda s: (s[0], -s[1])))
    upcoming = next(calls, None)
    stack = [top]
    put: list[bool] = [True]
    seqs = record.seqs
    at = 0
    while at < len(seqs):
        seq = seqs[at]
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
        for level in range(1, len(stack)):
            if not put[level]:
                stack[level - 1].inside.append(stack[level])
                put[level] = True
        until = stack[-1].last if upcoming is None else min(stack[-1].last, upcoming[0])
        end = bisect_left(seqs, until, at + 1)
        stack[-1].inside.append(range(at, end))
        at = end
    return top


def _newest(call: _Call) -> int:
    """Place of the newest node inside: the last thing of a call that is not another call."""
    item: _Call | range = call
    while isinstance(item, _Call):
        item = item.inside[-1]
    return item[-1]


def ops(record: GraphRecord, own: list[range]) -> str:
    """The ops of one call, newest first, without the suffix that every node has: "Addmm, 2 T".

    `own`: runs of its own nodes, as in `Layout.calls`.
    """
    last = len(record.order)  # `order` is the newest first
    counts: dict[str, int] = {}
    for op, count in Counter(
        chain.from_iterable(
            map(record.ops.__getitem__, record.order[last - run.stop : last - run.start]) for run in own
        )
    ).items():
        short = op.rstrip("0123456789").removesuffix("Backward")
        counts[short] = counts.get(short, 0) + count
    parts = [name if n == 1 else f"{n} {name}" for name, n in counts.items()]
    return ", ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")
