"""Curves as text: two by four braille dots a character. Pure functions.

Drawn here, and not by a plotting library, for what a debugger's plot must not get wrong: a gap is a gap (plotext 5.3
draws a line straight over it), every least and greatest value keeps a dot however many points share a column, and a
NaN is seen.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from stepdbg.client.series import Point

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character: four rows of two."""
BRAILLE = 0x2800

NOWHERE = -1
"""The line of a cell that no line has come to."""

NOT_FINITE = "×"
FLAT = 1e-4
"""The least span of the axis, as a share of the largest value."""
LARGEST = sys.float_info.max
SPARSE = 4
"""Columns for each point, at least, where each gets its marker."""
APART = 16
"""Columns between two markers where not each point gets one."""


@dataclass(frozen=True)
class Frame:
    """What is on the canvas: iterations across, values up, both ends included."""

    first: float
    last: float
    low: float
    high: float
    log: bool = False
    """Whether `low` and `high` are powers of ten, and values stand at their logarithm."""

    def x(self, iteration: float, width: int) -> float:
        """Columns from the left, between 0 and `width`."""
        return (iteration - self.first) / (self.last - self.first) * width if self.last > self.first else width / 2

    def up(self, value: float) -> float | None:
        """Where a value stands between `low` (0) and `high` (1); None: nowhere on this scale."""
        if self.log:
            if value <= 0:
                return None
            value = math.log10(value)
        if self.high <= self.low:
            return 0.5
        span = self.high - self.low
        if math.isinf(span):  # halved, it cannot overflow; the smallest numbers cannot be halved
            return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return (value - self.low) / span


@dataclass(frozen=True)
class Cell:
    """One character and the line that it belongs to."""

    text: str = " "
    line: int = NOWHERE


Grid = list[list[Cell]]


def frame_of(curves: Sequence[Sequence[Point]], first: float, last: float, *, log: bool = False) -> Frame | None:
    """The frame that shows every value of these iterations, with a little room; None where there is none to show."""
    shown = [visible(points, first, last) for points in curves]
    lows = [p.low for points in shown for p in points if p.low is not None]
    highs = [p.high for points in shown for p in points if p.high is not None]
    if log:  # the lower end of a merged point may not be on that scale at all
        lows, highs = ([math.log10(value) for value in ends if value > 0] for ends in (lows, highs))
    if not highs:
        return Frame(first, last, 0.0, 1.0) if any(shown) and not log else None
    low, high = min([*lows, *highs]), max(highs)
    low, high = _with_room(low, high, 0.1 if log else max(abs(low), abs(high)) * FLAT)
    return Frame(first, last, low, high, log)


def _with_room(low: float, high: float, least: float) -> tuple[float, float]:
    """A twentieth more at both ends; at least the span `least` where the values are not all the same: rounding errors
    are no curve, and the numbers at the axis must differ.
    """
    half = high / 2 - low / 2  # of the span, which may be too large for a number
    room = half / 10 if high > low else abs(high) / 20 or 0.5
    room = max(room, least / 2 - half)
    return max(low - room, -LARGEST), min(high + room, LARGEST)


def visible(points: Sequence[Point], first: float, last: float) -> Sequence[Point]:
    """Those of these iterations."""
    start = bisect_left(points, first, key=lambda point: point.last)
    return points[start : bisect_right(points, last, key=lambda point: point.first)]


def draw(curves: Sequence[Sequence[Point]], markers: Sequence[str], frame: Frame, width: int, height: int) -> Grid:
    """`height` rows of `width` cells, the top row first. Where curves meet the later one is on top."""
    grid = [[Cell() for _ in range(width)] for _ in range(height)]
    for number, points in enumerate(curves):
        _Pen(grid, number, frame, width, height).draw(points, markers[number])
    return grid


class _Pen:
    """Draws one curve."""

    def __init__(self, grid: Grid, line: int, frame: Frame, width: int, height: int) -> None:
        self._grid, self._line, self._frame = grid, line, frame
        self._width, self._height = width, height
        self._bits: dict[tuple[int, int], int] = {}

    def draw(self, points: Sequence[Point], marker: str) -> None:
        frame = self._frame
        shown = visible(points, frame.first, frame.last)
        if not shown:
            return
        # With the lines that come in from the left and go out on the right.
        start = bisect_left(points, frame.first, key=lambda point: point.last)
        before: _Stroke | None = None
        for stroke in self._strokes(points[max(0, start - 1) : start + len(shown) + 1]):
            self._bar(stroke)
            if before is not None and stroke.joined:
                self._join(before, stroke)
            before = stroke
        for (column, row), bits in self._bits.items():
            self._grid[row][column] = Cell(chr(BRAILLE + bits), self._line)
        self._mark(shown, marker)
        for point in shown:
            if point.nonfinite:
                self._grid[0][self._column(point.last)] = Cell(NOT_FINITE, self._line)

    def _strokes(self, points: Sequence[Point]) -> list[_Stroke]:
        """Points that share a column of dots are one: there may be many more of them than columns."""
        result: list[_Stroke] = []
        first, scale = self._frame.first, self._frame.x(self._frame.first + 1, 2 * self._width - 1)
        middle = self._frame.last <= first
        for point in points:
            x = self._dot_x(point.last) if middle else (point.last - first) * scale
            stroke = result[-1] if result else None
            if stroke is not None and int(x) == int(stroke.x) and (point.joined or (point.coarse and stroke.coarse)):
                if point.low is not None and (stroke.low is None or point.low < stroke.low):
                    stroke.low = point.low
                if point.high is not None and (stroke.high is None or point.high > stroke.high):
                    stroke.high = point.high
                stroke.value = point.value
            else:
                result.append(_Stroke(x, point.low, point.high, point.value, point.value, point.joined, point.coarse))
        return result

    def _mark(self, points: Sequence[Point], marker: str) -> None:
        exact = [point for point in points if not point.coarse and not point.nonfinite]
        if len(exact) * SPARSE > self._width:
            # Not all at the same columns as those of the other lines.
            free, chosen = -1 + self._line * 5 % APART, []
            for point in exact:
                column = self._column(point.last)
                if column >= free:
                    chosen.append(point)
                    free = column + APART
            exact = [*chosen, *exact[-1:]]
        for point in exact:
            y = self._dot_y(point.value)
            if y is not None:
                self._grid[y // 4][self._column(point.last)] = Cell(marker, self._line)

    def _column(self, iteration: float) -> int:
        return int(self._dot_x(iteration)) // 2

    def _dot_x(self, iteration: float) -> float:
        return self._frame.x(iteration, 2 * self._width - 1)

    def _dot_y(self, value: float) -> int | None:
        up = self._frame.up(value) if math.isfinite(value) else None
        if up is None or not -0.001 <= up <= 1.001:
            return None
        return round((1 - min(max(up, 0), 1)) * (4 * self._height - 1))

    def _dot(self, x: int, y: int) -> None:
        if 0 <= x < 2 * self._width and 0 <= y < 4 * self._height:
            at = x // 2, y // 4
            self._bits[at] = self._bits.get(at, 0) | DOTS[y % 4][x % 2]

    def _bar(self, stroke: _Stroke) -> None:
        """From the least to the greatest value: a dot where there is one only."""
        if not 0 <= stroke.x <= 2 * self._width - 1:
            return
        ends = [y for v in (stroke.low, stroke.high) if v is not None and (y := self._dot_y(v)) is not None]
        for y in range(min(ends, default=0), max(ends, default=-1) + 1):
            self._dot(int(stroke.x), y)

    def _join(self, a: _Stroke, b: _Stroke) -> None:
        frame, top = self._frame, 4 * self._height - 1
        if not (math.isfinite(a.value) and math.isfinite(b.begins)):
            return
        up_a, up_b = frame.up(a.value), frame.up(b.begins)
        if up_a is None or up_b is None:
            return
        y0, y1 = (1 - up_a) * top, (1 - up_b) * top
        slope = (y1 - y0) / (b.x - a.x) if b.x > a.x else 0.0
        for x in range(max(int(a.x), 0), min(int(b.x), 2 * self._width - 1) + 1):
            # Over the width of a dot, but not beyond the ends of the line.
            left, right = (min(max(at, a.x), b.x) for at in (x - 0.5, x + 0.5))
            ends = (y0 + slope * (left - a.x), y0 + slope * (right - a.x)) if b.x > a.x else (y0, y1)
            for y in range(round(max(min(ends), 0)), round(min(max(ends), top)) + 1):
                self._dot(x, y)


@dataclass
class _Stroke:
    """What is drawn in one column of dots: a bar, and what the lines at both sides lead to."""

    x: float
    low: float | None
    high: float | None
    begins: float
    value: float
    joined: bool
    coarse: bool


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Round numbers between `low` and `high`, `most` of them at most: steps of 1, 2 or 5 times a power of ten."""
    span = high / 2 - low / 2
    if most < 1 or not math.isfinite(low) or not math.isfinite(high) or span <= 0:
        return [low] if math.isfinite(low) and high >= low else []
    rough = max(2 * (span / most), 1e-300)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 5, 10, 20, 50):
        step = factor * power
        if whole:
            step = max(step, 1.0)
        start = math.ceil(low / step)
        count = math.floor(high / step) - start + 1
        if count <= most:
            return [(start + i) * step for i in range(count)]
    return []
