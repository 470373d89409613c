"""What a module does itself, between the calls of its modules: stepped beside them, and told apart from theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Kind, SetBreakpoint, Spec
from stepdbg.protocol.inside import FindTarget, GetHeld, Grain
from stepdbg.protocol.records import Phase, StopReason, StopRecord

from .inside_runs import both, modes, short, stepped
from .test_inside import CONTINUE, INTO, NEXT, OUT, X, Y, at, bits, flat, numbers


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.sigmoid(self.first(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block, self.norm, self.out = Block(4), nn.BatchNorm1d(4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.block(x * 2))
        return self.out(self.norm(x)).squeeze(1)


def train(steps: int = 1) -> Any:
    torch.manual_seed(1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(net(X), Y[:, 0])
        loss.backward()
        optimizer.step()
    return bits(net)


WHOLE = ["aten.mul.Tensor", "net.block", "aten.relu.default", "net.norm", "net.out", "aten.squeeze.dim"]


def around(names: list[str], indent: str = "") -> list[str]:
    return [f"{indent}{sign} {name}" for name in names for sign in "+-"]


# ── where it stops ──────────────────────────────────────────────────────────────────────────────────────────


def test_calls_and_operations_of_a_module_are_stepped_in_their_order() -> None:
    run = stepped(train, at(Phase.FORWARD, {}))
    # What `detach` is for: relu's result is kept by its node, and torch dispatches that too.
    names = [place for place in short(run.places) if "detach" not in place]
    assert names == around(WHOLE)
    assert {place.depth for place in run.places} == {1}
    assert {place.kind for place in run.places if place.grain is Grain.OP} == {"net"}


def test_into_a_module_shows_its_own_and_hides_what_its_modules_do() -> None:
    run = stepped(train, at(Phase.FORWARD, {"+ net.block": INTO, "+ net.norm": INTO, "- aten.native_batch_norm": OUT}))
    inner = [
        place for place in run.places if (place.depth == 2 and place.kind == "net.block") or "block." in place.name
    ]
    names = [place for place in short(inner) if "detach" not in place]
    assert names == around(["net.block.first", "aten.sigmoid.default", "net.block.second", "aten.add.Tensor"], " ")
    assert [name for name in short(run.places) if name in around(["net.block"])] == around(["net.block"])


def test_next_goes_on_at_the_level_of_the_place_and_out_ends_the_module() -> None:
    script = {"+ net.block": INTO, "+ aten.sigmoid.default": NEXT, "- aten.sigmoid.default": OUT, "+ net.norm": OUT}
    run = stepped(train, at(Phase.FORWARD, script))
    names = [place for place in short(run.places) if "detach" not in place]
    assert names == [
        *around(["aten.mul.Tensor"]), "+ net.block", *around(["net.block.first", "aten.sigmoid.default"], " "),
        "- net.block", *around(["aten.relu.default"]), "+ net.norm",
    ]  # fmt: skip


def test_the_tensors_of_an_operation_are_there() -> None:
    seen: dict[str, list[float]] = {}

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.at is None:
            return INTO if stop.next is not None and stop.next.phase is Phase.FORWARD else NEXT
        if stop.at.name in ("aten.add.Tensor", "aten.relu.default"):
            for name in [h.name for h in (await session.request(GetHeld(0))).tensors]:
                seen[f"{stop.at.when} {stop.at.name} {name}"] = await numbers(session, f"@{name}")
        return INTO if stop.at.name == "net.block" else NEXT

    stepped(train, choose)
    torch.manual_seed(1)
    net = Net()
    x = X * 2
    inner = net.block.second(torch.sigmoid(net.block.first(x)))
    assert seen["before aten.add.Tensor input[0]"] == flat(x)
    assert seen["before aten.add.Tensor input[1]"] == flat(inner)
    assert seen["after aten.add.Tensor output"] == flat(x + inner) == seen["before aten.relu.default input[0]"]
    assert seen["after aten.relu.default output"] == flat(F.relu(x + inner))


def test_a_criterion_that_has_a_module() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain = nn.MSELoss()

        def forward(self, out: Tensor, target: Tensor) -> Tensor:
            return self.plain(out, target) + out.abs().mean()

    def run_it() -> None:
        net, criterion = nn.Linear(4, 1), Both()
        criterion(net(X), Y).backward()

    async def choose(_session: ThreadSession, stop: StopRecord) -> m.Action:
        return INTO if stop.next is not None and stop.next.subject == "criterion" else NEXT

    run = stepped(run_it, choose)
    assert short(run.places) == around(["criterion.plain", "aten.abs.default", "aten.mean.default", "aten.add.Tensor"])


def test_until_an_operation_asked_for_inside_a_forward_and_next_after_a_breakpoint_on_a_module() -> None:
    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            await session.request(SetBreakpoint(0, Spec(Kind.MODULE, "net.block")))
            return CONTINUE
        place = stop.at
        if place is not None and place.name == "net.block":
            return NEXT  # nothing was stepped before: what follows is shown all the same
        if place is not None and place.name == "aten.relu.default" and place.when == "before":
            session.resume(m.Action.UNTIL, await session.request(FindTarget(0, "squeeze")))
            return None
        return NEXT if place is not None and place.name != "aten.squeeze.dim" else CONTINUE

    run = stepped(train, choose)
    assert short(run.places) == ["+ net.block", "- net.block", "+ aten.relu.default", "+ aten.squeeze.dim"]


# ── the mode ────────────────────────────────────────────────────────────────────────────────────────────────


class Counts(TorchDispatchMode):
    """A mode of the script's own."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_mode_is_out_while_a_module_runs_that_was_not_gone_into() -> None:
    def run_it() -> list[int]:
        torch.manual_seed(1)
        net, found = Net(), []
        for module in (net.block.first, net.norm, net):
            module.register_forward_hook(lambda *_: found.append(modes()))
        net(X)
        return [*found, modes()]

    assert stepped(run_it, at(Phase.FORWARD, {})).result == [0, 0, 1, 0]
    assert stepped(run_it, at(Phase.FORWARD, {"+ net.block": INTO})).result == [0, 0, 1, 0]
    assert stepped(run_it, at(Phase.FORWARD, {}, NEXT)).result == [0, 0, 0, 0]


@pytest.mark.parametrize("armed", [False, True], ids=["stepped", "late"])
def test_modes_of_the_scripts_own_stay_as_they_were(armed: bool) -> None:
    class Moded(Net):
        def forward(self, x: Tensor) -> Tensor:
            with Counts() as counts:
                x = self.block(x) + 1
                found.append(counts.seen)
            assert modes() <= 1 + 1
            return super().forward(x)

    found: list[list[str]] = []

    def run_it() -> Any:
        torch.manual_seed(1)
        net = Moded()
        found.clear()
        with Counts() as outer:
            net(X).sum().backward()
        return bits(net), list(found), outer.seen, modes()

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action:
        if armed and stop.number == 1:  # the mode is put in under one that the script has entered already
            await session.request(SetBreakpoint(0, Spec(Kind.MODULE, "net.block")))
            return CONTINUE
        return NEXT if armed else INTO

    bare = run_it()
    run = stepped(run_it, choose)
    assert run.result == bare
    assert any(place.name == "aten.add.Tensor" for place in run.places)
    assert run.warned == []


def test_operations_go_on_to_be_stepped_after_a_module_has_raised() -> None:
    class Tries(Net):
        def forward(self, x: Tensor) -> Tensor:
            try:
                self.out(x[:, :2])
            except RuntimeError:
                x = x - 1
            return self.out(x)

    def run_it() -> Any:
        torch.manual_seed(1)
        net = Tries()
        net(X).sum().backward()
        return bits(net), modes()

    bare = run_it()
    run = stepped(run_it, at(Phase.FORWARD, {}))
    assert run.result == bare
    names = [place.name for place in run.places if place.when == "before"]
    assert names == ["aten.slice.Tensor", "net.out", "aten.sub.Tensor", "net.out"]


def test_what_a_backward_in_a_forward_does_is_not_stepped() -> None:
    class Force(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.energy = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            (force,) = torch.autograd.grad(self.energy(x).sin().sum(), x, create_graph=True)
            return force + 1

    def run_it() -> Any:
        torch.manual_seed(1)
        net = Force()
        net(X).sum().backward()
        return bits(net)

    bare = run_it()
    run = stepped(run_it, at(Phase.FORWARD, {}))
    assert run.result == bare
    names = [place.name for place in run.places if place.when == "before"]
    assert names[0] == "aten.detach.default"
    assert "net.energy" in names
    assert not {name for name in names if "cos" in name or "mm" in name}
    assert names[-1] == "aten.add.Tensor"


# ── the run is the bare run ─────────────────────────────────────────────────────────────────────────────────


def with_dropout_and_norm() -> Any:
    class Mixed(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.dropout(x, 0.3) + torch.randn_like(x)) * 2

    torch.manual_seed(1)
    net = Mixed()
    F.mse_loss(net(X), Y[:, 0]).backward()
    return bits(net)


def with_checkpoints() -> Any:
    class Again(Net):
        def forward(self, x: Tensor) -> Tensor:
            x = checkpoint(self.block, x.requires_grad_() * 1, use_reentrant=False) + 1
            return super().forward(checkpoint(self.block, x, use_reentrant=True))

    torch.manual_seed(1)
    net = Again()
    net(X.clone()).sum().backward()
    return bits(net)


def with_transforms() -> Any:
    class Transforms(Net):
        def forward(self, x: Tensor) -> Tensor:
            each = torch.func.vmap(lambda row: self.block(row) * 2)(x)
            slopes = torch.func.jacrev(lambda row: self.block(row).sum() * 3)(x[0])
            return super().forward(each + slopes)

    torch.manual_seed(1)
    net = Transforms()
    net(X).sum().backward()
    return bits(net), modes()


def with_a_script_module() -> Any:
    class Holds(Net):
        def __init__(self) -> None:
            super().__init__()
            self.script = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.script(x) + x)

    for _ in range(3):  # what torch.jit runs is not the same until it has seen a few calls
        torch.manual_seed(1)
        net = Holds()
        net(X).sum().backward()
    return bits(net)


@pytest.mark.parametrize(
    "train",
    [
        pytest.param(with_dropout_and_norm, id="dropout"),
        pytest.param(with_checkpoints, id="checkpoints", marks=pytest.mark.slow),
        pytest.param(with_transforms, id="transforms"),
        pytest.param(with_a_script_module, id="script", marks=pytest.mark.filterwarnings("ignore:.*jit.*")),
    ],
)
def test_stepped_into_everywhere_the_run_is_the_bare_run(train: Callable[[], Any]) -> None:
    if train is with_a_script_module:
        train()
    bare, run = both(train)
    assert run.run.error is None
    assert run.result == bare
    assert run.run.stops[-1].reason is StopReason.FINISHED
    assert {p.grain for p in run.places} >= {Grain.MODULE, Grain.NODE, Grain.OP}
    if train is with_a_script_module:
        assert not any(place.kind == "net.script" for place in run.places if place.grain is Grain.OP)
