"""When to stop, and what happens while stopped: the agent's half of the conversation.

All of this runs in the script's own thread that reached the boundary, under one lock; there is no thread of the
agent's own. Anything that goes wrong in here is reported to the screen and never reaches the script.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from types import FrameType
from typing import Any

from stepdbg.agent import frames
from stepdbg.agent.active import Active
from stepdbg.agent.breakpoints.book import Breakpoints
from stepdbg.agent.channel import Channel, ChannelClosedError
from stepdbg.agent.compare.snapshots import Snapshots
from stepdbg.agent.going import Going
from stepdbg.agent.hangup import end_this_process
from stepdbg.agent.inside.held import Holding
from stepdbg.agent.losswatch import LossWatch, number_of
from stepdbg.agent.quiet import quiet
from stepdbg.agent.report import Remembered, Report
from stepdbg.agent.stoprecord import Cause, describe
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.work import GivenUpError, NotThereError, Work
from stepdbg.protocol import codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import Grain, Place
from stepdbg.protocol.records import ExceptionInfo, StopReason, StopRecord
from stepdbg.protocol.states import State

POLL_EVERY = 0.005
"""Seconds between looks at the socket while running free: how late a pause may be noticed."""

PROGRESS_EVERY = 0.1
"""Seconds between Progress messages."""


MAX_BREAKAGES = 5
"""Failures of our own that are told of; a boundary that always fails must not flood the screen."""


class SessionEndedError(BaseException):
    """In process only: the screen has gone, and with it the reason to run on. Not an Exception, so that a training
    loop's own `except Exception` does not swallow it.
    """


class Control:
    """Decides at every boundary whether to stop, and serves the screen while stopped."""

    def __init__(self, tracker: Tracker, channel: Channel, settings: m.Settings) -> None:
        self.tracker = tracker
        self.watch = LossWatch(tracker)
        self.held = 0.0
        """Seconds spent stopped, in all."""
        self.on_gone: Callable[[], None] = end_this_process
        """What to do when the screen is gone and the script shall not outlive it."""
        self.detached: Callable[[], None] = lambda: None
        """Called once when the script is let go: takes the instrumentation out."""
        self.known_optimizers: Callable[[], list[Any]] = list
        self.stops = 0
        self.breakpoints = Breakpoints()
        self._channel = tracker.cancelling.channel = channel
        self._interrupts = tracker.cancelling.interrupts
        self._settings = settings
        self.going = Going(settings.stop_at)
        self._pause = False
        self._lock = tracker.cancelling.lock = threading.RLock()
        self._began = perf_counter()
        self._next_poll = 0.0
        self._next_progress = 0.0
        self._report: Remembered | None = None
        self.holding = False
        """Whether the script is held now: what we evaluate then stops nowhere."""
        self.passed = 0
        """The iteration in which a run to a breakpoint ended last: phases were recorded, and nothing else was noted.
        0: there was none.
        """
        self._breakages = 0
        self.watch.thorough = self.going.mode is m.Action.NEXT
        tracker.before.limit = settings.previous_bytes // 2
        tracker.prefixes.full = settings.full_names
        self.breakpoints.attach(self, settings)
        tracker.light = settings.stop_at == "never"
        tracker.free = tracker.light and not self._waits_for_something()

    def _clock(self) -> float:
        """Seconds that the script has run since the agent began, without the time held."""
        return perf_counter() - self._began - self.held

    def hello(self, hello: m.Hello) -> None:
        """Say who we are; the first message."""
        try:
            self._channel.send(hello)
        except ChannelClosedError:
            self._gone()

    def warn(self, text: str) -> None:
        """One line for the user, at the next chance: while running at once, else it waits for nothing."""
        with self._lock:
            if not self.tracker.armed or self._channel.state in (State.STARTING, State.CLOSED):
                return
            try:
                self._channel.send(m.Warned(text))
            except ChannelClosedError:
                self._gone()

    def broken(self, error: Exception) -> None:
        """Something of ours failed where the script called it: tell the screen, spare the script."""
        self._report = None
        if self._breakages < MAX_BREAKAGES:
            self._breakages += 1
            lines = str(error).strip().splitlines() or [""]
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f" ({trace.tb_frame.f_code.co_name}, line {trace.tb_lineno})" if trace is not None else ""
            self.warn(f"stepdbg failed at a boundary: {type(error).__name__}: {lines[0]}{where}")

    # ── boundaries ──────────────────────────────────────────────────────────────────────────────────────────

    def boundary(self, active: Active, frame: FrameType) -> None:
        """A phase is about to run, and boundaries are recorded: stop if due. May set `active.skipped`."""
        self.watch.looked_at.release()
        tracker, why = self.tracker, ""
        reason = self.going.at_boundary(active, len(tracker.local.stack) - 1, tracker.loop, self.stops, frame)
        if reason is None and self.going.waits_for_call and tracker.inside.called(active, frame, self.going.target):
            reason = StopReason.STEP
        if self.breakpoints.armed_phases and (found := self._hit(active, frame)) is not None:
            reason, why = StopReason.BREAKPOINT, found
        if reason is None:
            if perf_counter() >= self._next_poll:
                with self._lock:
                    self._look(perf_counter())
            if not self._pause:
                if self.watch.thorough:
                    self.tracker.memory.boundary(self)
                return
            reason = StopReason.PAUSE
        if tracker.armed and not self.capturing():
            cause = Cause(reason, active, why=why, remark=self.going.remark)
            self._hold(cause, frames.of_call(frame))

    def _hit(self, active: Active, frame: FrameType) -> str | None:
        try:
            return self.breakpoints.at_phase(active, frame)
        except Exception as error:
            self.broken(error)
            return None

    def hold_inside(
        self,
        active: Active,
        around: Sequence[Active],
        place: Place,
        frame: FrameType | None,
        holding: Holding,
        why: str,
    ) -> None:
        """Hold the script at a place inside the phase `active`. `around`: the phases that its thread is in."""
        reason = StopReason.BREAKPOINT if why else StopReason.STEP
        cause = Cause(reason, at=place, inside=active, around=around, why=why, remark=self.going.remark)
        self._hold(cause, frames.of_call(frame), holding)

    def hold_here(
        self, place: Place | None, frame: FrameType, why: str, *, step: bool = False, holding: Holding | None = None
    ) -> None:
        """Hold the script between two boundaries, or inside a phase, for what `why` says; `step`: as the user asked."""
        if self.tracker.armed and not self.holding and not self.capturing():
            stack = self.tracker.local.stack
            inside = stack[-1] if stack else None
            reason = StopReason.STEP if step else StopReason.BREAKPOINT
            self._hold(Cause(reason, at=place, inside=inside, why=why), frames.of_call(frame), holding)

    def say(self, message: m.Logged) -> None:
        """Send what a logpoint wrote down; also the screen may want to hear it while the script runs."""
        with self._lock:
            if self.tracker.armed and self._channel.state is State.RUNNING:
                try:
                    self._channel.send(message)
                except ChannelClosedError:
                    self._gone()

    @property
    def snapshots(self) -> Snapshots | None:
        """The values of earlier stops; None: there are none."""
        return self._report.snapshots if self._report is not None else None

    @staticmethod
    def capturing() -> bool:
        """Whether a CUDA graph records every operation of this stream: ours must not be among them."""
        cuda = sys.modules.get("torch.cuda")
        return cuda is not None and bool(cuda._initialized) and bool(cuda.is_current_stream_capturing())

    def post_mortem(self, error: BaseException, text: str) -> None:
        """The script dies of `error`: hold it once more, at the line that raised."""
        self._end_free_run()
        info = ExceptionInfo(type(error).__name__, str(error), text)
        self._hold(Cause(StopReason.EXCEPTION, exception=info), frames.of_traceback(error.__traceback__))

    def trap(self, frame: FrameType, why: str) -> None:
        """The script asks to be held in `frame`."""
        if self.tracker.armed and not self.capturing():
            self._end_free_run()
            self._hold(Cause(StopReason.BREAKPOINT, why=why), frames.of_call(frame))

    def finished(self) -> None:
        """The script has run to its end: hold it before teardown."""
        self._end_free_run()
        self._hold(Cause(StopReason.FINISHED), [])
        self.breakpoints.stop()

    def look(self) -> None:
        """In a free run, every POLL_EVERY seconds: hear a pause, and let go of graphs that were looked at."""
        with self._lock:
            self.watch.looked_at.release()
            self._look(perf_counter())
            if self._pause and self.tracker.free:
                self._end_free_run()

    def _end_free_run(self) -> None:
        self._end_light_run()
        if self.tracker.free:
            self.tracker.free = False
            self.going.only_pauses()  # until the pause takes effect, nothing else stops
            self.tracker.loop.after_free_run()
            last = self.tracker.last
            if last is not None and not last.station.failed:
                self.tracker.last = None  # left when the free run had just begun
            self.watch.after_free_run()

    def _end_light_run(self) -> None:
        """What is noted only while stepping is noted again."""
        if self.tracker.light:
            self.tracker.light = False
            if not self.tracker.free:
                self.passed = self.tracker.loop.iteration
            self.tracker.watched.ran_free(self.tracker.sequence_number())

    def _look(self, now: float) -> None:
        """Read what the screen said meanwhile, and tell it how far we are."""
        self._next_poll = self.tracker.next_look = now + POLL_EVERY
        try:
            while (message := self._channel.poll()) is not None:
                if isinstance(message, m.Pause):
                    self._pause = True
                elif isinstance(message, m.Detach):
                    self._let_go()
                    return
            if now >= self._next_progress and self._channel.state is State.RUNNING:
                self._next_progress = now + PROGRESS_EVERY
                self._channel.send(self._progress())
        except ChannelClosedError:
            self._gone()

    def _progress(self) -> m.Progress:
        loop, last = self.tracker.loop, self.tracker.last
        loss = None
        root = self.watch.root() if self.watch.root is not None else None
        if root is not None and root.device.type == "cpu" and root.numel() == 1:  # elsewhere it would wait
            with quiet():
                loss = number_of(root)
        return m.Progress(
            loop.iteration,
            0 if self.tracker.free else loop.micro_batch,
            last.phase.value if last else "",
            loss,
            loop.rate(),
        )

    # ── stopped ─────────────────────────────────────────────────────────────────────────────────────────────

    def _hold(self, cause: Cause, stack: list[tuple[FrameType, int]], holding: Holding | None = None) -> None:
        local = self.tracker.local
        closed, local.closed = local.closed, True
        with self._interrupts.ours(), self._lock:
            began = perf_counter()
            try:
                if not self.tracker.armed or (cause.reason is StopReason.STEP and self.going.runs):
                    return  # let go, or on, at another thread's stop, for whose end this one waited
                self._pause, self.holding = False, True
                self.breakpoints.held()
                self.stops += 1
                self._end_light_run()
                report = Report(self.tracker, self.watch, self.stops, stack, self.known_optimizers(), self._report)
                report.keep_at_most(self._settings.previous_bytes // 2)
                report.evaluation = self._settings.evaluation
                report.over = cause.reason in (StopReason.EXCEPTION, StopReason.FINISHED)
                report.holding = holding
                with quiet():
                    if self.stops == 1 and self.tracker.loop.came_late:
                        self.watch.adopt(stack)
                    record = describe(self.stops, cause, report, self.tracker, self.watch, self._clock())
                self._channel.send(m.Stopped(record))
                self._go_on(self._serve(report), cause, record)
                self.breakpoints.going_on(cause.active)
                with quiet():
                    self._report = report.remembered() if self.tracker.armed else None
            except ChannelClosedError:
                self._gone()
            except Exception as error:
                self.broken(error)
            finally:
                self.holding = False
                local.closed = closed
                self.held += perf_counter() - began

    def _serve(self, report: Report) -> m.Resume:
        while True:
            message = self._channel.wait()
            if isinstance(message, m.Resume):
                return message
            if isinstance(message, m.Detach):
                self._let_go()
                return m.Resume(m.Action.CONTINUE)
            if isinstance(message, (m.Pause, m.Cancel)):
                continue  # held already; answered already
            self._answer(report, message)

    def _answer(self, report: Report, query: Any) -> None:
        self._interrupts.came = False
        work = Work(self._channel, query.id, self._interrupts)
        if work.cancelled():
            work.end(m.Failed(query.id, "cancelled"))
            return
        try:
            self.tracker.cancelling.number, self._interrupts.answering = query.id, True
            with quiet():
                wish = isinstance(query, m.SetWatching)
                answer = (
                    self.tracker.watched.set(query, report.parameter_called) if wish else report.answer(query, work)
                )
            outcome: m.Reply | m.Failed = m.Reply(query.id, codec.to_plain(answer))
        except ChannelClosedError:
            raise
        except GivenUpError as error:
            work.give_up(str(error))
            return
        except Exception as error:  # a probe that breaks is told of; the script is not touched
            lines = str(error).strip().splitlines() or ["no message"]
            prefix = "" if isinstance(error, NotThereError) else f"{type(error).__name__}: "
            outcome = m.Failed(query.id, prefix + lines[0])
        finally:
            self.tracker.cancelling.number, self._interrupts.answering = None, False
        work.end(outcome)

    def _go_on(self, resume: m.Resume, cause: Cause, record: StopRecord) -> None:
        if not self.tracker.armed:
            return
        tracker, active, action = self.tracker, cause.active, resume.action
        if action is m.Action.SKIP and (active is None or not active.skippable):
            action = m.Action.NEXT
        if active is not None:
            active.skipped = action is m.Action.SKIP
        line = record.stack[record.here].line if record.here is not None else 0
        self.going.go_on(action, cause.at, len(record.inside), tracker.loop, resume.target, line)
        runs = self.going.runs
        tracker.free = runs and not self._waits_for_something()
        tracker.light = runs
        if runs:
            tracker.watched.runs_free()
            tracker.passes.ran_free()
            tracker.memory.ran_free()
            tracker.before.runs_free()
            tracker.leaks.runs_free()
        self.watch.thorough = not runs
        if self.watch.thorough:
            self.watch.complete = True
        self._next_progress = perf_counter() + PROGRESS_EVERY
        self._channel.send(m.Continued(resume.action))

    def _waits_for_something(self) -> bool:
        """Whether a breakpoint needs boundaries to be recorded. That costs a few µs a boundary, told in README."""
        return self.breakpoints.armed_phases or any(self.breakpoints.wants(grain) for grain in Grain)

    # ── the end of the conversation ─────────────────────────────────────────────────────────────────────────

    def _let_go(self) -> None:
        """Run on bare from here."""
        self.tracker.armed = False
        self._report = None
        self.tracker.before.clear()
        self.breakpoints.stop()
        self.tracker.leaks.stop()
        self._channel.close()
        self.detached()

    def _gone(self) -> None:
        """The screen's side is gone, if it has not let the script go before: then another thread finds it closed."""
        if not self.tracker.armed:
            return
        self._let_go()
        if self._settings.on_detach == "end":
            self.on_gone()
