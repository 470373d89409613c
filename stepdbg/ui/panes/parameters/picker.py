"""Which columns to show: a list with a box before each."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.commands.parameters import COLUMNS
from stepdbg.protocol import quantities as q
from stepdbg.ui.panes.parameters.columns import DEFAULT, Spec
from stepdbg.ui.widgets.line_list import LineList, Span
from stepdbg.ui.widgets.line_table import Column, LineTable

COSTS = {
    q.NORM: "w",
    q.GRAD_NORM: "g",
    q.DELTA: "w, w before",
    q.STATS: "w many times",
    q.GRAD_STATS: "g many times",
}
"""What showing a column reads, of the rows on screen."""


def cost(spec: Spec) -> str:
    """What it takes to fill a column."""
    if {q.NORM, q.GRAD_NORM} <= set(spec.needs):
        return "w, g"
    needs = [need for need in COSTS if need in spec.needs]
    return COSTS[needs[-1]] if needs else ""


class ColumnPicker(ModalScreen[tuple[str, ...] | None]):
    """A list over the panes. Dismissed with the titles that are ticked, none of them for those as at first, or None."""

    CSS = """
    ColumnPicker { align: center middle; background: $background 60%; }
    ColumnPicker > Vertical {
        width: 100; max-width: 98%; height: auto; max-height: 90%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
    }
    ColumnPicker LineTable { height: 1fr; background: $surface; }
    ColumnPicker Static { height: 1; text-align: center; background: $panel; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f", "dismiss", "Close", show=False),
        Binding("space,x", "tick", "Show or hide", show=False),
        Binding("d", "default", "As at first", show=False),
    ]

    def __init__(self, specs: dict[str, Spec], shown: tuple[str, ...]) -> None:
        """`shown`: titles of the columns that are shown now, in their order."""
        super().__init__()
        self._titles = tuple(COLUMNS)
        self._before = shown
        self.ticked = set(shown) & set(COLUMNS) | {"name"}
        self.table: LineTable[str] = LineTable(
            (
                Column("column", self._box),
                Column("shows", lambda title: (COLUMNS[title], ""), priority=1, most=72),
                Column("reads", lambda title: (cost(specs[title]), "muted"), priority=2, most=24),
            )
        )

    def compose(self) -> ComposeResult:
        """The list, and how to leave it."""
        with Vertical() as box:
            box.border_title = "Columns"
            box.styles.height = min(len(self._titles) + 4, max(self.app.size.height * 9 // 10, 8))
            yield self.table
            yield Static("space ticks   enter shows them   d as at first   escape closes")

    def on_mount(self) -> None:
        """The cursor is on the first column that may go."""
        self._show()
        self.table.go_to(1)
        self.table.focus()

    def on_line_list_row_chosen(self, event: LineList.RowChosen) -> None:
        """These they are, the ones that were shown before in the order they had."""
        event.stop()
        kept = [title for title in self._before if title in self.ticked]
        chosen = (*kept, *(title for title in self._titles if title in self.ticked and title not in kept))
        self.dismiss(() if chosen == DEFAULT else chosen)

    def action_tick(self) -> None:
        """Show the column under the cursor, or do not. The name stays."""
        title = self.table.row_at_cursor
        if title is not None and title != "name":
            self.ticked ^= {title}
            self._show()

    def action_default(self) -> None:
        """Tick those that are shown at first."""
        self.ticked = set(DEFAULT)
        self._before = DEFAULT
        self._show()

    def _show(self) -> None:
        self.table.show(dict(enumerate(self._titles)), len(self._titles))

    def _box(self, title: str) -> Span:
        ticked = title in self.ticked
        return f"{'[×]' if ticked else '[ ]'} {title}", "name" if ticked else ""
