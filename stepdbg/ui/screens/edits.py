"""Everything that was set by hand in this run, in a list over the panes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.protocol.edits import Edit
from stepdbg.ui.edited import change, extent
from stepdbg.ui.widgets.line_list import LineList
from stepdbg.ui.widgets.line_table import Column, LineTable

NONE = "Nothing was set by hand in this run.  set lr 0.01, or set net[0].bias 0, does that at a stop."


class EditsScreen(ModalScreen[None]):
    """One row an edit, the newest last."""

    CSS = """
    EditsScreen { align: center middle; background: $background 60%; }
    EditsScreen > Vertical {
        width: 94%; max-width: 140; height: auto; max-height: 86%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
    }
    EditsScreen LineTable { height: auto; max-height: 100%; background: $surface; }
    EditsScreen .remark { height: auto; padding: 0 1; color: $text-muted; }
    EditsScreen .nothing { height: auto; padding: 1 2; color: $text-muted; }
    EditsScreen .keys { height: 1; text-align: center; background: $panel; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Close", show=False)]

    def __init__(self, edits: Sequence[Edit]) -> None:
        super().__init__()
        self._edits = edits
        self._remark = Static("", classes="remark", markup=False)
        self.table: LineTable[Edit] = LineTable(
            (
                Column("what", lambda edit: (edit.title, "")),
                Column("before → after", lambda edit: (change(edit), "changed"), priority=1, most=48),
                Column("stop", lambda edit: (f"{edit.stop:,}", "number"), priority=2, right=True),
                Column("iteration", lambda edit: (f"{edit.iteration:,}", "number"), priority=3, right=True),
                Column("elements", lambda edit: (extent(edit), "muted"), priority=4, right=True, optional=True),
            )
        )

    def compose(self) -> ComposeResult:
        """The list, or why it is empty, and how to leave it."""
        with Vertical() as box:
            box.border_title = "Set by hand"
            if self._edits:
                yield self.table
                yield self._remark
            else:
                yield Static(NONE, classes="nothing", markup=False)
            yield Static("↑ ↓ move   escape closes", classes="keys")

    def on_mount(self) -> None:
        """The newest is under the cursor."""
        if not self._edits:
            return
        rows = len(self._edits)
        self.table.styles.height = rows + 1
        self.table.show(dict(enumerate(self._edits)), rows)
        self.table.go_to(rows - 1)
        self.table.focus()
        self._remark.display = any(edit.note for edit in self._edits)
        self._remark.update(self._edits[-1].note)

    def on_line_list_cursor_moved(self, event: LineList.CursorMoved) -> None:
        """Below the table stands what there is to say of the row under the cursor."""
        event.stop()
        edit = self.table.row_at_cursor
        self._remark.update(edit.note if edit is not None else "")
