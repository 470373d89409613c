"""Source text with line numbers, the line about to run marked, highlighted in the theme's colours."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.strip import Strip

from stepdbg.ui.widgets.line_list import CURSOR, LineList

HERE = "▶"


class SourceView(LineList[Content]):
    """The lines of one file, counted from 0 as rows; `here` is the row about to run."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"source-view--here"}
    DEFAULT_CSS = """
    SourceView > .source-view--here { background: $accent 14%; color: $accent; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "shift(-8)", "Left", show=False),
        Binding("right,l", "shift(8)", "Right", show=False),
    ]
    shifted: reactive[int] = reactive(0)
    """Columns that the text is shifted to the left."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.here: int | None = None
        self.marked: dict[int, str] = {}
        """Rows with a breakpoint: its sign."""

    def show_marks(self, marked: dict[int, str]) -> None:
        """Show these signs beside the numbers of these rows."""
        if marked != self.marked:
            self.marked = marked
            self.redraw()

    def show_text(self, lines: list[Content], here: int | None) -> None:
        """Show `lines`, with row `here` marked as the one about to run."""
        self.here = here
        self.show(dict(enumerate(lines)), len(lines))

    def on_resize(self) -> None:
        """Keep the line about to run in sight when the widget has become lower than it was when it centred it."""
        if self.here is not None and self.cursor == self.here:
            self.centre(self.here)

    def centre(self, row: int) -> None:
        """Put the cursor on `row` and scroll so that it stands in the middle."""
        self.set_reactive(LineList.cursor, self.validate_cursor(row))
        self.scroll_to(y=max(0, row - self.page // 2), animate=False, force=True)
        self.redraw()

    def action_shift(self, columns: int) -> None:
        """Shift the text sideways."""
        self.shifted = max(0, self.shifted + columns)

    def watch_shifted(self) -> None:
        self.redraw()

    def _row_strip(self, index: int, width: int) -> Strip:
        line = "cursor" if index == self.cursor and self.has_focus else ""
        base, gutter = self._style("", line), self._style("guide", line)
        if index == self.here:
            marked = self.get_component_rich_style("source-view--here")
            base, gutter = base.from_color(base.color, marked.bgcolor), marked
        mark = HERE if index == self.here else " "
        edge = CURSOR if index == self.cursor else " "
        number = f"{edge}{mark} {index + 1:>{len(str(self.total))}}{self.marked.get(index, ' ')} "
        content = self.rows.get(index, Content("…"))
        parse = self.app.stylesheet.parse_style
        on_base = base.from_color(None, base.bgcolor)
        text = Strip(
            [
                Segment(part, style.rich_style + on_base)
                for part, style in content.render(self.visual_style, end="", parse_style=parse)
            ]
        )
        room = max(width - len(number), 0)
        text = text.crop(self.shifted, self.shifted + room).adjust_cell_length(room, base)
        return Strip.join([Strip([Segment(number, gutter)]), text])
