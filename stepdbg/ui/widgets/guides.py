"""The lines in front of the rows of a tree, worked out from depth and extent of the rows that are here.

There is one column of lines for each depth. Column k is the line of the chain of rows at depth k: what hangs from
it has "├" or "└" in that column, what is further in has "│" as long as the line goes on. A row that continues its
chain stands on the line itself; in a tree without chains no row does, and the line is that of the children of one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOLDED = 0
OPEN, OPEN_IN_PART, CLOSED, CLOSED_IN_PART = "▾ ", "▿ ", "▸ ", "▹ "
"""Unfolded; unfolded but for its own nodes; folded; showing nothing, but has nodes of its own."""
LINE, BLANK, BRANCH, LAST = "│ ", "  ", "├ ", "└ "


class Guides:
    """Guides and fold marks of the rows of one tree, by position. Rows may be here in part, from any page."""

    def __init__(self, rows: Mapping[int, Any], total: int, *, chains: bool) -> None:
        self._rows = rows
        self._total = total
        self.chains = chains
        self._made: dict[int, tuple[str, str]] = {}

    def of(self, position: int) -> tuple[str, str]:
        """The lines in front of the row at `position`, and its fold mark; only blanks before `work_out`."""
        return self._made.get(position) or (BLANK * self._rows[position].depth, "")

    def work_out(self, first: int, last: int, page: int) -> None:
        """Make those of rows `first` … `last`, from the bottom up, starting a page below: so far the margin goes."""
        if all(at in self._made or at not in self._rows for at in range(first, last)):
            return
        last = min(last + page, self._total)
        continues = self._which_continue(first, last, page)
        open_at = self._open_below(last, page)
        for position in range(last - 1, first - 1, -1):
            row = self._rows.get(position)
            if row is None:
                open_at = self._open_below(position, page)
                continue
            depth, on_line = row.depth, continues.get(position, False)
            open_at.extend([False] * (depth + 1 - len(open_at)))
            lines = [LINE if goes_on else BLANK for goes_on in open_at[:depth]]
            if depth and not on_line:
                lines[-1] = BRANCH if open_at[depth - 1] else LAST
            self._made[position] = "".join(lines), self._mark(position, row, on_line and open_at[depth], on_line)
            column = depth if on_line else depth - 1
            del open_at[column + 1 :]
            if column >= 0:
                open_at[column] = True

    def _mark(self, position: int, row: Any, line_goes_on: bool, on_line: bool) -> str:
        """What stands in front of the label: how the row is folded, or the line that it stands on."""
        if row.rows_below and row.level == FOLDED:
            return CLOSED
        following = self._rows.get(position + 1)
        shows = row.rows_below and position + 1 < self._total
        if shows and following is not None:
            shows = following.index <= row.index + row.rows_below
        more = row.unfolds and row.level < 2
        if not shows:
            return CLOSED_IN_PART if more else LAST if on_line else BLANK if row.rows_below else ""
        if on_line and not more:
            return LINE if line_goes_on else LAST
        return OPEN_IN_PART if more else OPEN

    def _which_continue(self, first: int, last: int, page: int) -> dict[int, bool]:
        """By position: whether a row continues the one of its depth above it. That is told from the extent of that one;
        where it is not here, a row after deeper ones is taken for a continuation: side branches come first.
        """
        if not self.chains:
            return {}
        found: dict[int, bool] = {}
        line: list[Any] = []
        """By depth: the last row seen; None where it was before the first one that is here."""
        for position in range(max(first - 4 * page, 0), last):
            row = self._rows.get(position)
            if row is None:
                line = []
                continue
            before = line[row.depth] if row.depth < len(line) else None
            if before is not None:
                found[position] = row.index <= before.index + before.rows_below
            else:
                # Nothing of this depth is known above: it is a first one if what is right above it is less deep.
                found[position] = len(line) > row.depth + 1 or (not line and position > 0)
            del line[row.depth :]
            line.extend([None] * (row.depth - len(line)))
            line.append(row)
        return found

    def _open_below(self, end: int, page: int) -> list[bool]:
        """By column: whether its line goes on below position `end` - 1.

        Told from the extents of the rows that are here; where a row above is not here, no line is drawn.
        """
        last = self._rows.get(end - 1)
        if last is None or end >= self._total:
            return []
        open_at = [False] * (last.depth + 1)
        open_at[last.depth] = last.rows_below > 0 and last.level != FOLDED
        below = last
        for position in range(end - 2, max(end - 2 - 4 * page, -1), -1):
            row = self._rows.get(position)
            if row is None or not below.depth:
                break
            if row.depth < below.depth:
                if row.depth == below.depth - 1:
                    open_at[row.depth] = below.index + below.rows_below < row.index + row.rows_below
                below = row
        return open_at
