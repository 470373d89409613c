"""Where wrapped functions report that a phase is entered or left. This is the path that must cost nothing.

While running free a boundary is: one dictionary look-up for its site, two clock readings, and every few milliseconds
a poll of the socket. Everything else happens in `control` when a stop is due.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any

from stepdbg.agent.loop import Loop, Station
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from stepdbg.agent.control import Control

MAX_SPANS = 200_000
"""Module calls remembered for naming graph nodes, at most."""

NO_KWARGS: Mapping[str, Any] = {}

_TRANSPARENT = frozenset({Phase.STEP, Phase.CUSTOM})
"""Phases inside which user code runs phases of its own: a closure in STEP, the lines of a CUSTOM one."""


class Active:
    """One phase being run. Holds what it concerns only as long as it runs."""

    __slots__ = ("detail", "grad", "held", "phase", "seconds", "skippable", "skipped", "started", "station")

    def __init__(self, phase: Phase, station: Station, skippable: bool) -> None:
        self.phase = phase
        self.station = station
        self.skippable = skippable
        self.skipped = False
        self.detail = ""
        self.grad = True
        self.started = 0.0
        self.held = 0.0
        self.seconds: float | None = None


class _Local(threading.local):
    """Per thread: the enclosing phases, and whether a phase entered now could be a boundary."""

    closed = False

    def __init__(self) -> None:
        self.stack: list[Active] = []


class Tracker:
    """The one object that all wrappers of a process share."""

    def __init__(self) -> None:
        self.local = _Local()
        self.spans: deque[tuple[int, int, int]] = deque(maxlen=MAX_SPANS)
        """Module calls that made graph nodes: first and one-past-last sequence number, id of the module."""
        self.armed = False
        """False before the agent is connected, after detaching, and in forked children: wrappers pass through."""
        self.loop = Loop()
        self.control: Control | None = None
        self.steps_seen = 0
        self.last: Active | None = None
        """The boundary phase that was left last."""
        self.known_optimizers: Callable[[], list[int]] = list
        self.backward_threads: set[int] = set()
        self.sequence_number: Callable[[], int] = int
        self.grad_enabled: Callable[[], bool] = lambda: True
        self.untouchable: Callable[[], bool] = lambda: False
        """Whether what runs now records every operation, ours too (jit tracing, CUDA graph capture)."""
        self.not_a_caller: Any = None
        """Globals of `torch.nn.utils.parametrize`, which calls modules when a parametrized weight is read."""
        self.loss_scaled = False
        """Whether a GradScaler has scaled a loss since the last backward."""
        self._iteration = 1
        self._iteration_began_at = 0
        self.is_criterion: Callable[[Any], bool] = lambda _module: False

    # ── boundaries ──────────────────────────────────────────────────────────────────────────────────────────

    def enter(
        self,
        phase: Phase,
        subject: Any,
        frame: FrameType,
        skippable: bool,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = NO_KWARGS,
    ) -> Active | None:
        """A phase is about to run, called from `frame`; stops here if a stop is due.

        Returns None where it is no boundary (a step inside a step, a call from the autograd engine's own threads).
        """
        stack = self.local.stack
        if stack and phase is Phase.STEP and any(a.phase is Phase.STEP for a in stack):
            return None
        if self.untouchable() or (self.backward_threads and self._in_engine_thread()):
            return None
        control = self.control
        if control is None:
            return None
        station = self.loop.enter((phase, frame.f_code, frame.f_lasti), len(stack), control.clock())
        if self.loop.iteration != self._iteration:
            self._new_iteration()
        if type(subject) is str:
            station.subject, station.kind = subject, ""
        else:
            station.concerns(subject)
        active = Active(phase, station, skippable)
        if phase is Phase.FORWARD:
            active.grad = self.grad_enabled()
            station.detail = "" if active.grad else "no grad"
        elif phase is Phase.BACKWARD:
            control.watch.scaled, self.loss_scaled = self.loss_scaled, False
            self.backward_threads.add(threading.get_ident())
            try:
                control.watch.backward_begins(args, kwargs, subject.__qualname__, station)
            except Exception as error:
                control.broken(error)
        stack.append(active)
        self.local.closed = True  # what the agent itself calls while it holds the script is no phase
        try:
            control.boundary(active, frame)
        except BaseException:  # the user's Ctrl-C at a stop, or the end of an in-process session
            stack.pop()
            self._reopen(stack)
            self.backward_threads.discard(threading.get_ident())
            raise
        self.local.closed = phase not in _TRANSPARENT
        if phase in _TRANSPARENT:
            self.last = None
        active.held = control.held
        active.started = perf_counter()
        return active

    def leave(self, active: Active, result: Any, error: BaseException | None) -> None:
        """The phase of `active` has returned `result` or raised `error`. Never raises."""
        now = perf_counter()
        control = self.control
        local = self.local
        if local.stack and local.stack[-1] is active:
            local.stack.pop()
        self._reopen(local.stack)
        if control is None:
            return
        phase = active.phase
        seconds = now - active.started - (control.held - active.held)
        active.seconds = None if active.skipped else seconds
        station = active.station
        station.skipped = active.skipped
        ended = phase is Phase.DATA and isinstance(error, StopIteration)
        station.failed = error is not None and not ended
        self.loop.left(station, seconds)
        self.last = active
        if ended:
            active.detail = "end of data"
        if phase is Phase.BACKWARD:
            self.backward_threads.discard(threading.get_ident())
        elif phase is Phase.STEP:
            self._stepped(station.what())
        elif phase is Phase.ZERO_GRAD and not active.skipped:
            self.loop.cleared()
        try:
            control.watch.phase_ended(active, result, error)
        except Exception as failure:
            control.broken(failure)

    def enter_module(self, module: Any, frame: FrameType) -> Active | None:
        """A module is called from user code: LOSS for a criterion, FORWARD for any other."""
        if frame.f_globals is self.not_a_caller:
            return None
        phase = Phase.LOSS if self.is_criterion(module) else Phase.FORWARD
        return self.enter(phase, module, frame, False)

    # ── custom phases: the observer of `stepdbg.phase` ──────────────────────────────────────────────────────

    def enter_custom(self, name: str, frame: FrameType) -> Active | None:
        """`with stepdbg.phase(name)` begins in `frame`."""
        if self.local.closed or not self.armed:
            return None
        return self.enter(Phase.CUSTOM, name, frame, False)

    def leave_custom(self, token: Any, error: BaseException | None) -> None:
        """It ends."""
        self.leave(token, None, error)

    def entry_points(self) -> tuple[Callable[..., Any], ...]:
        """The functions through which the script comes in here."""
        own = Tracker
        leaving = (own.leave, own.leave_custom, own.step_inside, own.step_left_out)
        return (own.enter, own.enter_module, own.enter_custom, *leaving)

    # ── the rest ────────────────────────────────────────────────────────────────────────────────────────────

    def step_inside(self, optimizer: Any) -> None:
        """An optimizer steps inside another phase (in a backward hook): no stop, but it is its step."""
        if any(active.phase is Phase.BACKWARD for active in self.local.stack):
            self._stepped(optimizer)

    def step_left_out(self, optimizer: Any, frame: FrameType) -> None:
        """`GradScaler.step` found inf or NaN gradients and did not call `optimizer.step()`: counts as its step."""
        self._stepped(optimizer)
        if self.last is not None:
            self.last.detail = "inf/nan gradients: step left out by GradScaler"
            self.last.station.detail = self.last.detail
        del frame

    def _stepped(self, optimizer: Any) -> None:
        self.steps_seen += 1
        self.loop.stepped(id(optimizer), self.known_optimizers)

    def _new_iteration(self) -> None:
        """Forget the module calls of the iteration before the last: no graph at hand was made by them."""
        self._iteration = self.loop.iteration
        spans, oldest = self.spans, self._iteration_began_at
        while spans and spans[0][1] <= oldest:
            spans.popleft()
        self._iteration_began_at = self.sequence_number()

    def _reopen(self, stack: list[Active]) -> None:
        self.local.closed = bool(stack) and stack[-1].phase not in _TRANSPARENT

    def _in_engine_thread(self) -> bool:
        # The autograd engine's device threads are unknown to `threading`: a module called there (checkpointing on
        # CUDA recomputes in them) is part of the backward that waits for it.
        me = threading.get_ident()
        return me not in self.backward_threads and me not in sys.modules["threading"]._active
