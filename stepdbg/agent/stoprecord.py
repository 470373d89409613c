"""What is told of one stop: the small record that goes with `Stopped`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from stepdbg.agent import frames
from stepdbg.agent.active import Active
from stepdbg.agent.loop import Loop
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.report import Report, kind_of
from stepdbg.agent.tracker import Tracker
from stepdbg.protocol.inside import Place
from stepdbg.protocol.records import ExceptionInfo, Phase, RailStep, StopReason, StopRecord


@dataclass(frozen=True)
class Cause:
    """Why the script is held, and where. Holds the phases: keep it no longer than the stop."""

    reason: StopReason
    active: Active | None = None
    """The phase about to run; None: none is, or the script is held inside one."""
    exception: ExceptionInfo | None = None
    at: Place | None = None
    inside: Active | None = None
    """The phase that `at` is in."""
    around: Sequence[Active] | None = None
    """The phases that the held thread is in; None: those of this thread. At a node the engine's thread may be held."""
    why: str = ""
    remark: str = ""
    """One sentence for the user."""


def describe(
    number: int, cause: Cause, report: Report, tracker: Tracker, watch: LossWatch, elapsed: float
) -> StopRecord:
    """The record of stop `number`. Call inside `quiet()`."""
    loop, active = tracker.loop, cause.active
    described, here = frames.describe(report.stack)
    around = tracker.local.stack if cause.around is None else cause.around
    enclosing = [a for a in around if a is not active]
    last = tracker.last
    ran = [report.run_of(last)] if last is not None else []
    if active is not None and active.phase is Phase.BACKWARD and watch.inline is not None:
        ran.append(watch.inline)
    return StopRecord(
        number=number,
        reason=cause.reason,
        iteration=loop.iteration,
        micro_batch=loop.micro_batch if loop.micro_known else 0,
        just_ran=tuple(ran),
        next=report.run_of(active, upcoming=True) if active is not None else None,
        inside=tuple(report.run_of(a, upcoming=True) for a in enclosing),
        rail=_rail(loop, active if active is not None else cause.inside, report, cause.exception),
        loss=watch.loss(),
        stack=described,
        here=here,
        thread=_thread_name(),
        elapsed=elapsed,
        rate=loop.rate(),
        exception=cause.exception,
        note=cause.remark or _note(loop, cause.reason),
        lrs=report.lrs(),
        ran_free=last is None and not enclosing and loop.partly_free >= loop.iteration,
        at=cause.at,
        why=cause.why,
    )


def _thread_name() -> str:
    # `current_thread()` would make an object for a thread of the engine's, and the script could see it.
    thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
    return thread.name if thread is not None else "autograd engine"


def _note(loop: Loop, reason: StopReason) -> str:
    if (
        loop.came_late
        or loop.order
        or loop.iteration > 1
        or loop.over
        or reason not in (StopReason.FINISHED, StopReason.EXCEPTION)
    ):
        return ""
    seen = "Nothing of a training loop was seen: no module call, backward or optimizer step"
    return (
        f"{seen}. Likely reasons: it trains in a child process, calls .forward() directly, or uses functions that "
        "are not known as phases (name them with --phase step=pkg.mod:Class.method)."
    )


def _rail(loop: Loop, active: Active | None, report: Report, exception: ExceptionInfo | None) -> tuple[RailStep, ...]:
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
