"""The script's terminal: bytes go in, styled lines come out. No widgets and no I/O.

pyte draws at one to three microseconds a character, which is too slow for a script that prints 100,000
lines. So `feed` only queues, `drain` works for as long as it is given, and a run of simple lines (printable
text and colours, each ended by a carriage return and a line feed, on an empty last row) goes straight into
the scrollback. Both ways give the same lines, wherever the bytes are split.
"""

from __future__ import annotations

import codecs
import re
import time
import unicodedata
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pyte
from pyte import modes
from wcwidth import wcwidth

Style = tuple[str, str, bool, bool, bool, bool, bool, bool]
"""Foreground, background, bold, italics, underscore, strikethrough, reverse, blink: as in
`pyte.screens.Char`."""
Run = tuple[str, Style]
Line = tuple[Run, ...]
"""Runs of text in one style each, without trailing blanks in the default style."""

DEFAULT: Style = ("default", "default", False, False, False, False, False, False)
SCROLLBACK = 10_000
STEP = 1024
"""Characters drawn by pyte between two looks at the clock: about 2 ms."""
FAST_STEP = 32 * 1024
"""Characters scrolled through the fast way between two looks at the clock."""
MOST_QUEUED = 16 * 1024 * 1024
"""Characters; beyond that, lines that would scroll out of sight anyway are counted and dropped undrawn."""

# Characters that certainly take one column each: ASCII, Latin, Greek, Cyrillic, dashes, arrows, mathematics,
# boxes and blocks.
NARROW = (
    " -~\u00a1-\u00ac\u00ae-\u024f\u0391-\u03a1\u03a3-\u0482\u048a-\u052f"
    "\u2010-\u2027\u2030-\u205e\u2190-\u2319\u2500-\u25fc"
)
_SIMPLE = re.compile(rf"(?:[{NARROW}]*\r\n)+")
_COLOURED = re.compile(rf"(?:[{NARROW}]*(?:\x1b\[[0-9;]*m[{NARROW}]*)*\r\n)+")
_SGR = re.compile(r"\x1b\[([0-9;]*)m")


_ALL_NARROW = re.compile(f"[{NARROW}]*")


@lru_cache(maxsize=4096)
def _char(character: str, style: Style) -> pyte.screens.Char:
    return pyte.screens.Char(character, *style)


class _Stream(pyte.Stream):
    """A stream that survives anything: a sequence that pyte cannot carry out is dropped."""

    def _send_to_parser(self, data: str) -> bool | None:
        try:
            return super()._send_to_parser(data)
        except Exception:
            return self._taking_plain_text  # the parser has been set up afresh

    @property
    def between_sequences(self) -> bool:
        """Whether the next character starts something new."""
        return self._taking_plain_text is not None


class _Screen(pyte.Screen):
    """A screen that hands every row that scrolls off its top to `keep`."""

    def __init__(self, columns: int, lines: int, keep: Callable[[Line], None]) -> None:
        self.keep = keep
        super().__init__(columns, lines)

    def index(self) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == bottom and top == 0:
            self.keep(self.row(0))
        super().index()

    def draw(self, data: str) -> None:
        x, end = self.cursor.x, self.cursor.x + len(data)
        narrow = _ALL_NARROW.fullmatch(data) is not None or all(wcwidth(c) == 1 for c in data)
        if narrow and end <= self.columns and modes.IRM not in self.mode and not self.charset:
            # what pyte does for such text, without looking at the width of each character again
            style: Style = self.cursor.attrs[1:]
            self.buffer[self.cursor.y].update(zip(range(x, end), [_char(c, style) for c in data], strict=True))
            self.cursor.x = end
            return
        if not narrow:
            # pyte drops the rest of a text at the first character that has no width (a joiner, a selector)
            data = "".join(c for c in data if wcwidth(c) > 0 or _combines(c))
        super().draw(data)

    def set_mode(self, *given: int, **kwargs: Any) -> None:
        super().set_mode(*(m for m in given if not _sets_width(m, kwargs)), **kwargs)

    def reset_mode(self, *given: int, **kwargs: Any) -> None:
        super().reset_mode(*(m for m in given if not _sets_width(m, kwargs)), **kwargs)

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Take the new size; rows above the cursor that no longer fit go to the scrollback."""
        lines, columns = lines or self.lines, columns or self.columns
        excess = max(0, self.cursor.y + 1 - lines)
        for y in range(excess):
            self.keep(self.row(y))
        rows = {y - excess: row for y, row in self.buffer.items() if excess <= y < lines + excess}
        self.buffer.clear()
        self.buffer.update(rows)
        for row in rows.values():
            for x in [x for x in row if x >= columns]:
                del row[x]
        self.cursor.y -= excess
        self.cursor.x = min(self.cursor.x, columns)
        self.lines, self.columns = lines, columns
        self.margins = None
        self.tabstops = set(range(8, columns, 8))

    def row(self, y: int) -> Line:
        """Row `y` of the screen, 0 at the top."""
        cells = self.buffer.get(y)
        if not cells:
            return ()
        runs: list[Run] = []
        text, style = "", DEFAULT
        for x in range(min(max(cells) + 1, self.columns)):
            cell = cells[x]
            of_cell: Style = cell[1:]
            if of_cell != style:
                runs.append((text, style))
                text, style = "", of_cell
            text += cell[0]
        runs.append((text, style))
        return _trimmed(runs)

    @property
    def used(self) -> int:
        """Rows down to the last one with something on it, or above the cursor."""
        written = (y + 1 for y, cells in self.buffer.items() if y < self.lines and cells)
        return max(self.cursor.y + (self.cursor.x > 0), max(written, default=0))

    @property
    def scrolls_simply(self) -> bool:
        """Whether a line fed now would scroll the screen by its rows and do nothing else."""
        return (
            self.cursor.x == 0
            and self.cursor.y == self.lines - 1
            and self.margins is None
            and not self.buffer.get(self.lines - 1)
            and self.mode - {modes.DECTCEM} == {modes.DECAWM}
        )


class Terminal:
    """A terminal with bounded scrollback."""

    def __init__(
        self,
        columns: int = 80,
        lines: int = 24,
        *,
        scrollback: int = SCROLLBACK,
        fast_from: int = 8 * 1024,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.dropped = 0
        """Lines that have left the scrollback."""
        self._history: deque[Line] = deque(maxlen=scrollback)
        self._scrollback = scrollback
        self._screen = _Screen(columns, lines, self._keep)
        self._stream = _Stream(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._queue: deque[str] = deque()
        self._queued = 0
        self._fast_from = fast_from
        self._clock = clock

    # ── in ──────────────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, data: bytes) -> None:
        """Queue what the script wrote. Costs the decoding only."""
        text = self._decoder.decode(data)
        if text:
            self._queue.append(text)
            self._queued += len(text)
        if self._queued > MOST_QUEUED:
            self._drop_queued()

    def drain(self, budget: float | None = None) -> bool:
        """Work off the queue for about `budget` seconds (None: all of it). True when nothing is left."""
        deadline = None if budget is None else self._clock() + budget
        while self._queued:
            text = self._take(FAST_STEP if self._queued >= self._fast_from else STEP)
            rest = self._fast(text) if self._queued + len(text) >= self._fast_from else text
            if len(rest) == len(text):
                self._stream.feed(rest[:STEP])
                rest = rest[STEP:]
            if rest:
                self._queue.appendleft(rest)
                self._queued += len(rest)
            if deadline is not None and self._clock() >= deadline:
                break
        return not self._queued

    def resize(self, columns: int, lines: int) -> None:
        """Change the size in characters. Lines drawn already are not wrapped anew."""
        self._screen.resize(max(1, lines), max(1, columns))

    # ── out ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def held(self) -> int:
        """Lines that can be read: scrollback and screen, without empty rows at the end."""
        return len(self._history) + self._screen.used

    @property
    def total(self) -> int:
        """Lines since the beginning."""
        return self.dropped + self.held

    @property
    def queued(self) -> int:
        """Characters that wait to be drawn."""
        return self._queued

    @property
    def scrolled(self) -> int:
        """Lines of `held` that can no longer change."""
        return len(self._history)

    def line(self, index: int) -> Line:
        """Line `index` of `held`, 0 the oldest; empty beyond the end."""
        if index < len(self._history):
            return self._history[index]
        return self._screen.row(index - len(self._history))

    def text(self, index: int) -> str:
        """Line `index` of `held` without its styles."""
        return "".join(text for text, _style in self.line(index))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self, line: Line) -> None:
        if len(self._history) == self._scrollback:
            self.dropped += 1
        self._history.append(line)

    def _take(self, most: int) -> str:
        """The next `most` characters of the queue, or fewer."""
        parts: list[str] = []
        size = 0
        while self._queue and size < most:
            part = self._queue.popleft()
            if size + len(part) > most:
                self._queue.appendleft(part[most - size :])
                part = part[: most - size]
            parts.append(part)
            size += len(part)
        self._queued -= size
        return "".join(parts)

    def _fast(self, text: str) -> str:
        """Scroll the simple lines at the start of `text` through; returns what is left of it."""
        if not (self._stream.between_sequences and self._screen.scrolls_simply):
            return text
        match = _SIMPLE.match(text)
        if match is not None:
            columns = self._screen.columns
            style: Style = self._screen.cursor.attrs[1:]
            rows = [
                piece
                for line in match.group()[:-2].split("\r\n")
                for piece in (
                    (line,)
                    if len(line) <= columns
                    else [line[at : at + columns] for at in range(0, len(line), columns)]
                )
            ]
            self._scroll(len(rows), lambda index: _trimmed([(rows[index], style)]))
            return text[match.end() :]
        match = _COLOURED.match(text)
        if match is None:
            return text
        lines = []
        end = 0
        for line in match.group()[:-2].split("\r\n"):
            if len(_SGR.sub("", line)) > self._screen.columns:
                break
            lines.append(self._coloured(line))
            end += len(line) + 2
        self._scroll(len(lines), lines.__getitem__)
        return text[end:]

    def _coloured(self, line: str) -> Line:
        """`line` as runs, with its colour changes carried out on the cursor."""
        runs: list[Run] = []
        for at, part in enumerate(_SGR.split(line)):
            if at % 2:
                codes = [min(int(code or 0), 9999) for code in part.split(";")]
                self._screen.select_graphic_rendition(*codes)
                continue
            style: Style = self._screen.cursor.attrs[1:]
            if runs and runs[-1][1] == style:
                runs[-1] = (runs[-1][0] + part, style)
            elif part:
                runs.append((part, style))
        return _trimmed(runs)

    def _scroll(self, count: int, made: Callable[[int], Line]) -> None:
        """Scroll `count` new rows in above the (empty) last row."""
        above = self._screen.lines - 1
        for y in range(min(above, count)):
            self._keep(self._screen.row(y))
        unseen = max(0, count - above)
        first = max(0, unseen - self._scrollback)
        self.dropped += first
        for index in range(first, unseen):
            self._keep(made(index))
        shift = min(above, count)
        buffer = self._screen.buffer
        kept = {y - shift: row for y, row in buffer.items() if y >= shift}
        buffer.clear()
        buffer.update(kept)
        for y, index in enumerate(range(unseen, count), above - shift):
            self._write(y, made(index))

    def _write(self, y: int, line: Line) -> None:
        cells = self._screen.buffer[y]
        x = 0
        for text, style in line:
            for character in text:
                cells[x] = _char(character, style)
                x += 1

    def _drop_queued(self) -> None:
        """Leave out lines in the middle of the queue that would be scrolled out of sight in the end."""
        text = self._take(self._queued)
        cut = len(text)
        for _ in range(self._scrollback + self._screen.lines):
            cut = text.rfind("\n", 0, cut)
            if cut < 0:
                break
        keep = max(cut + 1, len(text) - MOST_QUEUED // 2)
        self.dropped += text.count("\n", 0, keep)
        self._queue.append(text[keep:])
        self._queued = len(text) - keep


def _trimmed(runs: list[Run]) -> Line:
    """`runs` without empty ones and without trailing default blanks."""
    runs = [run for run in runs if run[0]]
    while runs and runs[-1][1] == DEFAULT:
        text = runs[-1][0].rstrip(" ")
        if text:
            runs[-1] = (text, DEFAULT)
            break
        runs.pop()
    return tuple(runs)


def _combines(character: str) -> bool:
    return unicodedata.combining(character) != 0


def _sets_width(mode: int, kwargs: dict[str, Any]) -> bool:
    """Whether it is DECCOLM, 80 or 132 columns: the pane has the size that it has."""
    return mode == 3 and bool(kwargs.get("private"))
