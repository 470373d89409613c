"""`watch nan` and `watch change`: the exact operation and line, on constructed cases and on none that is healthy."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Kind, Spec
from stepdbg.protocol.inside import GetHeld, Grain
from stepdbg.protocol.records import StopReason, StopRecord

from .conftest import drive

ON = [m.Action.CONTINUE] * 200
HERE = Path(__file__).name
DEMOS = Path(__file__).parents[2] / "demo_models"


def training(compute: Callable[[Tensor], Tensor], iterations: int = 1) -> Callable[[], None]:
    def train() -> None:
        torch.manual_seed(0)
        net = torch.nn.Linear(3, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(iterations):
            optimizer.zero_grad()
            h = net(torch.ones(2, 3))
            compute(h - h.detach()).backward()
            optimizer.step()

    return train


def stops(train: Callable[[], Any], *specs: Spec) -> list[StopRecord]:
    run = drive(train, ON, settings=m.Settings(stop_at="never", breakpoints=specs or (Spec(Kind.NAN),)))
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return [stop for stop in run.stops if stop.reason is StopReason.BREAKPOINT]


def log_of_zero(h: Tensor) -> Tensor:
    return torch.log(h).sum()


def zero_by_zero(h: Tensor) -> Tensor:
    return (h / h).sum()


def exp_in_half(h: Tensor) -> Tensor:
    return torch.exp((h + 20).half()).sum().float()


def zero_by_zero_in_bfloat16(h: Tensor) -> Tensor:
    return (h.bfloat16() / h.bfloat16()).sum().float()


def product_overflows_in_half(h: Tensor) -> Tensor:
    return ((h + 300).half() * (h + 300).half()).sum().float()


def exp_overflows(h: Tensor) -> Tensor:
    return torch.exp(h + 89).sum()


def log_of_zero_times_zero(h: Tensor) -> Tensor:
    return (torch.log(h) * h).sum()


class Root(torch.nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return torch.sqrt(h - 1)


def in_a_module(h: Tensor) -> Tensor:
    return Root()(h).sum()


def in_place(h: Tensor) -> Tensor:
    return h.clone().log_().sum()


def softmax_of_nothing(h: Tensor) -> Tensor:
    return h.masked_fill(torch.ones(2, 3, dtype=torch.bool), float("-inf")).softmax(-1).sum()


@pytest.mark.parametrize(
    ("compute", "op", "what"),
    [
        (log_of_zero, "aten.log.default", "6 of 6 elements not finite (6 -inf), first -inf at [0, 0]"),
        (zero_by_zero, "aten.div.Tensor", "6 of 6 elements not finite (6 nan), first nan at [0, 0]"),
        (exp_in_half, "aten.exp.default", "6 of 6 elements not finite (6 inf), first inf at [0, 0]"),
        (exp_overflows, "aten.exp.default", "6 of 6 elements not finite (6 inf), first inf at [0, 0]"),
        (zero_by_zero_in_bfloat16, "aten.div.Tensor", "6 of 6 elements not finite (6 nan), first nan at [0, 0]"),
        (product_overflows_in_half, "aten.mul.Tensor", "6 of 6 elements not finite (6 inf), first inf at [0, 0]"),
        (log_of_zero_times_zero, "aten.log.default", "6 of 6 elements not finite (6 -inf), first -inf at [0, 0]"),
        (in_place, "aten.log_.default", "6 of 6 elements not finite (6 -inf), first -inf at [0, 0]"),
    ],
)
def test_forward(compute: Callable[[Tensor], Tensor], op: str, what: str) -> None:
    first, *_ = stops(training(compute))
    line = compute.__code__.co_firstlineno + 1
    assert first.why == f"watch 1: {op} ({HERE}:{line}) made {what}; its inputs are finite"
    assert first.at is not None
    assert (first.at.grain, first.at.when, first.at.name) == (Grain.OP, "after", op)
    assert first.stack[first.here or 0].line == line


def test_zero_times_the_log_of_zero_is_a_nan_of_its_own() -> None:
    _, second, *_ = stops(training(log_of_zero_times_zero))
    line = log_of_zero_times_zero.__code__.co_firstlineno + 1
    assert second.why == (
        f"watch 1: aten.mul.Tensor ({HERE}:{line}) made 6 of 6 elements not finite (6 nan), first nan at [0, 0]; "
        "its inputs have infinities, no nan"
    )


def test_a_nan_of_infinities_is_told_and_a_masks_infinity_is_not() -> None:
    first, *_ = stops(training(softmax_of_nothing))
    line = softmax_of_nothing.__code__.co_firstlineno + 1
    assert first.why == (
        f"watch 1: aten._softmax.default ({HERE}:{line}) made 6 of 6 elements not finite (6 nan), first nan at [0, 0]; "
        "its inputs have infinities, no nan"
    )


def test_the_module_is_named() -> None:
    first, *_ = stops(training(in_a_module))
    assert f"aten.sqrt.default ({HERE}:{Root.forward.__code__.co_firstlineno + 1} in Root" in first.why
    assert [run.phase.value for run in first.inside] == ["forward"]


def some_of_many(h: Tensor) -> Tensor:
    t = torch.ones(2, 3)
    t[1, 2] = 0
    return (h + t.log()).sum()


def test_the_elements_are_told() -> None:
    first, *_ = stops(training(some_of_many))
    assert "1 of 6 elements not finite (1 -inf), first -inf at [1, 2]" in first.why


def sqrt_at_zero(h: Tensor) -> Tensor:
    return torch.sqrt(h).sum()


def where_with_a_nan_branch(h: Tensor) -> Tensor:
    return torch.where(h > 0, torch.sqrt(h), h).sum()


def norm_by_hand(h: Tensor) -> Tensor:
    return h.square().sum().sqrt()


def log_of_zero_backward(h: Tensor) -> Tensor:
    return torch.where(h > 0, torch.log(h), h).sum()


def power_of_zero(h: Tensor) -> Tensor:
    return h.pow(0.5).sum()


@pytest.mark.parametrize(
    ("compute", "node", "op"),
    [
        (power_of_zero, "PowBackward0", "aten.pow.Tensor_Scalar"),
        (log_of_zero_backward, "LogBackward0", "aten.log.default"),
    ],
)
def test_other_nodes_and_their_operations(compute: Callable[[Tensor], Tensor], node: str, op: str) -> None:
    found = [stop.why for stop in stops(training(compute)) if stop.at is not None and stop.at.grain is Grain.NODE]
    line = compute.__code__.co_firstlineno + 1
    assert found[0].startswith(f"watch 1: {node} ({op}, {HERE}:{line}) hands on 6 of 6 elements not finite (6 ")


@pytest.mark.parametrize(
    ("compute", "node", "kind"),
    [
        (sqrt_at_zero, "SqrtBackward0", "6 of 6 elements not finite (6 inf), first inf at [0, 0]"),
        (where_with_a_nan_branch, "SqrtBackward0", "6 of 6 elements not finite (6 nan), first nan at [0, 0]"),
        (norm_by_hand, "SqrtBackward0", "1 of 1 elements not finite (1 inf), it is inf"),
    ],
)
def test_backward(compute: Callable[[Tensor], Tensor], node: str, kind: str) -> None:
    first, *_ = stops(training(compute))
    line = compute.__code__.co_firstlineno + 1
    assert first.why == (
        f"watch 1: {node} (aten.sqrt.default, {HERE}:{line}) hands on {kind}; the gradients it was given are finite"
    )
    assert first.at is not None
    assert (first.at.grain, first.at.name) == (Grain.NODE, node)
    assert [run.phase.value for run in first.inside] == ["backward"]


def norm_of_zero(h: Tensor) -> Tensor:
    # torch masks what its formula divides by: the gradient is 0.
    return h.norm()


def causal(h: Tensor) -> Tensor:
    scores = h @ h.T
    scores = scores.masked_fill(torch.ones(2, 2).triu(1).bool(), float("-inf"))
    return (scores + torch.full((2, 2), float("-inf")).triu(1)).softmax(-1).square().sum()


def uninitialised(h: Tensor) -> Tensor:
    return (h + torch.empty(2, 3).fill_(0)).sum() + torch.empty(1000).normal_().mean()


def half_sum_overflows(h: Tensor) -> Tensor:
    return ((h.half() + 60000).float() * 1e-6).sum()


@pytest.mark.parametrize("compute", [norm_of_zero, causal, uninitialised, half_sum_overflows])
def test_none_where_all_is_well(compute: Callable[[Tensor], Tensor]) -> None:
    assert stops(training(compute, 3)) == []


def test_none_in_a_demo_and_the_run_is_the_bare_one() -> None:
    def run() -> list[bytes]:
        known = runpy.run_path(str(DEMOS / "two_nets.py"))
        return [p.detach().numpy().tobytes() for name in ("net", "net2") for p in known[name].parameters()]

    bare, watched = run(), list[Any]()
    assert stops(lambda: watched.append(run())) == []
    assert watched == [bare]


def test_a_backward_whose_forward_was_not_watched_says_so() -> None:
    async def visit(session: Any, stop: StopRecord) -> m.Action:
        from stepdbg.protocol.breakpoints import SetBreakpoint
        from stepdbg.protocol.records import Phase

        if stop.next is not None and stop.next.phase is Phase.BACKWARD:
            await session.request(SetBreakpoint(0, Spec(Kind.NAN)))
            return m.Action.CONTINUE
        return m.Action.NEXT if stop.reason is not StopReason.BREAKPOINT else m.Action.CONTINUE

    run = drive(training(sqrt_at_zero), visit=visit)
    (stop,) = [s for s in run.stops if s.reason is StopReason.BREAKPOINT]
    assert "SqrtBackward0 (its line was not noted: its forward ran before the watch was armed)" in stop.why


def test_the_script_s_own_traceback_is_the_bare_one() -> None:
    import traceback

    seen: list[str] = []

    def wrong(h: Tensor) -> Tensor:
        try:
            torch.ops.aten.mm(torch.ones(2, 3), torch.ones(2, 3))
        except RuntimeError:
            seen.append(traceback.format_exc())
        return h.sum()

    training(wrong)()
    stops(training(wrong))
    assert seen[0] == seen[1]


def changing(net: Any, i: int) -> None:
    if i == 1:
        with torch.no_grad():
            net[0].weight.mul_(2)
    if i == 2:
        net[0].bias.data = torch.zeros(3)


async def watch_net(session: Any, stop: StopRecord) -> m.Action:
    from stepdbg.protocol.breakpoints import SetBreakpoint

    if stop.number == 1:
        await session.request(SetBreakpoint(0, Spec(Kind.CHANGE, "net.*")))
    return m.Action.CONTINUE


def test_a_step_that_calls_its_closure_again_is_a_step_all_the_time() -> None:
    def train() -> None:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(3, 3))
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = net(torch.ones(2, 3)).square().sum()
            loss.backward()
            return loss

        for i in range(3):
            optimizer.step(closure)
            changing(net, i)

    run = drive(train, visit=watch_net)
    why = [s.why for s in run.stops if s.reason is StopReason.BREAKPOINT]
    assert [text.split(" outside")[0] for text in why] == ["watch 1: 0.weight was written to by aten.mul_.Tensor"]


def test_who_changes_a_parameter_outside_a_step() -> None:
    def train() -> None:
        net = torch.nn.Sequential(torch.nn.Linear(3, 3))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for i in range(4):
            optimizer.zero_grad()
            loss = net(torch.ones(2, 3)).square().sum()
            loss.backward()
            changing(net, i)
            optimizer.step()

    run = drive(train, visit=watch_net)
    first, second = [s for s in run.stops if s.reason is StopReason.BREAKPOINT]
    line = changing.__code__.co_firstlineno
    assert first.why == (
        f"watch 1: 0.weight was written to by aten.mul_.Tensor outside an optimizer step; {HERE}:{line + 3}"
    )
    body = train.__code__.co_firstlineno
    assert second.why == (
        "watch 1: 0.bias changed outside an optimizer step; "
        f"between {HERE}:{body + 6} and {HERE}:{body + 8}, most likely {HERE}:{body + 7}"
    )


def looked_at(train: Callable[[], Any], *names: str) -> dict[str, Tensor]:
    """What is held at the first stop of `watch nan`, by those names."""
    found: dict[str, Tensor] = {}

    async def look(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.reason is StopReason.BREAKPOINT and not found:
            held = await session.request(GetHeld(0))
            assert {tensor.name for tensor in held.tensors} >= set(names)
            for name in names:
                told = await session.request(m.GetValues(0, f"@{name}"))
                found[name] = torch.tensor([[float(cell) for cell in row] for row in told.value.cells])
        return None

    run = drive(train, ON, visit=look, settings=m.Settings(stop_at="never", breakpoints=(Spec(Kind.NAN),)))
    assert run.error is None
    return found


def test_what_the_operation_was_given_and_made_is_there_to_look_at() -> None:
    found = looked_at(training(log_of_zero), "input[0]", "output")
    assert (found["input[0]"] == 0).all()
    assert (found["output"] == -torch.inf).all()


def test_the_gradients_at_the_node_are_there_to_look_at() -> None:
    found = looked_at(training(lambda h: torch.sqrt(h).sum()), "grad_in[0]", "grad_out[0]")
    assert (found["grad_in[0]"] == 1).all()
    assert (found["grad_out[0]"] == torch.inf).all()
