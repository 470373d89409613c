"""Stacked bars in text: each cell has at most two colours, below and above an edge of an eighth of a row. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from stepdbg.client.memory import Moment, peak
from stepdbg.ui.format import BLOCKS

COLOURS = ("$primary", "$warning", "$success", "$secondary", "$accent")
"""Of TRAINING, in order."""

MARK = "■"
PEAK = "▲"
NOTHING = -1

LETTERS = {"zero_grad": "z", "scheduler": "h", "custom": "·"}
"""Of phases whose first letter is not theirs alone."""


@dataclass(frozen=True)
class Cell:
    """One character: a block of one category, and what is above it in the same cell."""

    glyph: str
    lower: int
    upper: int


def column(values: Sequence[int | None], most: int, height: int) -> list[Cell]:
    """One bar of `height` rows, top row first; `most` is as high as all of them. What is not zero is to be seen."""
    eighths: list[int] = []
    total = sum(value or 0 for value in values)
    if most > 0 and total > 0:
        below = 0
        for category, value in enumerate(values):
            below += value or 0
            eighths += [category] * (round(below / most * height * 8) - len(eighths))
        if not eighths:
            eighths = [max(range(len(values)), key=lambda i: values[i] or 0)]
    eighths += [NOTHING] * (height * 8 - len(eighths))
    return [_cell(eighths[row * 8 : row * 8 + 8]) for row in range(height - 1, -1, -1)]


def _cell(eighths: Sequence[int]) -> Cell:
    lower = eighths[0]
    if lower == NOTHING:
        return Cell(" ", NOTHING, NOTHING)
    share = sum(1 for category in eighths if category == lower)
    rest = Counter(category for category in eighths if category != lower)
    if not rest:
        return Cell("█", lower, NOTHING)
    return Cell(BLOCKS[share - 1], lower, rest.most_common(1)[0][0])


def chart(moments: Sequence[Moment], width: int, height: int) -> list[Content]:
    """The last of these as bars over `height` rows, and below them what had just run, by its first letter; the peak is
    marked there. All `width` columns wide.
    """
    if width <= 0 or height <= 0 or not moments:
        return [Content(" " * max(width, 0)) for _ in range(height + 1)]
    wide = 2 if len(moments) * 2 <= width else 1
    shown = list(moments)[-(width // wide) :]
    most = max((moment.total or 0 for moment in shown), default=0)
    bars = [column(moment.values, most, height) for moment in shown]
    rows = []
    for row in range(height):
        parts = [Content.styled(bar[row].glyph * wide, _style(bar[row])) for bar in bars]
        rows.append(Content("").join([*parts, Content(" " * (width - wide * len(bars)))]))
    top = peak(shown)
    axis = []
    for at, moment in enumerate(shown):
        style = "$foreground 85%" if moment.iteration % 2 else "$foreground 72%"
        text = PEAK if at == top else letter(moment)
        axis.append(Content.styled(text.ljust(wide), "bold $foreground" if at == top else style))
    rows.append(Content("").join([*axis, Content(" " * (width - wide * len(shown)))]))
    return rows


def letter(moment: Moment) -> str:
    """One letter for what had just run: "f" for a forward; "?" where the graph's bytes are not known."""
    if moment.values and None in moment.values:
        return "?"
    phase = moment.ran.partition(" ")[0]
    return LETTERS.get(phase, phase[:1] or "·")


def _style(cell: Cell) -> str:
    if cell.lower == NOTHING:
        return ""
    fore = COLOURS[cell.lower]
    return f"{fore} on {COLOURS[cell.upper]}" if cell.upper != NOTHING else fore
