"""Curves as text, and where the user looks: what is drawn is what was recorded."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepdbg.client import series
from stepdbg.client.series import Curve, Plots, Point, Run
from stepdbg.ui.plots import canvas, look, view
from stepdbg.ui.plots.look import Look
from stepdbg.ui.plots.view import exact, told


def points(*values: float, gaps: tuple[int, ...] = (), first: int = 1) -> tuple[Point, ...]:
    made = [series.point_of(at, value) for at, value in enumerate(values, first)]
    return tuple(replace(p, joined=at > 0 and p.first not in gaps) for at, p in enumerate(made))


def drawn(*curves: tuple[Point, ...], width: int = 20, height: int = 5, log: bool = False) -> list[str]:
    first = min(p.first for c in curves for p in c)
    last = max(p.last for c in curves for p in c)
    frame = canvas.frame_of(curves, first, last, log=log)
    assert frame is not None
    grid = canvas.draw(curves, "●▲■"[: len(curves)], frame, width, height)
    assert {len(row) for row in grid} == {width}
    return ["".join(cell.text for cell in row) for row in grid]


def columns(lines: list[str]) -> list[int]:
    return [x for x in range(len(lines[0])) if any(line[x] != " " for line in lines)]


def test_a_line_goes_from_point_to_point() -> None:
    lines = drawn(points(1, 2, 3))
    assert columns(lines) == list(range(20))
    assert [(y, x) for y, line in enumerate(lines) for x, text in enumerate(line) if text == "●"] == [
        (0, 19), (2, 9), (4, 0),
    ]  # fmt: skip


def test_a_gap_is_a_gap() -> None:
    lines = drawn(points(1, 1.5, 2, 1, gaps=(3,)), width=30)
    assert columns(lines) == [*range(10), *range(19, 30)]
    dots = tuple(replace(p, joined=False, coarse=True) for p in points(1, 2, 1, 2))
    assert columns(drawn(dots, width=30)) == [0, 9, 19, 29]
    assert "●" not in "".join(drawn(dots, width=30))


def test_a_single_point_and_equal_ones_are_seen() -> None:
    assert columns(drawn(points(3.0))) == [10] or columns(drawn(points(3.0))) == [9]
    assert columns(drawn(points(0.0, 0.0))) == list(range(20))


def test_what_is_not_finite_is_crossed_out_at_the_top() -> None:
    lines = drawn(points(1, math.nan, 2, math.inf))
    assert [x for x, text in enumerate(lines[0]) if text == canvas.NOT_FINITE] == [6, 19]
    assert drawn(points(math.nan))[0].strip() == canvas.NOT_FINITE


def test_later_curves_are_on_top_and_each_cell_knows_its_own() -> None:
    curves = points(1, 1), points(1, 1)
    frame = canvas.frame_of(curves, 1, 2)
    assert frame is not None
    grid = canvas.draw(curves, "●▲", frame, 10, 3)
    assert {cell.line for row in grid for cell in row} == {canvas.NOWHERE, 1}


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=400), st.integers(8, 40), st.integers(2, 12))
@example([0.0, 5e-324], 8, 2)
def test_every_extreme_has_a_dot(values: list[float], width: int, height: int) -> None:
    curve = points(*values)
    lines = drawn(curve, width=width, height=height)
    # There is a twentieth of the span above the highest and below the lowest value.
    top, bottom = (next((y for y in rows if lines[y].strip()), -1) for rows in (range(height), range(height)[::-1]))
    if max(values) > min(values):
        assert top <= (4 * height - 1) / 20 // 4 + 1
        assert bottom >= height - 2 - (4 * height - 1) / 20 // 4
    assert columns(lines) == list(range(width))


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30), st.booleans())
def test_nothing_that_floats_can_be_is_too_much(values: list[float], log: bool) -> None:
    frame = canvas.frame_of([points(*values)], 1, len(values), log=log)
    if frame is None:
        assert log
        assert all(not v > 0 or not math.isfinite(v) for v in values)
        return
    canvas.draw([points(*values)], "●", frame, 20, 5)
    canvas.ticks(frame.low, frame.high, 5)


def test_logarithms_make_a_line_of_a_decay() -> None:
    lines = drawn(points(1000, 100, 10, 1), width=31, height=16, log=True)
    assert [(y, x) for y, line in enumerate(lines) for x, text in enumerate(line) if text == "●"] == [
        (0, 0), (5, 10), (10, 20), (15, 30),
    ]  # fmt: skip
    frame = canvas.frame_of([points(0, -1)], 1, 2, log=True)
    assert frame is None


def test_rounding_errors_are_no_curve() -> None:
    curve = points(0.9999994, 0.9999996, 0.9999995)
    frame = canvas.frame_of([curve], 1, 3)
    assert frame is not None
    assert frame.high - frame.low == pytest.approx(1e-4, rel=1e-3)
    labels = [view._short(tick) for tick in canvas.ticks(frame.low, frame.high, 6)]
    assert len(labels) == len(set(labels)) > 1
    assert len({y for y, line in enumerate(drawn(curve, height=9)) if line.strip()}) == 1


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(1, 12))
def test_ticks_are_few_round_and_inside(low: float, span: float, most: int) -> None:
    found = canvas.ticks(low, low + span, most)
    assert len(found) <= most
    step = found[1] - found[0] if len(found) > 1 else 0
    assert all(low - 1e-9 * abs(low) - 1e-12 <= t <= low + span + 1e-9 * (abs(low) + span) for t in found)
    if step and abs(low) < 1e3 * span:
        assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in (1, 2, 5)


def test_ticks_of_iterations_are_whole() -> None:
    assert canvas.ticks(1, 4, 8, whole=True) == [1, 2, 3, 4]
    assert canvas.ticks(1, 1000, 5, whole=True) == [200, 400, 600, 800, 1000]
    assert canvas.ticks(7, 7, 5) == [7]


# ── where the user looks ────────────────────────────────────────────────────────────────────────────────────


def plots(*iterations: int, more: tuple[int, ...] = ()) -> Plots:
    def run(number: int, which: tuple[int, ...]) -> Run:
        made = tuple(series.point_of(at, 1.0) for at in which)
        return Run(number, {("loss", ""): Curve(made, 0)})

    return Plots((run(1, iterations), run(2, more)) if more else (run(1, iterations),))


def test_the_cursor_goes_from_point_to_point() -> None:
    shown = plots(1, 2, 5, 9)
    at = Look()
    assert look.cursor_iteration(at, shown) == 9
    at = look.moved(at, shown, -1)
    assert at.cursor == 5
    assert look.moved(at, shown, -1).cursor == 2
    assert look.moved(at, shown, -100).cursor == 1
    assert look.moved(at, shown, 1).cursor is None  # the newest one: it goes along
    between = Look(cursor=3)
    assert (look.moved(between, shown, 1).cursor, look.moved(between, shown, -1).cursor) == (5, 2)
    assert look.moved(Look(), Plots(), 1) == Look()


def test_zoom_keeps_what_is_under_the_cursor() -> None:
    shown = plots(*range(1, 101))
    at = look.zoomed(Look(cursor=30), shown, 0.5)
    left, right = look.window(at, shown)
    assert (right - left + 1, left <= 30 <= right) == (50, True)
    assert look.window(look.zoomed(Look(), shown, 0.5), shown) == (51, 100)  # the newest stays in sight
    for _ in range(10):
        at = look.zoomed(at, shown, 0.5)
    left, right = look.window(at, shown)
    assert (right - left + 1, left <= 30 <= right) == (look.LEAST, True)
    for _ in range(10):
        at = look.zoomed(at, shown, 2.0)
    assert look.window(at, shown) == (1, 100)
    assert at.span is None


def test_the_window_follows_the_cursor_and_the_pan_takes_it_along() -> None:
    shown = plots(*range(1, 101))
    at = replace(Look(cursor=50), span=10, right=54)
    for _ in range(20):
        at = look.moved(at, shown, -1)
        left, right = look.window(at, shown)
        assert left <= (at.cursor or 0) <= right
        assert right - left + 1 == 10
    assert at.cursor == 30
    panned = look.panned(at, shown, 1)
    left, right = look.window(panned, shown)
    assert left <= (panned.cursor or 0) <= right
    assert left > look.window(at, shown)[0]
    for _ in range(100):
        panned = look.panned(panned, shown, 1)
    assert look.window(panned, shown) == (91, 100)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=40, unique=True).map(sorted),
    st.lists(st.sampled_from("lr+-<>="), max_size=30),
)
def test_keys_never_lead_out_of_what_is_there(iterations: list[int], keys: list[str]) -> None:
    shown, at = plots(*iterations), Look()
    for key in keys:
        if key in "lr":
            at = look.moved(at, shown, 1 if key == "r" else -1)
        elif key in "+-":
            at = look.zoomed(at, shown, 0.5 if key == "+" else 2.0)
        else:
            at = look.panned(at, shown, 1 if key == ">" else -1) if key != "=" else replace(at, span=None, right=None)
        left, right = look.window(at, shown)
        assert iterations[0] <= left <= right <= iterations[-1]
        if key in "lr":
            cursor = look.cursor_iteration(at, shown)
            assert cursor in iterations
            assert left <= cursor <= right  # type: ignore[operator]


def test_the_cursor_reads_exact_numbers() -> None:
    twice = (series.point_of(3, 0.25), series.point_of(3, 0.671234567), series.point_of(4, math.nan, note="clipped"))
    assert told(look.at_cursor(twice, 3), twice) == "0.671235 (last of 2 in this iteration)"  # type: ignore[arg-type]
    assert told(twice[2], twice) == "nan (clipped)"
    assert look.at_cursor(twice, 2) is None
    merged = series.merged(twice[0], replace(twice[1], first=4, last=7))
    assert told(merged, (merged,)) == "0.25 … 0.671235 in iterations 3–7 (2 values)"
    assert exact(-1e-7) == "−1e−07"
    coarse = series.point_of(9, 0.5, coarse=True)
    assert told(coarse, (coarse,)) == "0.5 (read while running free)"


@pytest.mark.parametrize("count", [5_000])
def test_four_plots_of_three_full_runs_are_drawn_in_a_moment(count: int) -> None:
    import time

    curves = [points(*(math.sin(at / 50 + n) for at in range(count))) for n in range(3)]
    frame = canvas.frame_of(curves, 1, count)
    assert frame is not None
    began = time.perf_counter()
    canvas.draw(curves, "●▲■", frame, 70, 20)
    assert time.perf_counter() - began < 1.0  # about 25 ms: far from what would be felt even on a busy machine
