"""The user's source with the line about to run, and the call stack above it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import PurePath
from typing import ClassVar

from textual.content import Content
from textual.highlight import highlight
from textual.widget import Widget

from stepdbg.client.store import Recorded, View
from stepdbg.protocol.breakpoints import Kind
from stepdbg.protocol.messages import GetSource, Query
from stepdbg.protocol.records import Frame, SourceText, StopRecord
from stepdbg.ui.messages import FrameSelected
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.widgets.line_list import LineList, Span, Spans
from stepdbg.ui.widgets.source_view import SourceView

MOST_FRAMES = 5
TAB = 8


class StackList(LineList[Frame]):
    """Frames, innermost first; those of libraries are dimmed and say so."""

    here: int | None = None

    def format_row(self, index: int, row: Frame) -> Spans:
        mark: Span = ("▶ ", "name") if index == self.here else ("  ", "")
        place = f"{PurePath(row.file).name}:{row.line}"
        if row.is_user:
            return [mark, (place, "name"), (f"  {row.function}", "")]
        return [mark, (f"{place}  {row.function}  (library)", "guide")]


class SourcePane(RecordedPane):
    """Pane 5."""

    NUMBER = "5"
    TITLE = "Source"
    QUERY = GetSource
    HELP: ClassVar[str | None] = """\
The file of the innermost frame of your code. `▶` marks the line about to run (after an exception: the line
that raised), `▌` is the cursor. Below stands the call stack, innermost first; frames of libraries are
dimmed and say *(library)*. Moving the cursor in the stack (or `:up`, `:down`, `:frame 2`) selects that
frame: its file is shown, and expressions run in it.

`●` marks a line with a breakpoint (`○`: switched off); `b` sets one at the cursor, or deletes it.

*changed on disk since the run began*: what you see is the file as it is now, not what runs.

`/` jumps to the next line that contains the text, and once more to the one after it. `h` `l` left right
shift the text sideways; up, down or `ctrl+k`, `j` move (vim's `k` is *skip* here); `tab` goes to the stack.
"""
    DEFAULT_CSS = """
    SourcePane StackList { height: 4; border-top: solid $border-blurred; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.text = SourceView()
        self.stack = StackList()
        self._stop: StopRecord | None = None
        self._frame: int | None = None
        self._chosen: tuple[int, int] | None = None
        """Number of the stop and index of the frame that was selected by a command."""
        self._source: SourceText | None = None
        self._shown: tuple[str, int] | None = None
        self._lines: list[Content] = []
        self._plain: list[str] = []

    def content(self) -> Iterable[Widget]:
        yield self.text
        yield self.stack

    @property
    def place(self) -> tuple[str, int] | None:
        """File and number of the line under the cursor; until the source is here, of the line about to run. None: no
        line of the user's code is running.
        """
        frame = self.frame
        if frame is not None and self.text.total:
            return frame.file, self.text.cursor + 1
        recorded = self.view.looking_at if self.view is not None else None
        stop = recorded.stop if recorded is not None else None
        if frame is None and stop is not None and stop.here is not None:
            frame = stop.stack[stop.here]
        return (frame.file, frame.line) if frame is not None else None

    # ── state down ──────────────────────────────────────────────────────────────────────────────────────────

    def parts(self, view: View, recorded: Recorded) -> tuple[object, ...]:
        frame = self.frame if recorded.stop is self._stop else None
        return view.sources.get(frame.file) if frame is not None else None, view.book

    def show_stop(self, recorded: Recorded) -> str | None:
        stop = recorded.stop
        if stop is not self._stop:
            self._stop = stop
            chosen = self._chosen
            self._frame = chosen[1] if chosen is not None and chosen[0] == stop.number else stop.here
            self._shown = None
            self._show_stack(stop)
        frame = self.frame
        if frame is None:
            self._clear_text()
            self.set_subtitle("")
            return stop.note or "No line of your code is running at this stop."
        self.set_subtitle(f"{PurePath(frame.file).name}:{frame.line}")
        source = self.view.sources.get(frame.file) if self.view is not None else None
        if source is None:
            self.ask(GetSource(0, frame.file))
            return None
        if source is not self._source:
            self._load(source)
        if source.text is None:
            self.text.show_text([], None)
            return f"{frame.file}: {source.note or 'its source cannot be read'}"
        self.text.show_marks(self._breakpoints(frame.file))
        if self._shown != (frame.file, frame.line):
            self._shown = (frame.file, frame.line)
            self.text.show_text(self._lines, frame.line - 1)
            self.text.centre(frame.line - 1)
        return ""

    def _breakpoints(self, file: str) -> dict[int, str]:
        """The rows of that file with a breakpoint, and its sign."""
        rows = self.view.book.rows if self.view is not None and self.view.book is not None else ()
        here = [row.spec for row in rows if row.spec.kind is Kind.LINE and row.spec.target == file]
        return {spec.line - 1: "●" if spec.enabled else "○" for spec in here}

    def wanted(self, stop: StopRecord) -> tuple[Query, ...]:
        if self.view is None or stop.here is None or not 0 <= stop.here < len(stop.stack):
            return ()
        file = stop.stack[stop.here].file
        return () if file in self.view.sources else (GetSource(0, file),)

    def clear(self) -> None:
        self._clear_text()
        if self.view is None or self.view.looking_at is None:
            self.set_subtitle("")
            self._stop = None
            self.stack.show({}, 0)

    def _clear_text(self) -> None:
        self._source = self._shown = None
        self._lines, self._plain = [], []
        self.text.show_text([], None)

    def why_missing(self) -> str:
        frame = self.frame
        if frame is None or self.live or self.view is None or self.view.looking_at is None:
            return super().why_missing()
        return f"{frame.file} was not read while the script stood there."

    def state_text(self) -> str:
        if self._source is None:
            return ""
        parts = ["changed on disk since the run began"] if self._source.changed else []
        parts += [self._source.note] if self._source.note else []
        return " · ".join(parts)

    @property
    def frame(self) -> Frame | None:
        """The frame whose file is shown."""
        if self._stop is None or self._frame is None or not 0 <= self._frame < len(self._stop.stack):
            return None
        return self._stop.stack[self._frame]

    def _show_stack(self, stop: StopRecord) -> None:
        self.stack.here = stop.here
        self.stack.styles.height = min(len(stop.stack), MOST_FRAMES) + 1
        self.stack.display = bool(stop.stack)
        self.stack.show(dict(enumerate(stop.stack)), len(stop.stack))
        self.stack.go_to(self._frame or 0)

    def select(self, stop: int, frame: int) -> None:
        """Show the file of that frame of the stop of that number, now or when the pane comes on screen."""
        self._chosen = stop, frame
        if self._stop is not None and self._stop.number == stop:
            self._frame = frame
            self.stack.go_to(frame)
            self.update_pane()

    # ── text ────────────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, source: SourceText) -> None:
        """Show the plain text at once, and highlight it in a thread: that takes 2 µs a character."""
        self._source = source
        self._shown = None
        text = (source.text or "").expandtabs(TAB)
        self._plain = text.split("\n")
        self._lines = [Content(line) for line in self._plain]
        if text:
            self.run_worker(self._highlight(source, text), group="highlight", exclusive=True)

    async def _highlight(self, source: SourceText, text: str) -> None:
        content = await asyncio.to_thread(highlight, text, language="python", tab_size=TAB)
        self._highlighted(source, content.split("\n", allow_blank=True))

    def _highlighted(self, source: SourceText, lines: list[Content]) -> None:
        if source is self._source:
            missing = [Content(line) for line in self._plain[len(lines) :]]
            self._lines = [*lines, *missing][: len(self._plain)]
            self.text.show_text(self._lines, self.text.here)

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def search(self, pattern: str) -> None:
        """Go to the next line below the cursor that contains `pattern`, from the top again at the end."""
        if not pattern or not self._plain:
            return
        wanted = pattern.lower()
        count = len(self._plain)
        order = ((self.text.cursor + step) % count for step in range(1, count + 1))
        found = next((row for row in order if wanted in self._plain[row].lower()), None)
        if found is None:
            self.set_state(f"no line contains “{pattern}”")
        else:
            self.set_state()
            self.text.centre(found)

    def on_line_list_cursor_moved(self, event: LineList.CursorMoved) -> None:
        event.stop()
        if event.list is self.stack:
            self._frame = event.index
            if self._stop is not None:
                self.post_message(FrameSelected(self._stop.number, event.index))
            self.update_pane()

    on_line_list_row_chosen = on_line_list_cursor_moved
