"""The lines of a `Terminal`, scrolling; the view follows the end unless the user has scrolled away from
it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from rich.color import Color, ColorParseError
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from stepdbg.ui import terminal as term

_NAMES = {"brown": "yellow", "bfightmagenta": "bright_magenta"}
"""pyte's names of colours where they are not Rich's (the second as pyte spells it)."""


@lru_cache(maxsize=1024)
def rich_style(style: term.Style) -> Style:
    """A terminal's style as Rich has it; a colour that Rich does not know is left out."""
    foreground, background, bold, italic, underline, strike, reverse, blink = style
    return Style(
        color=_colour(foreground),
        bgcolor=_colour(background),
        bold=bold or None,
        italic=italic or None,
        underline=underline or None,
        strike=strike or None,
        reverse=reverse or None,
        blink=blink or None,
    )


def _colour(name: str) -> Color | None:
    if name == "default":
        return None
    if name in _NAMES:
        name = _NAMES[name]
    elif name.startswith("bright"):
        name = "bright_" + name[6:].replace("brown", "yellow")
    elif len(name) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in name):
        name = f"#{name}"
    try:
        return Color.parse(name)
    except ColorParseError:
        return None


class TerminalView(ScrollView, can_focus=True):
    """Shows a terminal; `changed` is called whenever it has drawn something."""

    DEFAULT_CSS = """
    TerminalView { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: scroll; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,ctrl+k", "scroll_up", "Up", show=False),
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("pageup,ctrl+u", "page_up", "Page up", show=False),
        Binding("pagedown,ctrl+d", "page_down", "Page down", show=False),
        Binding("home,g", "scroll_home", "First line", show=False),
        Binding("end,G", "scroll_end", "Last line", show=False),
    ]

    def __init__(self, terminal: term.Terminal) -> None:
        super().__init__()
        self.terminal = terminal
        self._strips: LRUCache[tuple[int, int], Strip] = LRUCache(512)

    def changed(self) -> None:
        """Show what the terminal has drawn since the last call."""
        at_end = self.scroll_offset.y >= self.virtual_size.height - self.size.height
        held = self.terminal.held
        if held != self.virtual_size.height:
            # The scrollbar is always there, so a line more does not lay the screen out anew (which repaints it all).
            self.set_reactive(TerminalView.virtual_size, Size(0, held))
            self.vertical_scrollbar.window_virtual_size = held
        if at_end:
            self.scroll_to(y=max(0, held - self.size.height), animate=False, force=True)
        self.refresh()

    def show_line(self, index: int) -> None:
        """Scroll to line `index` of those held."""
        self.scroll_to(y=max(0, index - self.size.height // 2), animate=False, force=True)

    def on_resize(self) -> None:
        self.scroll_end(animate=False)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_size.width
        index = y + self.scroll_offset.y
        if index >= self.terminal.scrolled:  # on the screen: may still change
            return self._strip(index, width)
        key = (index + self.terminal.dropped, width)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._strip(index, width)
        return strip

    def _strip(self, index: int, width: int) -> Strip:
        base = self.rich_style
        segments = [Segment(text, base + rich_style(style)) for text, style in self.terminal.line(index)]
        return Strip(segments).adjust_cell_length(width, base)
