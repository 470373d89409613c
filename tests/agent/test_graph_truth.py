"""The raw view of any graph against an independent recount of its nodes and edges."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import GraphEdges, GraphPage, GraphRow, GraphView, Lens
from stepdbg.protocol.records import Phase, StopRecord

from .conftest import drive

Key = tuple[str, Any]
LENS = Lens(view=GraphView.RAW, base=2)
TREE = ("op", "parameter", "tensor")


class Told:
    """What the agent said of the graph before the first backward, and what was recounted in the script."""

    def __init__(self, make: Callable[[], torch.Tensor]) -> None:
        self.edges: Counter[tuple[Key, Key]] = Counter()
        self.keys: set[Key] = set()
        pages: list[GraphPage] = []
        drawn: list[GraphEdges] = []

        def train() -> None:
            loss = make()
            self._recount(loss.grad_fn)
            loss.backward()

        async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
            if stop.next is None or stop.next.phase is not Phase.BACKWARD:
                return None
            pages.append(await session.request(m.GetGraph(0, count=2000, lens=LENS)))
            drawn.append(await session.request(m.GetGraphEdges(0, lens=LENS)))
            return m.Action.CONTINUE

        run = drive(train, visit=visit)
        assert run.error is None
        self.page, self.drawn = pages[0], drawn[0]

    def _recount(self, root: Any) -> None:
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if self._key(node) in self.keys:
                continue
            self.keys.add(self._key(node))
            for end, _ in node.next_functions:
                if end is not None:
                    self.edges[self._key(node), self._key(end)] += 1
                    waiting.append(end)

    @staticmethod
    def _key(node: Any) -> Key:
        if hasattr(node, "variable"):
            return "leaf", tuple(node.variable.shape)
        return node.name().rpartition("::")[2], node._sequence_nr()

    @staticmethod
    def key(row: GraphRow) -> Key:
        """The node that a row stands for: in these graphs every leaf has a shape of its own."""
        return (row.name, row.seq) if row.kind == "op" else ("leaf", row.shape)

    def check(self) -> None:
        rows = [r for r in self.page.rows if r.kind in (*TREE, "reference")]
        nodes = [r for r in rows if r.kind in TREE]
        assert Counter(map(self.key, nodes)) == Counter(self.keys)
        assert (self.page.nodes, self.page.edges) == (len(self.keys), self.edges.total())
        by_index = {r.index: self.key(r) for r in nodes}
        told = {(by_index[a], by_index[b]): n for a, b, n in self.drawn.edges if a}
        assert told == dict(self.edges)
        assert [n for a, _, n in self.drawn.edges if not a] == [1]
        assert max(r.depth for r in rows) <= math.log2(len(nodes)) + 2
        names = {r.index: r.name for r in nodes}
        for row in rows:
            if row.kind == "reference":
                assert row.refers_to is not None
                assert names[row.refers_to] == row.name
        # Rows below a row stand right behind it, and are no further out.
        for at, row in enumerate(rows):
            inside = rows[at + 1 : at + 1 + row.rows_below]
            assert len(inside) == row.rows_below
            assert all(r.depth >= row.depth and r.index + r.rows_below <= row.index + row.rows_below for r in inside)
            assert row.nodes == sum(r.kind in TREE for r in (row, *inside))
        # Every node but the root has one edge on which it is drawn; every other distinct edge is a reference.
        assert len(rows) - len(nodes) == len(self.edges) - (len(self.keys) - 1)


def blocks() -> torch.Tensor:
    def block(x: torch.Tensor, width: int) -> torch.Tensor:
        conv, norm, down = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1, bias=False)
        norm.weight, norm.bias = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2), requires_grad=False)
        return torch.relu(norm(conv(x)) + down(x) * width)

    return block(torch.ones(2, 2, 4, 4), 3).sum()


def recurrent() -> torch.Tensor:
    cell = nn.RNNCell(2, 4, bias=False)
    h = torch.zeros(1, 4)
    for _ in range(30):
        h = cell(torch.ones(1, 2), h)
    return h.sum()


def in_place() -> torch.Tensor:
    x = torch.ones(3, 4, requires_grad=True)
    y = x * 2
    y[0] = y[1] * 3
    y.mul_(2)
    return (y.t() @ y).sum()


@pytest.mark.parametrize("make", [blocks, recurrent, in_place], ids=lambda f: f.__name__)
def test_the_raw_view_is_the_graph(make: Callable[[], torch.Tensor]) -> None:
    Told(make).check()


STEPS = st.lists(st.tuples(st.sampled_from("+*@dvi"), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=25)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_the_raw_view_of_any_graph(steps: list[tuple[str, int, int]]) -> None:
    def make() -> torch.Tensor:
        pool = [torch.ones(n, 1, requires_grad=True) for n in (1, 2, 3)]
        values = [leaf.sum(0) for leaf in pool]
        for op, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            if op == "i":
                fresh = a + b
                fresh.view(1).add_(b)
                values.append(fresh)
            else:
                made = {"+": a + b, "*": a * b, "@": a @ b, "d": a.detach() + b, "v": a.view(1, 1).squeeze(0)}[op]
                values.append(made.reshape(1))
        return torch.stack(values).sum()

    Told(make).check()


def leading_to(root: Any, leaf: torch.Tensor) -> set[int]:
    """Sequence numbers of the nodes from which `leaf` can be reached: each looked at for itself."""

    def reaches(node: Any) -> bool:
        waiting, seen = [node], {node}
        while waiting:
            at = waiting.pop()
            if getattr(at, "variable", None) is leaf:
                return True
            for end, _ in at.next_functions:
                if end is not None and end not in seen:
                    seen.add(end)
                    waiting.append(end)
        return False

    waiting, nodes = [root], {root}
    while waiting:
        for end, _ in waiting.pop().next_functions:
            if end is not None and end not in nodes:
                nodes.add(end)
                waiting.append(end)
    return {node._sequence_nr() for node in nodes if not hasattr(node, "variable") and reaches(node)}


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.sampled_from(("net.a", "net.b", "net.c")))
def test_what_is_lit_leads_to_the_selected_parameter(steps: list[tuple[str, int, int]], name: str) -> None:
    net = nn.ParameterDict({key: nn.Parameter(torch.ones(1)) for key in "abc"})
    leading: list[set[int]] = []
    pages: dict[GraphView, GraphPage] = {}

    def train() -> None:
        values = [net["a"] * 1, net["b"] * 1, net["c"] * 1]
        for op, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            values.append({"+": a + b, "*": a * b, "d": a.detach() + b}.get(op, a * 2))
        loss = values[-1] + values[len(values) // 2]
        leading.append(leading_to(loss.grad_fn, net[name[-1]]))
        loss.sum().backward()

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.next is None or stop.next.phase is not Phase.BACKWARD:
            return None
        for view in GraphView:
            pages[view] = await session.request(m.GetGraph(0, count=2000, lens=Lens(view=view, base=2, selected=name)))
        return m.Action.CONTINUE

    assert drive(train, visit=visit).error is None
    for page in pages.values():
        ops = [row for row in page.rows if row.kind == "op"]
        assert ops
        above_the_loss = max(
            row.seq for row in ops if row.seq is not None
        )  # the sum, which leads to what the loss does
        for row in ops:
            assert row.lit is (row.seq in leading[0] or (row.seq == above_the_loss and bool(leading[0])))
        for row in page.rows:
            if row.kind == "parameter":
                assert row.lit is (row.name == name)
        assert page.rows[0].lit is bool(leading[0])
