"""Where wrapped functions report that a phase is entered or left. This is the path that must cost nothing.

While running free a boundary is: one dictionary look-up for its site, two clock readings, and every few milliseconds
a poll of the socket. Everything else happens in `control` when a stop is due.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping
from threading import get_ident
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any

from stepdbg.agent.active import Active, Local
from stepdbg.agent.calls import Calls
from stepdbg.agent.cancelling import Cancelling
from stepdbg.agent.flows import Backward
from stepdbg.agent.freerun import FreeRun
from stepdbg.agent.inside.inside import Inside
from stepdbg.agent.loop import Loop
from stepdbg.agent.memory.leaks import Leaks
from stepdbg.agent.memory.notes import MemoryNotes
from stepdbg.agent.optim.before import Before
from stepdbg.agent.parameters.passes import Passes
from stepdbg.agent.prefixes import Prefixes
from stepdbg.agent.trends import TrendNotes
from stepdbg.agent.watching import Watched
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from stepdbg.agent.control import Control

MAX_SPANS = 200_000
"""Module calls remembered for naming graph nodes, at most."""

NO_KWARGS: Mapping[str, Any] = {}

_BACKWARD, _CUSTOM, _DATA, _FORWARD = Phase.BACKWARD, Phase.CUSTOM, Phase.DATA, Phase.FORWARD
_LOSS, _STEP, _ZERO_GRAD = Phase.LOSS, Phase.STEP, Phase.ZERO_GRAD
# Looked up once: reading a member off an Enum class costs more than comparing it.


class Tracker(FreeRun):
    """The one object that all wrappers of a process share."""

    def __init__(self) -> None:
        self.local = Local()
        self.spans: deque[tuple[int, int, int]] = deque(maxlen=MAX_SPANS)
        """Module calls that made graph nodes: first and one-past-last sequence number, id of the module."""
        self.armed = False
        """False before the agent is connected, after detaching, and in forked children: wrappers pass through."""
        self.free = False
        """Whether the script runs on until it is paused: then boundaries are not recorded, only what stays true
        beyond them is: iterations, backwards since gradients were cleared, what the gradients are."""
        self.light = False
        """Whether the script runs on without stepping: free, or with its boundaries recorded because a breakpoint waits
        at one. Then no copies are made, and nothing is noted of gradients and steps."""
        self.next_look = 0.0
        """When to look at the socket again in a free run, as `perf_counter` tells the time."""
        self.loop = Loop()
        self.calls = Calls(self.loop, lambda error: self.control.broken(error) if self.control else None)
        self.control: Control | None = None
        self.steps_seen = 0
        self.last: Active | None = None
        """The boundary phase that was left last."""
        self.known_optimizers: Callable[[], list[int]] = list
        self.backward_threads: set[int] = set()
        self.watched = Watched()
        self.passes = Passes()
        self.memory = MemoryNotes()
        self.before = Before()
        """What parameters were before the last step of each optimizer."""
        self.trends = TrendNotes()
        self.inside = Inside(self)
        self.leaks = Leaks()
        self.cancelling = Cancelling()
        self.prefixes = Prefixes()
        """Of names that are shown."""
        self.sequence_number: Callable[[], int] = int
        self.grad_enabled: Callable[[], bool] = lambda: True
        self.recording: Callable[[], Any] = lambda: None
        """What records every operation now, ours too (a jit trace); None when nothing does."""
        self.not_a_caller: Any = None
        """Globals of `torch.nn.utils.parametrize`, which calls modules when a parametrized weight is read."""
        self.loss_scaled = False
        """Whether a GradScaler has scaled a loss since the last backward."""
        self._iteration = 1
        self._iteration_began_at = 0
        self.is_criterion: Callable[[type[Any]], bool] = lambda _kind: False

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
        control = self.control
        if control is None or self.recording() is not None:
            return None
        try:
            local = self.local
            stack = local.stack
            if stack and phase is _STEP and any(a.phase is _STEP for a in stack):
                return None
            if self.backward_threads and self._in_engine_thread():
                return None
            self.inside.phase_begins(frame)
            active = self._begin(control, phase, subject, frame, skippable, len(stack))
            if phase is _BACKWARD:
                control.watch.scaled, self.loss_scaled = self.loss_scaled, False
                self.backward_threads.add(get_ident())
                control.watch.backward_begins(args, kwargs, subject.__qualname__, active.station)
            elif phase is _STEP:
                self.before.about_to_stop(subject, args, kwargs)
        except Exception as error:
            control.broken(error)
            return None
        transparent = active.station.transparent
        stack.append(active)
        local.closed = True  # what the agent itself calls while it holds the script is no phase
        try:
            control.boundary(active, frame)
            self.inside.begins(control, active, subject, (args, kwargs), frame)
            if phase is _STEP:
                self.before.upcoming = None
                if self.armed and not active.skipped and (not self.light or active.inside):
                    self.before.keep(control, subject, self.loop.iteration, args, kwargs)
                if self.trends.on and not self.light:
                    self.trends.step_begins(self, control, active)
                self.inside.step_begins(active, args, kwargs, frame)
            elif not self.light and (phase is _BACKWARD or phase is _ZERO_GRAD):
                self._watch(control, active, args, kwargs)
        except BaseException:  # the user's Ctrl-C at a stop, or the end of an in-process session
            self.inside.ends(active)
            stack.pop()
            self._reopen(local)
            self.backward_threads.discard(get_ident())
            self.before.upcoming = None
            raise
        local.closed = not transparent
        if transparent:
            self.last = None
        if phase is _FORWARD or phase is _LOSS:
            active.site, active.first_node = self.calls.where(frame), self.sequence_number()
        active.held = control.held
        active.started = perf_counter()
        return active

    def _begin(
        self, control: Control, phase: Phase, subject: Any, frame: FrameType, skippable: bool, depth: int
    ) -> Active:
        code, loop = frame.f_code, self.loop
        station = loop.enter(
            (id(code), frame.f_lasti, phase._value_), phase, depth, perf_counter() - control.held, code
        )
        if loop.iteration != self._iteration:
            self._new_iteration()
        if phase is _CUSTOM:
            station.subject = subject
        else:
            known = station.subject
            if known is None or known() is not subject:
                station.concerns(subject)
        active = Active(phase, station, skippable)
        active.iteration = loop.iteration
        if phase is _FORWARD:
            active.grad = grad = self.grad_enabled()
            station.detail = "" if grad else "no grad"
        return active

    def leave(self, active: Active, result: Any, error: BaseException | None) -> None:
        """The phase of `active` has returned `result` or raised `error`. Never raises."""
        control, local = self.control, self.local
        if active.inside:
            self.inside.ends(active)
        if active.watched or (not self.light and (active.phase is _BACKWARD or active.phase is _ZERO_GRAD)):
            self._unwatch(control, active, failed=error is not None)
        now = perf_counter()
        stack = local.stack
        if stack and stack[-1] is active:
            stack.pop()
        self._reopen(local)
        if control is None:
            return
        phase, station = active.phase, active.station
        seconds = now - active.started - (control.held - active.held)
        station.skipped = active.skipped
        if not active.skipped:
            active.seconds = seconds
        if error is not None:
            if phase is _DATA and isinstance(error, StopIteration):
                active.detail = "end of data"
            else:
                station.failed = True
        self.last = active
        try:
            self._left(control, active, seconds, result, error)
        except Exception as failure:
            control.broken(failure)

    def _left(self, control: Control, active: Active, seconds: float, result: Any, error: BaseException | None) -> None:
        phase, station = active.phase, active.station
        self.loop.left(station, seconds)
        if phase is _FORWARD or phase is _LOSS:
            self.calls.made_at(active.first_node, self.sequence_number(), active.site)
            if error is None:
                control.watch.result(active, result)
        elif phase is _BACKWARD:
            self.backward_threads.discard(get_ident())
            control.watch.phase_ended(active, error, result)
        elif phase is _STEP:
            self.before.step_ended(id(station.what()), failed=error is not None)
            self.trends.step_ended(self, control, active, error)
            self._stepped(station.what())
            control.breakpoints.stepped()
        elif not active.skipped:
            if phase is _ZERO_GRAD:
                self.loop.cleared()
            control.watch.phase_ended(active, error)

    def _watch(self, control: Control, active: Active, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A backward (or a zero_grad) is about to run: watch what the user wants watched."""
        if active.skipped or not self.armed:
            return
        active.watched = True
        watch, loop = control.watch, self.loop
        try:
            self.memory.begins(self.passes, loop.iteration)
            if active.phase is _BACKWARD:
                self.memory.backward_begins(control, active, args, kwargs)
                backward = Backward(loop.iteration, loop.micro_batch, tuple(watch.roots))
                active.hooks = self.watched.backward_begins(
                    args, kwargs, backward, self.spans, watch.looked_at, watch.references()
                )
        except Exception as error:
            control.broken(error)
        if active.hooks is not None:
            control.held += active.hooks.preparing

    def _unwatch(self, control: Control | None, active: Active, *, failed: bool) -> None:
        """The backward (or zero_grad) has been left. The time that watching took is none of the script's."""
        began, seconds = perf_counter(), 0.0
        try:
            if active.phase is _BACKWARD:
                seconds = self.watched.backward_ended(active.hooks)
                began = perf_counter()
            if not (active.skipped or self.light):
                self.memory.ended(self, active, failed=failed)
        except Exception as error:
            if control is not None:
                control.broken(error)
        if control is not None:
            control.held += seconds + perf_counter() - began

    def enter_module(self, module: Any, frame: FrameType) -> Active | None:
        """A module is called from user code: LOSS for a criterion, FORWARD for any other."""
        if frame.f_globals is self.not_a_caller:
            return None
        return self.enter(_LOSS if self.is_criterion(type(module)) else _FORWARD, module, frame, False)

    # ── custom phases: the observer of `stepdbg.phase` ──────────────────────────────────────────────────────

    def enter_custom(self, name: str, frame: FrameType) -> Active | None:
        """`with stepdbg.phase(name)` begins in `frame`."""
        if self.local.closed or not self.armed:
            return None
        if self.free and (perf_counter() < self.next_look or not self.look()):
            return None
        return self.enter(_CUSTOM, name, frame, False)

    def leave_custom(self, token: Any, error: BaseException | None) -> None:
        """It ends."""
        self.leave(token, None, error)

    def entry_points(self) -> tuple[Callable[..., Any], ...]:
        """The functions through which the script comes in here."""
        own = Tracker
        entering = (own.enter, own.enter_module, own.enter_custom, own.step_inside_begins)
        leaving = (own.leave, own.leave_custom, own.step_inside, own.step_left_out)
        places = (Inside.module_before, Inside.module_after, Inside.ran)
        free = (own.cleared_free, own.backward_free, own.grad_free, own.stepped_free, own._label_free)
        inside = (*self.calls.entry_points(), *self.watched.outputs.entry_points(), *self.before.entry_points())
        return (*entering, *leaving, own.look, own.raised_free, *free, *inside, *places)

    # ── the rest ────────────────────────────────────────────────────────────────────────────────────────────

    def step_inside_begins(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """An optimizer is about to step inside another phase. Returns whether that is a backward, so in a hook."""
        control = self.control
        if control is None or not self.armed or all(active.phase is not _BACKWARD for active in self.local.stack):
            return False
        if not self.light:
            self.before.keep(control, args[0], self.loop.iteration, args, kwargs)
        return True

    def step_inside(self, optimizer: Any) -> None:
        """It has: there was no stop, but it is its step."""
        self.before.step_ended(id(optimizer))
        self._stepped(optimizer)

    def step_left_out(self, optimizer: Any) -> None:
        """`GradScaler.step` found inf or NaN gradients and did not call `optimizer.step()`: counts as its step."""
        self.before.left_out = self.loop.iteration
        self._stepped(optimizer)
        if self.last is not None:
            self.last.detail = "inf/nan gradients: step left out by GradScaler"
            self.last.station.detail = self.last.detail

    def _stepped(self, optimizer: Any) -> None:
        self.steps_seen += 1
        self.loop.stepped(id(optimizer), self.known_optimizers)

    def _next_free(self, control: Control) -> None:
        self.leaks.next_free(self, control)

    def _new_iteration(self) -> None:
        """Forget the module calls of the iteration before the last: no graph at hand was made by them."""
        self._iteration = self.loop.iteration
        self.watched.outputs.clear()
        spans, oldest = self.spans, self._iteration_began_at
        self.calls.new_iteration(self._iteration, oldest)
        while spans and spans[0][1] <= oldest:
            spans.popleft()
        self._iteration_began_at = self.sequence_number()
        ended, self.loop.over_at = self.loop.over_at, None
        self.leaks.began(self, self._iteration, self._iteration_began_at if ended is None else ended)

    @staticmethod
    def _reopen(local: Local) -> None:
        local.closed = bool(local.stack) and not local.stack[-1].station.transparent

    def _in_engine_thread(self) -> bool:
        # The autograd engine's device threads are unknown to `threading`: a module called there (checkpointing on
        # CUDA recomputes in them) is part of the backward that waits for it.
        me = get_ident()
        return me not in self.backward_threads and me not in sys.modules["threading"]._active
