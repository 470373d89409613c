"""Sentences, table and bars of one stop as lines: for the pane, and for the screen over the panes. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from textual.content import Content

from stepdbg.client.memory import Moment, timeline
from stepdbg.client.store import Recorded, View
from stepdbg.ui.format import MINUS
from stepdbg.ui.panes.memory import model
from stepdbg.ui.panes.memory.chart import COLOURS, MARK, chart

LABEL = 20
NUMBER = 11
CHANGE = 12
LEAST = 6
"""Columns from which bars are drawn."""
LONGEST = 240
"""Stops that bars are drawn of, at most."""


def moments_of(view: View) -> tuple[Moment, ...]:
    """The boundaries up to the stop that is looked at."""
    at = len(view.history) - view.ago
    return timeline(view.history[max(0, at - LONGEST) : at])


def top(view: View, recorded: Recorded, headline: str, width: int, height: int) -> list[Content]:
    """What is wrong, the `headline`, and the table with its bars; these no higher than fits into `height` lines."""
    at = len(view.history) - 1 - view.ago
    before = view.history[at - 1] if at > 0 else None
    lines = wrapped(model.findings(recorded), width, "$error")
    lines += wrapped([headline], width, "$foreground")
    first = len(lines)
    lines += table(model.rows(recorded, before), width)
    left = width - LABEL - NUMBER - CHANGE - 2
    if left >= LEAST and recorded.memory is not None:
        bars = max(min(len(lines), height) - first, 4)
        for row, bar in enumerate(chart(moments_of(view), left, bars - 1), first):
            lines[row] = Content("").join([lines[row], Content("  "), bar])
    return lines


def wrapped(sentences: Iterable[str], width: int, style: str = "$foreground 70%") -> list[Content]:
    """Each sentence on lines of its own."""
    lines = [line for text in sentences for line in textwrap.wrap(text, max(width, 1))]
    return [Content.styled(line, style) for line in lines]


def table(rows: Sequence[model.Row], width: int) -> list[Content]:
    """Label, bytes and change of each; the mark of a category has the colour of its bars."""
    lines = []
    for row in rows:
        mark = Content.styled(f"{MARK} ", COLOURS[row.category]) if row.category is not None else Content("  ")
        strong = "bold" if row.label == model.HELD else ""
        parts = [
            mark,
            Content.styled(row.label.ljust(LABEL - 2), strong or "$foreground 80%"),
            Content.styled(row.text.rjust(NUMBER), strong if row.known else "$foreground 72%"),
        ]
        if width >= LABEL + NUMBER + CHANGE:
            changed = row.change.startswith(("+", MINUS)) and "≈" not in row.change
            parts.append(Content.styled(row.change.rjust(CHANGE), "$warning" if changed else "$foreground 72%"))
        lines.append(Content("").join(parts))
    return lines
