"""A table over paged rows. Columns take the width that their visible cells need, and go when there is no
room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import LineList, Row, Span, Spans

GAP = 2
MOST_CELLS = 1000
"""Rows whose cells are kept, at most."""


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column: its title, and how a row's cell reads."""

    title: str
    cell: Callable[[Row], Span]
    """Text and role. Called for visible rows only."""
    priority: int = 0
    """Room is given in rising order, to those that fit; 0 stays always."""
    right: bool = False
    """Numbers: aligned right."""
    least: int = 0
    """Columns kept free for it even where the cells seen so far are shorter."""
    most: int = 40
    optional: bool = False
    """Takes no room until a cell of it has had something to say."""


class LineTable(LineList[Row]):
    """Rows in columns under a header.

    The first column is the name: it is cut at the left ("…attn.weight") when it must be cut, and the
    columns of the lowest priority leave before that. Widths only grow while scrolling, so that nothing
    jumps.
    """

    NAME_LEAST = 18
    """The name's columns, at least, before other columns are left out for it."""
    fills = False
    """Whether the first column takes all the room that is left over, so that the others stand at the
    right edge."""

    def __init__(self, columns: Sequence[Column[Row]], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, header=True)
        self.columns = tuple(columns)
        self._natural = [self._at_first(column) for column in self.columns]
        self._widths: list[int | None] = []
        self._laid_out_for: tuple[object, ...] = ()
        self._cells: dict[int, list[Span]] = {}
        """By row: its cells as they were measured, until the rows are formatted anew."""

    def redraw(self) -> None:
        self._cells.clear()
        super().redraw()

    def _cells_of(self, index: int, row: Row) -> list[Span]:
        cells = self._cells.get(index)
        if cells is None:
            if len(self._cells) >= MOST_CELLS:
                self._cells.clear()
            cells = self._cells[index] = [("", ""), *(column.cell(row) for column in self.columns[1:])]
        return cells

    def _at_first(self, column: Column[Row]) -> int:
        return 0 if column.optional else max(fmt.columns(self.header_of(column)), column.least)

    def set_columns(self, columns: Sequence[Column[Row]]) -> None:
        """Show these columns instead; what the rows at hand need of room is found out anew."""
        self.columns = tuple(columns)
        self._natural = [self._at_first(column) for column in self.columns]
        self._laid_out_for = ()
        self.redraw()

    def header_of(self, column: Column[Row]) -> str:
        """What stands above a column."""
        return column.title

    @property
    def possible_columns(self) -> tuple[str, ...]:
        """Titles of the columns that there would be room for if all of them had something to say."""
        natural = [n or fmt.columns(self.header_of(c)) for n, c in zip(self._natural, self.columns, strict=True)]
        pairs = zip(self.columns, self._fit(self.room - 1, natural), strict=True)
        return tuple(column.title for column, width in pairs if width is not None)

    def prepare(self, first: int, last: int) -> None:
        for index in range(first, last):
            row = self.rows.get(index)
            if row is None:
                continue
            if self.is_sentence(row):
                continue
            cells = self._cells_of(index, row)
            for at, column in enumerate(self.columns):
                needed = min(fmt.columns(cells[at][0]), column.most) if at else self.name_width(row)
                if needed:
                    self._natural[at] = max(self._natural[at], needed, fmt.columns(self.header_of(column)))
        layout = (self.room, *self._natural)
        if layout != self._laid_out_for:
            self._laid_out_for = layout
            self._widths = self._fit(self.room - 1)
            self._strips.clear()
            self.refresh()

    def name_least(self, _width: int) -> int:
        """Columns of the name, at least, in a table of so many, before other columns are left out for it."""
        return self.NAME_LEAST

    def name_width(self, row: Row) -> int:
        """Columns that the first cell of `row` would like to have."""
        return fmt.columns(self.columns[0].cell(row)[0])

    def name_spans(self, _index: int, row: Row, width: int) -> Spans:
        """The first cell of `row` in exactly `width` columns."""
        text, role = self.columns[0].cell(row)
        return [(fmt.pad(fmt.tail(text, width), width), role)]

    def is_sentence(self, _row: Row) -> bool:
        """Whether the first cell of that row goes on over all the columns."""
        return False

    def set_title(self, at: int, title: str) -> None:
        """Give the column at index `at` another title."""
        column = self.columns[at]
        if column.title != title:
            self.columns = (*self.columns[:at], replace(column, title=title), *self.columns[at + 1 :])
            self.refresh()

    @property
    def shown_columns(self) -> tuple[str, ...]:
        """Titles of the columns that there is room for."""
        pairs = zip(self.columns, self._widths, strict=False)
        return tuple(column.title for column, width in pairs if width is not None)

    def format_header(self) -> Spans:
        return self._line(None, 0)

    def format_row(self, index: int, row: Row) -> Spans:
        return self._line(row, index)

    def _line(self, row: Any, index: int) -> Spans:
        if row is not None and self.is_sentence(row):
            return self.name_spans(index, row, self.room - 1)
        spans: list[Span] = []
        cells = self._cells_of(index, row) if row is not None else None
        for at, (column, columns) in enumerate(zip(self.columns, self._widths, strict=False)):
            if columns is None:
                continue
            if at:
                spans.append((" " * GAP, ""))
            elif row is not None:
                spans.extend(self.name_spans(index, row, columns))
                continue
            text, role = (self.header_of(column), "") if cells is None else cells[at]
            text = fmt.head(text, columns)
            spans.append((fmt.pad(text, columns, right=column.right), role))
        return spans

    def _fit(self, width: int, natural: Sequence[int] | None = None) -> list[int | None]:
        """A width for every column that there is room for, None for the others. `natural`: what each would like to
        have, if not as far as is known.
        """
        natural = self._natural if natural is None else natural
        room = width - min(natural[0], self.name_least(width))
        kept = [0]
        for at in sorted(range(1, len(self.columns)), key=lambda at: self.columns[at].priority):
            needed = natural[at] + GAP
            if natural[at] and (needed <= room or not self.columns[at].priority):
                kept.append(at)
                room -= needed
        others = sum(natural[at] + GAP for at in kept[1:])
        room = max(width - others, 1)
        widths: list[int | None] = [None] * len(self.columns)
        for at in kept:
            widths[at] = natural[at]
        widths[0] = room if self.fills else min(natural[0], room)
        return widths
