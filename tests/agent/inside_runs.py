"""Runs that are stepped inside their phases, and bare ones to hold them against."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import _len_torch_dispatch_stack

from stepdbg import custom_phase
from stepdbg.agent.inside.backward import _After, _Before
from stepdbg.agent.tracker import Tracker
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import GetHeld, HeldTensors, Place
from stepdbg.protocol.records import StopReason, StopRecord

from .conftest import Drive, drive

LAST = (StopReason.EXCEPTION, StopReason.FINISHED)
Looking = Callable[[ThreadSession, StopRecord], Awaitable[m.Action | None]]


def tracker() -> Tracker:
    """The agent's, of the session that runs."""
    found = custom_phase.observer
    assert isinstance(found, Tracker)
    return found


def modes() -> int:
    """Dispatch modes that are on in this thread."""
    return int(_len_torch_dispatch_stack())


def hooks_alive() -> int:
    """Hooks of ours on nodes, anywhere."""
    return sum(type(thing) in (_Before, _After) for thing in gc.get_objects())


@dataclass
class Stepped:
    """One run, and what it returned."""

    run: Drive
    result: Any = None
    warned: list[str] = field(default_factory=list)

    @property
    def places(self) -> list[Place]:
        return [stop.at for stop in self.run.stops if stop.at is not None]


def stepped(
    train: Callable[[], Any], choose: Looking | None = None, action: m.Action = m.Action.INTO, *, most: int = 10_000
) -> Stepped:
    """Run `train`; at each stop what `choose` says, else `action` (CONTINUE after `most` stops)."""
    results: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        chosen = await choose(session, stop) if choose is not None else None
        if session.stop is None:
            return None
        if stop.reason in LAST:
            return None
        return chosen or (action if stop.number <= most else m.Action.CONTINUE)

    torch.manual_seed(0)
    run = drive(lambda: results.append(train()), visit=visit)
    assert hooks_alive() == 0
    warned = [event.text for event in run.events if isinstance(event, m.Warned)]
    return Stepped(run, results[0] if results else None, warned)


def both(train: Callable[[], Any], *, most: int = 10_000) -> tuple[Any, Stepped]:
    """What `train` returns bare, and stepped into wherever that is possible, with all that is there looked at."""

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        held = await session.request(GetHeld(0))
        assert isinstance(held, HeldTensors)
        for tensor in held.tensors[:2]:
            await session.request(m.GetValues(0, f"@{tensor.name}"))

    torch.manual_seed(0)
    bare = train()
    run = stepped(train, look, most=most)
    assert run.warned == []
    return bare, run


def short(places: list[Place]) -> list[str]:
    """Places as text, indented by depth: "+ net.0" before, "- net.0" after."""
    return [" " * (p.depth - 1) + ("+ " if p.when == "before" else "- ") + p.name for p in places]
