"""A scrolling list of rows that come in pages: only what is on screen is formatted, and asked for.

The base of `LineTable` and `LineTree`. A row that has not been received is drawn as "…"; its page is asked
for once, by a `RowsWanted` message for the visible rows and a margin around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

Row = TypeVar("Row")
Span = tuple[str, str]
"""Text and its role: "" or one of `LineList.ROLES`."""
Spans = Iterable[Span]

EMPTY: Mapping[int, Any] = {}
CURSOR = "▌"


class LineList(ScrollView, Generic[Row], can_focus=True):
    """Rows under an optional header line, with a cursor. Subclasses say what a row looks like."""

    ROLES: ClassVar[tuple[str, ...]] = ("muted", "changed", "bad", "good", "name", "guide", "number", "lit")
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line-list--cursor",
        "line-list--header",
        *(f"line-list--{role}" for role in ROLES),
    }
    DEFAULT_CSS = """
    LineList {
        height: 1fr;
        width: 1fr;
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        & > .line-list--header { color: $text-muted; text-style: italic; }
        & > .line-list--cursor { background: $boost; }
        &:focus > .line-list--cursor { background: $block-cursor-background 20%; text-style: bold; }
        & > .line-list--muted { color: $text-muted; }
        & > .line-list--guide { color: $text-disabled; }
        & > .line-list--name { color: $text-primary; }
        & > .line-list--number { color: $foreground; }
        & > .line-list--lit { color: $accent; text-style: bold; }
        & > .line-list--good { color: $text-success; }
        & > .line-list--changed { color: $text-warning; }
        & > .line-list--bad { color: $text-error; text-style: bold; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,ctrl+k", "cursor(-1)", "Up", show=False),
        Binding("down,j", "cursor(1)", "Down", show=False),
        Binding("pageup,ctrl+u", "cursor_page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+d", "cursor_page(1)", "Page down", show=False),
        Binding("home,g", "cursor_end(-1)", "First row", show=False),
        Binding("end,G", "cursor_end(1)", "Last row", show=False),
        Binding("enter", "activate", "Choose", show=False),
    ]

    cursor: reactive[int] = reactive(0)
    """The row that the cursor is on, from 0."""

    class RowsWanted(Message):
        """Rows `offset` … `offset + count` are on screen, or about to be, and not here."""

        def __init__(self, sender: LineList[Any], offset: int, count: int) -> None:
            super().__init__()
            self.list = sender
            self.offset = offset
            self.count = count

        @property
        def control(self) -> LineList[Any]:
            """The list that wants them."""
            return self.list

    class CursorMoved(Message):
        """The user moved the cursor to `index`; `row` is None where it has not been received."""

        def __init__(self, sender: LineList[Any], index: int, row: Any) -> None:
            super().__init__()
            self.list = sender
            self.index = index
            self.row = row

        @property
        def control(self) -> LineList[Any]:
            """The list whose cursor moved."""
            return self.list

    class RowChosen(CursorMoved):
        """Enter, or a click on the row under the cursor."""

    def __init__(self, *, id: str | None = None, header: bool = False) -> None:  # noqa: A002
        super().__init__(id=id)
        self.total = 0
        self.rows: Mapping[int, Row] = EMPTY
        self._header_height = 1 if header else 0
        self._asked: tuple[int, int] | None = None
        self._strips: LRUCache[tuple[int, ...], Strip] = LRUCache(512)
        self._styles: dict[tuple[str, str], Style] = {}

    # ── what a row looks like ───────────────────────────────────────────────────────────────────────────────

    def format_row(self, index: int, row: Row) -> Spans:
        """The spans of `row`. Called for visible rows only; must do no other work."""
        raise NotImplementedError

    def format_header(self) -> Spans:
        """The spans of the header line."""
        return ()

    def prepare(self, first: int, last: int) -> None:
        """Rows `first` … `last` are coming on screen: whatever concerns several rows is worked out here."""

    # ── what it shows ───────────────────────────────────────────────────────────────────────────────────────

    def show(self, rows: Mapping[int, Row], total: int) -> None:
        """Show `rows` (by position, any part of `total`). The cursor stays where it is, if there is such
        a row.
        """
        if total != self.total:
            self.total = total
            self._set_height(total + self._header_height)
        self.rows = rows
        self._asked = None
        self.set_reactive(LineList.cursor, min(self.cursor, max(total - 1, 0)))
        self.redraw()

    def _set_height(self, height: int) -> None:
        """Scroll over `height` lines from now on. The screen is laid out anew (and repainted) only where the
        scrollbar comes or goes, or the view would be past the end.
        """
        size, room = Size(0, height), self.container_size.height
        bar = self.show_vertical_scrollbar
        if bar == (height > room) and self.scroll_offset.y <= max(height - room, 0):
            self.set_reactive(LineList.virtual_size, size)
            if bar:
                self.vertical_scrollbar.window_virtual_size = height
        else:
            self.virtual_size = size

    def redraw(self) -> None:
        """Format the visible rows anew."""
        self._strips.clear()
        self._look_at_window()
        self.refresh()

    @property
    def row_at_cursor(self) -> Row | None:
        """The row under the cursor; None where there is none, or it has not been received."""
        return self.rows.get(self.cursor)

    @property
    def room(self) -> int:
        """Columns beside the scrollbar."""
        return self.scrollable_size.width

    @property
    def page(self) -> int:
        """Rows that fit on screen."""
        return max(1, self.size.height - self._header_height)

    @property
    def window(self) -> tuple[int, int]:
        """The first visible row, and the one after the last."""
        first = min(self.scroll_offset.y, self.total)
        return first, min(first + self.page, self.total)

    def go_to(self, index: int) -> None:
        """Put the cursor on row `index` (as far as there is one) and scroll there, without a message."""
        self.cursor = index

    # ── the cursor ──────────────────────────────────────────────────────────────────────────────────────────

    def validate_cursor(self, cursor: int) -> int:
        return min(max(cursor, 0), max(self.total - 1, 0))

    def watch_cursor(self, before: int, after: int) -> None:
        for index in (before, after):  # the other lines stay as they are
            self._strips.discard((index, self.room))
        y = self.cursor
        self.scroll_to_region(Region(0, y, 1, 1 + self._header_height), animate=False, force=True)
        self.refresh()

    def action_cursor(self, rows: int) -> None:
        """Move the cursor by `rows`."""
        self._move(self.cursor + rows)

    def action_cursor_page(self, pages: int) -> None:
        """Move the cursor by whole screens."""
        self._move(self.cursor + pages * max(1, self.page - 1))

    def action_cursor_end(self, direction: int) -> None:
        """Move the cursor to the first row (-1) or the last (1)."""
        self._move(0 if direction < 0 else self.total - 1)

    def action_activate(self) -> None:
        """Choose the row under the cursor; without any the key means what it means elsewhere."""
        if not self.total:
            raise SkipAction
        self.post_message(self.RowChosen(self, self.cursor, self.row_at_cursor))

    def _move(self, index: int) -> None:
        before = self.cursor
        self.cursor = index
        if self.cursor != before:
            self.post_message(self.CursorMoved(self, self.cursor, self.row_at_cursor))

    def on_click(self, event: events.Click) -> None:
        index = event.y - self._header_height + self.scroll_offset.y
        if event.y < self._header_height or index >= self.total:
            return
        event.stop()
        if index == self.cursor:
            self.action_activate()
        else:
            self._move(index)

    # ── pages ───────────────────────────────────────────────────────────────────────────────────────────────

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._look_at_window()

    def on_resize(self) -> None:
        self.redraw()

    def watch_show_vertical_scrollbar(self) -> None:
        """The lines are longer or shorter by it."""
        self.redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    def watch_has_focus(self, value: bool) -> None:
        super().watch_has_focus(value)
        self._styles.clear()
        self._strips.clear()

    def _look_at_window(self) -> None:
        first, last = self.window
        if first >= last or not self.size.height:
            return
        self.prepare(first, last)
        missing = next((index for index in range(first, last) if index not in self.rows), None)
        if missing is None:
            return
        offset = missing if missing > first else max(0, first - self.page)
        wish = offset, min(last + self.page, self.total) - offset
        if wish != self._asked:
            self._asked = wish
            self.post_message(self.RowsWanted(self, *wish))

    # ── lines ───────────────────────────────────────────────────────────────────────────────────────────────

    def render_line(self, y: int) -> Strip:
        width = self.room
        if y < self._header_height and self.total:
            return self._strip([(" ", ""), *self.format_header()], width, "header")
        index = y - self._header_height + self.scroll_offset.y
        if index >= self.total or index < 0:
            return Strip.blank(width, self.rich_style)
        key = (index, width)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._row_strip(index, width)
        return strip

    def _row_strip(self, index: int, width: int) -> Strip:
        row = self.rows.get(index)
        here = index == self.cursor
        spans: list[Span] = [(CURSOR if here else " ", "name")]
        spans.extend(self.format_row(index, row) if row is not None else [("…", "muted")])
        return self._strip(spans, width, "cursor" if here else "")

    def _strip(self, spans: Spans, width: int, line: str) -> Strip:
        segments = [Segment(text, self._style(role, line)) for text, role in spans if text]
        return Strip(segments).adjust_cell_length(width, self._style("", line))

    def _style(self, role: str, line: str) -> Style:
        """Rich style of text in `role` on a `line` ("", "cursor" or "header")."""
        style = self._styles.get((role, line))
        if style is None:
            style = self.get_component_rich_style(f"line-list--{line}") if line else self.rich_style
            if role:
                own = self.get_component_rich_style(f"line-list--{role}")
                style += Style(color=own.color, bold=own.bold, italic=own.italic, underline=own.underline)
            self._styles[role, line] = style
        return style
