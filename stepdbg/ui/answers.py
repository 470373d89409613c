"""Answers in words: a box above the prompt that holds a few lines, and a screen over the panes for more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from stepdbg.client.store import View
from stepdbg.plain.breakpoints import bars, watching
from stepdbg.ui.words import fit

MOST = 4
"""Watched expressions that the box shows, at most: the list of breakpoints has them all."""

LEAST = 6
"""Lines that the box may always have; else a third of the screen."""


class AnswerBox(Widget, can_focus=False):
    """What is watched and displayed at every stop, and the last answer; hidden while there is neither.

    An answer goes with the stop that it was given at; `escape` closes it.
    """

    DEFAULT_CSS = """
    AnswerBox {
        height: auto;
        max-height: 50%;
        display: none;
        padding: 0 1;
        background: $surface;
        border-top: solid $border-blurred;
        border-title-color: $text-muted;
        overflow-y: hidden;
    }
    AnswerBox.-open { display: block; }
    """

    view: reactive[View | None] = reactive(None, repaint=False)

    def __init__(self) -> None:
        super().__init__()
        self.displayed: tuple[tuple[int, str, tuple[str, ...]], ...] = ()
        """Number, expression, and what it gives in lines."""
        self.watched: tuple[tuple[int, str, str, str], ...] = ()
        """As `_watched` found it last."""
        self.title = ""
        self.lines: tuple[str, ...] = ()
        self.wrong = False
        self._stop = 0

    @property
    def room(self) -> int:
        """Lines of an answer that it can hold."""
        return max(self.screen.size.height // 3, LEAST)

    def say(self, title: str, lines: Sequence[str], *, wrong: bool = False) -> None:
        """Show that answer instead of the last one."""
        self.title, self.lines, self.wrong = title, tuple(lines), wrong
        self._show()

    def show_displayed(self, displayed: Sequence[tuple[int, str, tuple[str, ...]]]) -> None:
        """Show what is displayed."""
        self.displayed = tuple(displayed)
        self._show()

    def dismiss(self) -> bool:
        """Close the answer; False when there is none."""
        if not self.lines:
            return False
        self.say("", ())
        return True

    def _watched(self) -> tuple[tuple[int, str, str, str], ...]:
        """Number, expression, what it gave at the stop on screen and its history, of what is watched."""
        view = self.view
        recorded = view.looking_at if view is not None else None
        if view is None or recorded is None:
            return ()
        made = []
        for row in watching(view.book):
            seen = [one for one in view.watched.get(row.number, ()) if one.stop <= recorded.stop.number]
            here = bool(seen) and seen[-1].stop == recorded.stop.number
            told = seen[-1].text if here else "…" if view.live else "not recorded at this stop"
            made.append((row.number, row.spec.target, told, bars([one.number for one in seen])))
        return tuple(made)

    def watch_view(self, view: View | None) -> None:
        """At another stop the answer is no longer true, and what is displayed is asked for anew."""
        watched = self._watched()
        if watched != self.watched:
            self.watched = watched
            self._show()
        number = view.history[-1].stop.number if view is not None and view.history else 0
        if view is not None and number != self._stop and view.live:
            self._stop = number
            self.dismiss()
            words = getattr(self.app, "words", None)
            if words is not None:
                words.stopped()

    def _show(self) -> None:
        self.set_class(bool(self.lines or self.displayed or self.watched), "-open")
        words = ("Watched", self.watched), ("Display", self.displayed)
        self.border_title = next((word for word, there in words if there), "Answer")
        self.refresh(layout=True)

    def render(self) -> Content:
        """The watched and displayed expressions first, then the answer under what was asked."""
        parts = []
        for number, text, told, history in self.watched[:MOST]:
            head = Content.assemble((f"watch {number}  ", "$text-muted"), (text, "bold"), (" = ", "$text-muted"), told)
            tail = Content.styled(history, "$accent")
            parts.append(fit(head, tail, self.size.width) if history else head)
        if len(self.watched) > MOST:
            parts.append(Content.styled(f"and {len(self.watched) - MOST} more: B lists them", "$text-muted"))
        for number, text, lines in self.displayed:
            head = Content.assemble((f"{number}  ", "$text-muted"), (text, "bold"))
            if len(lines) == 1:
                parts.append(Content.assemble(head, (" = ", "$text-muted"), lines[0]))
            else:
                parts += [head, *(Content(f"   {line}") for line in lines[: self.room])]
        if self.lines:
            if self.title:
                parts.append(Content.styled(self.title, "bold $accent"))
            parts += [Content.styled(line, "$text-error" if self.wrong else "") for line in self.lines]
        return Content("\n").join(parts)


class AnswerScreen(ModalScreen[None]):
    """An answer that is too long for the box."""

    CSS = """
    AnswerScreen { align: center middle; background: $background 60%; }
    AnswerScreen > Vertical {
        width: 96%; max-width: 160; height: auto; max-height: 90%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
    }
    AnswerScreen VerticalScroll { height: auto; max-height: 100%; padding: 0 1; scrollbar-size-vertical: 1; }
    AnswerScreen .keys { height: 1; text-align: center; background: $panel; color: $text-muted; dock: bottom; }
    AnswerScreen .text { height: auto; padding-bottom: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "Close", show=False),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title, self._lines = title, tuple(lines)

    def compose(self) -> ComposeResult:
        """The lines, and how to leave."""
        with Vertical() as box:
            box.border_title = Content(self._title)
            with VerticalScroll():
                yield Static("\n".join(self._lines), markup=False, classes="text")
            yield Static("↑ ↓ move   escape closes", classes="keys")

    def on_mount(self) -> None:
        """The scrolling part takes the keys."""
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, lines: int) -> None:
        """Move by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
