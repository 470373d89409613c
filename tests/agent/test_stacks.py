"""Creation stacks: the line that made a node, and anomaly mode as the script has it."""

from __future__ import annotations

import asyncio
import inspect
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from stepdbg.agent.deep import nodes_behind
from stepdbg.agent.stacks import Stacks, line_of
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase, StopRecord

from .conftest import drive

X = torch.linspace(-1, 1, 32).reshape(8, 4)
Y = torch.linspace(0, 1, 8).reshape(8, 1)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    functions = [torch.is_anomaly_enabled, torch.is_anomaly_check_nan_enabled, torch.set_anomaly_enabled]
    yield
    assert [torch.is_anomaly_enabled, torch.is_anomaly_check_nan_enabled, torch.set_anomaly_enabled] == functions
    assert not torch.is_anomaly_enabled()
    assert torch.is_anomaly_check_nan_enabled()


def noted(train: Callable[[], Any], action: m.Action = m.Action.NEXT) -> Any:
    """What `train` returns, with stacks asked for from the first stop on."""
    results: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.number == 1:
            answer = await session.request(m.SetWatching(0, stacks=True))
            assert (answer.gradients, answer.stacks) == (False, True)
        return action

    torch.manual_seed(0)
    run = drive(lambda: results.append(train()), visit=visit)
    if run.error is not None:
        raise run.error
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return results[0]


def both(train: Callable[[], Any]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    bare = train()
    return bare, noted(train)


def really() -> tuple[bool, bool]:
    """The mode as autograd has it, whoever asks."""
    return torch._C.is_anomaly_enabled(), torch._C.is_anomaly_check_nan_enabled()


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(x)
        return x * x.sigmoid()


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        raise ValueError("inside backward")


def code_of(function: Callable[..., Any]) -> dict[str, tuple[int, str]]:
    """Text of each line of a function, with its number and the function's name."""
    lines, first = inspect.getsourcelines(function)
    return {text.strip(): (first + i, function.__name__) for i, text in enumerate(lines)}


def test_a_node_tells_the_line_of_the_users_code_that_made_it() -> None:
    def train() -> dict[str, Any]:
        net, block = nn.Linear(4, 4), Block()
        hidden = block(net(X))
        scaled = Double.apply(hidden)
        loss = F.mse_loss(scaled, X)
        return {type(node).__name__: line_of(node) for node in reversed(nodes_behind([loss.grad_fn]))}

    lines = noted(train)
    here, inside = code_of(train), code_of(Block.forward)
    for op, (line, function) in {
        "MseLossBackward0": here["loss = F.mse_loss(scaled, X)"],
        "DoubleBackward": here["scaled = Double.apply(hidden)"],
        "MulBackward0": inside["return x * x.sigmoid()"],
        "SigmoidBackward0": inside["return x * x.sigmoid()"],
    }.items():
        assert lines[op] == (__file__, line, function), op
    assert lines["AddmmBackward0"] in (
        (__file__, *here["hidden = block(net(X))"]),
        (__file__, *inside["x = self.inner(x)"]),
    )


def test_without_the_wish_there_are_no_stacks() -> None:
    seen: list[Any] = []

    def train() -> None:
        loss = small()(X).sum()
        seen.extend(line_of(node) for node in nodes_behind([loss.grad_fn]))

    drive(train)
    assert len(seen) > 4
    assert set(seen) == {None}


def test_stacks_end_with_the_wish() -> None:
    kept: list[torch.Tensor] = []

    def train() -> None:
        net = small()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            loss = net(X).sum()
            loss.backward()
            kept.append(loss)
            modes.append(really())
            optimizer.step()
            optimizer.zero_grad()

    modes: list[tuple[bool, bool]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1 or (stop.iteration == 3 and stop.next is not None and stop.next.phase is Phase.FORWARD):
            await session.request(m.SetWatching(0, stacks=stop.number == 1))

    drive(train, visit=visit)
    assert [line_of(loss.grad_fn) is not None for loss in kept] == [True, True, False]
    assert modes == [(True, False), (True, False), (False, True)]


def test_a_free_run_pays_for_nothing() -> None:
    modes: list[tuple[bool, bool]] = []

    def train() -> None:
        net = small()
        for _ in range(2):
            net(X).sum().backward()
            modes.append(really())

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            await session.request(m.SetWatching(0, stacks=True))
        return m.Action.CONTINUE if stop.number == 3 else None

    drive(train, visit=visit)
    assert modes == [(True, False), (False, True)]


def test_detaching_takes_it_out() -> None:
    modes: list[Any] = []

    def train() -> None:
        net = small()
        for _ in range(2):
            net(X).sum().backward()
            modes.append((really(), torch.is_anomaly_enabled is original))

    async def run() -> None:
        session = ThreadSession(train)
        await session.start()
        async with asyncio.timeout(60):
            async for event in session.events():
                if isinstance(event, m.Stopped) and event.stop.number == 1:
                    await session.request(m.SetWatching(0, stacks=True))
                if isinstance(event, m.Stopped) and event.stop.number == 3:
                    break
                if isinstance(event, m.Stopped):
                    session.resume(m.Action.NEXT)
        await session.close(detach=True)

    original = torch.is_anomaly_enabled
    asyncio.run(run())
    assert modes[0] == ((True, False), False)
    assert modes[-1] == ((False, True), True)


# ── what the script could notice ────────────────────────────────────────────────────────────────────────────


def bits(*nets: nn.Module) -> list[bytes]:
    tensors = [t for net in nets for t in net.state_dict().values()]
    return [t.numpy().tobytes() for t in [*tensors, torch.get_rng_state()]]


def plain_loop() -> Any:
    net = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(net.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(net(X + torch.randn_like(X)), Y).backward()
        optimizer.step()
    return bits(net)


def second_order() -> Any:
    net = small()
    x = X.clone().requires_grad_()
    output = net(x)
    (grad,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    (F.mse_loss(output, Y) + grad.square().sum()).backward()
    return bits(net)


def checkpointed() -> Any:
    net = small()
    x = X.clone().requires_grad_()
    (checkpoint(net, x, use_reentrant=True) + checkpoint(net, x, use_reentrant=False)).sum().backward()  # type: ignore[operator]
    return bits(net)


def nan_loss() -> Any:
    """NaN gradients go through: there is no check."""
    net = small()
    (net(X) * float("nan")).sum().backward()
    return bits(net), [p.grad.isnan().all().item() for p in net.parameters() if p.grad is not None]


def asks() -> Any:
    before = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    small()(X).sum().backward()
    return before, (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())


def uses_it_itself() -> Any:
    seen = []
    net = small()
    for check in (True, False):
        with torch.autograd.set_detect_anomaly(True, check_nan=check):
            seen.append((torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled(), *really()))
            net(X).sum().backward()
            seen.append((torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled(), *really()))
        seen.append((torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()))
    torch.autograd.set_detect_anomaly(True)
    net(X).sum().backward()
    seen.append((torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled(), *really()))
    torch.autograd.set_detect_anomaly(False)
    seen.append((torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()))
    return seen


def refused() -> Any:
    with pytest.raises(TypeError) as caught:
        torch.set_anomaly_enabled()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        torch.set_anomaly_enabled("on")  # type: ignore[arg-type]
    return type(caught.value), torch.is_anomaly_enabled()


@pytest.mark.parametrize(
    "train", [plain_loop, second_order, checkpointed, nan_loss, asks, uses_it_itself, refused]
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_the_script_notices_nothing(train: Callable[[], Any]) -> None:
    bare, debugged = both(train)
    assert debugged == bare


def within_forward() -> torch.Tensor:
    class Energy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.clone().requires_grad_()
            return torch.autograd.grad(Failing.apply(x).sum(), x)[0]

    return Energy()(X)


def at_the_top() -> None:
    Failing.apply(small()(X)).sum().backward()


@pytest.mark.parametrize("fail", [at_the_top, within_forward])
def test_a_backward_that_raises_prints_nothing_more_and_looks_the_same(fail: Callable[[], Any]) -> None:
    def train() -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                fail()
            except ValueError:
                return traceback.format_exc(), [str(w.message) for w in caught]
        raise AssertionError("it did not fail")

    bare, debugged = both(train)
    assert debugged == bare


def test_torch_compile_captures_the_same() -> None:
    def train() -> Any:
        graphs: list[str] = []

        def backend(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
            graphs.append(graph.code)
            return graph.forward

        net = small()
        fast = torch.compile(net, backend=backend)
        for _ in range(3):
            fast(X).sum().backward()
        torch.compiler.reset()
        return graphs, [p.grad.numpy().tobytes() for p in net.parameters() if p.grad is not None]

    bare, debugged = both(train)
    assert len(bare[0]) == 1
    assert debugged == bare


def test_switching_compiles_nothing_again() -> None:
    compiled: list[int] = []
    counts: list[int] = []

    def train() -> None:
        net = small()
        fast = torch.compile(net, backend=lambda graph, _inputs: compiled.append(1) or graph.forward)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(4):
            fast(X).sum().backward()
            counts.append(len(compiled))
            optimizer.step()
            optimizer.zero_grad()
        torch.compiler.reset()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is not None and stop.next.phase is Phase.FORWARD:
            await session.request(m.SetWatching(0, stacks=stop.iteration % 2 == 0))

    drive(train, visit=visit)
    assert counts == [1, 1, 1, 1]


# ── the switch itself ───────────────────────────────────────────────────────────────────────────────────────


def test_what_the_script_sets_by_a_function_it_had_before_is_kept() -> None:
    early = torch.set_anomaly_enabled
    stacks = Stacks()
    stacks.set(True)
    assert really() == (True, False)
    early(True, True)
    assert stacks.script_has_its_own is False  # nobody has looked yet
    assert stacks.pause()
    assert really() == (True, True)
    assert torch.is_anomaly_enabled()
    stacks.resume()
    early(False, True)
    stacks.set(False)
    assert really() == (False, True)


def test_the_scripts_own_mode_stays_through_it_all() -> None:
    torch.set_anomaly_enabled(True, True)
    stacks = Stacks()
    stacks.set(True)
    try:
        assert stacks.script_has_its_own
        assert really() == (True, True)
        stacks.pause()
        assert really() == (True, True)
        stacks.resume()
        stacks.free(True)
        assert really() == (True, True)
    finally:
        stacks.set(False)
        assert really() == (True, True)
        torch.set_anomaly_enabled(False)


def test_a_backward_within_a_backward_ends_no_pause() -> None:
    stacks = Stacks()
    stacks.set(True)
    assert stacks.pause() is True
    inner = stacks.pause()
    assert inner is False
    stacks.resume(inner)
    assert really() == (False, True)
    stacks.resume()
    assert really() == (True, False)
    stacks.set(False)


def test_what_the_answer_says() -> None:
    notes: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            notes.extend([(await session.request(m.SetWatching(0, stacks=on))).note for on in (True, False, None)])
        if stop.next is not None and stop.next.phase is Phase.BACKWARD:
            notes.append((await session.request(m.SetWatching(0, stacks=True))).note)

    def train() -> None:
        loss = small()(X).sum()
        torch.set_anomaly_enabled(True)
        loss.backward()
        torch.set_anomaly_enabled(False)

    drive(train, visit=visit)
    assert notes == [
        "nodes made from here on tell their line",
        "",
        "",
        "the script notes stacks itself: anomaly mode is on",
    ]
