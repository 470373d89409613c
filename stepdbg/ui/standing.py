"""What stands on the terminal, cell by cell, and what must be written to make it look otherwise: the cells that differ.

Textual repaints whole widgets, and the whole screen where the layout changes. Most of those cells stand there already;
over a slow link they are what a key waits for.

A cell is a character and its ink; the second cell of a wide character has none of its own. Nothing is assumed of a
cell that is not known, nor of a row in which some character's width is a matter of opinion: there the terminal may have
drawn all that follows elsewhere than we think, so such a row is written as Textual would write it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from operator import ne, or_
from typing import NamedTuple

from rich.console import Console
from textual.strip import Strip

from stepdbg.ui import ink
from stepdbg.ui.terminal import NARROW


class Cells(NamedTuple):
    """Cells side by side, a row of the terminal or a part of one. Never changed."""

    text: str
    """A character each."""
    inks: list[str]


class Row(NamedTuple):
    """A row of the terminal."""

    cells: Cells
    strips: dict[int, Strip]
    """Strips that stand there, by column: most that are painted again are equal, which is soon found out."""


Piece = tuple[int, Strip]
"""A strip, and the column it starts at."""

# What stands in for a character; no text has these that is not `ODD` itself.
SECOND = "\0"
"""The second cell of a wide character."""
UNKNOWN = "\uffff"
ODD = "\ufffe"
"""A cell of text whose width is a matter of opinion."""

# Characters on whose width all terminals agree: with those of NARROW what the panes are drawn with, and of the wide
# ones Chinese, Japanese and Korean letters. Emoji, combining marks and most scripts are not among them.
ONE = f"{NARROW}\u1d57\u1e20-\u1e21\u2070\u2074-\u208e\u2713\u2715\u2717\u270e\u27f2\u293c\u2800-\u28ff"
TWO = "\u3000-\u3029\u3041-\u3096\u30a1-\u30fa\u30fc-\u30fe\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff60"
_KNOWN = re.compile(f"[{ONE}]*(?:[{TWO}]{SECOND}[{ONE}]*)*")
_TWO = re.compile(f"[{TWO}]")

NEAR = 3
"""Cells that are sooner written again than jumped over."""


class Pen:
    """Writes cells: moves and changes of ink where they are needed."""

    def __init__(self, width: int) -> None:
        self.written: list[str] = []
        self._width = width
        self._at = (-1, -1)
        """Column and row of the cursor."""
        self._ink = ink.NONE

    def move(self, x: int, y: int) -> None:
        """Put the cursor there."""
        column, row = self._at
        if (column, row) != (x, y):
            forward = x - column
            if row == y and column >= 0 and forward > 0:
                self.written.append(f"\x1b[{forward}C" if forward > 1 else "\x1b[C")
            else:
                self.written.append(f"\x1b[{y + 1};{x + 1}H")
            self._at = (x, y)

    def cells(self, x: int, y: int, cells: Cells) -> None:
        """Write them from there on."""
        self.move(x, y)
        text, at = cells.text, 0
        for new, run in groupby(cells.inks):
            end = at + len(list(run))
            self.written += (ink.change(self._ink, new), text[at:end].replace(SECOND, ""))
            self._ink, at = new, end
        # In the last column the cursor stays where it is, or is past it: a matter of opinion again.
        end = x + len(text)
        self._at = (end, y) if end < self._width else (-1, -1)

    def different(self, x: int, y: int, was: Cells, cells: Cells) -> None:
        """Write those of `cells` that are not what was there."""
        text, inks = cells
        differs = list(map(or_, map(ne, was.text, text), map(ne, was.inks, inks)))
        second = text.find(SECOND)
        while second > 0:  # a wide character is written whole
            differs[second - 1] = differs[second] = differs[second - 1] or differs[second]
            second = text.find(SECOND, second + 1)
        size = len(differs)
        differs += (True, False)  # so that both are found
        start = differs.index(True)
        while start < size:
            end = min(differs.index(False, start), size)
            following = differs.index(True, end)
            if following < size and following - end <= NEAR and set(inks[end:following]) == {inks[end - 1]}:
                end = following
            self.cells(x + start, y, Cells(text[start:end], inks[start:end]))
            start = following

    def as_it_is(self, x: int, y: int, text: str) -> None:
        """Write what Textual has made of some text; where the cursor is after that is not known."""
        self.move(x, y)
        self.written += (ink.change(self._ink, ink.NONE), text)
        self._ink, self._at = ink.NONE, (-1, -1)

    def end(self) -> str:
        """All that was written; the next who writes finds no ink."""
        return "".join([*self.written, ink.change(self._ink, ink.NONE)])


class Standing:
    """What stands on the terminal of one app."""

    def __init__(self, console: Console) -> None:
        self._inks = ink.Inks(console)
        self._size = (0, 0)
        self.rows: list[Row] = []

    def forget(self) -> None:
        """From now on nothing is known of it: the next that is painted is written in full."""
        self._size = (0, 0)

    def update(self, size: tuple[int, int], rows: Iterable[tuple[int, list[Piece]]]) -> tuple[str, dict[int, Row]]:
        """What to write for those pieces of rows on a terminal of that size, and what will stand in them: `note` that
        once it has been written. Raises IndexError where they do not fit.
        """
        width, height = size
        if size != self._size:
            self._size = size
            self.rows = [_unknown(width) for _ in range(height)]
        pen, after = Pen(width), dict[int, Row]()
        for y, pieces in rows:
            old = after.get(y, self.rows[y])
            new = self._row(pen, y, old, pieces)
            if new is not old:
                after[y] = new
        return pen.end(), after

    def note(self, rows: dict[int, Row]) -> None:
        """They have been written."""
        for y, row in rows.items():
            self.rows[y] = row

    def doubt(self, rows: Iterable[int]) -> None:
        """Nothing is known of those rows."""
        for y in rows:
            self.rows[y] = _unknown(len(self.rows[y].cells.text))

    def _row(self, pen: Pen, y: int, old: Row, pieces: Iterable[Piece]) -> Row:
        """Write what differs from `old`. The row after that, which is `old` itself if nothing does."""
        parts = [(x, strip, self._cells(strip)) for x, strip in pieces if old.strips.get(x) != strip]
        if ODD in old.cells.text or any(cells is None for _, _, cells in parts):
            return self._odd_row(pen, y, old, pieces)
        new = old
        for x, cells in _joined((x, cells) for x, _, cells in parts if cells):
            end = x + len(cells.text)
            was = Cells(new.cells.text[x:end], new.cells.inks[x:end])
            if was != cells:
                new = _painted(new, x, cells)
                pen.different(x, y, was, cells)
        new.strips.update((x, strip) for x, strip, _ in parts)
        return new

    def _odd_row(self, pen: Pen, y: int, old: Row, pieces: Iterable[Piece]) -> Row:
        """Write it all. What is not written may have been painted over by a text wider than it should be."""
        text, inks = old.cells
        kept = "".join(one if one == ODD else UNKNOWN for one in text) if ODD in text else text
        new = Row(Cells(kept, inks), {})
        for x, strip in pieces:
            known = self._cells(strip)
            if known is None:
                pen.as_it_is(x, y, strip.render(self._inks.console))
            elif known.text:
                pen.cells(x, y, known)
            new = _painted(new, x, known or Cells(ODD * strip.cell_length, [ink.NONE] * strip.cell_length))
        return new

    def _cells(self, strip: Strip) -> Cells | None:
        """Its cells; None where their number is a matter of opinion."""
        texts: list[str] = []
        inks: list[str] = []
        known, of = self._inks.known, self._inks.of
        for text, style, control in strip:
            if control:
                return None
            if not text.isascii() and _TWO.search(text):
                text = _TWO.sub(rf"\g<0>{SECOND}", text)  # noqa: PLW2901
            texts.append(text)
            there = known.get(id(style))
            inks += [there[1] if there else of(style)] * len(text)
        whole = "".join(texts)
        return Cells(whole, inks) if _KNOWN.fullmatch(whole) else None


def _joined(parts: Iterable[tuple[int, Cells]]) -> list[tuple[int, Cells]]:
    """Those side by side as one: borders of a pane are a cell each."""
    joined: list[tuple[int, list[str], list[str]]] = []
    following = -1
    for x, (text, inks) in parts:
        if x != following:
            joined.append((x, [], []))
        joined[-1][1].append(text)
        joined[-1][2].extend(inks)
        following = x + len(text)
    return [(x, Cells("".join(texts), inks)) for x, texts, inks in joined]


def _unknown(width: int) -> Row:
    return Row(Cells(UNKNOWN * width, [ink.NONE] * width), {})


def _painted(row: Row, x: int, cells: Cells) -> Row:
    """The row with those cells from `x` on."""
    start, end = x, x + len(cells.text)
    text, inks = row.cells
    if end > len(text):
        raise IndexError(f"a row of {len(text)} cells has no {end}")
    before, after = text[:start], text[end:]
    inks = [*inks[:start], *cells.inks, *inks[end:]]
    # Where half of a wide character is painted over, the terminal may show anything in the other half.
    if before and cells.text and _TWO.match(before[-1]):
        before, start = before[:-1] + UNKNOWN, start - 1
    if after.startswith(SECOND):
        after, end = UNKNOWN + after[1:], end + 1
    strips = {at: strip for at, strip in row.strips.items() if at >= end or at + strip.cell_length <= start}
    return Row(Cells(before + cells.text + after, inks), strips)
