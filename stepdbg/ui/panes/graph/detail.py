"""The lines under the tree: everything that is known of the row under the cursor."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stepdbg.protocol.graph import GraphRow
from stepdbg.ui.panes.graph.rows import facts, pack

STYLES = {
    "": "$foreground",
    "name": "$text-primary",
    "muted": "$text-muted",
    "guide": "$text-disabled",
    "bad": "bold $text-error",
}
TALL = ((20, 3), (9, 2), (5, 1))
"""From that many rows of the pane on, that many lines."""


def lines_for(rows: int) -> int:
    """Lines that a pane of so many rows can spare."""
    return next((lines for least, lines in TALL if rows >= least), 0)


class RowDetail(Widget, can_focus=False):
    """Facts of one row, in as many lines as its height has."""

    DEFAULT_CSS = """
    RowDetail { height: 0; padding: 0 1; background: $surface; text-wrap: nowrap; }
    """

    row: reactive[GraphRow | None] = reactive(None)
    remark: reactive[str] = reactive("")
    """What is to be said of every row, last."""

    def render(self) -> Content:
        """What tells most comes first; the rest goes where there is no room."""
        if self.row is None or not self.size.height:
            return Content("")
        told = [*facts(self.row), (self.remark, "muted")] if self.remark else facts(self.row)
        packed = pack(told, self.content_size.width, self.content_size.height)
        return Content("\n").join(
            Content.assemble(*((text, STYLES.get(role, "")) for text, role in line)) for line in packed
        )
