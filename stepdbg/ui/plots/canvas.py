"""Curves as text: two by four braille dots a character. Pure functions.

Drawn here, and not by a plotting library, for what a debugger's plot must not get wrong: a gap is a gap (plotext 5.3
draws a line straight over it), every least and greatest value keeps a dot however many points share a column, and a
NaN is seen.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from stepdbg.client.series import Point, merged

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
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)  # halved: the span cannot overflow


@dataclass(frozen=True)
class Cell:
    """One character and the line that it belongs to."""

    text: str = " "
    line: int = NOWHERE


Grid = list[list[Cell]]


def frame_of(curves: Sequence[Sequence[Point]], first: float, last: float, *, log: bool = False) -> Frame | None:
    """The frame that shows every value of these iterations, with a little room; None where there is none to show."""
    lows: list[float] = []
    highs: list[float] = []
    for points in curves:
        for point in visible(points, first, last):
            for value, ends in ((point.low, lows), (point.high, highs)):
                if value is not None and (value > 0 or not log):
                    ends.append(math.log10(value) if log else value)
    if not highs:
        nothing_finite = any(True for points in curves for _ in visible(points, first, last))
        return Frame(first, last, 0.0, 1.0) if nothing_finite and not log else None
    # On a logarithmic scale the lower end of a merged point may not be on it at all.
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
    end = start
    while end < len(points) and points[end].first <= last:
        end += 1
    return points[start:end]


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
        shown = list(visible(points, frame.first, frame.last))
        if not shown:
            return
        # The lines that come in from the left and go out on the right.
        start = bisect_left(points, frame.first, key=lambda point: point.last)
        around = list(points[max(0, start - 1) : start + len(shown) + 1])
        around = self._by_column(around) if len(around) > 4 * self._width else around
        for at, point in enumerate(around):
            self._bar(point)
            if at and point.joined:
                self._join(around[at - 1], point)
        for (column, row), bits in self._bits.items():
            self._grid[row][column] = Cell(chr(BRAILLE + bits), self._line)
        self._mark(shown, marker)
        for point in shown:
            if point.nonfinite:
                self._grid[0][self._column(point.last)] = Cell(NOT_FINITE, self._line)

    def _by_column(self, points: Sequence[Point]) -> list[Point]:
        """Points that share a column of dots as one."""
        result: list[Point] = []
        before = -1
        for point in points:
            column = int(self._dot_x(point.last))
            if result and column == before and (point.joined or (point.coarse and result[-1].coarse)):
                result[-1] = merged(result[-1], point)
            else:
                result.append(point)
            before = column
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

    def _bar(self, point: Point) -> None:
        """From the least to the greatest value: a dot where there is one only."""
        if not self._frame.first <= point.last <= self._frame.last:
            return
        ends = [y for v in (point.low, point.high) if v is not None and (y := self._dot_y(v)) is not None]
        for y in range(min(ends, default=0), max(ends, default=-1) + 1):
            self._dot(int(self._dot_x(point.last)), y)

    def _join(self, a: Point, b: Point) -> None:
        frame, top = self._frame, 4 * self._height - 1
        if not (math.isfinite(a.value) and math.isfinite(b.value)):
            return
        up_a, up_b = frame.up(a.value), frame.up(b.value)
        if up_a is None or up_b is None:
            return
        x0, x1 = self._dot_x(a.last), self._dot_x(b.last)
        y0, y1 = (1 - up_a) * top, (1 - up_b) * top
        left, right = max(int(x0), 0), min(int(x1), 2 * self._width - 1)
        for x in range(left, right + 1):
            ends = [y0 + (y1 - y0) * min(max((at - x0) / (x1 - x0), 0), 1) if x1 > x0 else y for at, y in
                    ((x - 0.5, y0), (x + 0.5, y1))]  # fmt: skip
            low, high = max(min(ends), 0), min(max(ends), top)
            for y in range(round(low), round(high) + 1):
                self._dot(x, y)


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
