"""Optimizers of every kind stepped into: which of them are held at, and that each gives the bare run's bits."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.utils._python_dispatch import TorchDispatchMode

from stepdbg.agent.inside.stepped import AFTER_THE_FACT, AS_ONE, LEFT_ALONE
from stepdbg.agent.inside.turns import AFTER, BEFORE, BEFORE_VALUE
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import Grain, Place
from stepdbg.protocol.records import Phase, StopRecord

from .inside_runs import Stepped, both, modes, short, stepped
from .test_inside import INTO, NEXT, X, Y, bits, numbers, small
from .test_turns import NAMES, Make, Plain, once, sgd, through_steps, turns_of

HELD, AT_ONCE = turns_of(NAMES), [f"- {name}" for name in NAMES]

KINDS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "sgd": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "sgd maximize": (optim.SGD, {"lr": 0.1, "maximize": True, "momentum": 0.5}),
    "adam": (optim.Adam, {"lr": 0.1, "weight_decay": 0.01}),
    "adamw": (optim.AdamW, {"lr": 0.1, "amsgrad": True}),
    "rmsprop": (optim.RMSprop, {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    "adagrad": (optim.Adagrad, {"lr": 0.1, "weight_decay": 0.1}),
    "adadelta": (optim.Adadelta, {"weight_decay": 0.1}),
    "adamax": (optim.Adamax, {"weight_decay": 0.1}),
    "nadam": (optim.NAdam, {"weight_decay": 0.1}),
    "radam": (optim.RAdam, {"weight_decay": 0.1}),
    "asgd": (optim.ASGD, {"weight_decay": 0.1}),
    "rprop": (optim.Rprop, {}),
    "adafactor": (optim.Adafactor, {"weight_decay": 0.1}) if hasattr(optim, "Adafactor") else (optim.SGD, {}),
}
FUSED = {"sgd", "sgd maximize", "adam", "adamw", "adagrad"}


def updates(run: Stepped) -> list[Place]:
    """The places of parameters' updates."""
    return [place for place in run.places if place.grain is Grain.PARAMETER and place.parameter]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in ("adam", "sgd") else pytest.mark.slow) for kind in KINDS]
)
def test_every_optimizer_of_torchs_is_held_at_in_its_loop_and_at_once_is_shown_after_the_fact(kind: str) -> None:
    cls, options = KINDS[kind]
    for variant in ({}, {"foreach": False}, {"foreach": True}, *([{"fused": True}] if kind in FUSED else [])):
        make: Make = lambda ps, v=variant: cls(ps, **options, **v)  # type: ignore[misc]  # noqa: E731
        run = stepped(once(make), through_steps)
        assert run.warned == []
        assert run.result == once(make)()
        at_once = any(variant.values())
        assert short(run.places) == (AT_ONCE if at_once else HELD) * 2
        assert {p.detail == AFTER_THE_FACT for p in run.places} == {at_once}
        assert {p.after_the_fact for p in run.places} == {at_once}


@pytest.mark.parametrize("sparse", [optim.SparseAdam, optim.SGD, optim.Adagrad])
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.slow
def test_sparse_gradients(sparse: Any) -> None:
    def train() -> Any:
        torch.manual_seed(1)
        net = nn.ModuleList(nn.Embedding(5, 3, sparse=True) for _ in range(4))
        optimizer = sparse(net.parameters(), lr=0.1)
        for step in range(2):
            optimizer.zero_grad()
            words = [torch.tensor([0, 3, 3]), torch.tensor([], dtype=torch.long), torch.tensor([step])]
            sum(e(w).square().sum() for e, w in zip(net, words, strict=False)).backward()  # type: ignore[union-attr]
            optimizer.step()
        return [p.detach().numpy().tobytes() for p in net.parameters()]

    run = stepped(train, through_steps)
    assert run.result == train()
    names = [f"net.{number}.weight" for number in range(4)]
    if sparse is optim.SparseAdam:  # which passes over one with no entries
        first = ["+ net.0.weight", "- net.0.weight", "+ net.1.weight", "+ net.2.weight", "- net.2.weight"]
        assert short(run.places) == [*first, "- net.1.weight", "- net.3.weight"] * 2
    else:
        assert short(run.places) == [*turns_of(names[:3]), "- net.3.weight"] * 2
    assert {p.detail for p in run.places if p.name == names[3]} == {f"{LEFT_ALONE}: its .grad is None"}


# ── other people's loops ────────────────────────────────────────────────────────────────────────────────────


def lion(state: Any, p: Tensor) -> None:
    p.mul_(0.99).add_(state["avg"].sign(), alpha=-0.1)


class Small(torch.optim.Optimizer):
    """A class of a few lines, as one writes it in a lesson."""

    def __init__(self, parameters: Any, how: str) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.how = how

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            if self.how == "minus":
                for p in self.param_groups[0]["params"]:
                    p -= 0.1 * p.grad
            elif self.how == "data minus":
                for p in self.param_groups[0]["params"]:
                    p.data -= 0.1 * p.grad
            elif self.how == "new data":
                for p in self.param_groups[0]["params"]:
                    p.data = p.data - 0.1 * p.grad
            elif self.how == "copy":
                for group in self.param_groups:
                    [self.one(p) for p in group["params"]]
            elif self.how == "norm first":
                total = torch.zeros(())
                for p in self.param_groups[0]["params"]:
                    total += p.grad.square().sum()
                for p in self.param_groups[0]["params"]:
                    p.add_(p.grad / total.sqrt(), alpha=-0.1)
            elif self.how == "none":
                sum(p.grad.sum() for p in self.param_groups[0]["params"])

    @staticmethod
    def one(p: Tensor) -> None:
        p.copy_(p - 0.1 * p.grad)  # type: ignore[operator]


@pytest.mark.parametrize("how", ["minus", "data minus", "new data", "copy", "norm first"])
def test_the_loops_that_people_write_are_held_at(how: str) -> None:
    def make(parameters: Any) -> Any:
        return Small(parameters, how)

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.at is not None:
            if stop.at.when == "before":
                values.append(await numbers(session, "@value"))
            else:
                before, after = await numbers(session, "@before"), await numbers(session, "@after")
                assert before == values.pop() != after
        return await through_steps(session, stop)

    values: list[list[float]] = []
    run = stepped(once(make), choose)
    assert run.result == once(make)()
    assert short(run.places) == HELD * 2
    assert {p.detail for p in run.places if p.when == "before"} == {BEFORE}


def test_one_that_updates_nothing_says_so() -> None:
    run = stepped(once(lambda ps: Small(ps, "none"), 1), through_steps)
    assert short(run.places) == AT_ONCE
    assert {p.detail for p in run.places} == {LEFT_ALONE}


@pytest.mark.slow
def test_state_made_in_the_loop_and_lists_over_all_before_it() -> None:
    def clipped(optimizer: Any) -> None:
        parameters = optimizer.param_groups[0]["params"]
        norm = torch.stack(torch._foreach_norm([p.grad for p in parameters])).norm()
        for p in parameters:
            p.grad.mul_(torch.clamp(0.1 / norm, max=1.0))

    def smaller(optimizer: Any) -> None:
        for p in optimizer.param_groups[0]["params"]:
            p.grad.mul_(0.5)

    run = stepped(once(lambda ps: Plain(ps, lion)), through_steps)
    assert run.result == once(lambda ps: Plain(ps, lion))()
    assert short(run.places) == HELD * 2
    for first, begun in ((clipped, True), (smaller, False)):
        run = stepped(once(lambda ps, f=first: Plain(ps, lion, f)), through_steps)
        assert run.result == once(lambda ps, f=first: Plain(ps, lion, f))()
        assert short(run.places) == HELD * 2
        # The first one is held before its gradient is written, where no list of tensors is in that code.
        assert [p.detail == BEFORE_VALUE for p in run.places if p.when == "before"] == ([begun] + [True] * 5) * 2


# ── closures ────────────────────────────────────────────────────────────────────────────────────────────────


def with_closure(make: Make, steps: int = 2) -> Callable[[], Any]:
    def train() -> Any:
        net = small()
        optimizer = make(net.parameters())

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), Y) + 0.0 * sum(p.square().sum() for p in net.parameters())
            loss.backward()
            return loss

        for _ in range(steps):
            optimizer.step(closure)
        return bits(net), modes()

    return train


def test_a_closure_is_none_of_the_update_and_next_leads_on_from_it() -> None:
    explained: list[bool | None] = []

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.at is not None and stop.at.when == "after":
            explained.append((await session.request(m.GetExplanation(0, stop.at.parameter))).exact)
        step = stop.next is not None and stop.next.phase is Phase.STEP
        return INTO if step else NEXT

    run = stepped(with_closure(sgd), choose)
    assert run.result == with_closure(sgd)()
    assert short(run.places) == HELD * 2
    assert explained == [True] * 12
    inner = [phase for phase in run.run.path if phase.startswith(">") and phase != ">step"]
    assert inner[:3] == [">zero_grad", ">forward", ">loss"]


def test_an_optimizer_that_updates_several_times_in_a_step_is_held_at_each() -> None:
    make: Make = lambda ps: optim.LBFGS(ps, lr=0.1, max_iter=2, max_eval=9)  # noqa: E731
    bare, run = both(with_closure(make, 1))
    assert run.result == bare
    places = updates(run)
    assert short(places) == HELD * 2
    following = run.run.stops[next(n for n, stop in enumerate(run.run.stops, 1) if stop.at == places[11])]
    assert following.next is not None
    assert following.next.phase is Phase.ZERO_GRAD  # the closure runs again only once the last place was held at
    assert [p.detail for p in places[:1]] == [BEFORE]
    assert places[12].detail == f"{BEFORE} (update 2 of this step)"
    assert places[-1].detail == f"{AFTER} (update 2 of this step)"
    stops = [stop for stop in run.run.stops if stop.at is not None and stop.at in places]
    assert {tuple(r.phase for r in stop.inside) for stop in stops} == {(Phase.STEP,)}


# ── other modes, compiled code, scalers ─────────────────────────────────────────────────────────────────────


class Counts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_dispatch_mode_of_the_scripts_sees_what_it_sees_in_the_bare_run() -> None:
    def train() -> Any:
        net = small()
        optimizer = sgd(net.parameters())
        F.mse_loss(net(X), Y).backward()
        with Counts() as counts:
            optimizer.step()
        return counts.seen, bits(net), modes()

    bare, run = both(train)
    assert run.result == bare
    assert short(updates(run)) == HELD


def test_a_step_inside_a_function_transform_fails_as_in_the_bare_run() -> None:
    def train() -> Any:
        net = small()
        optimizer = sgd(net.parameters())
        F.mse_loss(net(X), Y).backward()

        def inner(x: Tensor) -> Tensor:
            optimizer.step()
            return x.sum()

        try:
            torch.func.grad(inner)(X)
        except RuntimeError:
            return traceback.format_exc(), modes(), bits(net)

    bare, run = both(train)
    assert run.result == bare
    assert "captured Tensor" in bare[0]
    assert updates(run) == []


def test_a_scaler_that_leaves_a_step_out_and_one_that_does_not() -> None:
    def train() -> Any:
        net = small()
        optimizer = optim.Adam(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for bad in (True, False):
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), Y)
            scaler.scale(loss * float("inf") if bad else loss).backward()
            scaler.step(optimizer)
            scaler.update()
        return bits(net)

    run = stepped(train, through_steps)
    assert run.result == train()
    assert short(run.places) == HELD


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_a_compiled_step_runs_as_one_and_says_so(whole: bool) -> None:
    def make(parameters: Any) -> Any:
        optimizer = optim.Adam(parameters, lr=0.1)
        if whole:
            optimizer.step = torch.compile(optimizer.step, backend="aot_eager")  # type: ignore[method-assign]
        return optimizer if whole else Compiled(optimizer.param_groups)

    class Compiled(torch.optim.Optimizer):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, {})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            every = [p for group in self.param_groups for p in group["params"]]
            update(every, [p.grad for p in every])

    @torch.compile(backend="aot_eager")
    def update(every: list[Tensor], grads: list[Tensor]) -> None:
        for p, grad in zip(every, grads, strict=True):
            p.sub_(grad, alpha=0.1)

    run = stepped(once(make), through_steps)
    assert run.result == once(make)()
    assert run.warned == []
    assert short(run.places) in ([], AT_ONCE * 2)
    assert {p.detail for p in run.places} <= {AS_ONE}
