"""What stands on the terminal, cell by cell, and what must be written to make it look otherwise: the cells that differ.

Textual repaints whole widgets, and the whole screen where the layout changes. Most of those cells stand there already;
over a slow link they are what a key waits for.

A cell is a character and its ink; the second cell of a wide character has no character. Nothing is assumed of a cell
that is not known (`None`), nor of a row in which some character's width is a matter of opinion: there the terminal may
have drawn all that follows elsewhere than we think, so such a row is written as Textual would write it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import ne

from rich.console import Console
from textual.strip import Strip

from stepdbg.ui import ink
from stepdbg.ui.terminal import NARROW

Cell = tuple[str, str]
Row = list[Cell | None]
Piece = tuple[int, Strip]
"""A strip, and the column it starts at."""

ODD: Cell = ("", "odd")
"""A cell of text whose width is a matter of opinion."""

# Characters on whose width all terminals agree: with those of NARROW what the panes are drawn with, and of the wide
# ones Chinese, Japanese and Korean letters. Emoji, combining marks and most scripts are not among them.
ONE = f"{NARROW}\u1d57\u1e20-\u1e21\u2070\u2074-\u208e\u2713\u2715\u2717\u270e\u27f2\u293c\u2800-\u28ff"
TWO = "\u3000-\u3029\u3041-\u3096\u30a1-\u30fa\u30fc-\u30fe\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff60"
_ONE = re.compile(f"[{ONE}]*")
_KNOWN = re.compile(f"[{ONE}{TWO}]*")
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

    def cells(self, x: int, y: int, cells: Sequence[Cell]) -> None:
        """Write them from there on."""
        self.move(x, y)
        append = self.written.append
        now = self._ink
        for character, new in cells:
            if new != now:
                append(ink.change(now, new))
                now = new
            append(character)
        self._ink = now
        end = x + len(cells)
        # In the last column the cursor stays where it is, or is past it: a matter of opinion again.
        self._at = (end, y) if end < self._width else (-1, -1)

    def different(self, x: int, y: int, was: Sequence[Cell | None], cells: Sequence[Cell]) -> None:
        """Write those of `cells` that are not what was there."""
        differs = list(map(ne, was, cells))
        for at, (character, _) in enumerate(cells):
            if not character:  # a wide character is written whole
                differs[at - 1] = differs[at] = differs[at - 1] or differs[at]
        start, size = differs.index(True), len(cells)
        while start < size:
            try:
                end = differs.index(False, start)
            except ValueError:
                end = size
            try:
                following = differs.index(True, end)
            except ValueError:
                following = size
            last = cells[end - 1][1]
            if following < size and following - end <= NEAR and all(cell[1] == last for cell in cells[end:following]):
                end = following
            self.cells(x + start, y, cells[start:end])
            start = following

    def text(self, x: int, y: int, text: str) -> None:
        """Write what Textual has made of some text; where the cursor is after that is not known."""
        self.move(x, y)
        self.written.append(ink.change(self._ink, ink.NONE))
        self.written.append(text)
        self._ink, self._at = ink.NONE, (-1, -1)

    def end(self) -> str:
        """All that was written; the next who writes finds no ink."""
        return "".join([*self.written, ink.change(self._ink, ink.NONE)])


class Standing:
    """What stands on the terminal of one app."""

    def __init__(self, console: Console) -> None:
        self._inks = ink.Inks(console)
        self._size = (0, 0)
        self._rows: list[Row] = []

    def forget(self) -> None:
        """From now on nothing is known of it: the next that is painted is written in full."""
        self._size = (0, 0)

    def update(self, size: tuple[int, int], rows: Iterable[tuple[int, list[Piece]]]) -> tuple[str, dict[int, Row]]:
        """What to write for those pieces of rows on a terminal of that size, and what will stand in them: `note` that
        once it has been written.
        """
        width, height = size
        if size != self._size:
            self._size = size
            self._rows = [[None] * width for _ in range(height)]
        pen, after = Pen(width), dict[int, Row]()
        for y, pieces in rows:
            old = after.get(y, self._rows[y])
            new = self._row(pen, y, old, pieces)
            if new is not old:
                after[y] = new
        return pen.end(), after

    def note(self, rows: dict[int, Row]) -> None:
        """They have been written."""
        for y, row in rows.items():
            self._rows[y] = row

    def doubt(self, rows: Iterable[int]) -> None:
        """Nothing is known of those rows."""
        for y in rows:
            self._rows[y] = [None] * len(self._rows[y])

    def _row(self, pen: Pen, y: int, old: Row, pieces: Iterable[Piece]) -> Row:
        """Write what differs from `old`. The row after that, which is `old` itself if nothing does."""
        parts = [(x, strip, self._cells(strip)) for x, strip in pieces]
        if ODD in old or any(cells is None for _, _, cells in parts):
            return self._odd_row(pen, y, old, parts)
        new = old
        for x, _, cells in parts:
            if not cells:
                continue
            end = x + len(cells)
            was = new[x:end]
            if was == cells:
                continue
            if end > len(old):
                raise IndexError(f"row {y} has {len(old)} cells, not {end}")
            if new is old:
                new = old.copy()
            assert cells is not None
            pen.different(x, y, was, cells)
            new[x:end] = cells
            self._halves(new, x, end)
        return new

    def _odd_row(self, pen: Pen, y: int, old: Row, parts: Iterable[tuple[int, Strip, list[Cell] | None]]) -> Row:
        """Write it all. What is not written may have been painted over by a text wider than it should be."""
        new: Row = [cell if cell is ODD else None for cell in old] if ODD in old else old.copy()
        for x, strip, known in parts:
            cells: Sequence[Cell] = known if known is not None else [ODD] * strip.cell_length
            if known is None:
                pen.text(x, y, strip.render(self._inks.console))
            elif known:
                pen.cells(x, y, known)
            new[x : x + len(cells)] = cells
            self._halves(new, x, x + len(cells))
        if len(new) != len(old):
            raise IndexError(f"row {y} has {len(old)} cells, not {len(new)}")
        return new

    @staticmethod
    def _halves(row: Row, start: int, end: int) -> None:
        """Where half of a wide character was painted over, the terminal may show anything in the other half."""
        for at in (start, end):
            if 0 < at < len(row):
                left, right = row[at - 1], row[at]
                wide = left is not None and left is not ODD and _TWO.match(left[0]) is not None
                second = right is not None and right is not ODD and not right[0]
                if wide != second:
                    # The half that was not painted, on whichever side it is.
                    if at == start:
                        row[at - 1] = None
                    else:
                        row[at] = None

    def _cells(self, strip: Strip) -> list[Cell] | None:
        """Its cells; None where their number is a matter of opinion."""
        result: list[Cell] = []
        for text, style, control in strip:
            if control:
                return None
            colors = self._inks.of(style)
            if (text.isascii() and text.isprintable()) or _ONE.fullmatch(text):
                result.extend(zip(text, repeat(colors), strict=False))
            elif _KNOWN.fullmatch(text):
                for character in text:
                    result.append((character, colors))
                    if _TWO.match(character):
                        result.append(("", colors))
            else:
                return None
        return result
