"""Every breakpoint of this session, and which of them a boundary or a place inside a phase hits."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from stepdbg.agent import frames, naming
from stepdbg.agent.breakpoints import lines, matching
from stepdbg.agent.breakpoints.armed import Armed
from stepdbg.agent.breakpoints.conditions import UnknownError, failure
from stepdbg.agent.breakpoints.known import Now
from stepdbg.agent.breakpoints.watches import Watches
from stepdbg.agent.inside.held import Holding
from stepdbg.agent.quiet import quiet
from stepdbg.agent.work import GivenUpError, NotThereError
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Kind
from stepdbg.protocol.inside import Grain, Place
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from types import FrameType

    from stepdbg.agent.active import Active
    from stepdbg.agent.control import Control

_GRAINS = {
    Kind.MODULE: Grain.MODULE,
    Kind.OP: Grain.OP,
    Kind.NODE: Grain.NODE,
    Kind.GRADIENT: Grain.NODE,
}

_BACKWARD = Phase.BACKWARD


class Breakpoints:
    """Asked by `Control` at every boundary that is recorded, so it must cost nothing where nothing is armed."""

    armed_phases: bool = False
    """Whether any enabled breakpoint is on a phase, a line or an iteration: else `at_phase` is not called."""

    def __init__(self) -> None:
        self.rows: dict[int, Armed] = {}
        """By number, in order."""
        self.evaluation = True
        self._control: Control | None = None
        self._next = 1
        self._phases: dict[str, list[Armed]] = {}
        self._iterations: list[Armed] = []
        self._line_rows: list[Armed] = []
        self._lines: list[Armed] = []
        """Those of them that are looked for where phases and modules are called, because nothing else tells of them."""
        self._grains: dict[Grain, list[Armed]] = {}
        self._watches: Watches | None = None
        self._teller: lines.Teller | None = None
        self._by_phase = False
        """Whether nothing tells of lines now."""
        self._told_by_phase = False
        self._pid = os.getpid()
        self._until: tuple[str, int] | None = None
        """File and line that the script runs until."""
        self._now: Now | None = None
        self._wants_loss = False

    # ── what Control asks ───────────────────────────────────────────────────────────────────────────────────

    def attach(self, control: Control, settings: m.Settings) -> None:
        """Work for that Control, and arm what the settings bring."""
        self._control = control
        self._now = Now(control)
        self.evaluation = settings.evaluation
        for spec in settings.breakpoints:
            try:
                self.rows[self._next] = Armed(self._next, spec, evaluation=self.evaluation)
            except NotThereError as error:
                armed = Armed(self._next, spec, evaluation=self.evaluation, broken=True)
                armed.note = str(error)
                self.rows[self._next] = armed
            self._next += 1
        if self.rows:
            self.arm(list(frames.walk(sys._getframe(1))))
            self._sync_lines(sys._getframe(1))

    def next_number(self) -> int:
        """For one more."""
        self._next += 1
        return self._next - 1

    @property
    def inside(self) -> bool:
        """Whether any enabled breakpoint or watch needs places inside phases to be told of."""
        return bool(self._grains)

    def wants(self, grain: Grain) -> bool:
        """Whether any enabled breakpoint or watch needs places of this grain to be told of."""
        return grain in self._grains

    def at_phase(self, active: Active, frame: FrameType) -> str | None:
        """The phase of `active` is about to run: why to stop ("breakpoint 2: loss > 2"); None: no reason.

        Under 2 µs with a condition on `iteration`, and what reading one number takes with one on `loss`.
        """
        control, now = self._control, self._now
        if control is None or now is None:
            return None
        phase = active.phase
        if self._wants_loss and phase is _BACKWARD:
            now.note_loss()
        reasons: list[str] = []
        watches = self._watches
        if watches is not None and (watches.armed or watches.in_use):
            held, began = control.held, perf_counter()
            for number, text in watches.at_boundary(frame):
                self._hit(self.rows[number], frame, reasons, text)
            control.held = held + perf_counter() - began
        for armed in self._phases.get(phase._value_, ()):
            self._hit(armed, frame, reasons)
        if self._iterations:
            iteration = control.tracker.loop.iteration
            for armed in self._iterations:
                if armed.spec.line == iteration != armed.seen:
                    armed.seen = iteration
                    self._hit(armed, frame, reasons)
        if self._line_rows:
            self._sync_lines(frame)
            if self._lines:
                self._at_line(frame, reasons)
        if watches is not None and watches.in_use and not reasons:
            watches.begins(active)
        return "; ".join(reasons) if reasons else None

    def stepped(self) -> None:
        """An optimizer's step, a phase of its own, is over: what it wrote is no change that is watched for."""
        if self._watches is not None:
            self._watches.stepped()

    def going_on(self, active: Active | None) -> None:
        """The script goes on after a stop, with that phase where it was held before one. Call it outside `quiet()`."""
        self._lines_go_on()
        if self._watches is not None:
            if active is not None:
                self._watches.begins(active)
            elif not self._watches.in_use:
                self._watches.sync()

    def at_place(self, place: Place, frame: FrameType | None, entered: Sequence[str] = ()) -> str | None:
        """A place inside a phase has been reached: why to stop; None: no reason. `entered`: as in `matching.at`."""
        rows = self._grains.get(place.grain)
        if rows is None or self._control is None:
            return None
        reasons: list[str] = []
        for armed in rows:
            if matching.at(armed, place, entered):
                self._hit(armed, _users(frame), reasons)
            elif armed.spec.kind is Kind.LINE and place.when == "before":
                file, line = armed.spec.target, armed.spec.line
                if lines.is_at(frame, file, line) and self._first_call(frame, armed):
                    self._hit(armed, frame, reasons)
        return "; ".join(reasons) if reasons else None

    def stop(self) -> None:
        """Let go of everything: the script runs on bare."""
        for armed in self.rows.values():
            armed.enabled = False
        self._until = None
        self.arm([])
        if self._teller is not None:
            self._teller.stop()
        if self._watches is not None and not self._watches.inside:
            self._watches.sync()

    # ── hits ────────────────────────────────────────────────────────────────────────────────────────────────

    def _hit(self, armed: Armed, frame: FrameType | None, reasons: list[str], found: str = "") -> None:
        """It is reached: if its condition is true, count it, and note why to stop."""
        control, now = self._control, self._now
        if control is None or now is None:
            return
        condition = armed.condition
        if condition is not None:
            try:
                if condition.computes:
                    with quiet(), control.tracker.cancelling.running(f"breakpoint {armed.number}: its condition"):
                        true = bool(condition.value(now, frame, control.tracker))
                else:
                    true = bool(condition.value(now, frame, control.tracker))
            except UnknownError:
                return
            except GivenUpError as error:
                self._cancelled(armed, f"its condition was {error}", reasons)
                return
            except Exception as error:
                if armed.failed:
                    return
                armed.failed = True
                armed.note = f"its condition failed: {failure(error)}"
                reasons.append(f"breakpoint {armed.number}: {armed.note}")
                return
            if not true:
                return
        armed.hits += 1
        if armed.ignore > 0:
            armed.ignore -= 1
            return
        if armed.text is not None:
            try:
                with quiet(), control.tracker.cancelling.running(f"logpoint {armed.number}: its text"):
                    text = armed.text.filled(now, frame, control.tracker)
            except GivenUpError as error:
                self._cancelled(armed, f"its text was {error}", reasons)
                return
            control.say(m.Logged(armed.number, text, control.tracker.loop.iteration))
            return
        word = "watch" if armed.spec.kind in (Kind.NAN, Kind.CHANGE) else "breakpoint"
        reasons.append(f"{word} {armed.number}: {found or armed.reason}")
        if armed.spec.once:
            del self.rows[armed.number]
            self.arm(None)

    def _cancelled(self, armed: Armed, what: str, reasons: list[str]) -> None:
        """The user has cancelled what it evaluates. It would take as long the next time, so it is switched off."""
        armed.switch_off(what)
        if self._control is not None:
            self._control.look()  # a Detach may be why
        reasons.append(f"breakpoint {armed.number}: {armed.note}")
        self.arm(None)

    def _first_call(self, frame: FrameType | None, armed: Armed) -> bool:
        """Whether the line is come to anew: not from an earlier call in the same line."""
        if frame is None:
            return False
        users = _users(frame) or frame
        call = id(users), users.f_lineno or 0, users.f_lasti
        before, armed.last_call = armed.last_call, call
        return before[:2] != call[:2] or call[2] <= before[2]

    def _at_line(self, frame: FrameType, reasons: list[str]) -> None:
        for armed in self._lines:
            if lines.is_at(frame, armed.spec.target, armed.spec.line):
                if self._first_call(frame, armed):
                    self._hit(armed, frame, reasons)
            else:
                armed.last_call = (0, 0, 0)

    def _line_reached(self, frame: FrameType, line: int) -> None:
        """A line of those that are armed, or run until, is about to run. Raises only what a stop raises."""
        control = self._control
        if control is None or not control.tracker.armed or control.holding or control.tracker.recording() is not None:
            return
        if os.getpid() != self._pid:  # a forked child runs bare
            self.stop()
            return
        reasons: list[str] = []
        try:
            if not control.tracker.local.stack:
                control.tracker.loop.come_to(frame.f_code, frame.f_lasti, perf_counter() - control.held)
            for armed in list(self._line_rows):
                if armed.spec.line == line and lines.same(frame.f_code.co_filename, armed.spec.target):
                    self._hit(armed, frame, reasons)
        except Exception as error:
            control.broken(error)
        until = self._until
        target = control.going.target
        if reasons:
            control.hold_here(None, frame, "; ".join(reasons))
        elif until is not None and until[1] == line and lines.same(frame.f_code.co_filename, until[0]):
            control.hold_here(None, frame, target.words if target is not None else "", step=True)

    def _watch_found(self, number: int, place: Place, frame: Any, text: str, holding: Holding) -> None:
        """A watch has found something inside a phase, or between two."""
        armed, control = self.rows.get(number), self._control
        if armed is None or control is None:
            return
        reasons: list[str] = []
        self._hit(armed, frame, reasons, text)
        if reasons:
            here = frame if frame is not None else sys._getframe(1)
            control.hold_here(place, here, "; ".join(reasons), holding=holding)

    def name_of(self, module: Any) -> str:
        """The path of a module, as the user would write it; empty where nobody can tell. A walk over all modules."""
        control = self._control
        if control is None:
            return ""
        with quiet():
            called = [s.what() for _, s in control.tracker.loop.rail() if s.phase in (Phase.FORWARD, Phase.LOSS)]
            names = naming.collect(frames.walk(sys._getframe(1)), [c for c in called if c is not None], ())
            return names.label(module)

    # ── arming ──────────────────────────────────────────────────────────────────────────────────────────────

    def arm(self, stack: list[FrameType] | None, names: naming.Names | None = None) -> None:
        """Work out what is to be looked at from here on. `stack`: the frames to find lines from; None: as before."""
        rows = [armed for armed in self.rows.values() if armed.enabled and not armed.broken]
        self._phases = {}
        for armed in rows:
            if armed.spec.kind is Kind.PHASE:
                self._phases.setdefault(armed.spec.target, []).append(armed)
        self._iterations = [a for a in rows if a.spec.kind is Kind.ITERATION]
        self._line_rows = [a for a in rows if a.spec.kind is Kind.LINE]
        self._arm_lines(stack)
        grains: dict[Grain, list[Armed]] = {}
        for armed in rows:
            grain = _GRAINS.get(armed.spec.kind)
            if grain is Grain.MODULE and armed.spec.direction == "backward":
                grain = Grain.NODE
            if grain is not None:
                grains.setdefault(grain, []).append(armed)
        for armed in self._lines:
            grains.setdefault(Grain.MODULE, []).append(armed)
        self._grains = grains
        self._arm_watches(rows, names)
        used = {name for a in rows for e in (a.condition, a.text) if e is not None for name in e.own}
        self._wants_loss = "loss" in used
        watched = self._watches is not None and (self._watches.armed or self._watches.in_use)
        self.armed_phases = bool(self._phases or self._iterations or self._line_rows or watched)

    def _arm_lines(self, stack: list[FrameType] | None) -> None:
        """Have lines told of, from where the script goes on; see `_lines_go_on`."""
        wanted = [(a.spec.target, a.spec.line) for a in self._line_rows]
        if self._until is not None:
            wanted.append(self._until)
        if wanted and self._teller is None:
            self._teller = _teller(self._line_reached)
        if self._teller is not None:
            self._teller.arm(wanted, stack)
        self._lines = self._line_rows if self._by_phase else []
        remark = self._teller.remark if self._teller is not None and self._by_phase else ""
        for armed in self._line_rows:
            armed.remark = remark

    def held(self) -> None:
        """A stop begins: find out, outside `quiet()`, whether lines can be told of in this thread."""
        teller = self._teller
        self._by_phase = teller.foreign() if teller is not None else not lines.EVERY_LINE and sys.gettrace() is not None

    def _lines_go_on(self) -> None:
        """The script goes on from this stop: put in, or take out, what tells of lines."""
        control = self._control
        if control is None or not control.tracker.armed:
            return
        target = control.going.target
        until = (target.file, int(target.name)) if target is not None and target.kind == "line" else None
        if until != self._until:
            self._until = until
            self._arm_lines(list(frames.walk(sys._getframe(1))))
        self._sync_lines(sys._getframe(1))

    def _sync_lines(self, frame: FrameType) -> None:
        """Have lines told of in this thread; where that has ceased to be possible, or is again, say so once."""
        teller, control = self._teller, self._control
        if teller is None or control is None:
            return
        by_phase = not teller.sync(frame)
        control.going.every_line = not by_phase
        if by_phase is not self._by_phase and (self._line_rows or self._until is not None):
            self._by_phase = by_phase
            self.arm(None)
        if by_phase and self._line_rows and not self._told_by_phase and control.tracker.armed:
            self._told_by_phase = True
            control.warn(f"breakpoint {self._line_rows[0].number}: {teller.remark}")

    def _arm_watches(self, rows: Iterable[Armed], names: naming.Names | None) -> None:
        nan = next((a.number for a in rows if a.spec.kind is Kind.NAN), None)
        changes = [a for a in rows if a.spec.kind is Kind.CHANGE]
        if self._watches is None:
            if (nan is None and not changes) or self._control is None:
                return
            self._watches = Watches(weakref.proxy(self._control), self._watch_found)
        self._watches.nan = nan
        self._watches.set_changes({a.number: a.spec.target for a in changes}, names)


def _users(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user's in that stack; where there is none, its innermost."""
    return next((f for f in frames.walk(frame) if frames.is_user(f.f_code.co_filename)), frame) if frame else None


def _teller(reached: lines.Reached) -> lines.Teller:
    """What tells of lines on this Python."""
    if lines.EVERY_LINE:
        return lines.Lines(reached)
    from stepdbg.agent.breakpoints.tracing import Traced  # of interpreters whose C functions it needs

    return Traced(reached)
