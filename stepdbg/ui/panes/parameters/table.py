"""The table of the parameter pane: a list or a tree of rows, in columns that can be chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.message import Message

from stepdbg.protocol.quantities import BY_NAME
from stepdbg.protocol.records import ParameterRow
from stepdbg.ui import format as fmt
from stepdbg.ui.panes.parameters import cells, columns
from stepdbg.ui.widgets.line_list import Spans
from stepdbg.ui.widgets.line_table import GAP, Column
from stepdbg.ui.widgets.line_tree import LineTree

ARROWS = {True: "▼", False: "▲"}
"""How the column that rows are sorted by is marked: falling, rising."""


class ParameterTable(LineTree[ParameterRow]):
    """Names are cut at the left; the last column, of sentences, takes the room that is left over."""

    fills = False
    LAST_LEAST = 12

    class ColumnsShown(Message):
        """Other columns have room than before."""

        def __init__(self, sender: ParameterTable) -> None:
            super().__init__()
            self.table = sender

        @property
        def control(self) -> ParameterTable:
            """The table."""
            return self.table

    def __init__(
        self, specs: dict[str, columns.Spec], marked: Callable[[ParameterRow], str], enter: Callable[[], bool]
    ) -> None:
        """`marked(row)` is a sign that stands behind the name. `enter` does what enter is for before it folds or
        selects; False: nothing.
        """
        self.specs = specs
        self.sorted_by = "", False
        self.is_tree = False
        super().__init__([specs[title].column for title in columns.DEFAULT], self._label)
        self._marked = marked
        self._enter = enter
        self._told: tuple[str, ...] = ()

    def show_order(self, quantity: str, falling: bool) -> None:
        """Mark the column that rows are sorted by."""
        if self.sorted_by != (quantity, falling):
            self.sorted_by = quantity, falling
            self._laid_out_for = ()
            self.redraw()

    def header_of(self, column: Column[ParameterRow]) -> str:
        """The title, with an arrow where rows are sorted by it."""
        quantity, falling = self.sorted_by
        mine = self.specs[column.title].quantity
        return f"{column.title}{ARROWS[falling]}" if mine and quantity == mine else column.title

    @property
    def sortable(self) -> list[str]:
        """Quantities of the columns on screen, from left to right."""
        return [q for title in self.shown_columns if (q := self.specs[title].quantity) in BY_NAME]

    def prepare(self, first: int, last: int) -> None:
        super().prepare(first, last)
        if self._told != self.possible_columns:
            self._told = self.possible_columns
            self.post_message(self.ColumnsShown(self))

    def action_activate(self) -> None:
        """Fold, unfold or select, unless enter is for something else now."""
        if not self._enter():
            super().action_activate()

    def _look_at_window(self) -> None:
        """Also ask for the page below or above, so that it is here when it comes on screen."""
        super()._look_at_window()
        first, last = self.window
        if not self.rows or any(index not in self.rows for index in range(first, last)):
            return
        below, above = range(last, min(last + self.page, self.total)), range(max(first - self.page, 0), first)
        for page, offset, end in ((below, last, last + 2 * self.page), (above, first - 2 * self.page, first)):
            if any(index not in self.rows for index in page):
                start = max(offset, 0)
                self.post_message(self.RowsWanted(self, start, min(end, self.total) - start))
                return

    def move_to(self, index: int) -> None:
        """Put the cursor on that row as a key does."""
        self._move(index)

    def name_spans(self, index: int, row: ParameterRow, width: int) -> Spans:
        guides, mark = self._guides.of(index)
        guides = guides[: max(width // 2, 4)]
        room = max(width - len(guides) - len(mark), 1)
        name, role = self._titled(row)
        note = f" {row.module}" if row.kind == "module" and row.module else ""
        note = note if fmt.columns(name + note) <= room else ""
        if row.kind == "section" and fmt.columns(name) > room:
            name = row.name
        cut = fmt.tail if cells.is_tensor(row) else fmt.head  # "optimizer state (40)" begins with what it is
        text = cut(name, room - len(note))
        rest = " " * max(room - fmt.columns(text) - len(note), 0)
        return [(guides, "guide"), (mark, "muted"), (text, role), (note, "muted"), (rest, "")]

    def _label(self, row: ParameterRow, _width: int) -> Spans:
        name, role = self._titled(row)
        return [(name, role), (f" {row.module}" if row.kind == "module" and row.module else "", "muted")]

    def _titled(self, row: ParameterRow) -> tuple[str, str]:
        sign, name = self._marked(row), cells.short_name(row, tree=self.is_tree)
        if sign:
            return f"{name} {sign}", "name"
        return name, {"parameter": "", "module": "name"}.get(row.kind, "muted")

    def name_least(self, width: int) -> int:
        """More in a tree, where guides take a part of it."""
        return max(self.NAME_LEAST, width // 3 if self.is_tree else width // 4)

    def name_width(self, row: ParameterRow) -> int:
        plain = not row.depth and not row.rows_below
        guides = 0 if plain else 2 * row.depth + 2
        return guides + sum(fmt.columns(text) for text, _role in self._label(row, 0))

    def _fit(self, width: int, natural: Sequence[int] | None = None) -> list[int | None]:
        natural = self._natural if natural is None else natural
        widths = super()._fit(width, natural)
        if self.columns[-1].title == columns.LAST and widths[-1] is None and natural[-1]:
            room = width - sum(each + GAP for each in widths if each is not None)
            widths[-1] = room if room >= self.LAST_LEAST else None
        return widths
