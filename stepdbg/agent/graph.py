"""The autograd graph behind a loss, recorded as plain data.

A node belongs to the innermost module
call whose span of sequence numbers contains its own (`grad_fn._sequence_nr()` is monotonic per thread, and the
counter was read before and after each call). The tree nests module calls as they ran, newest first: the order in
which backward visits them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from stepdbg.agent.naming import Names
from stepdbg.agent.saved import READABLE, count_once, saved_storages
from stepdbg.protocol.records import GraphRow, Reach

NO_SEQUENCE = 2**63
"""AccumulateGrad nodes have the largest unsigned number instead of one of their own."""

Span = tuple[int, int, int]


@dataclass
class Leaf:
    """An AccumulateGrad: the tensor it accumulates into, by id and name."""

    key: int
    name: str
    """Empty: no parameter that is known by name."""
    shape: tuple[int, ...]


@dataclass
class Op:
    """One autograd node that is no leaf."""

    name: str
    seq: int
    shape: tuple[int, ...] | None
    nbytes: int
    leaves: list[int] = field(default_factory=list)
    """Keys of the leaves that it leads to directly."""


@dataclass(frozen=True)
class GraphData:
    """One graph, without a tensor in it."""

    ops: tuple[Op, ...]
    """Newest first."""
    leaves: dict[int, Leaf]
    nodes: int
    edges: int
    root_op: str
    rows: tuple[GraphRow, ...]
    reach: tuple[Reach, ...]


def record(
    nodes: Sequence[Any], title: tuple[str, str], names: Names, spans: Iterable[Span], known: set[int]
) -> GraphData:
    """Lay out `nodes` (see `deep.nodes_behind`; the root first). `title`: name and detail of the first row.

    `known`: data pointers of storages that are not counted as kept (parameters, buffers). Cost: about 6 µs a node.
    """
    ops, leaves, edges = _read(nodes, names, known)
    root_op = nodes[0].name()
    rows = _Layout(ops, leaves, names, list(spans)).rows(title, root_op)
    if not READABLE:
        rows = tuple(replace(row, nbytes=None) for row in rows)
    return GraphData(
        ops=tuple(ops),
        leaves=leaves,
        nodes=len(ops) + len(leaves),
        edges=edges,
        root_op=root_op,
        rows=rows,
        reach=_reach(names, leaves),
    )


def _read(nodes: Sequence[Any], names: Names, known: set[int]) -> tuple[list[Op], dict[int, Leaf], int]:
    parameters = names.by_id()
    ops: list[Op] = []
    leaves: dict[int, Leaf] = {}
    leaf_of: dict[Any, int] = {}
    counted = set(known)
    inner: list[Any] = []
    for node in nodes:
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor) and node.name().endswith("AccumulateGrad"):
            named = parameters.get(id(variable))
            leaf_of[node] = id(variable)
            leaves[id(variable)] = Leaf(id(variable), named.name if named else "", tuple(variable.shape))
        else:
            inner.append(node)
    edges = 0
    for node in sorted(inner, key=lambda n: -n._sequence_nr()):
        op = Op(node.name(), node._sequence_nr(), _shape(node), count_once(saved_storages(node), counted))
        for following, _ in node.next_functions:
            edges += following is not None
            leaf = leaf_of.get(following)
            if leaf is not None and leaf not in op.leaves:
                op.leaves.append(leaf)
        ops.append(op)
    return ops, leaves, edges


def _shape(node: Any) -> tuple[int, ...] | None:
    # What flows into a node backward has the shape of what it put out forward.
    try:
        metadata = node._input_metadata
        return tuple(int(n) for n in metadata[0].shape) if metadata else None
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None


def _reach(names: Names, leaves: dict[int, Leaf]) -> tuple[Reach, ...]:
    counts: dict[str, list[int]] = {}
    for parameter in names.parameters:
        reached, total, frozen = counts.setdefault(parameter.root, [0, 0, 0])
        if parameter.tensor.requires_grad:
            counts[parameter.root] = [reached + (id(parameter.tensor) in leaves), total + 1, frozen]
        else:
            counts[parameter.root] = [reached, total, frozen + 1]
    kinds = {name: type(module).__name__ for name, module in names.modules.values()}
    return tuple(
        Reach(root or "other tensors", kinds.get(root, ""), reached, total, frozen)
        for root, (reached, total, frozen) in counts.items()
    )


class _Call:
    """One call of a module, with what ran inside."""

    __slots__ = ("calls", "first", "last", "module", "ops")

    def __init__(self, first: int, last: int, module: int) -> None:
        self.first, self.last, self.module = first, last, module
        self.ops: list[Op] = []
        self.calls: list[_Call] = []

    def newest(self) -> int:
        return max([*(op.seq for op in self.ops), *(c.last for c in self.calls)], default=-1)


class _Layout:
    """Turns nodes and spans into rows."""

    def __init__(self, ops: list[Op], leaves: dict[int, Leaf], names: Names, spans: list[Span]) -> None:
        self._leaves = leaves
        self._names = names
        self._drawn: dict[int, str] = {}
        self._rows: list[GraphRow] = []
        self._top = _Call(0, NO_SEQUENCE, 0)
        self._nest(ops, spans)

    def _nest(self, ops: list[Op], spans: list[Span]) -> None:
        """Sort every op into the innermost call that contains its number, and drop calls without any."""
        oldest = ops[-1].seq if ops else 0
        ordered = sorted((s for s in spans if s[1] > oldest), key=lambda s: (s[0], -s[1]))
        calls = iter(ordered)
        upcoming = next(calls, None)
        stack = [self._top]
        for op in reversed(ops):
            while upcoming is not None and upcoming[0] <= op.seq:
                while stack[-1].last <= upcoming[0]:
                    stack.pop()
                call = _Call(*upcoming)
                stack[-1].calls.append(call)
                stack.append(call)
                upcoming = next(calls, None)
            while stack[-1].last <= op.seq:
                stack.pop()
            stack[-1].ops.append(op)
        _prune(self._top)

    def rows(self, title: tuple[str, str], root_op: str) -> tuple[GraphRow, ...]:
        self._add(0, "loss", title[0], title[1] or root_op, None, None, 0)
        work: list[Callable[[], None]] = []

        def close(row: int, call: _Call) -> Callable[[], None]:
            return lambda: self._close(row, call)

        def open_call(call: _Call, depth: int) -> Callable[[], None]:
            return lambda: self._open(call, depth, work, open_call, close)

        self._children(self._top, 1, work, open_call)
        while work:
            work.pop()()
        self._rows[0] = replace(
            self._rows[0],
            rows_below=len(self._rows) - 1,
            nodes=sum(r.nodes for r in self._rows if r.depth == 1) or 0,
            nbytes=sum(r.nbytes or 0 for r in self._rows if r.depth == 1),
        )
        return tuple(self._rows)

    def _children(self, call: _Call, depth: int, work: list[Any], open_call: Any) -> None:
        """Push what is inside `call`, so that the newest is popped first."""
        items: list[tuple[int, Callable[[], None]]] = [(c.newest(), open_call(c, depth)) for c in call.calls]
        if call is self._top:
            items.extend((op.seq, self._op(op, depth)) for op in call.ops)
        items.sort(key=lambda item: item[0])
        work.extend(action for _, action in items)

    def _op(self, op: Op, depth: int) -> Callable[[], None]:
        def draw() -> None:
            row = self._add(depth, "op", op.name, "", op.shape, op.seq, op.nbytes)
            self._draw_leaves(op.leaves, depth + 1)
            self._finish(row, 1)

        return draw

    def _open(self, call: _Call, depth: int, work: list[Any], open_call: Any, close: Any) -> None:
        path, kind = self._names.paths.get(call.module, ("", ""))
        newest = max(call.ops, key=lambda op: op.seq, default=None)
        detail = " · ".join(part for part in (kind, _op_names(call.ops)) if part)
        row = self._add(
            depth,
            "module",
            path or "(module)",
            detail,
            newest.shape if newest and newest.seq == call.newest() else self._inner_shape(call),
            call.newest(),
            sum(op.nbytes for op in call.ops),
        )
        work.append(close(row, call))
        self._draw_leaves([key for op in sorted(call.ops, key=lambda o: -o.seq) for key in op.leaves], depth + 1)
        self._children(call, depth + 1, work, open_call)

    def _inner_shape(self, call: _Call) -> tuple[int, ...] | None:
        while call.calls:
            inner = max(call.calls, key=lambda c: c.last)
            newest = max(call.ops, key=lambda op: op.seq, default=None)
            if newest is not None and newest.seq > inner.last:
                return newest.shape
            call = inner
        newest = max(call.ops, key=lambda op: op.seq, default=None)
        return newest.shape if newest else None

    def _draw_leaves(self, keys: list[int], depth: int) -> None:
        for key in dict.fromkeys(keys):
            leaf = self._leaves[key]
            kind, detail, nodes = ("parameter" if leaf.name else "tensor"), "", 1
            if key in self._drawn:
                kind, detail, nodes = "shared", "shown above", 0
            self._drawn.setdefault(key, leaf.name)
            self._add(depth, kind, leaf.name or "a leaf tensor", detail, leaf.shape, None, None, nodes)

    def _close(self, row: int, call: _Call) -> None:
        self._finish(row, len(call.ops))

    def _finish(self, row: int, own: int) -> None:
        """Fill in what is known only after the rows below have been drawn."""
        opened = self._rows[row]
        below = self._rows[row + 1 :]
        direct = [r for r in below if r.depth == opened.depth + 1]
        self._rows[row] = replace(
            opened,
            rows_below=len(below),
            nodes=own + sum(r.nodes for r in direct),
            nbytes=(opened.nbytes or 0) + sum(r.nbytes or 0 for r in direct),
        )

    def _add(
        self,
        depth: int,
        kind: str,
        name: str,
        detail: str,
        shape: tuple[int, ...] | None,
        seq: int | None,
        size: int | None,
        nodes: int = 0,
    ) -> int:
        index = len(self._rows)
        self._rows.append(GraphRow(index, depth, kind, name, detail, shape, nodes, 0, seq, size))
        return index


def _prune(top: _Call) -> None:
    """Drop calls that hold no op, deepest first."""
    order = [top]
    for call in order:
        order.extend(call.calls)
    for call in reversed(order):
        call.calls = [c for c in call.calls if c.ops or c.calls]


def _op_names(ops: list[Op]) -> str:
    """The ops of one call, newest first, without the suffix that every node has: "Addmm, 2 T"."""
    counts: dict[str, int] = {}
    for op in sorted(ops, key=lambda o: -o.seq):
        short = op.name.removesuffix("0").removesuffix("Backward")
        counts[short] = counts.get(short, 0) + 1
    parts = [name if n == 1 else f"{n} {name}" for name, n in counts.items()]
    return ", ".join(parts[:4]) + (f" and {len(parts) - 4} more" if len(parts) > 4 else "")
