"""Graphs whose truth is known by construction, and counts against an independent recount."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Kind, Spec
from stepdbg.protocol.graph import GraphPage, GraphView, Lens
from stepdbg.protocol.records import Phase, StopRecord

from .conftest import drive


def graph_before_backward(train: Callable[[], Any], **query: Any) -> GraphPage:
    """The graph at the first stop before a backward."""
    pages: list[GraphPage] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.next is not None and stop.next.phase is Phase.BACKWARD:
            pages.append(await session.request(m.GetGraph(0, count=2000, lens=Lens(**query))))
            return m.Action.CONTINUE
        return None

    drive(train, visit=visit)
    return pages[0]


def recount(*roots: Any) -> tuple[int, int]:
    """Nodes and edges by recursion over sets: not the way the agent does it."""
    nodes: set[Any] = set()
    edges = 0

    def walk(node: Any) -> None:
        nonlocal edges
        if node in nodes:
            return
        nodes.add(node)
        for following, _ in node.next_functions:
            if following is not None:
                edges += 1
                walk(following)

    for root in roots:
        walk(root)
    return len(nodes), edges


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(torch.relu(self.first(x)))


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x))


def residual() -> torch.Tensor:
    net = nn.Sequential(nn.Linear(3, 8), Block(8), Block(8), nn.Linear(8, 1))
    return net(torch.ones(2, 3)).sum()


def lstm() -> torch.Tensor:
    cell = nn.LSTMCell(2, 4)
    h = c = torch.zeros(1, 4)
    for _ in range(50):
        h, c = cell(torch.ones(1, 2), (h, c))
    return h.sum()


def transformer() -> torch.Tensor:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    return layer(torch.ones(1, 3, 8)).sum()


def shared_weights() -> torch.Tensor:
    return Shared()(torch.tensor([1, 2])).sum()


def custom_function() -> torch.Tensor:
    net = nn.Linear(2, 2)
    return Scale.apply(net(torch.ones(1, 2))).sum()  # type: ignore[no-untyped-call]


def checkpointed() -> torch.Tensor:
    block = Block(4)
    return checkpoint(block, torch.ones(1, 4, requires_grad=True), use_reentrant=False).sum()


def functional_call() -> torch.Tensor:
    net = nn.Linear(2, 1)
    return torch.func.functional_call(net, dict(net.named_parameters()), torch.ones(1, 2)).sum()


def compiled() -> torch.Tensor:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    return torch.compile(net, backend="aot_eager")(torch.ones(2, 3)).sum() * 2


def no_module() -> torch.Tensor:
    w = torch.ones(3, requires_grad=True)
    return (w * w + w).sum()


CASES = [
    *(residual, lstm, transformer, shared_weights, custom_function, checkpointed, functional_call),
    *(compiled, no_module),
]


@pytest.mark.parametrize("make", CASES, ids=lambda f: f.__name__)
def test_counts_equal_an_independent_recount(make: Callable[[], torch.Tensor]) -> None:
    truth = []

    def train() -> None:
        loss = make()
        truth.append(recount(loss.grad_fn))
        loss.backward()

    page = graph_before_backward(train)
    assert (page.nodes, page.edges) == truth[0]
    assert page.rows[0].nodes == page.nodes
    assert page.total == len(page.rows)


def test_two_roots_are_one_graph_counted_once() -> None:
    truth = []

    def train() -> None:
        body, one, two = nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 2)
        shared = torch.tanh(body(torch.ones(2, 3)))
        first, second = one(shared).sum(), two(shared).sum()
        truth.append(recount(first.grad_fn, second.grad_fn))
        torch.autograd.backward([first, second])

    page = graph_before_backward(train)
    assert (page.nodes, page.edges) == truth[0]
    assert page.root == "2 roots"
    assert sum(row.kind == "parameter" for row in page.rows) == 6


def test_a_transform_of_torch_func_runs_a_backward_of_its_own_before_the_loss_s() -> None:
    truth, pages = [], []

    def train() -> None:
        w = torch.ones(3, requires_grad=True)
        value, pull = torch.func.vjp(lambda x: (x * x).sum(), w)
        (gradient,) = pull(torch.ones(()))
        loss = value + gradient.sum()
        truth.append(recount(loss.grad_fn))
        loss.backward()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is not None and stop.next.phase is Phase.BACKWARD:
            pages.append(await session.request(m.GetGraph(0, count=2000)))

    assert drive(train, visit=visit).error is None
    inner, outer = pages
    assert (inner.nodes, inner.edges) == (3, 3)  # sum, x * x with two edges to x, and x
    assert (outer.nodes, outer.edges) == truth[0]


def test_the_tree_of_a_toy_in_backward_order() -> None:
    def train() -> None:
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())
        net2 = nn.Linear(4, 1)
        criterion = nn.BCELoss()
        loss = criterion(net(torch.ones(32, 4)), torch.ones(32, 1))
        loss.backward()
        del net2

    page = graph_before_backward(train)
    lines = ["  " * r.depth + f"{r.kind} {r.name} {r.detail}".rstrip() for r in page.rows]
    assert lines == [
        "loss loss BCELoss",
        "  module criterion BCELoss · BinaryCrossEntropy",
        "  module net Sequential",
        "    module net.3 Sigmoid · Sigmoid",
        "    module net.2 Linear · Addmm, T",
        "      parameter net.2.bias",
        "      parameter net.2.weight",
        "    module net.1 ReLU · Relu",
        "    module net.0 Linear · Addmm, T",
        "      parameter net.0.bias",
        "      parameter net.0.weight",
        "section who is reached",
        "  reach net Sequential · 4 of 4",
        "  reach net2 Linear · 0 of 2",
        "    unreached net2.weight",
        "    unreached net2.bias",
    ]
    shapes = {r.name: r.shape for r in page.rows}
    assert shapes["net.2"] == (32, 1)
    assert shapes["net.1"] == (32, 6)
    assert shapes["net.0.weight"] == (6, 4)
    assert {(r.name, r.reached, r.total) for r in page.reach} == {("net", 4, 4), ("net2", 0, 2)}
    kept = {r.name: r.nbytes for r in page.rows if r.kind == "module"}
    # Sigmoid keeps its result, which BCELoss then keeps as well: counted once, where backward comes first.
    assert kept == {
        "criterion": 128 + 128,
        "net": 768 + 512,
        "net.3": 0,
        "net.2": 768,
        "net.1": 0,
        "net.0": 512,
    }


def test_a_shared_weight_is_drawn_once_and_referred_to() -> None:
    def train() -> None:
        shared_weights().backward()

    def named() -> None:
        net = Shared()
        net(torch.tensor([1, 2])).sum().backward()

    page = graph_before_backward(named)
    leaves = [(r.kind, r.name) for r in page.rows if r.kind in ("parameter", "reference")]
    assert leaves == [("parameter", "net.embed.weight"), ("reference", "net.embed.weight")]
    assert page.reach[0].total == 1


def test_detached_and_frozen_parts_are_not_reached() -> None:
    def train() -> None:
        body, head, frozen = nn.Linear(2, 2), nn.Linear(2, 1), nn.Linear(2, 2)
        frozen.requires_grad_(False)
        head(frozen(body(torch.ones(1, 2)).detach())).sum().backward()

    page = graph_before_backward(train)
    assert {(r.name, r.reached, r.total, r.frozen) for r in page.reach} == {
        ("body", 0, 2, 0),
        ("head", 2, 2, 0),
        ("frozen", 0, 0, 2),
    }


def test_folding_and_filtering() -> None:
    def train() -> None:
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
        F.mse_loss(net(torch.ones(2, 4)), torch.ones(2, 1)).backward()

    whole = graph_before_backward(train)
    net = next(r for r in whole.rows if r.name == "net")
    folded = graph_before_backward(train, levels=((net.index, 0),))
    inside = [r for r in whole.rows if net.index < r.index <= net.index + net.rows_below]
    assert folded.total == whole.total - len(inside)
    filtered = graph_before_backward(train, pattern="0.bias")
    assert [r.name for r in filtered.rows] == ["loss", "net", "net.0", "net.0.bias"]


def test_a_graph_is_still_shown_after_its_backward_marked_freed() -> None:
    pages: dict[str, GraphPage] = {}

    def train() -> None:
        net = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        loss = net(torch.ones(1, 2)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is not None:
            name = f"{stop.next.phase.value}{stop.number}"
            pages[name] = await session.request(m.GetGraph(0))

    drive(train, visit=visit)
    assert [(k, p.freed, p.nodes) for k, p in pages.items()] == [
        ("forward1", False, 0),
        ("backward2", False, 5),
        ("backward3", False, 5),
        ("step4", True, 5),
    ]
    assert pages["forward1"].note


@pytest.mark.parametrize("view", list(GraphView))
def test_the_graph_below_a_scaled_loss_is_freed_with_it_and_every_row_says_so(view: GraphView) -> None:
    told: dict[str, tuple[bool, set[bool | None]]] = {}

    def train() -> None:
        net = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        loss = nn.MSELoss()(net(torch.ones(5, 2)), torch.zeros(5, 1))
        scaler.scale(loss).backward()
        scaler.step(optimizer)

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        page = await session.request(m.GetGraph(0, count=100, lens=Lens(view=view, base=2)))
        if stop.next is not None and stop.next.phase in (Phase.BACKWARD, Phase.STEP):
            told[stop.next.phase.value] = page.freed, {row.freed for row in page.rows if row.nbytes}

    drive(train, visit=visit)
    assert told == {"backward": (False, {False}), "step": (True, {True})}


def test_a_graph_is_not_freed_while_its_backward_is_held_half_way() -> None:
    told: list[tuple[bool, dict[str, bool | None]]] = []

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return grad * 2 + 0 * ctx.saved_tensors[0]

    def train() -> None:
        net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        Twice.apply(net(torch.ones(5, 2))).sum().backward()

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.next is not None and stop.next.phase is not Phase.BACKWARD:
            return None
        page = await session.request(m.GetGraph(0, count=100, lens=Lens(view=GraphView.RAW)))
        told.append((page.freed, {row.name: row.freed for row in page.rows if row.nbytes and row.kind == "op"}))
        return None

    settings = m.Settings(breakpoints=(Spec(Kind.MODULE, "net.1", direction="backward"),))
    drive(train, [m.Action.CONTINUE] * 9, visit=visit, settings=settings)
    assert told == [(False, {"AddmmBackward0": False}), (True, {"AddmmBackward0": True})]


def test_looking_keeps_nothing_alive() -> None:
    alive: list[int] = []

    def train() -> None:
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        references = []
        for _ in range(3):
            out = net(torch.ones(2, 4))
            loss = out.sum()
            references += [weakref.ref(out), weakref.ref(loss)]
            loss.backward()
            del out, loss
        gc.collect()
        alive.extend(r() is not None for r in references)

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        await session.request(m.GetGraph(0))
        await session.request(m.GetParameters(0))
        await session.request(m.GetMemory(0))

    gc.disable()
    try:
        drive(train, visit=visit)
    finally:
        gc.enable()
    assert alive == [False] * 6


def test_very_deep_graphs_need_no_recursion() -> None:
    def train() -> None:
        x = torch.ones(1, requires_grad=True)
        y = x
        for _ in range(50_000):
            y = y * 1.0
        y.backward()

    page = graph_before_backward(train)
    assert page.nodes == 50_001
    assert page.edges == 50_000
