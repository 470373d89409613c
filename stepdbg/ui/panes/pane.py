"""What all panes have in common: a number, a title, a help text, and the state that flows down to them."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stepdbg.client.store import View


class Pane(Widget):
    """One numbered, bordered part of the screen.

    State flows down: the app binds `view`, `selected` and `marked`, and a pane shows what it finds there. Wishes flow
    up: a pane posts the messages of `stepdbg.ui.messages` and never talks to the session. A pane whose inner
    widget takes the keys leaves `can_focus` off; one that draws itself turns it on in its class statement:
    `class MemoryPane(Pane, can_focus=True)`.
    """

    NUMBER: ClassVar[str] = ""
    """The key that focuses the pane, "1" to "7"."""
    TITLE: ClassVar[str] = ""
    HELP: ClassVar[str | None] = None
    """Markdown for the help screen: what the pane shows, with a word for every symbol."""

    DEFAULT_CSS = """
    Pane {
        width: 1fr;
        height: 1fr;
        layout: vertical;
        border: round $border-blurred;
        border-title-align: left;
        border-title-color: $foreground 80%;
        border-subtitle-color: $foreground 75%;
        padding: 0;
        overflow: hidden;
    }
    Pane:focus-within, Pane:focus {
        border: round $border;
        border-title-color: $foreground;
        border-title-style: bold;
    }
    """

    view: reactive[View | None] = reactive(None, repaint=False)
    """Everything the app shows; None until the session has been started. What draws itself repaints itself."""
    selected: reactive[str] = reactive("", repaint=False)
    """Name of the selected parameter; empty for none."""
    marked: reactive[frozenset[str]] = reactive(frozenset(), repaint=False)
    """Names of the parameters that the node selected in the graph leads to."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._title_markup = ""
        self._remark_markup = ""
        self.set_subtitle("")

    def set_subtitle(self, text: str) -> None:
        """Put `text` (plain, no markup) behind the number and the title in the border: "1 Graph ─ text"."""
        title = f"{self.NUMBER} {self.TITLE}"
        markup = Content(f"{title} ─ {text}" if text else title).markup
        if markup != self._title_markup:  # setting a title repaints the pane
            self._title_markup = markup
            self.border_title = markup

    def set_remark(self, text: str) -> None:
        """Put `text` (plain, no markup) into the lower border."""
        markup = Content(text).markup if text else ""
        if markup != self._remark_markup:
            self._remark_markup = markup
            self.border_subtitle = markup

    @property
    def searchable(self) -> bool:
        """Whether the pane has anything to search: it does when it brings a `search` of its own."""
        return type(self).search is not Pane.search

    def search(self, pattern: str) -> None:
        """Show only, or go to, what contains `pattern`; an empty one shows everything again.

        The app asks `searchable` first, so a pane without a `search` of its own never gets here.
        """

    def focus_content(self) -> None:
        """Focus what takes the keys of this pane, at once: the first focusable widget inside, else the pane itself."""
        inner = (widget for widget in self.walk_children(Widget) if widget.focusable)
        self.screen.set_focus(next(inner, self))
