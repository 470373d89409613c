"""The one screen: which panes there are, how they share the room, and which of them is current."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.getters import query_one
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, TextArea

from stepdbg.client.store import View
from stepdbg.commands import COMMANDS, PANES, Command
from stepdbg.ui.answers import AnswerBox
from stepdbg.ui.header import HeaderLine, StatusLine
from stepdbg.ui.keyline import KeyLine
from stepdbg.ui.messages import FrameSelected
from stepdbg.ui.panes.console import ConsolePane
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.memory import MemoryPane
from stepdbg.ui.panes.pane import Pane
from stepdbg.ui.panes.parameters import ParametersPane
from stepdbg.ui.panes.rail import RailPane
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.panes.values import ValuesPane
from stepdbg.ui.progress import ProgressLine
from stepdbg.ui.prompt import PromptBar

WIDE = (100, 30)
"""Columns and rows from which the panes stand side by side."""

LEAST_ROWS = 4
"""Parameters that there is room for, however few there are."""

LEFT: tuple[type[Pane], ...] = (GraphPane, SourcePane, ConsolePane)
RIGHT: tuple[type[Pane], ...] = (ParametersPane, ValuesPane, MemoryPane)
ALL_PANES: tuple[type[Pane], ...] = (*LEFT, *RIGHT, RailPane)


TYPED = ("prompt", "search", *(name for _number, name, _content in PANES))
"""Commands that change who gets the next key. They run before that is given to anybody: of a line that comes in one
piece, over a slow link or pasted, the letters would else be keys (`r` restarts) or those of the pane before.
"""


def _binding(command: Command) -> Binding:
    group = Binding.Group(command.footer_group, compact=True) if command.footer_group else None
    return Binding(
        ",".join(command.keys),
        f"app.command('{command.name}')",
        command.footer or command.name,
        show=bool(command.footer),
        tooltip=command.help,
        id=command.name,
        group=group,
        priority=command.name in TYPED,
    )


SPARED = tuple(f"app.command('{name}')" for name in ("restart", "maximize", "search", "explain", "pause"))
"""What gives way first among the keys of a narrow screen."""


class TabLine(Widget, can_focus=False):
    """The names of the panes, when one has all the room. A click goes to one."""

    current: reactive[str] = reactive("1")
    """Number of the pane on screen."""

    def render(self) -> Content:
        """Numbers and titles; the current one stands out in colour, weight and by a mark."""
        parts = []
        for pane in sorted(ALL_PANES, key=lambda pane: pane.NUMBER):
            here = self.current == pane.NUMBER
            style = "bold $accent reverse" if here else "$foreground 75%"
            text = f"{'▸' if here else ' '}{pane.NUMBER} {pane.TITLE} "
            action = f"app.command('{pane.TITLE.lower()}')"
            parts.append(Content(text).stylize(style).stylize(f"@click={action}"))
        return Content("").join(parts)


class MainScreen(Screen[None]):
    """All panes at once, or one with a line of tabs: on small terminals, and when one is maximised."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(_binding(command) for command in COMMANDS if command.keys),
        Binding("ctrl+c", "app.interrupt", "Pause", show=False, system=True),
    ]
    AUTO_FOCUS = ""

    view: reactive[View | None] = reactive(None, repaint=False)
    selected: reactive[str] = reactive("", repaint=False)
    marked: reactive[frozenset[str]] = reactive(frozenset(), repaint=False)
    current: reactive[str] = reactive("1")
    """Number of the pane that has the focus, or had it last."""
    maximised: reactive[bool] = reactive(False)
    """Whether the current pane has all the room although the others would fit."""

    prompt = query_one(PromptBar)
    tabs = query_one(TabLine)

    def __init__(self) -> None:
        super().__init__()
        self.searched: Pane | None = None
        """The pane in which a search is in force."""
        self._before_prompt: Widget | None = None
        self._parameters = 0
        """How many rows of them there were when last they were counted."""

    def compose(self) -> ComposeResult:
        """Header, rail, status, tabs, two columns of panes, progress, prompt, footer."""
        yield HeaderLine().data_bind(MainScreen.view)
        yield RailPane(id="rail").data_bind(MainScreen.view, MainScreen.selected)
        yield StatusLine().data_bind(MainScreen.view)
        yield TabLine().data_bind(MainScreen.current)
        with Horizontal(id="body"):
            for name, panes in (("left", LEFT), ("right", RIGHT)):
                with Vertical(id=name, classes="column"):
                    for pane in panes:
                        state = MainScreen.view, MainScreen.selected, MainScreen.marked
                        yield pane(id=pane.TITLE.lower()).data_bind(*state)
        yield AnswerBox().data_bind(MainScreen.view)
        yield ProgressLine()
        yield PromptBar(id="prompt")
        yield KeyLine(SPARED)

    def on_mount(self) -> None:
        """The graph takes the keys first."""
        self._lay_out()
        self.focus_pane("1")

    def pane(self, number: str) -> Pane:
        """The pane of that number."""
        return next(pane for pane in self.query(Pane) if number == pane.NUMBER)

    @property
    def single(self) -> bool:
        """Whether one pane has all the room."""
        return self.maximised or self.size.width < WIDE[0] or self.size.height < WIDE[1]

    def focus_pane(self, number: str) -> None:
        """Bring the pane of that number on screen and give it the keys."""
        if self.single and number != self.current:
            # Hiding the pane that has the focus would move it on to any other, and `current` with it.
            self.set_focus(None)
        self.current = number
        self.pane(number).focus_content()

    def leave(self) -> bool:
        """Step out of what is open, innermost first; False when there was nothing."""
        if isinstance(self.focused, (Input, TextArea)):
            self.focus_pane("1")
        elif self.query_one(AnswerBox).dismiss():
            pass
        elif self.searched is not None:
            self.search(self.searched, "")
        elif self.maximised:
            self.maximised = False
        else:
            return False
        return True

    def search(self, pane: Pane, pattern: str) -> None:
        """Search in `pane`; an empty pattern ends the search."""
        # In the pane's own turn: what it posts while the screen is at work would go no further than the screen.
        pane.call_later(pane.search, pattern)
        self.searched = pane if pattern else None

    def open_prompt(self, mode: str, text: str = "") -> None:
        """Show the prompt; the focus returns to where it is now."""
        if not self.prompt.is_open:
            self._before_prompt = self.focused
        self.prompt.open(mode, text)

    @on(PromptBar.Closed)
    def _prompt_closed(self) -> None:
        target = self._before_prompt
        if target is not None and target.is_attached:
            self.set_focus(target)  # now, as it is taken: keys may be waiting
        else:
            self.focus_pane(self.current)

    @on(PromptBar.SearchChanged)
    def _search(self, event: PromptBar.SearchChanged) -> None:
        self.search(self.pane(self.current), event.pattern)

    @on(FrameSelected)
    def _frame_selected(self, event: FrameSelected) -> None:
        words = getattr(self.app, "words", None)
        if words is not None:
            words.chosen(event.number, event.frame)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane that holds the focus is the current one."""
        if event.widget is not self.focused:
            return  # told late: the focus has moved on, and with it `current`
        for node in event.widget.ancestors_with_self:
            if isinstance(node, Pane):
                self.current = node.NUMBER
                return

    def on_resize(self) -> None:
        """Side by side or one at a time, as the new size allows; panes, focus and selection stay."""
        self._lay_out()

    def watch_view(self) -> None:
        """A short list of parameters leaves its room to the values."""
        recorded = self.view.looking_at if self.view is not None else None
        listing = recorded.parameters if recorded is not None else None
        rows = max(listing.everything, listing.total) if listing is not None else self._parameters
        if rows != self._parameters:
            self._parameters = rows
            self._share_rows()

    def _share_rows(self) -> None:
        rows, frame = self._parameters, 3  # two borders and the header of the table
        pane = self.pane(ParametersPane.NUMBER)
        pane.styles.max_height = None if self.single or not rows else max(rows, LEAST_ROWS) + frame

    def watch_current(self) -> None:
        """Only the current pane is on screen when one has all the room."""
        if self.is_mounted:
            self._lay_out()

    def watch_maximised(self) -> None:
        """All the room for one, or shared again."""
        if self.is_mounted:
            self._lay_out()

    def _lay_out(self) -> None:
        current = self.pane(self.current)
        for pane in self.query(Pane):
            pane.set_class(pane is current, "-current")
        for column in self.query(".column"):
            column.set_class(column in current.ancestors, "-current")
        self._share_rows()
        self.set_class(self.single, "-single")
        self.set_class(self.single and self.current == RailPane.NUMBER, "-rail-only")
