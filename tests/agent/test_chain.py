"""The chain from a loss to a parameter: which nodes, how many ways, and the gradient at each, held against torch."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd.graph import GradientEdge
from torch.utils.checkpoint import checkpoint

from stepdbg import custom_phase
from stepdbg.agent.chainflows import ChainNoted
from stepdbg.agent.graph import chain
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.chain import ChainPage, Way
from stepdbg.protocol.graph import Flow
from stepdbg.protocol.records import Phase, StopRecord

from .conftest import Drive, drive
from .watched_runs import Block, X, Y, bits, expected, plain_loop, same, tracker

Build = Callable[[], tuple[nn.Module, torch.Tensor]]

# ── graphs of numbers ───────────────────────────────────────────────────────────────────────────────────────


def every_path(edges: list[list[int]], node: int, target: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(nodes, edges) of all paths, by trying them all, in the order of the edges."""
    if node == target:
        return [((node,), ())]
    return [
        ((node, *nodes), (at, *taken))
        for at, end in enumerate(edges[node])
        for nodes, taken in every_path(edges, end, target)
    ]


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """Edges of a small graph without circles; the numbers of nodes say nothing of their order."""
    count = draw(st.integers(1, 8))
    order = draw(st.permutations(range(count)))
    place = {node: at for at, node in enumerate(order)}
    edges: list[list[int]] = [[] for _ in range(count)]
    for node in range(count):
        later = [other for other in range(count) if place[other] > place[node]]
        edges[node] = draw(st.lists(st.sampled_from(later), max_size=4)) if later else []
    return edges


def found(edges: list[list[int]], roots: list[int], target: int, *, longest: bool) -> chain.Path | None:
    starts, ends = [0], []
    for following in edges:
        ends.extend(following)
        starts.append(len(ends))
    above = chain.above(starts, ends, target)
    return chain.find(starts, ends, roots, target, longest=longest, above=above)


@given(graphs(), st.data(), st.booleans())
def test_the_path_is_the_first_of_the_best_and_all_are_counted(
    edges: list[list[int]], data: st.DataObject, longest: bool
) -> None:
    roots = data.draw(st.lists(st.integers(0, len(edges) - 1), min_size=1, max_size=2, unique=True))
    target = data.draw(st.integers(0, len(edges) - 1))
    every = [path for root in roots for path in every_path(edges, root, target)]
    path = found(edges, roots, target, longest=longest)
    if not every:
        assert path is None
        return
    best = (max if longest else min)(len(nodes) for nodes, _ in every)
    first = next(path for path in every if len(path[0]) == best)
    assert path is not None
    assert (path.nodes, path.edges) == first
    assert path.paths == f"{len(every):,}"


@pytest.mark.parametrize(
    ("blocks", "told"), [(3, "8"), (49, "562,949,953,421,312"), (50, "about 10^15"), (20_000, "about 10^6021")]
)
def test_ways_through_skip_connections_double(blocks: int, told: str) -> None:
    # Node 2k adds node 2k + 1 (the branch) to node 2k + 2 (the skip).
    edges = [[node + 1, node + 2] if node % 2 == 0 else [node + 1] for node in range(2 * blocks)] + [[]]
    path = found(edges, [0], 2 * blocks, longest=False)
    assert path is not None
    assert (path.paths, len(path.nodes)) == (told, blocks + 1)
    longest = found(edges, [0], 2 * blocks, longest=True)
    assert longest is not None
    assert len(longest.nodes) == 2 * blocks + 1


@given(st.lists(st.integers(1, 2**80), min_size=1, max_size=30))
def test_sums_of_counts_are_exact_or_nearly(values: list[int]) -> None:
    total, exact = (0, 0), 0
    for _ in range(6):  # grow beyond the bits that are kept
        for value in values:
            total, exact = chain.plus(total, (value, 0)), exact + value
        total, exact = chain.plus(total, (total[0], total[1] + 40)), exact + (exact << 40)
    mantissa, power = total
    assert abs((mantissa << power) - exact) * 2**150 <= exact
    if exact.bit_length() <= chain.BITS:
        assert (mantissa << power) == exact


# ── the numbers on the way ──────────────────────────────────────────────────────────────────────────────────


def truth(loss: torch.Tensor, parameter: torch.Tensor, way: Way) -> tuple[list[Any], list[int], int]:
    """The path and how many there are, by trying them all."""
    nodes: dict[Any, int] = {}
    waiting, edges = [loss.grad_fn], {}
    while waiting:
        node = waiting.pop()
        if node not in nodes:
            nodes[node] = len(nodes)
            edges[node] = [following for following, _ in node.next_functions if following is not None]
            waiting.extend(edges[node])
    numbers = list(nodes)
    table = [[nodes[end] for end in edges[node]] for node in numbers]
    target = next(
        at for node, at in nodes.items() if type(node).__name__ == "AccumulateGrad" and node.variable is parameter
    )
    every = every_path(table, nodes[loss.grad_fn], target)
    best = (max if way is Way.LONGEST else min)(len(path) for path, _ in every)
    path, taken = next(one for one in every if len(one[0]) == best)
    return [numbers[at] for at in path], list(taken), len(every)


def entering(loss: torch.Tensor, node: Any) -> list[torch.Tensor]:
    """The gradients of a node's outputs, by torch.autograd.grad; those that nothing flows into are left out."""
    outputs = [GradientEdge(node, number) for number in range(len(node._input_metadata))]
    grads = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)
    return [grad for grad in grads if grad is not None]


def run(build: Build, name: str, way: Way = Way.SHORTEST, *, backwards: int = 1) -> ChainPage:
    """The chain as it is told before the step, watched from the first stop on."""
    pages: list[ChainPage] = []

    def train() -> None:
        for _ in range(backwards):
            net, loss = build()
            loss.backward()
        torch.optim.SGD(net.parameters(), 0.1).step()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            await session.request(m.SetWatching(0, gradients=True, chain=name, way=way))
        if stop.next is not None and stop.next.phase is Phase.STEP:
            pages.append(await session.request(m.GetChain(0, name, way)))

    torch.manual_seed(0)
    check(drive(train, visit=visit))
    return pages[0]


def check(drive: Drive) -> None:
    if drive.error is not None:
        raise drive.error
    assert not [event for event in drive.events if isinstance(event, m.Warned)]


def flat(grads: list[torch.Tensor]) -> Flow:
    parts = [(g.to_dense() if g.is_sparse else g).detach().reshape(-1) for g in grads]
    return expected(torch.cat(parts))


def linear() -> tuple[nn.Module, torch.Tensor]:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())
    return net, nn.functional.binary_cross_entropy(net(X), Y)


def residual() -> tuple[nn.Module, torch.Tensor]:
    net = nn.Sequential(nn.Linear(4, 6), Block(6), Block(6), nn.Linear(6, 1))
    return net, (net(X) - Y).square().mean()


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.twice(torch.tanh(self.twice(x)))


def shared() -> tuple[nn.Module, torch.Tensor]:
    net = Shared()
    return net, (net(X) * net(X)).sum()


def recurrent() -> tuple[nn.Module, torch.Tensor]:
    net = nn.LSTM(4, 3)
    output, (_, cell) = net(X.reshape(2, 4, 4))
    return net, output.square().mean() + cell.sum()


def cell_by_cell() -> tuple[nn.Module, torch.Tensor]:
    net = nn.LSTMCell(4, 3)
    state = None
    for x in X.reshape(2, 4, 4):
        state = net(x, state)
    assert state is not None
    return net, state[0].sum() + state[1].square().sum()


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)  # type: ignore[no-any-return]


def checkpointed() -> tuple[nn.Module, torch.Tensor]:
    net = Checkpointed()
    return net, net(X).square().mean()


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, n: int, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.variable = kept[-1] if kept else None  # as AccumulateGrad calls what it adds to
        return x * n, y + x

    @staticmethod
    def backward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor]:
        return None, a * 2 + b, b


kept: list[nn.Parameter] = []


def custom() -> tuple[nn.Module, torch.Tensor]:
    net = nn.Linear(4, 3)
    kept[:] = [net.weight]
    out = net(X)
    first, second = Doubled.apply(2, X.clone().requires_grad_(), out[:, :1].expand(8, 4))
    return net, first.sum() + (second * X).sum()


def embedded() -> tuple[nn.Module, torch.Tensor]:
    net = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Linear(4, 1))
    return net, net(torch.tensor([1, 1, 5])).sum()


CASES: list[tuple[Build, str]] = [
    (linear, "net.0.weight"),
    (linear, "net.2.bias"),
    (residual, "net.0.weight"),
    (residual, "net.1.first.weight"),
    (shared, "net.twice.weight"),
    (recurrent, "net.weight_hh_l0"),
    (cell_by_cell, "net.weight_ih"),
    (checkpointed, "net.inner.0.weight"),
    (custom, "net.weight"),
    (embedded, "net.0.weight"),
]


@pytest.mark.parametrize("way", Way, ids=lambda way: way.value)
@pytest.mark.parametrize(("build", "name"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_the_gradient_in_and_out_of_each_node_is_what_torch_says(build: Build, name: str, way: Way) -> None:
    page = run(build, name, way)
    torch.manual_seed(0)
    net, loss = build()
    parameter = dict(net.named_parameters())[name.removeprefix("net.")]
    nodes, edges, paths = truth(loss, parameter, way)
    assert [step.op for step in page.steps] == [type(node).__name__ for node in nodes]
    assert (page.paths, page.total, page.offset, page.why_no_flows) == (f"{paths:,}", len(nodes), 0, "")
    assert page.watched
    for step, node, edge in zip(page.steps[:-1], nodes, edges, strict=False):
        into = entering(loss, node)
        assert step.entering is not None
        same(step.entering, flat(into))
        # One node's own work: calling it runs its backward, on the gradients of its outputs.
        given = [torch.zeros(tuple(d.shape), dtype=d.dtype) for d in node._input_metadata]
        for number in range(len(given)):
            grad = torch.autograd.grad(loss, [GradientEdge(node, number)], retain_graph=True, allow_unused=True)[0]
            given[number] = grad if grad is not None else given[number]
        # The custom function's first argument is a number: it has a gradient (None), but no edge.
        handed = node.apply(*given)[1:] if hasattr(node, "apply") else node(*given)
        handed = list(handed) if isinstance(handed, tuple) else [handed]
        leading = [at for at, (following, _) in enumerate(node.next_functions) if following is not None]
        following, number = node.next_functions[leading[edge]]
        is_leaf = type(following).__name__ == "AccumulateGrad"
        shape = following.variable.shape if is_leaf else following._input_metadata[number].shape
        out = handed[leading[edge]].detach()
        # What was broadcast forward is summed: the engine does it where the edge ends.
        wanted = flat([out if out.is_sparse else out.sum_to_size(tuple(shape))])
        assert step.leaving is not None
        assert step.leaving.norm == pytest.approx(wanted.norm, rel=1e-5)
        if step.shape is not None:
            assert step.shape == tuple(node._input_metadata[0].shape)
    last = page.steps[-1]
    (grad,) = torch.autograd.grad(loss, [parameter])
    assert (last.op, last.leaving, last.shape) == ("AccumulateGrad", None, tuple(parameter.shape))
    assert last.entering is not None
    assert last.entering.norm == pytest.approx(flat([grad]).norm, rel=1e-5)
    assert (page.had_grad, page.grad_before) == (False, None)
    assert page.grad_after == page.grad_now == pytest.approx(flat([grad]).norm, rel=1e-5)


def test_modules_and_what_joins_are_told() -> None:
    page = run(residual, "net.1.first.weight")
    told = [(step.op, step.module, step.kind, step.joins) for step in page.steps]
    assert told == [
        ("MeanBackward0", "", "", 0),
        ("PowBackward0", "", "", 1),
        ("SubBackward0", "", "", 1),
        ("AddmmBackward0", "net.3", "Linear", 1),
        ("AddBackward0", "net.2", "Block", 1),
        ("AddBackward0", "net.1", "Block", 2),
        ("AddmmBackward0", "net.1.second", "Linear", 1),
        ("ReluBackward0", "net.1", "Block", 1),
        ("AddmmBackward0", "net.1.first", "Linear", 1),
        ("TBackward0", "net.1.first", "Linear", 1),
        ("AccumulateGrad", "1.first.weight", "", 1),
    ]
    assert (page.paths, page.nodes) == ("2", 14)


def test_of_several_backwards_the_last_ones_numbers_and_what_they_add_up_to() -> None:
    net = nn.Linear(4, 1)

    def train() -> None:
        optimizer = torch.optim.SGD(net.parameters(), 0.0)
        for _ in range(3):
            loss = net(X).square().sum()
            loss.backward()
        optimizer.step()

    page = pages_of(train, "net.weight", gradients=True, chain="net.weight")[-1]
    (grad,) = torch.autograd.grad(net(X).square().sum(), [net.weight])
    one = float(grad.norm())
    assert (page.accumulated, page.micro_batch, page.iteration, page.times) == (3, 3, 1, 1)
    assert (page.had_grad, page.grad_before) == (True, pytest.approx(2 * one, rel=1e-5))
    assert page.grad_after == pytest.approx(3 * one, rel=1e-5)
    assert page.steps[-1].entering is not None
    assert page.steps[-1].entering.norm == pytest.approx(one, rel=1e-5)


def test_a_graph_that_is_gone_through_twice_tells_how_often() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        loss = net(X).sum()
        loss.backward(retain_graph=True)
        loss.backward()
        torch.optim.SGD(net.parameters(), 0.1).step()

    pages: list[ChainPage] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            await session.request(m.SetWatching(0, gradients=True, chain="net.bias"))
        if stop.next is not None:
            pages.append(await session.request(m.GetChain(0, "net.bias")))

    check(drive(train, visit=visit))
    by_times = [(page.times, page.grad_after, page.grad_now) for page in pages]
    assert by_times == [(0, None, None), (0, None, None), (1, 8.0, 8.0), (2, 16.0, 16.0)]
    assert pages[1].why_no_flows == "no backward has run through this graph yet"


# ── where there is nothing ──────────────────────────────────────────────────────────────────────────────────


def pages_of(train: Callable[[], Any], name: str, **wish: Any) -> list[ChainPage]:
    pages: list[ChainPage] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1 and wish:
            await session.request(m.SetWatching(0, **wish))
        if stop.next is not None:
            pages.append(await session.request(m.GetChain(0, name)))

    check(drive(train, visit=visit))
    return pages


def two_nets() -> None:
    net, other = nn.Linear(4, 1), nn.Linear(4, 1)
    frozen = nn.Linear(4, 1).requires_grad_(False)
    loss = net(frozen(X).expand(8, 4)).sum()
    loss.backward()
    torch.optim.SGD([*net.parameters(), *other.parameters()], 0.1).step()


def test_unwatched_chains_have_no_numbers_and_say_why() -> None:
    page = pages_of(two_nets, "net.weight")[-1]
    assert [step.op for step in page.steps] == [
        "SumBackward0", "AddmmBackward0", "TBackward0", "AccumulateGrad",
    ]  # fmt: skip
    assert all(step.entering is None and step.leaving is None for step in page.steps)
    assert (page.why_no_flows, page.watched, page.root) == ("off: gradients are not watched", False, "loss")
    assert page.grad_now is not None


def test_watched_gradients_are_shown_at_module_boundaries_without_the_chain() -> None:
    page = pages_of(two_nets, "net.weight", gradients=True)[-1]
    known = [step.entering is not None for step in page.steps]
    assert known == [True, True, False, True]
    assert page.why_no_flows == "the nodes of this chain were not watched when its backward ran"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("other.weight", "the graph of loss does not reach other.weight: other was not called in this iteration"),
        ("frozen.bias", "frozen.bias is frozen (requires_grad is False): no backward comes to it"),
    ],
)
def test_a_parameter_without_a_chain_is_told_why(name: str, why: str) -> None:
    page = pages_of(two_nets, name)[-1]
    assert (page.total, page.steps) == (0, ())
    assert page.note == why


def test_an_unknown_name_is_one_clear_line() -> None:
    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is None:
            return
        for query in (m.GetChain(0, "net.3"), m.SetWatching(0, chain="net.3")):
            with pytest.raises(Exception, match=r"^no parameter is called net\.3 at this stop$"):
                await session.request(query)

    check(drive(two_nets, visit=visit))


def test_long_chains_come_in_pages() -> None:
    def train() -> None:
        net = nn.Linear(1, 1)
        x = net(torch.ones(1, 1))
        for _ in range(3000):
            x = x + 1
        loss = x.sum()
        loss.backward()
        torch.optim.SGD(net.parameters(), 0.1).step()

    pages: list[ChainPage] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            await session.request(m.SetWatching(0, gradients=True, chain="net.weight"))
        if stop.next is not None and stop.next.phase is Phase.STEP:
            queries = [m.GetChain(0, "net.weight", offset=offset, count=5) for offset in (0, 2990, 5000)]
            pages.extend([await session.request(query) for query in queries])

    check(drive(train, visit=visit))
    assert [(page.total, page.offset, len(page.steps)) for page in pages] == [
        (3004, 0, 5), (3004, 2990, 5), (3004, 5000, 0),
    ]  # fmt: skip
    assert {step.entering.norm for page in pages for step in page.steps if step.entering} == {1.0}


# ── nobody notices ──────────────────────────────────────────────────────────────────────────────────────────


def chained(train: Callable[[], Any], name: str) -> Any:
    """What `train` returns with the chain of a parameter watched from the first stop on that knows it."""
    results: list[Any] = []
    reached: list[int] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            await session.request(m.SetWatching(0, gradients=True, chain=name))
        reached.extend(len(noted.leaving) for noted in tracker().watched.chains._noted)

    torch.manual_seed(0)
    check(drive(lambda: results.append(train()), visit=visit))
    assert any(reached), "no chain was watched"
    return results[0]


@pytest.mark.parametrize("name", ["net.0.weight", "net.2.bias", "net.4.weight"])
def test_parameters_gradients_and_random_numbers_are_those_of_a_bare_run(name: str) -> None:
    torch.manual_seed(0)
    assert plain_loop() == chained(plain_loop, name)


def test_no_hook_is_left_and_nothing_is_held() -> None:
    def noted() -> list[ChainNoted]:
        return list(tracker().watched.chains._noted) if custom_phase.observer is not None else []

    def train() -> tuple[list[bytes], bool, bool]:
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            loss = net(X).sum()
            loss.backward()
            optimizer.step()
        loss = net(X).sum()
        loss.backward(retain_graph=True)
        for one in noted():  # what a hook that is still there would write again
            one.entering.clear()
            one.leaving.clear()
        args = (loss,), (torch.ones(()),), True, False, ()
        run_bare(*args, allow_unreachable=True, accumulate_grad=True)
        again = any(one.entering or one.leaving for one in noted())
        ref = weakref.ref(loss)
        del loss, args
        return bits(net), again, ref() is None

    # The engine itself, which is no phase of ours.
    run_bare = torch.autograd.Variable._execution_engine.run_backward
    torch.manual_seed(0)
    bare = train()
    watched = chained(train, "net.0.weight")
    assert watched == bare
    assert watched[1:] == (False, True)


def test_a_hook_that_replaces_the_gradient_still_does() -> None:
    def train() -> list[bytes]:
        net = nn.Linear(4, 1)
        output = net(X)
        output.register_hook(lambda grad: grad * 3)
        output.grad_fn.register_hook(lambda inputs, _outputs: tuple(g if g is None else g * 2 for g in inputs))
        output.sum().backward()
        torch.optim.SGD(net.parameters(), 0.1).step()
        return bits(net)

    torch.manual_seed(0)
    assert train() == chained(train, "net.weight")


def test_a_free_run_pays_for_nothing() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(4):
            net(X).sum().backward()
            optimizer.step()

    seen: list[int] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            await session.request(m.SetWatching(0, gradients=True, chain="net.weight"))
            return m.Action.CONTINUE
        seen.append(len(tracker().watched.chains._noted))
        return None

    check(drive(train, visit=visit))
    assert seen == [0]


def test_numbers_that_are_not_finite_are_counted_apart() -> None:
    def build() -> tuple[nn.Module, torch.Tensor]:
        net = nn.Linear(4, 1)
        scale = torch.ones(8, 1)
        scale[2] = math.inf
        return net, (net(X) * scale).sum()

    page = run(build, "net.weight")
    at = next(at for at, step in enumerate(page.steps) if step.op == "MulBackward0")
    leaving = page.steps[at].leaving
    assert leaving is not None
    assert (leaving.nonfinite, leaving.norm) == (1, pytest.approx(math.sqrt(7)))
