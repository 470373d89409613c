"""Every breakpoint of this session, and which of them a boundary or a place inside a phase hits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepdbg.protocol.inside import Grain, Place

if TYPE_CHECKING:
    from types import FrameType

    from stepdbg.agent.active import Active


class Breakpoints:
    """Asked by `Control` at every boundary that is recorded, so it must cost nothing where nothing is armed."""

    armed_phases: bool = False
    """Whether any enabled breakpoint is on a phase, a line or an iteration: else `at_phase` is not called."""

    def wants(self, grain: Grain) -> bool:
        """Whether any enabled breakpoint or watch needs places of this grain to be told of."""
        del grain
        return False

    def at_phase(self, active: Active, frame: FrameType) -> str | None:
        """The phase of `active` is about to run: why to stop ("breakpoint 2: loss > 2"); None: no reason."""
        del active, frame
        return None

    def at_place(self, place: Place, frame: FrameType | None) -> str | None:
        """A place inside a phase has been reached: why to stop; None: no reason."""
        del place, frame
        return None
