"""The script's terminal: what it prints, and a line for its standard input."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from stepdbg.client.store import Status
from stepdbg.ui import format as fmt
from stepdbg.ui.messages import ConsoleInput, ConsoleResized
from stepdbg.ui.panes.pane import Pane
from stepdbg.ui.terminal import Terminal
from stepdbg.ui.widgets.terminal_view import TerminalView

SLICE = 0.008
"""Seconds of drawing between two looks at the keyboard."""
TICK = 1 / 60


class InputLine(Input):
    """A line for the script; control-C and control-D go to the script as they would in a terminal."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "control('\\x03')", "Interrupt the script", show=False),
        Binding("ctrl+d", "control('\\x04')", "End of input", show=False),
        Binding("escape", "leave", "Back to the output", show=False),
    ]

    def action_control(self, key: str) -> None:
        """Send a control character."""
        self.post_message(ConsoleInput(key.encode()))

    def action_leave(self) -> None:
        """Give the keys back to the output."""
        self.screen.query_one(TerminalView).focus()


class ConsolePane(Pane):
    """Pane 6. Posts ConsoleInput and ConsoleResized; the app calls `feed`."""

    NUMBER = "6"
    TITLE = "Console"
    HELP: ClassVar[str | None] = """\
What the script writes to its terminal, in its colours; progress bars work. The last 10,000 lines stay: the
lower border tells how many older ones are gone, or how much output still waits to be drawn.

The line below (`tab`) is the script's standard input: `enter` sends it, `ctrl+c` interrupts the script,
`ctrl+d` is the end of input, `escape` goes back to the output. Up, down or `ctrl+k`, `j` scroll (vim's `k`
is *skip* here), `g` `G` go to the ends; at the end the view follows new output. `/` goes to the next older
line that contains the text.
"""
    DEFAULT_CSS = """
    ConsolePane > .console--sentence { height: auto; padding: 0 1; color: $foreground 70%; display: none; }
    ConsolePane.-silent > .console--sentence { display: block; }
    ConsolePane > InputLine {
        height: 1; border: none; padding: 0 1; background: $panel;
        &:focus { border: none; background: $boost; }
    }
    ConsolePane.-no-console > InputLine { display: none; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.terminal = Terminal()
        self.output = TerminalView(self.terminal)
        self.input = InputLine(placeholder="input for the script: enter sends", compact=True, select_on_focus=False)
        self._sentence = Static("", classes="console--sentence", markup=False)
        self._said = ""
        self._console_size = (0, 0)
        self._found: int | None = None

    def compose(self) -> ComposeResult:
        yield self._sentence
        yield self.output
        yield self.input

    def on_mount(self) -> None:
        self._timer = self.set_interval(TICK, self._draw, pause=True)
        if self.terminal.queued:
            self._timer.resume()
        self._say()

    # ── output ──────────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, data: bytes) -> None:
        """Take what the script wrote. It is drawn in slices of 8 ms, so that a flood blocks nothing."""
        self.terminal.feed(data)
        if self.is_mounted:
            self._timer.resume()

    def _draw(self) -> None:
        if self.terminal.drain(SLICE):
            self._timer.pause()
        self.output.changed()
        self._say()

    def on_resize(self) -> None:
        self.call_after_refresh(self._take_size)

    def _take_size(self) -> None:
        size = self.output.scrollable_size
        now = (size.width, size.height)
        if now != self._console_size and size.width > 0 and size.height > 0:
            self._console_size = now
            self.terminal.resize(*now)
            self.output.changed()
            self.post_message(ConsoleResized(*now))

    # ── words ───────────────────────────────────────────────────────────────────────────────────────────────

    def watch_view(self) -> None:
        if self.is_mounted:
            self._say()

    def _say(self) -> None:
        sentence = self.why_empty()
        self.set_class(bool(sentence), "-silent")
        self.set_class(self.view is not None and not self.view.info.has_console, "-no-console")
        if sentence != self._said:
            self._said = sentence
            self._sentence.update(sentence)  # lays the pane out anew: not at every tick
        dropped, queued = self.terminal.dropped, self.terminal.queued
        parts = [f"{fmt.plural(dropped, 'older line')} gone"] if dropped else []
        parts += [f"{fmt.count(queued)} characters to draw"] if queued else []
        self.set_remark(" · ".join(parts))

    def why_empty(self) -> str:
        """One sentence that says why there is no output; empty when there is some."""
        view = self.view
        if self.terminal.held:
            return ""
        if view is None:
            return "No script has been started yet."
        if not view.info.has_console:
            return "The script runs inside another program: its output goes to that program's terminal."
        if view.status is Status.ENDED:
            return "The script has ended and has written nothing."
        return "The script has written nothing yet."

    # ── input ───────────────────────────────────────────────────────────────────────────────────────────────

    @on(Input.Submitted)
    def _send(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(ConsoleInput(event.value.encode() + b"\n"))
        self.input.clear()

    @on(Input.Changed)
    def _swallow(self, event: Input.Changed) -> None:
        event.stop()

    def search(self, pattern: str) -> None:
        """Scroll to the nearest line above the one found last (or the end) that contains `pattern`."""
        wanted = pattern.lower()
        count = self.terminal.held
        if not wanted or not count:
            self._found = None
            return
        start = self._found if self._found is not None and self._found < count else count
        order = ((start - step) % count for step in range(1, count + 1))
        self._found = next((line for line in order if wanted in self.terminal.text(line).lower()), None)
        if self._found is None:
            self.set_remark("not found")
        else:
            self.output.show_line(self._found)
            self.set_remark(f"found in line {self._found + 1 + self.terminal.dropped:,}")
