"""Where the user looks: which plot, which iterations, which point. Immutable; pure functions make the next one."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

from stepdbg.client.series import METRICS, Plots, Point

LEAST = 4
"""Iterations shown at the closest."""


@dataclass(frozen=True)
class Look:
    """The same iterations and the same cursor in all four plots."""

    metric: str = METRICS[0]
    """The plot that has the keys, or is alone on the screen."""
    alone: bool = False
    span: int | None = None
    """How many iterations are shown; None: all."""
    right: int | None = None
    """The last one of them; None: the newest there is."""
    cursor: int | None = None
    """The iteration that is read out; None: the newest one of the present run."""
    log: bool = False
    """Whether values stand at their logarithm (of learning rates too)."""


def extent(plots: Plots) -> tuple[int, int]:
    """The first and the last iteration of which anything is recorded, in any run."""
    ends = [(c.points[0].first, c.points[-1].last) for run in plots.runs for c in run.curves.values() if c.points]
    return (min(first for first, _ in ends), max(last for _, last in ends)) if ends else (1, 1)


def window(look: Look, plots: Plots) -> tuple[int, int]:
    """The iterations that are shown, both included."""
    first, last = extent(plots)
    if look.span is None or look.span >= last - first + 1:
        return first, last
    right = min(max(look.right if look.right is not None else last, first + look.span - 1), last)
    return right - look.span + 1, right


def zoomed(look: Look, plots: Plots, factor: float) -> Look:
    """Fewer iterations (factor below 1) or more, around the cursor."""
    first, last = extent(plots)
    left, right = window(look, plots)
    before, everything = right - left + 1, last - first + 1
    span = max(min(round(before * factor), everything), LEAST)
    if span >= everything:
        return replace(look, span=None, right=None)
    cursor = look.cursor
    if cursor is None:
        return replace(look, span=span, right=None)
    at = min(max(cursor, left), right)
    share = (right - at) / max(before - 1, 1)
    return replace(look, span=span, right=at + round(share * (span - 1)))


def panned(look: Look, plots: Plots, direction: int) -> Look:
    """Half a window to the left (-1) or right (1); the cursor comes along."""
    left, right = window(look, plots)
    by = direction * max((right - left + 1) // 2, 1)
    moved = replace(look, right=right + by)
    left, right = window(moved, plots)
    moved = replace(moved, right=right if moved.span is not None else None)
    cursor = cursor_iteration(look, plots) or right
    return replace(moved, cursor=min(max(cursor, left), right))


def positions(look: Look, plots: Plots) -> list[int]:
    """The iterations at which the plot that has the keys has a point."""
    return sorted({point.last for _, _, curve in plots.curves(look.metric) for point in curve.points})


def moved(look: Look, plots: Plots, by: int) -> Look:
    """The cursor `by` points further right (negative: left); the window follows it."""
    known = positions(look, plots)
    if not known:
        return look
    newest = cursor_iteration(replace(look, cursor=None), plots)
    here = look.cursor if look.cursor is not None else newest
    assert here is not None
    at = bisect_right(known, here) + by - 1 if by > 0 else bisect_left(known, here) + by
    at = min(max(at, 0), len(known) - 1)
    if by > 0 and known[at] == newest:
        return replace(look, cursor=None, right=None)
    left, right = window(look, plots)
    target = replace(look, cursor=known[at])
    if look.span is None:
        return target
    if not left <= known[at] <= right:
        right = known[at] if known[at] > right else known[at] + right - left
    return replace(target, right=right)  # it stays there while more is recorded


def at_cursor(points: tuple[Point, ...], iteration: int) -> Point | None:
    """The newest point that has this iteration in it."""
    at = bisect_right(points, iteration, key=lambda point: point.first) - 1
    return points[at] if at >= 0 and points[at].last >= iteration else None


def cursor_iteration(look: Look, plots: Plots) -> int | None:
    """The iteration that is read out: without a cursor the newest one of the present run, if it has any point here."""
    if look.cursor is not None:
        return look.cursor
    newest = [(run.number, curve.points[-1].last) for run, _, curve in plots.curves(look.metric)]
    return max(newest)[1] if newest else None
