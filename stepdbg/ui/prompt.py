"""The line at the bottom: `:` takes a command, `/` a search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.getters import query_one
from textual.message import Message
from textual.widgets import Input, Static

from stepdbg.client.history import History
from stepdbg.commands import Parsed, asks, complete, parse
from stepdbg.errors import UsageError

HISTORY = 1_000
"""Lines remembered for each of the two uses."""


MOST_LISTED = 60
"""Completions that are listed; tab goes round through all of them."""


def _last_word(text: str) -> str:
    return text.rpartition(" ")[2]


class PromptInput(Input):
    """Where it is typed. After an `enter` here nobody knows who has the next key before it is `PromptBar.Answered`."""


class PromptBar(Vertical):
    """Hidden until opened; says what came of it by its messages."""

    HELP = """\
Type a command by its name or the beginning of it. `tab` completes, `up` and `down` bring back earlier lines,
`enter` runs it, `escape` closes the prompt. After `p`, `!` and `display` it completes the names of the selected frame.
"""
    DEFAULT_CSS = """
    PromptBar {
        height: auto;
        display: none;
        Horizontal { height: 1; }
        #prompt-mark { width: 2; padding-left: 1; color: $accent; text-style: bold; }
        Input, Input:focus { height: 1; border: none; padding: 0; background: $surface; }
        #prompt-message { height: auto; padding: 0 1; background: $surface; color: $foreground; }
    }
    PromptBar.-open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "recall(-1)", "Earlier line", show=False),
        Binding("down", "recall(1)", "Later line", show=False),
        Binding("tab", "complete", "Complete", show=False),
        Binding("escape", "dismiss", "Close the prompt", show=False),
    ]

    class CommandEntered(Message):
        """A command line that can be run."""

        def __init__(self, parsed: Parsed) -> None:
            super().__init__()
            self.parsed = parsed

    class SearchChanged(Message):
        """The pattern as far as it is typed; `done` once it is entered or given up."""

        def __init__(self, pattern: str, *, done: bool) -> None:
            super().__init__()
            self.pattern = pattern
            self.done = done

    class Answered(Message):
        """What `enter` was pressed for is done, or refused: keys that came behind it may have their turn."""

    class Closed(Message):
        """The prompt is gone; the focus belongs where it was."""

    input = query_one(PromptInput)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.history: History | None = None
        """Where lines are kept for the next session, set by the app."""
        self.mode = ":"
        self._lines: dict[str, list[str]] = {":": [], "/": []}
        self._position = 0
        """Index into the lines of this mode; their number for the line being typed."""
        self._tabs: list[str] = []
        """Completions that repeated tabs go round through."""

    def compose(self) -> ComposeResult:
        """The mark, the input and a line for what was wrong."""
        with Horizontal():
            yield Static(":", id="prompt-mark")
            yield PromptInput(id="prompt-input", select_on_focus=False)
        yield Static("", id="prompt-message", markup=False)

    def remember(self, history: History) -> None:
        """Begin with the lines of earlier sessions, and keep those of this one."""
        for mode, line in history.load():
            self._lines[mode].append(line)
        self.history = history

    @property
    def is_open(self) -> bool:
        """Whether the prompt is on screen."""
        return self.has_class("-open")

    def open(self, mode: str, text: str = "") -> None:
        """Show the prompt for `mode`, ":" or "/", with `text` in it. What was told before goes: on 24 lines it would
        lie over the prompt and over what the next command answers.
        """
        self.app.clear_notifications()
        self.mode = mode
        self._position = len(self._lines[mode])
        self._tabs = []
        self._say("")
        self.query_one("#prompt-mark", Static).update(mode)
        self.add_class("-open")
        with self.prevent(Input.Changed):
            self.input.value = text
        self.input.cursor_position = len(text)
        self.screen.set_focus(self.input)  # now: `focus()` would do it later, and letters may be waiting

    def close(self) -> None:
        """Hide the prompt."""
        self.remove_class("-open")
        self.post_message(self.Closed())

    def action_dismiss(self) -> None:
        """Close without running anything; a search is taken back."""
        if self.mode == "/":
            self.post_message(self.SearchChanged("", done=True))
        self.close()

    def action_recall(self, step: int) -> None:
        """Bring back an earlier line, or return towards the one being typed."""
        lines = self._lines[self.mode]
        self._position = min(max(self._position + step, 0), len(lines))
        self._replace(lines[self._position] if self._position < len(lines) else "")

    def action_complete(self) -> None:
        """Complete; with several possibilities list them, and go round through them on further tabs."""
        if self.mode != ":":
            return
        line = self.input.value
        if self._tabs and line in self._tabs:
            self._replace(self._tabs[(self._tabs.index(line) + 1) % len(self._tabs)])
            return
        asked, words = asks(line), getattr(self.app, "words", None)
        if asked is not None and words is not None:
            words.complete(*asked, lambda texts, why: self._completed(line, texts, why))
            return
        self._completed(line, complete(line, getattr(self.app, "view", None)))

    def _completed(self, line: str, texts: Sequence[str], why: str = "") -> None:
        """Show what `line` may become, unless it has been changed meanwhile; `why` there is nothing."""
        if line != self.input.value or not self.is_open:
            return
        self._tabs = list(texts)
        if not self._tabs:
            self._say(why or f"nothing begins with {line!r}")
        elif len(self._tabs) == 1:
            self._replace(self._tabs[0] if asks(line) is not None else f"{self._tabs[0]} ")
            self._tabs = []
        else:
            last = (lambda text: re.split(r"[^\w]", text)[-1]) if asks(line) is not None else _last_word
            self._say("  ".join(last(choice) for choice in self._tabs[:MOST_LISTED]))
            self._replace(self._tabs[0])

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if not self.is_open:
            return
        if event.value not in self._tabs:
            self._say("")
        if self.mode == "/":
            self.post_message(self.SearchChanged(event.value, done=False))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._enter(event.value.strip())
        self.post_message(self.Answered())

    def _enter(self, line: str) -> None:
        if line and self._lines[self.mode][-1:] != [line]:
            self._lines[self.mode] = [*self._lines[self.mode], line][-HISTORY:]
            if self.history is not None:
                self.history.add(self.mode, line)
        self._position = len(self._lines[self.mode])
        if self.mode == "/":
            self.post_message(self.SearchChanged(line, done=True))
            self.close()
            return
        if not line:
            self.close()
            return
        try:
            parsed = parse(line)
        except UsageError as error:
            self._say(str(error))
            return
        self.close()
        self.post_message(self.CommandEntered(parsed))

    def _replace(self, text: str) -> None:
        self.input.value = text
        self.input.cursor_position = len(text)

    def _say(self, text: str) -> None:
        message = self.query_one("#prompt-message", Static)
        message.update(text)
        message.display = bool(text)
