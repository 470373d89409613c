"""Optimizers that update parameter by parameter: held before and after each for real, and the run is the bare run."""

from __future__ import annotations

import gc
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepdbg.agent.inside import stepped as after_the_fact
from stepdbg.agent.inside.turns import AFTER, BEFORE
from stepdbg.commands.edit import read_set
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import FindTarget, GetHeld, Grain, Place
from stepdbg.protocol.records import Phase, StopReason, StopRecord
from stepdbg.protocol.step import DID, WILL
from stepdbg.protocol.words import Evaluate

from .inside_runs import both, modes, short, stepped, tracker
from .test_inside import INTO, NEXT, OUT, X, Y, bits, numbers, small
from .test_inside_breakpoints import Fake

Make = Callable[[Iterable[Tensor]], Any]
NAMES = [f"net.{name}" for name, _ in small().named_parameters()]
CONTINUE = m.Action.CONTINUE


def turns_of(names: list[str]) -> list[str]:
    return [sign + name for name in names for sign in ("+ ", "- ")]


def once(make: Make, steps: int = 2, kept: list[nn.Module] | None = None) -> Callable[[], Any]:
    """A loop with that optimizer; `kept` gets the net."""

    def train() -> Any:
        net = small()
        if kept is not None:
            kept[:] = [net]
        optimizer = make(net.parameters())
        for _ in range(steps):
            optimizer.zero_grad()
            F.mse_loss(net(X), Y).backward()
            optimizer.step()
        assert modes() == 0
        return bits(net)

    return train


async def through_steps(_session: ThreadSession, stop: StopRecord) -> m.Action:
    """Into each STEP, and from place to place in it; past everything else."""
    return INTO if stop.next is not None and stop.next.phase is Phase.STEP else NEXT


def sgd(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)


def use(book: Fake) -> None:
    """Have that book asked from here on."""
    control = tracker().control
    assert control is not None
    control.breakpoints = book


class Plain(torch.optim.Optimizer):
    """What third parties' optimizers have in common; `update` is what they do."""

    def __init__(self, parameters: Any, update: Callable[[Any, Tensor], None], first: Any = None) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.update, self.first = update, first

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if self.first is not None:
            self.first(self)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = 0
                    state["avg"] = torch.zeros_like(p)
                state["step"] += 1
                state["avg"].mul_(0.9).add_(p.grad, alpha=0.1)
                self.update(state, p)


# ── what is true at each place ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(sgd, id="sgd"),
        pytest.param(lambda ps: torch.optim.AdamW(ps, lr=0.1, amsgrad=True, foreach=False), id="adamw"),
    ],
)
def test_at_each_place_those_before_are_updated_and_those_that_follow_are_not(make: Make) -> None:
    kept: list[nn.Module] = []
    values: list[list[list[float]]] = []

    def now() -> list[list[float]]:
        return [p.detach().reshape(-1).tolist() for p in kept[0].parameters()]

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.at is not None or (stop.next is not None and stop.next.phase in (Phase.STEP, Phase.ZERO_GRAD)):
            values.append(now())
        return await through_steps(session, stop)

    run = stepped(once(make, 1, kept), choose)
    values.append(now())
    assert run.result == once(make, 1)()
    assert short(run.places) == turns_of(NAMES)
    assert [p.detail for p in run.places] == [BEFORE, AFTER] * 6
    assert not any(p.after_the_fact for p in run.places)
    _, old, *inside, new = values
    for number in range(6):
        assert inside[2 * number] == new[:number] + old[number:]
        assert inside[2 * number + 1] == new[: number + 1] + old[number + 1 :]
    assert all(one != other for one, other in zip(old, new, strict=True))


def test_what_is_held_there_and_what_explain_tells() -> None:
    seen: list[tuple[str, str, list[str]]] = []
    told: list[tuple[str, str]] = []

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        at = stop.at
        if at is not None:
            held = await session.request(GetHeld(0))
            seen.append((at.when, at.parameter, [tensor.name for tensor in held.tensors]))
            own = await session.request(m.GetExplanation(0, at.parameter))
            first = (await session.request(m.GetExplanation(0, NAMES[0]))).tells
            last = (await session.request(m.GetExplanation(0, NAMES[-1]))).tells
            assert first == (WILL if seen[1:] == [] else DID)
            assert last == (DID if (at.when, at.parameter) == ("after", NAMES[-1]) else WILL)
            if at.when == "before":
                assert own.tells == WILL
                told.append((own.predicted or "", ""))
            else:
                assert (own.tells, own.exact) == (DID, True)
                before, after = await numbers(session, "@before"), await numbers(session, "@after")
                change = torch.tensor(after) - torch.tensor(before)
                assert await numbers(session, "@change") == change.tolist()
                told[-1] = told[-1][0], own.after or ""
        return await through_steps(session, stop)

    make: Make = lambda ps: torch.optim.Adam(ps, lr=0.1, weight_decay=0.1)  # noqa: E731
    stepped(once(make, 1), choose)
    states = ["state['step']", "state['exp_avg']", "state['exp_avg_sq']"]
    assert seen[0] == ("before", NAMES[0], ["value", "grad", *states])
    assert seen[1] == ("after", NAMES[0], ["after", "before", "change", "grad", *states])
    assert len(told) == 6
    assert all(predicted == after != "" for predicted, after in told)


def test_what_is_set_at_a_place_is_what_the_update_uses() -> None:
    explained: list[bool | None] = []

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.at is not None and stop.iteration == 1:
            if stop.at.when == "before" and stop.at.parameter == "net.1.1.weight":
                await session.request(read_set("net[1][1].weight.grad = 0.5"))
                await session.request(Evaluate(0, "net[1][1].weight.data.mul_(2)", statement=True))
                await session.request(Evaluate(0, "net[2].bias.data.fill_(3)", statement=True))
            elif stop.at.when == "after":
                explained.append((await session.request(m.GetExplanation(0, stop.at.parameter))).exact)
        return await through_steps(session, stop)

    def by_hand() -> Any:
        net = small()
        optimizer = sgd(net.parameters())
        for number in range(2):
            optimizer.zero_grad()
            F.mse_loss(net(X), Y).backward()
            if number == 0:
                net[1][1].weight.grad.fill_(0.5)  # type: ignore[index]
                net[1][1].weight.data.mul_(2)  # type: ignore[index]
                net[2].bias.data.fill_(3)
            optimizer.step()
        return bits(net)

    run = stepped(once(sgd), choose)
    assert run.result == by_hand()
    assert run.result != once(sgd)()
    assert explained == [True] * 6


def test_groups_are_told_and_lists_and_loops_may_be_mixed() -> None:
    def make(parameters: Any) -> Any:
        a, b, c, d, e, f = parameters
        f.requires_grad_(False)
        groups = [{"params": [a, b]}, {"params": [c, d], "foreach": True}, {"params": [e, f]}]
        return torch.optim.Adam(groups, lr=0.1, foreach=False)

    run = stepped(once(make, 1), through_steps)
    assert run.result == once(make, 1)()
    at_once, alone = after_the_fact.AFTER_THE_FACT, f"{after_the_fact.LEFT_ALONE}: its .grad is None"
    assert [(f"{p.when} {p.name}", p.kind, p.detail) for p in run.places] == [
        ("before net.0.weight", "group 0", BEFORE),
        ("after net.0.weight", "group 0", AFTER),
        ("before net.0.bias", "group 0", BEFORE),
        ("after net.0.bias", "group 0", AFTER),
        ("before net.2.weight", "group 2", BEFORE),
        ("after net.2.weight", "group 2", AFTER),
        ("after net.1.1.weight", "group 1", at_once),
        ("after net.1.1.bias", "group 1", at_once),
        ("after net.2.bias", "group 2", alone),
    ]
    assert [p.after_the_fact for p in run.places] == [False] * 6 + [True] * 2 + [False]


# ── how to go on ────────────────────────────────────────────────────────────────────────────────────────────


def test_out_goes_to_the_end_of_the_step() -> None:
    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.at is not None and stop.at.when == "after":
            return OUT
        return await through_steps(session, stop)

    run = stepped(once(sgd), choose)
    assert short(run.places) == ["+ net.0.weight", "- net.0.weight"] * 2
    assert run.result == once(sgd)()


@pytest.mark.parametrize(
    ("make", "when"), [(sgd, "before"), (lambda ps: torch.optim.SGD(ps, lr=0.1, foreach=True), "after")]
)
def test_until_a_parameter_leads_to_its_update_or_its_gradient_whichever_is_first(make: Make, when: str) -> None:
    reached: list[tuple[str, str]] = []

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.at is not None:
            reached.append((stop.at.name, stop.at.when))
        if (stop.next is not None and stop.next.phase is Phase.STEP) or len(reached) == 1:
            session.resume(m.Action.UNTIL, await session.request(FindTarget(0, "net.1.1.bias")))
            return None
        return CONTINUE if len(reached) == 2 else NEXT

    run = stepped(once(make), choose)
    assert reached == [("net.1.1.bias", when), ("AccumulateGrad", "before")]
    assert run.result == once(make)()


def test_a_breakpoint_that_waits_for_parameters_is_told_of_each_and_may_stop_there() -> None:
    book = Fake(Grain.PARAMETER, stops=lambda place: "breakpoint 1" if place.name == NAMES[1] else None)

    async def choose(_session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.number == 1:
            use(book)
        return CONTINUE

    run = stepped(once(sgd), choose)
    assert short(book.places) == turns_of(NAMES) * 2
    assert short(run.places) == turns_of(NAMES[1:2]) * 2
    assert {s.reason for s in run.run.stops if s.at} == {StopReason.BREAKPOINT}
    assert run.result == once(sgd)()


# ── what comes in between ───────────────────────────────────────────────────────────────────────────────────


def test_a_ctrl_c_at_a_place_leaves_nothing_behind() -> None:
    raised: list[Place] = []

    def train() -> Any:
        net = small()
        optimizer = sgd(net.parameters())
        F.mse_loss(net(X), Y).backward()
        old = [p.detach().clone() for p in net.parameters()]
        try:
            optimizer.step()
        except KeyboardInterrupt:
            text = traceback.format_exc()
        changed = [not torch.equal(p, o) for p, o in zip(net.parameters(), old, strict=True)]
        optimizer.step()
        return text, changed, modes()

    def interrupts(place: Any) -> None:
        if (place.name, place.when) == (NAMES[2], "before") and not raised:
            raised.append(place)
            raise KeyboardInterrupt("here")

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.number == 1:
            use(Fake(Grain.PARAMETER, stops=interrupts))
        return await through_steps(session, stop)

    run = stepped(train, choose)
    text, changed, left = run.result
    assert changed == [True, True, False, False, False, False]
    assert left == 0
    assert "KeyboardInterrupt: here" in text


def test_a_step_that_raises_midway_raises_as_in_the_bare_run() -> None:
    def fails(state: Any, p: Tensor) -> None:
        p.add_(torch.ones(7) if p.shape == (3, 3) else state["avg"])

    def train() -> Any:
        net = small()
        optimizer = Plain(net.parameters(), fails)
        F.mse_loss(net(X), Y).backward()
        try:
            optimizer.step()
        except RuntimeError:
            return traceback.format_exc(), modes(), bits(net)

    bare, run = both(train)
    assert run.result == bare
    assert "The size of tensor a" in bare[0]
    inside = [p for p in run.places if p.grain is Grain.PARAMETER]
    assert short(inside) == ["+ net.0.weight", "- net.0.weight", "+ net.0.bias", "- net.0.bias", "+ net.1.1.weight"]


def test_a_detach_at_a_place_leaves_nothing_behind() -> None:
    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.at is not None:
            session._send(m.Detach())
            session.stop = None
            return None
        return await through_steps(session, stop)

    assert stepped(once(sgd), choose).result == once(sgd)()


def test_a_warning_inside_a_step_is_attributed_to_the_same_line() -> None:
    def warns(state: Any, p: Tensor) -> None:
        torch.add(p.reshape(-1)[:1], 1, out=torch.zeros(3))  # torch warns: resized
        p.add_(state["avg"])

    def train() -> list[tuple[str, int, str]]:
        net = nn.Linear(4, 1, bias=False)
        net(X).sum().backward()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Plain(net.parameters(), warns).step()
        return [(w.filename, w.lineno, str(w.message)) for w in caught]

    bare, run = both(train)
    assert len(bare) == 1
    assert run.result == bare


def test_no_tensor_lives_longer_because_a_step_was_gone_into() -> None:
    gone: list[bool] = []
    refs: list[weakref.ref[Tensor]] = []

    def update(state: Any, p: Tensor) -> None:
        gone.extend(ref() is None for ref in refs)
        made = p.grad * 2  # type: ignore[operator]
        old, state["avg"] = state["avg"], state["avg"] + 1
        refs[:] = [weakref.ref(made), weakref.ref(old)]
        p.sub_(made)

    def train() -> None:
        refs.clear()
        gc.disable()
        try:
            net = small()
            optimizer = Plain(net.parameters(), update)
            net(X).sum().backward()
            optimizer.step()
            net.zero_grad()
            refs.append(weakref.ref(net[0].weight))
            del net, optimizer
            gone.extend(ref() is None for ref in refs)
        finally:
            gc.enable()

    _, run = both(train)
    assert len(run.places) > 12
    assert gone == [True] * 26
