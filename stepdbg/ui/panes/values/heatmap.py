"""A page of cells as colours on a scale that is symmetric about zero. Pure functions.

Every colour is one of the 256 that terminals without true colour have, so it looks the same there. Blue and yellow can
be told apart with any kind of colour blindness, and a sign says the same. Without colours (`NO_COLOR`) shades do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from stepdbg.protocol.records import TensorView
from stepdbg.protocol.slices import Axes
from stepdbg.ui import format as fmt
from stepdbg.ui.panes.values.look import Origin
from stepdbg.ui.panes.values.numbers import CURSOR
from stepdbg.ui.widgets.line_list import Span
from stepdbg.ui.widgets.tensor_view import Lines

CELL = 2
"""Columns of one cell."""
TICKS = 5
"""Every so many columns their index is written."""

ZERO = "#262626"
NEGATIVE = ("#005f87", "#0087af", "#00afd7", "#5fd7ff")
POSITIVE = ("#875f00", "#af8700", "#d7af00", "#ffd75f")
NOT_FINITE = "#d75f5f"
SHADES = " ░▒▓█"
LEVELS = len(POSITIVE)


@dataclass(frozen=True)
class Scale:
    """From -limit to +limit, the limit being the largest absolute value of all finite elements."""

    limit: float
    colour: bool = True

    def level(self, value: float) -> int:
        """0 for exactly zero, else ±1 to ±LEVELS in equal steps."""
        if value == 0 or self.limit <= 0:
            return 0
        steps = min(max(math.ceil(abs(value) / self.limit * LEVELS), 1), LEVELS)
        return -steps if value < 0 else steps

    def cell(self, level: int, *, cursor: bool = False) -> Span:
        """The two columns of a cell of that level."""
        sign = fmt.MINUS if level < 0 else " " if self.colour or not level else "+"
        text = sign + (" " if self.colour else SHADES[abs(level)])
        return (f"{text[0]}◆" if cursor else text), self.role(level)

    def role(self, level: int) -> str:
        """The style of that level, as `ValuesBody` reads it."""
        if not self.colour:
            return ""
        colour = ZERO if not level else POSITIVE[level - 1] if level > 0 else NEGATIVE[-level - 1]
        return f"{'#ffffff' if abs(level) < 2 else '#000000'} on {colour}"


def scale_of(tensor: TensorView, *, colour: bool) -> Scale:
    """The scale for all of `tensor`, not only for the page."""
    stats = tensor.stats
    if stats is not None and stats.min is not None and stats.max is not None:
        return Scale(max(abs(stats.min), abs(stats.max)), colour)
    sizes = [abs(_number(text)) for line in tensor.cells for text in line]
    return Scale(max((size for size in sizes if math.isfinite(size)), default=0.0), colour)


def legend(scale: Scale, width: int) -> Lines:
    """What the colours mean, in one line; with words where there is room for them, in half the columns where there
    is none for both ends.
    """
    if scale.limit <= 0:
        return [[(fmt.head("no finite element but 0", width), "muted")]]
    low, high = fmt.number(-scale.limit), fmt.number(scale.limit)
    cells = [scale.cell(level) for level in range(-LEVELS, LEVELS + 1)]
    line: list[Span] = [(f"{low} ", "muted"), *cells, (f" {high}", "muted")]
    words: list[Span] = [("  middle: 0  ", "muted"), ("✕", "bad"), (" nan/inf", "muted")]
    half: list[Span] = [(text[0 if scale.colour else 1], role) for text, role in cells]
    tries = ([*line, *words], line, [line[0], *half, line[-1]], [(f"±{high} ", "muted"), *half])
    return [next((each for each in tries if sum(len(text) for text, _ in each) <= width), tries[-1])]


def columns_across(tensor: TensorView, axes: Axes, width: int) -> int:
    """How many cells fit beside each other in `width`."""
    return max(1, (width - len(axes.row_label(max(tensor.rows - 1, 0))) - 1) // CELL)


def grid(tensor: TensorView, axes: Axes, origin: Origin, cell: Origin, across: int, height: int, scale: Scale) -> Lines:
    """The cells from `origin` on in `height` lines, under the indices of some columns. "◆" has the cursor."""
    rows = range(origin.row, min(origin.row + height - 1, tensor.rows))
    if not tensor.cells or not rows:
        return []
    labels = [axes.row_label(row) for row in rows]
    label_width = max(len(label) for label in labels)
    columns = range(origin.column, min(origin.column + across, tensor.columns))
    lines: Lines = [[(" " * (label_width + 1), ""), (_ticks(columns, axes.first_column), "guide")]]
    page, table = _levels(tensor.cells, scale), {level: scale.cell(level) for level in range(-LEVELS, LEVELS + 1)}
    for row, label in zip(rows, labels, strict=True):
        line: list[Span] = [(f"{label.rjust(label_width)} ", "guide")]
        down = row - tensor.row
        found = page[down] if 0 <= down < len(page) else ()
        for column in columns:
            right = column - tensor.column
            level = found[right] if 0 <= right < len(found) else None
            here = (row, column) == (cell.row, cell.column)
            if isinstance(level, int):
                line.append(scale.cell(level, cursor=True) if here else table[level])
            else:
                line.append((level or "… ", CURSOR if here else "bad" if level else "muted"))
        lines.append(line)
    return lines


@lru_cache(maxsize=16)
def _levels(cells: tuple[tuple[str, ...], ...], scale: Scale) -> tuple[tuple[int | str, ...], ...]:
    """The level of each cell; its text where it is not finite."""
    return tuple(tuple(_level(text, scale) for text in line) for line in cells)


def _level(text: str, scale: Scale) -> int | str:
    value = _number(text)
    if math.isfinite(value):
        return scale.level(value)
    return f"{fmt.MINUS if value < 0 else ' '}{'✕' if math.isnan(value) else '∞'}"


def _ticks(columns: range, first: int) -> str:
    text = ""
    for at, column in enumerate(columns):
        label = str(first + column)
        if (first + column) % TICKS == 0 and len(text) <= at * CELL and at * CELL + len(label) <= len(columns) * CELL:
            text = text.ljust(at * CELL) + label
    return text


def _number(text: str) -> float:
    if text in ("True", "False"):
        return float(text == "True")
    if "j" in text:
        number = complex(text)
        return math.hypot(number.real, number.imag)
    return float(text)
