"""A phase that is being run, and those that a thread is in."""

from __future__ import annotations

import threading

from stepdbg.agent.calls import Site
from stepdbg.agent.flows import Hooks
from stepdbg.agent.inside.stepped import Clip
from stepdbg.agent.loop import Station
from stepdbg.agent.trends import Noted
from stepdbg.protocol.records import Phase


class Active:
    """One phase being run. Its station holds what it concerns, weakly."""

    skipped = False
    detail = ""
    grad = True
    iteration = 0
    """That in which it was entered."""
    seconds: float | None = None
    started = 0.0
    held = 0.0
    hooks: Hooks | None = None
    watched = False
    """Whether the tracker has begun to watch it: of BACKWARD and ZERO_GRAD, while stepping."""
    noted: Noted | None = None
    """Of a STEP, while its numbers are wanted."""
    site: Site | None = None
    """The user's line it was called from, of FORWARD and LOSS."""
    first_node = 0
    inside = False
    """Whether it is gone into: something of ours is in place until it is left (see `inside/inside.py`)."""
    clip: Clip | None = None
    """Of a CLIP that is gone into."""

    def __init__(self, phase: Phase, station: Station, skippable: bool) -> None:
        self.phase = phase
        self.station = station
        self.skippable = skippable


class Local(threading.local):
    """Per thread: the enclosing phases, and whether a phase entered now could be a boundary."""

    closed = False

    def __init__(self) -> None:
        self.stack: list[Active] = []
