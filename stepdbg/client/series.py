"""Curves over iterations, of this run and of those before it: what the plots show, as one immutable value.

Events and answers go through pure functions that return the next `Plots`. No I/O, no widgets, no clock. A restart
begins another run and keeps the earlier ones, so that they can be laid over each other. Where the script ran free there
is a gap: points after it are not joined to those before it. Memory is bounded: a curve of more than `LIMIT` points
merges neighbours, and keeps the least and the greatest value of what it merges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from stepdbg.client.session import Event
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import LossValue, StopRecord
from stepdbg.protocol.trends import StepTrend, Trends

LIMIT = 5_000
"""Points of one curve, at most."""

RUNS = 5
"""Runs of one script that are kept, at most: the oldest goes first."""

METRICS = ("loss", "grad", "lr", "ratio")
"""What is plotted: the loss, the 2-norm of all gradients before a step, learning rates, |Δw|/|w| of a step."""


@dataclass(frozen=True)
class Point:
    """One value, or several neighbouring ones that were merged."""

    first: int
    last: int
    """Iterations, both included."""
    low: float | None
    high: float | None
    """Of the finite values; None where there is none."""
    value: float
    """The newest one, as it was."""
    count: int = 1
    nonfinite: int = 0
    joined: bool = False
    """Whether nothing was left out between it and the point before it."""
    coarse: bool = False
    """Read now and then while the script ran free: what lies between two of these is not recorded."""
    note: str = ""
    """What the value is: "clipped", "sum of 4 backwards"."""


@dataclass(frozen=True)
class Curve:
    """The points of one thing in one run, by iteration."""

    points: tuple[Point, ...] = ()
    gap: int = -1
    """Number of the run's gap after which the last point was recorded; -1: the next one is joined to nothing."""


Key = tuple[str, str]
"""One of METRICS, and the name of what it is of: "optimiser[0]"; "" for the loss."""


@dataclass(frozen=True)
class Run:
    """All curves of one run of the script."""

    number: int
    curves: Mapping[Key, Curve] = field(default_factory=dict)
    gaps: int = 0
    """Free runs so far."""
    iteration: int = 0
    """The last one that was heard of."""
    loss: tuple[int, str, str] | None = None
    """Iteration, name and number of the loss that was recorded last: later stops tell of it again."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """By metric: why there is nothing, or less than there could be; one line."""
    since: int = 0
    """Iteration from which on steps are noted; 0: they are not."""
    next_step: int = 0
    """Number of the first StepTrend that has not been received."""

    @property
    def empty(self) -> bool:
        """Whether nothing has been recorded."""
        return not any(curve.points for curve in self.curves.values())


@dataclass(frozen=True)
class Plots:
    """The runs, oldest first; the last one is the present one."""

    runs: tuple[Run, ...] = (Run(1),)

    @property
    def now(self) -> Run:
        """The present run."""
        return self.runs[-1]

    def curves(self, metric: str) -> Iterator[tuple[Run, str, Curve]]:
        """Every curve of that metric that has points: oldest run first, by name inside a run."""
        for run in self.runs:
            for (kind, name), curve in sorted(run.curves.items()):
                if kind == metric and curve.points:
                    yield run, name, curve


def apply_event(plots: Plots, event: Event) -> Plots:
    """The plots after `event`."""
    run = plots.now
    if isinstance(event, m.Stopped):
        return _with(plots, _stopped(run, event.stop))
    if isinstance(event, m.Continued) and event.action is m.Action.CONTINUE:
        return _with(plots, replace(run, gaps=run.gaps + 1))
    if isinstance(event, m.Progress) and event.loss is not None:
        return _with(plots, _glimpsed(run, event.iteration, event.loss))
    return plots


def apply_trends(plots: Plots, answer: Trends) -> Plots:
    """The plots with what the agent noted at optimizer steps."""
    run = plots.now
    for step in answer.steps:
        if step.number >= run.next_step:
            run = _step(run, step)
    if answer.upcoming is not None:
        run = _grad(run, answer.upcoming)
    notes = {**run.notes, "grad": answer.note, "ratio": answer.why_no_ratio or answer.note}
    return _with(plots, replace(run, notes=MappingProxyType(notes), since=answer.since))


def restarted(plots: Plots) -> Plots:
    """The plots once the script has been started anew."""
    run = plots.now
    fresh = Run(run.number + (0 if run.empty else 1))
    kept = plots.runs[:-1] if run.empty else plots.runs
    return Plots((*kept, fresh)[-RUNS:])


def add(curve: Curve, point: Point, gap: int) -> Curve:
    """`curve` with one point more, recorded after the run's gap of that number; not one of an earlier iteration."""
    if curve.points and point.first < curve.points[-1].last:
        return curve
    joined = bool(curve.points) and curve.gap == gap and not point.coarse and not curve.points[-1].coarse
    points = (*curve.points, replace(point, joined=joined))
    return Curve(thinned(points) if len(points) > LIMIT else points, gap)


def put(curve: Curve, point: Point, gap: int) -> Curve:
    """The same, where a newer value of one iteration takes the place of the one before."""
    last = curve.points[-1] if curve.points else None
    if last is not None and last.count == 1 and last.last == point.last and curve.gap == gap:
        return Curve((*curve.points[:-1], replace(point, joined=last.joined)), gap)
    return add(curve, point, gap)


def point_of(iteration: int, value: float, *, coarse: bool = False, note: str = "") -> Point:
    """One value as a point."""
    finite = math.isfinite(value)
    return Point(
        iteration,
        iteration,
        value if finite else None,
        value if finite else None,
        value,
        nonfinite=0 if finite else 1,
        coarse=coarse,
        note=note,
    )


def thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    """About half as many: neighbours are merged in pairs, across a gap only where there are hardly any others."""
    for across in (False, True):
        result: list[Point] = []
        at = 0
        while at < len(points):
            pair = points[at : at + 2]
            if len(pair) == 2 and (across or pair[1].joined or (pair[0].coarse and pair[1].coarse)):
                result.append(merged(*pair))
                at += 2
            else:
                result.append(points[at])
                at += 1
        if len(result) <= 3 * len(points) // 4:
            break
    return tuple(result)


def merged(a: Point, b: Point) -> Point:
    """Two neighbours as one point."""
    lows = [v for v in (a.low, b.low) if v is not None]
    highs = [v for v in (a.high, b.high) if v is not None]
    return Point(
        a.first,
        b.last,
        min(lows, default=None),
        max(highs, default=None),
        b.value,
        a.count + b.count,
        a.nonfinite + b.nonfinite,
        a.joined,
        a.coarse and b.coarse,
        b.note if a.note == b.note else "",
    )


# ── what is recorded of what ────────────────────────────────────────────────────────────────────────────────


def _with(plots: Plots, run: Run) -> Plots:
    return plots if run is plots.now else replace(plots, runs=(*plots.runs[:-1], run))


def _set(run: Run, key: Key, curve: Curve) -> Run:
    return replace(run, curves=MappingProxyType({**run.curves, key: curve}))


def _stopped(run: Run, stop: StopRecord) -> Run:
    run = replace(run, iteration=max(run.iteration, stop.iteration))
    if stop.loss is not None:
        run = _loss(run, stop.loss)
    for name, rate in stop.lrs:
        curve = run.curves.get(("lr", name), Curve())
        run = _set(run, ("lr", name), put(curve, point_of(stop.iteration, rate), run.gaps))
    return run


def _loss(run: Run, loss: LossValue) -> Run:
    key = ("loss", "")
    curve = run.curves.get(key, Curve())
    if loss.value is None:  # made, and gone again before it could be read
        newer = run.loss is None or loss.iteration > run.loss[0]
        return _set(run, key, replace(curve, gap=-1)) if newer and curve.points else run
    seen = (loss.iteration, loss.name, repr(loss.value))
    if seen == run.loss:
        return run
    return replace(
        _set(run, key, add(curve, point_of(loss.iteration, loss.value), run.gaps)),
        loss=seen,
    )


def _glimpsed(run: Run, iteration: int, loss: float) -> Run:
    key = ("loss", "")
    curve = run.curves.get(key, Curve())
    run = replace(run, iteration=max(run.iteration, iteration))
    if curve.points and curve.points[-1].last >= iteration:
        return run
    return _set(run, key, add(curve, point_of(iteration, loss, coarse=True), run.gaps))


def _step(run: Run, step: StepTrend) -> Run:
    run = _grad(run, step)
    ratio = None if step.update_norm is None or not step.value_norm else step.update_norm / step.value_norm
    return replace(_note(run, "ratio", step, ratio, ""), next_step=step.number + 1)


def _grad(run: Run, step: StepTrend) -> Run:
    if step.grad_norm is None or not step.grad_nonfinite:
        return _note(run, "grad", step, step.grad_norm, step.grad_label)
    what = f"{step.grad_nonfinite:,} NaN or Inf; the others {step.grad_norm:.4g}"
    return _note(run, "grad", step, math.nan, ", ".join(part for part in (what, step.grad_label) if part))


def _note(run: Run, metric: str, step: StepTrend, value: float | None, note: str) -> Run:
    key = (metric, step.optimizer)
    curve = run.curves.get(key, Curve())
    if value is None:
        return _set(run, key, replace(curve, gap=-1)) if curve.points else run
    return _set(run, key, put(curve, point_of(step.iteration, value, note=note), step.segment))
