"""The curves of the plots as events and answers go in: gaps, restarts, and a bound on memory that loses no extreme."""

from __future__ import annotations

import math
from dataclasses import replace

import fake_records as records
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdbg.client import series
from stepdbg.client.series import Curve, Plots, Point
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import LossValue, StopRecord
from stepdbg.protocol.trends import StepTrend, Trends


def stop(iteration: int, loss: float | None, *, of: int = 0, **changes: object) -> m.Stopped:
    value = LossValue(loss, None, "BCELoss", of or iteration)
    record: StopRecord = replace(records.stop(1), iteration=iteration, loss=value, **changes)  # type: ignore[arg-type]
    return m.Stopped(record)


def played(*events: object, plots: Plots | None = None) -> Plots:
    plots = plots or Plots()
    for event in events:
        plots = series.apply_event(plots, event)  # type: ignore[arg-type]
    return plots


def loss(plots: Plots) -> list[tuple[int, float, bool, bool]]:
    """(iteration, value, joined, coarse) of the present run's losses."""
    curve = plots.now.curves.get(("loss", ""), Curve())
    return [(p.last, p.value, p.joined, p.coarse) for p in curve.points]


def test_each_loss_is_a_point_once_however_many_stops_tell_of_it() -> None:
    plots = played(stop(1, 0.5), stop(1, 0.5), stop(2, 0.5, of=1), stop(2, 0.4), stop(3, 0.4, of=2))
    assert loss(plots) == [(1, 0.5, False, False), (2, 0.4, True, False)]


def test_two_losses_of_one_iteration_are_both_there() -> None:
    plots = played(stop(1, 0.5), stop(1, 1.5), stop(2, 0.5))
    assert loss(plots) == [(1, 0.5, False, False), (1, 1.5, True, False), (2, 0.5, True, False)]


def test_a_free_run_leaves_a_gap_with_single_dots_in_it() -> None:
    plots = played(
        stop(1, 0.5),
        m.Continued(m.Action.CONTINUE),
        m.Progress(40, 0, "step", 0.3, None),
        m.Progress(40, 0, "step", 0.3, None),
        m.Progress(80, 0, "step", None, None),
        m.Progress(90, 0, "step", 0.2, None),
        stop(95, 0.1),
        m.Continued(m.Action.NEXT),
        stop(96, 0.05),
    )
    assert loss(plots) == [
        (1, 0.5, False, False),
        (40, 0.3, False, True),
        (90, 0.2, False, True),
        (95, 0.1, False, False),
        (96, 0.05, True, False),
    ]
    rates = plots.now.curves["lr", "optimiser"].points
    assert [(p.last, p.joined) for p in rates] == [(1, False), (95, False), (96, True)]


def test_a_loss_that_could_not_be_read_is_a_gap() -> None:
    plots = played(stop(1, 0.5), stop(2, None), stop(3, 0.3), stop(4, 0.2))
    assert loss(plots) == [(1, 0.5, False, False), (3, 0.3, False, False), (4, 0.2, True, False)]


def test_of_one_iteration_the_newest_learning_rate_counts() -> None:
    plots = played(stop(1, 0.5, lrs=(("a", 0.1),)), stop(1, 0.5, lrs=(("a", 0.2), ("b", 1.0))), stop(2, 0.5))
    assert [(p.last, p.value) for p in plots.now.curves["lr", "a"].points] == [(1, 0.2)]
    assert [(p.last, p.value) for p in plots.now.curves["lr", "b"].points] == [(1, 1.0)]


def step(number: int, iteration: int, segment: int = 0, **changes: object) -> StepTrend:
    trend = StepTrend(number, segment, iteration, "sgd", 2.0 + number, 0, "clipped", 4.0, 0.04)
    return replace(trend, **changes)  # type: ignore[arg-type]


def test_norms_and_ratios_of_steps() -> None:
    answer = Trends(3, (step(0, 1), step(1, 2), step(2, 90, 88)), upcoming=step(3, 91, 88), since=1)
    plots = series.apply_trends(Plots(), answer)
    # The step that was next has run: told again, it takes the place of what was told ahead.
    plots = series.apply_trends(plots, Trends(4, (step(3, 91, 88, grad_norm=9.0),), since=1))
    grads = plots.now.curves["grad", "sgd"].points
    assert [(p.last, p.value, p.joined, p.note) for p in grads] == [
        (1, 2.0, False, "clipped"), (2, 3.0, True, "clipped"), (90, 4.0, False, "clipped"), (91, 9.0, True, "clipped"),
    ]  # fmt: skip
    ratios = plots.now.curves["ratio", "sgd"].points
    assert [(p.last, p.value, p.joined) for p in ratios] == [
        (1, 0.01, False), (2, 0.01, True), (90, 0.01, False), (91, 0.01, True),
    ]  # fmt: skip
    assert (plots.now.next_step, plots.now.since) == (4, 1)


def test_steps_that_are_told_twice_are_there_once() -> None:
    answer = Trends(3, (step(0, 1), step(1, 2)))
    once = series.apply_trends(Plots(), answer)
    assert series.apply_trends(once, answer) == once


def test_what_a_step_does_not_tell_is_a_gap() -> None:
    odd = (step(0, 1), step(1, 2, grad_norm=None, update_norm=None), step(2, 3), step(3, 4, grad_nonfinite=7))
    plots = series.apply_trends(Plots(), Trends(5, odd, why_no_ratio="over the limit"))
    grads = plots.now.curves["grad", "sgd"].points
    assert [(p.last, p.joined, p.nonfinite) for p in grads] == [(1, False, 0), (3, False, 0), (4, True, 1)]
    assert grads[-1].note == "7 NaN or Inf; the others 5, clipped"
    assert [p.last for p in plots.now.curves["ratio", "sgd"].points] == [1, 3, 4]
    assert plots.now.notes["ratio"] == "over the limit"
    zero = series.apply_trends(Plots(), Trends(5, (step(0, 1, value_norm=0.0),)))
    assert ("ratio", "sgd") not in zero.now.curves


def test_a_restart_begins_another_run_and_keeps_the_last_ones() -> None:
    plots = series.restarted(Plots())
    assert [run.number for run in plots.runs] == [1]  # nothing was recorded: nothing to overlay
    for number in range(1, 9):
        plots = series.restarted(played(stop(1, 1 / number), plots=plots))
    assert [run.number for run in plots.runs] == [5, 6, 7, 8, 9]
    assert [(run.number, curve.points[0].value) for run, _, curve in plots.curves("loss")] == [
        (n, 1 / n) for n in range(5, 9)
    ]
    assert plots.now.gaps == plots.now.next_step == 0


# ── bounded ─────────────────────────────────────────────────────────────────────────────────────────────────

numbers = st.floats(width=32)


@st.composite
def curves(draw: st.DrawFn) -> list[Point]:
    """Points as they come: mostly joined, with gaps, dots and values that are not finite."""
    points: list[Point] = []
    at = 0
    for value, kind in draw(st.lists(st.tuples(numbers, st.sampled_from("jjjjgc")), min_size=1, max_size=60)):
        at += draw(st.integers(0, 3))
        points.append(replace(series.point_of(at, value, coarse=kind == "c"), joined=kind == "j" and bool(points)))
    return points


@given(curves())
def test_thinning_halves_and_keeps_every_extreme(points: list[Point]) -> None:
    thin = series.thinned(points)
    assert len(thin) <= 3 * len(points) // 4 + 1
    assert sum(p.count for p in thin) == len(points)
    assert sum(p.nonfinite for p in thin) == sum(not math.isfinite(p.value) for p in points)
    assert repr(thin[-1].value) == repr(points[-1].value)
    assert (thin[0].first, thin[-1].last) == (points[0].first, points[-1].last)
    waiting = iter(points)
    for bucket in thin:  # of those that were merged, none is outside, and both ends are somebody's
        inside = [next(waiting) for _ in range(bucket.count)]
        finite = [p.value for p in inside if math.isfinite(p.value)]
        assert (bucket.low, bucket.high) == (min(finite, default=None), max(finite, default=None))
        assert bucket.first == inside[0].first <= inside[-1].last == bucket.last
        assert bucket.joined == inside[0].joined
        if len(inside) == 1:
            assert repr(bucket) == repr(inside[0])


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=50))
def test_a_curve_stays_below_its_limit_and_keeps_its_extremes(values: list[int]) -> None:
    curve = Curve()
    everything = [float(v) for v in values for _ in range(4)] * 60
    limit = series.LIMIT
    series.LIMIT = 100
    try:
        for at, value in enumerate(everything):
            curve = series.add(curve, series.point_of(at, value), 0)
            assert len(curve.points) <= 100
    finally:
        series.LIMIT = limit
    assert min(p.low for p in curve.points if p.low is not None) == min(everything)
    assert max(p.high for p in curve.points if p.high is not None) == max(everything)
    assert sum(p.count for p in curve.points) == len(everything)
    assert [p.last for p in curve.points] == sorted(p.last for p in curve.points)


def test_gaps_stay_gaps_when_points_are_merged() -> None:
    curve = Curve()
    for at in range(40):
        curve = series.add(curve, series.point_of(at, at), gap=at // 20)
    thin = series.thinned(curve.points)
    assert [p.first for p in thin if not p.joined] == [0, 20]


def test_a_point_of_an_earlier_iteration_is_left_out() -> None:
    curve = series.add(Curve(), series.point_of(5, 1.0), 0)
    assert series.add(curve, series.point_of(4, 2.0), 0) == curve


@pytest.mark.parametrize("event", [m.Continued(m.Action.NEXT), m.Warned("x"), m.Progress(3, 1, "step", None, None)])
def test_other_events_change_nothing(event: object) -> None:
    plots = played(stop(1, 0.5))
    assert played(event, plots=plots) is plots
