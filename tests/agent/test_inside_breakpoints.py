"""Where breakpoints are asked: at boundaries that are recorded, and at every place of a kind that one waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stepdbg.agent.active import Active
from stepdbg.agent.breakpoints.book import Breakpoints
from stepdbg.agent.inside import inside as inside_module
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import Grain, Place
from stepdbg.protocol.records import Phase, StopReason, StopRecord

from .inside_runs import modes, short, stepped, tracker

X = torch.linspace(-1, 1, 32).reshape(8, 4)
CONTINUE, ITERATION, NEXT = m.Action.CONTINUE, m.Action.ITERATION, m.Action.NEXT


class Fake(Breakpoints):
    """Tells what it was asked, and stops where `stops` says."""

    def __init__(
        self, *grains: Grain, phases: bool = False, stops: Callable[[Any], str | None] = lambda _: None
    ) -> None:
        super().__init__()
        self.grains, self.armed_phases, self.stops = set(grains), phases, stops
        self.places: list[Place] = []
        self.phases: list[Phase] = []
        self.lines: list[str] = []

    @property
    def inside(self) -> bool:
        return bool(self.grains)

    def wants(self, grain: Grain) -> bool:
        return grain in self.grains

    def at_phase(self, active: Active, frame: FrameType) -> str | None:
        self.phases.append(active.phase)
        self.lines.append(frame.f_code.co_name)
        return self.stops(active.phase)

    def at_place(self, place: Place, frame: FrameType | None, entered: Sequence[str] = ()) -> str | None:
        assert frame is not None
        holding = tracker().inside.holding
        assert holding is not None
        assert all(not name.startswith("@") for name in holding())
        self.places.append(place)
        return self.stops(place)


def train(iterations: int = 3) -> list[bytes]:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(iterations):
        optimizer.zero_grad()
        F.mse_loss(net(X), torch.ones(8, 1)).backward()
        optimizer.step()
    assert modes() == 0
    return [p.detach().numpy().tobytes() for p in net.parameters()]


def armed(book: Fake, action: m.Action = CONTINUE) -> Any:
    """Run `train` with that book from the first stop on, always going on with `action`."""

    async def choose(_session: ThreadSession, stop: StopRecord) -> m.Action:
        control = tracker().control
        assert control is not None
        if stop.number == 1:
            control.breakpoints = book
        return action

    return stepped(train, choose)


@pytest.mark.parametrize("action", [CONTINUE, ITERATION, NEXT], ids=["continue", "iteration", "next"])
def test_every_phase_is_told_of_once_one_is_armed(action: m.Action) -> None:
    book = Fake(phases=True)
    run = armed(book, action)
    whole = [Phase.ZERO_GRAD, Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.STEP]
    assert book.phases == (whole * 3)[1:]  # the first one is where the run is held as it begins
    assert set(book.lines) == {"train"}
    assert run.result == train()


def test_a_free_run_stops_where_a_breakpoint_says_and_tells_why() -> None:
    book = Fake(phases=True, stops=lambda phase: "breakpoint 2: loss > 2" if phase is Phase.STEP else None)
    stops = armed(book).run.stops
    assert [s.reason for s in stops] == [StopReason.ENTRY, *[StopReason.BREAKPOINT] * 3, StopReason.FINISHED]
    assert [s.why for s in stops] == ["", *["breakpoint 2: loss > 2"] * 3, ""]
    assert [s.iteration for s in stops[1:4]] == [1, 2, 3]
    assert all(s.next is not None and s.next.phase is Phase.STEP and not s.ran_free for s in stops[1:4])


@pytest.mark.parametrize("action", [CONTINUE, ITERATION, NEXT], ids=["continue", "iteration", "next"])
def test_places_are_told_of_in_every_kind_of_run(action: m.Action) -> None:
    book = Fake(Grain.MODULE, Grain.NODE, Grain.PARAMETER)
    run = armed(book, action)
    modules = [p for p in book.places if p.grain is Grain.MODULE]
    assert short(modules[:6]) == ["+ net.0", "- net.0", "+ net.1", "- net.1", "+ net.2", "- net.2"]
    assert len(modules) == 18
    assert len([p for p in book.places if p.parameter == "net.0.weight" and p.grain is Grain.NODE]) == 6
    assert len([p for p in book.places if p.parameter == "net.0.weight" and p.grain is Grain.PARAMETER]) == 6
    assert run.result == train()
    assert run.warned == []
    assert all(s.at is None for s in run.run.stops)


def test_operations_are_told_of_at_their_depth() -> None:
    book = Fake(Grain.OP)
    run = armed(book)
    assert {(p.name, p.depth) for p in book.places} == {
        ("aten.t.default", 2),
        ("aten.addmm.default", 2),
        ("aten.relu.default", 2),
        ("aten.detach.default", 2),
        ("aten.mse_loss.default", 1),
    }
    assert run.result == train()


def test_a_place_stops_where_a_breakpoint_says_and_stepping_goes_on_from_there() -> None:
    book = Fake(Grain.MODULE, stops=lambda p: "breakpoint 1" if p.name == "net.2" and p.when == "before" else None)
    run = armed(book)
    assert short(run.places) == ["+ net.2"] * 3
    assert {(s.reason, s.why) for s in run.run.stops if s.at} == {(StopReason.BREAKPOINT, "breakpoint 1")}
    assert short(armed(book, NEXT).places)[:3] == ["+ net.2", "- net.2", "+ net.2"]


def test_what_raises_in_there_is_told_of_and_spares_the_script() -> None:
    def fail(_: Any) -> str | None:
        raise LookupError("nothing there")

    run = armed(Fake(Grain.MODULE, Grain.NODE, phases=True, stops=fail))
    assert run.result == train()
    assert 0 < len(run.warned) <= 5
    assert "LookupError: nothing there" in run.warned[0]


def test_nothing_is_put_in_where_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("gone into, though nobody asked")

    monkeypatch.setattr(inside_module, "Forward", fail)
    monkeypatch.setattr(inside_module, "Backward", fail)
    book = Fake(Grain.PARAMETER)
    assert armed(book).warned == []
    assert {p.grain for p in book.places} == {Grain.PARAMETER}
    assert armed(Fake(), NEXT).warned == []
