"""When to stop, and what happens while stopped: the agent's half of the conversation.

All of this runs in the script's own thread that reached the boundary, under one lock; there is no thread of the
agent's own. Anything that goes wrong in here is reported to the screen and never reaches the script.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from time import perf_counter
from types import FrameType
from typing import Any

from stepdbg.agent import frames
from stepdbg.agent.active import Active
from stepdbg.agent.breakpoints.book import Breakpoints
from stepdbg.agent.channel import Channel, ChannelClosedError
from stepdbg.agent.hangup import end_this_process
from stepdbg.agent.losswatch import LossWatch, number_of
from stepdbg.agent.quiet import quiet
from stepdbg.agent.report import Remembered, Report, kind_of
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.work import GivenUpError, NotThereError, Work
from stepdbg.protocol import codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import ExceptionInfo, Phase, RailStep, StopReason, StopRecord
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
        self._channel = channel
        self._settings = settings
        self._mode = m.Action.CONTINUE
        self._stop_at: Phase | None = None
        if settings.stop_at == "first":
            self._mode = m.Action.NEXT
        elif settings.stop_at != "never":
            self._stop_at = Phase(settings.stop_at)
        self._until_iteration = 0
        self._pause = False
        self._lock = threading.RLock()
        self._began = perf_counter()
        self._next_poll = 0.0
        self._next_progress = 0.0
        self._report: Remembered | None = None
        self._breakages = 0
        self.watch.thorough = self._mode is m.Action.NEXT
        tracker.before.limit = settings.previous_bytes // 2
        tracker.free = settings.stop_at == "never"

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
        mode = self._mode
        if mode is m.Action.NEXT:
            reason = StopReason.STEP if self.stops else StopReason.ENTRY
        elif mode is m.Action.ITERATION and self.tracker.loop.iteration >= self._until_iteration:
            reason = StopReason.STEP
        elif self._stop_at is active.phase:
            reason, self._stop_at = StopReason.BREAKPOINT, None
        else:
            if perf_counter() >= self._next_poll:
                with self._lock:
                    self._look(perf_counter())
            if not self._pause:
                return
            reason = StopReason.PAUSE
        if self.tracker.armed and not self.capturing():
            self._hold(reason, active, frames.of_call(frame), None)

    def remembered(self) -> tuple[Any, ...]:
        """What of ours holds copies of the script's values from stop to stop."""
        return (self._report.snapshots,) if self._report is not None else ()

    @staticmethod
    def capturing() -> bool:
        """Whether a CUDA graph records every operation of this stream: ours must not be among them."""
        cuda = sys.modules.get("torch.cuda")
        return cuda is not None and bool(cuda._initialized) and bool(cuda.is_current_stream_capturing())

    def post_mortem(self, error: BaseException, text: str) -> None:
        """The script dies of `error`: hold it once more, at the line that raised."""
        self._end_free_run()
        info = ExceptionInfo(type(error).__name__, str(error), text)
        self._hold(StopReason.EXCEPTION, None, frames.of_traceback(error.__traceback__), info)

    def finished(self) -> None:
        """The script has run to its end: hold it before teardown."""
        self._end_free_run()
        self._hold(StopReason.FINISHED, None, [], None)

    def look(self) -> None:
        """In a free run, every POLL_EVERY seconds: hear a pause, and let go of graphs that were looked at."""
        with self._lock:
            self.watch.looked_at.release()
            self._look(perf_counter())
            if self._pause and self.tracker.free:
                self._end_free_run()

    def _end_free_run(self) -> None:
        if self.tracker.free:
            self.tracker.free = False
            self.tracker.watched.ran_free(self.tracker.sequence_number())
            self._mode = m.Action.ITERATION  # until the pause takes effect, nothing else stops
            self._until_iteration = sys.maxsize
            self.tracker.loop.after_free_run()
            last = self.tracker.last
            if last is not None and not last.station.failed:
                self.tracker.last = None  # left when the free run had just begun
            self.watch.after_free_run()

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

    def _hold(
        self,
        reason: StopReason,
        active: Active | None,
        stack: list[tuple[FrameType, int]],
        exception: ExceptionInfo | None,
    ) -> None:
        if not self.tracker.armed:
            return
        local = self.tracker.local
        closed, local.closed = local.closed, True
        with self._lock:
            began = perf_counter()
            try:
                self._pause = False
                self.stops += 1
                report = Report(self.tracker, self.watch, self.stops, stack, self.known_optimizers(), self._report)
                report.keep_at_most(self._settings.previous_bytes // 2)
                report.over = reason in (StopReason.EXCEPTION, StopReason.FINISHED)
                with quiet():
                    record = self._record(reason, active, report, exception)
                self._channel.send(m.Stopped(record))
                action = self._serve(report)
                self._go_on(action, active)
                with quiet():
                    self._report = report.remembered() if self.tracker.armed else None
            except ChannelClosedError:
                self._gone()
            except Exception as error:
                self.broken(error)
            finally:
                local.closed = closed
                self.held += perf_counter() - began

    def _record(
        self, reason: StopReason, active: Active | None, report: Report, exception: ExceptionInfo | None
    ) -> StopRecord:
        tracker, loop = self.tracker, self.tracker.loop
        described, here = frames.describe(report.stack)
        enclosing = [a for a in tracker.local.stack if a is not active]
        last = tracker.last
        ran = [report.run_of(last)] if last is not None else []
        if active is not None and active.phase is Phase.BACKWARD and self.watch.inline is not None:
            ran.append(self.watch.inline)
        return StopRecord(
            number=self.stops,
            reason=reason,
            iteration=loop.iteration,
            micro_batch=loop.micro_batch if loop.micro_known else 0,
            just_ran=tuple(ran),
            next=report.run_of(active, upcoming=True) if active is not None else None,
            inside=tuple(report.run_of(a, upcoming=True) for a in enclosing),
            rail=self._rail(active, report, exception),
            loss=self.watch.loss(),
            stack=described,
            here=here,
            thread=threading.current_thread().name,
            elapsed=self._clock(),
            rate=loop.rate(),
            exception=exception,
            note=self._note(reason),
            lrs=report.lrs(),
            ran_free=last is None and not enclosing and loop.partly_free >= loop.iteration,
        )

    def _note(self, reason: StopReason) -> str:
        loop = self.tracker.loop
        if loop.order or loop.iteration > 1 or loop.over or reason not in (StopReason.FINISHED, StopReason.EXCEPTION):
            return ""
        seen = "Nothing of a training loop was seen: no module call, backward or optimizer step"
        return (
            f"{seen}. Likely reasons: it trains in a child process, calls .forward() directly, or uses functions that "
            "are not known as phases (name them with --phase step=pkg.mod:Class.method)."
        )

    def _rail(self, active: Active | None, report: Report, exception: ExceptionInfo | None) -> tuple[RailStep, ...]:
        loop = self.tracker.loop
        steps = []
        passed_next = False
        for _, station in loop.rail():
            current = active is not None and station is active.station
            run_now = station.iteration == loop.iteration and station.micro == loop.micro_batch and station.count > 0
            if current:
                state, passed_next = "next", True
            elif station.failed and exception is not None:
                state = "failed"
            elif loop.partly_free >= loop.iteration and station.mark == 0:
                state = "ahead" if passed_next else "unknown"  # not entered since the free run
            elif run_now or (station.iteration == loop.iteration and not passed_next):
                state = "skipped" if station.skipped else "done"
            else:
                state = "ahead"
            ahead = state == "ahead" and station.iteration != loop.iteration
            steps.append(
                RailStep(
                    phase=station.phase,
                    subject=report.subject_of(station),
                    kind=kind_of(station),
                    state=state,
                    seconds=None if ahead or current else station.seconds,
                    count=station.count if not current else station.count + 1,
                    depth=station.depth,
                    detail=station.detail,
                )
            )
        return tuple(steps)

    def _serve(self, report: Report) -> m.Action:
        while True:
            message = self._channel.wait()
            if isinstance(message, m.Resume):
                return message.action
            if isinstance(message, m.Detach):
                self._let_go()
                return m.Action.CONTINUE
            if isinstance(message, (m.Pause, m.Cancel)):
                continue  # held already; answered already
            self._answer(report, message)

    def _answer(self, report: Report, query: Any) -> None:
        work = Work(self._channel, query.id)
        if work.cancelled():
            work.end(m.Failed(query.id, "cancelled"))
            return
        try:
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
        work.end(outcome)

    def _go_on(self, action: m.Action, active: Active | None) -> None:
        if not self.tracker.armed:
            return
        if action is m.Action.SKIP and (active is None or not active.skippable):
            action = m.Action.NEXT
        if active is not None:
            active.skipped = action is m.Action.SKIP
        self._mode = m.Action.NEXT if action is m.Action.SKIP else action
        self._until_iteration = self.tracker.loop.iteration + 1
        self.tracker.free = self._mode is m.Action.CONTINUE and self._stop_at is None
        if self.tracker.free:
            self.tracker.watched.runs_free()
            self.tracker.passes.ran_free()
            self.tracker.before.runs_free()
        self.watch.thorough = self._mode is not m.Action.CONTINUE
        if self.watch.thorough:
            self.watch.complete = True
        self._next_progress = perf_counter() + PROGRESS_EVERY
        self._channel.send(m.Continued(action))

    # ── the end of the conversation ─────────────────────────────────────────────────────────────────────────

    def _let_go(self) -> None:
        """Run on bare from here."""
        self.tracker.armed = False
        self._report = None
        self.tracker.before.clear()
        self.tracker.leaks.stop()
        self._channel.close()
        self.detached()

    def _gone(self) -> None:
        """The screen's side is gone."""
        self._let_go()
        if self._settings.on_detach == "end":
            self.on_gone()
