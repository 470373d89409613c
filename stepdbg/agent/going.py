"""How the script goes on, and so where it is to be held again: the decision alone, with nothing of torch.

A place inside a phase has a depth, from 1. What the user last asked for comes down to one number, the deepest level to
stop at: `into` allows one level more than here, `next` this level, `out` one less, the rest none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import FrameType

from stepdbg.agent.active import Active
from stepdbg.agent.loop import Loop
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import Grain, Place, Target
from stepdbg.protocol.naming import plain
from stepdbg.protocol.records import Phase, StopReason

STEPPING = frozenset({m.Action.NEXT, m.Action.INTO, m.Action.OUT})
"""What stops at the next boundary, if at no place before it."""

_GRAINS = {
    "module": frozenset({Grain.MODULE, Grain.NODE}),
    "op": frozenset({Grain.OP}),
    "node": frozenset({Grain.NODE}),
    "parameter": frozenset({Grain.NODE, Grain.PARAMETER}),
    "line": frozenset({Grain.MODULE}),
}
"""Places of which kinds a target of that kind can be found at."""

_NONE: frozenset[Grain] = frozenset()


class Going:
    """What the user has asked for last."""

    def __init__(self, stop_at: str) -> None:
        self.mode = m.Action.CONTINUE
        self.level = 0
        """The deepest level inside a phase to stop at."""
        self.target: Target | None = None
        self.stop_at: Phase | None = None
        """The phase of the first stop, until that has been made."""
        self.until_iteration = 0
        self.every_line = False
        """Whether whatever line is run until is told of when it comes: then nobody looks for it at phases."""
        self.remark = ""
        """One sentence that goes with the next stop."""
        self._phases_around = 0
        """OUT at a boundary: how many phases enclose where it was asked for; only outside of the last one it stops."""
        self._line = 0
        """UNTIL a line: where the boundary or place before this one was, in that file."""
        if stop_at == "first":
            self.mode = m.Action.NEXT
        elif stop_at != "never":
            self.stop_at = Phase(stop_at)

    @property
    def runs(self) -> bool:
        """Whether the script runs until something else than this holds it."""
        return self.mode is m.Action.CONTINUE and self.stop_at is None

    def only_pauses(self) -> None:
        """Nothing stops it but a pause: what is asked for at the end of a free run."""
        self.mode, self.until_iteration, self.level, self.target = m.Action.ITERATION, sys.maxsize, 0, None

    def go_on(
        self, action: m.Action, at: Place | None, around: int, loop: Loop, target: Target | None, line: int = 0
    ) -> None:
        """The user lets the script go on, held at `at` (None: at a boundary) with `around` phases around it."""
        self.mode = m.Action.NEXT if action is m.Action.SKIP else action
        depth = at.depth if at is not None else 0
        inner = depth + 1 if at is None or at.when == "before" else depth
        self.level = {m.Action.INTO: inner, m.Action.NEXT: depth, m.Action.OUT: depth - 1}.get(self.mode, 0)
        self._phases_around = around if self.mode is m.Action.OUT and at is None else 0
        self.until_iteration = loop.iteration + 1
        self.target, self._line = (target, line) if self.mode is m.Action.UNTIL else (None, 0)
        if self.mode is m.Action.UNTIL:
            self.until_iteration = loop.iteration + 2
        self.remark = ""

    def stays_inside(self) -> None:
        """A place of a phase that was gone into is next; `next` may have been asked for at a boundary inside of it."""
        if self.mode is m.Action.NEXT:
            self.level = max(self.level, 1)

    @property
    def waits_for_call(self) -> bool:
        """Whether it runs until a module is called: that may be the one that a phase is."""
        return self.target is not None and self.target.kind == "module"

    # ── boundaries ──────────────────────────────────────────────────────────────────────────────────────────

    def at_boundary(self, active: Active, around: int, loop: Loop, stops: int, frame: FrameType) -> StopReason | None:
        """Whether to stop before this phase. `around`: phases that enclose it; `stops`: made so far."""
        mode = self.mode
        if mode in STEPPING:
            if self._phases_around and around >= self._phases_around:
                return None
            return StopReason.STEP if stops else StopReason.ENTRY
        if mode is m.Action.ITERATION:
            if loop.iteration >= self.until_iteration:
                return StopReason.STEP
        elif mode is m.Action.UNTIL and self.target is not None:
            if self._phase_reached(active, self.target) or self._line_reached(self.target, frame):
                return StopReason.STEP
            if loop.iteration >= self.until_iteration:
                self.remark = f"not reached in a whole iteration: {self.target.words or self.target.name}"
                return StopReason.STEP
        if self.stop_at is active.phase:
            self.stop_at = None
            return StopReason.BREAKPOINT
        return None

    @staticmethod
    def _phase_reached(active: Active, target: Target) -> bool:
        return target.kind == "phase" and active.phase.value == target.name

    def _line_reached(self, target: Target, frame: FrameType | None) -> bool:
        """Whether one of the callers is at that line, or has passed it since the boundary or place before this one."""
        if target.kind != "line" or self.every_line:
            return False
        line, before = int(target.name), self._line
        while frame is not None:
            if _file_of(frame) == target.file:
                here = self._line = frame.f_lineno or 0
                return here == line or (bool(before) and before < line < here)
            frame = frame.f_back
        return False

    # ── places ──────────────────────────────────────────────────────────────────────────────────────────────

    def wants(self, phase: Phase) -> bool:
        """Whether any place inside this phase may be stopped at."""
        del phase
        return self.level > 0 or bool(self.grains())

    def grains(self) -> frozenset[Grain]:
        """The kinds of places that the target of an UNTIL may be at."""
        if self.target is None or (self.target.kind == "line" and self.every_line):
            return _NONE
        return _GRAINS.get(self.target.kind, _NONE)

    def at_place(self, place: Place, frame: FrameType | None, entered: Sequence[str] = ()) -> bool:
        """Whether to stop there. `entered`: the modules that backward comes into with it."""
        target = self.target
        if target is None:
            return place.depth <= self.level
        if target.kind == "line":
            return place.when == "before" and self._line_reached(target, frame)
        return (place.when == "before" or place.after_the_fact) and is_at(target, place, entered)


def is_at(target: Target, place: Place, entered: Sequence[str]) -> bool:
    """Whether a place is the one that a target names, whatever is before or after it."""
    kind, name, grain = target.kind, target.name, place.grain
    if kind == "module":
        return plain(name) in entered or (grain is Grain.MODULE and place.name == name)
    if kind == "op":
        return grain is Grain.OP and name in _op_names(place.name)
    if kind == "node":
        return grain is Grain.NODE and (str(place.seq) == name or place.name == name)
    return kind == "parameter" and grain in (Grain.NODE, Grain.PARAMETER) and place.parameter == name


def _op_names(name: str) -> Sequence[str]:
    """What "aten.addmm.default" is called as well: "aten.addmm", "addmm"."""
    parts = name.split(".")
    return name, ".".join(parts[:2]), parts[1] if len(parts) > 1 else name


def _file_of(frame: FrameType) -> str:
    file = frame.f_code.co_filename
    return file if file.startswith("<") else os.path.abspath(file)  # noqa: PTH100
