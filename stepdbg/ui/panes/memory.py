"""Bytes held for training, by category, with their course over the last stops."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from stepdbg.client.store import Recorded, View
from stepdbg.protocol.memory import MemoryRecord
from stepdbg.protocol.messages import GetMemory, Query
from stepdbg.protocol.records import StopRecord
from stepdbg.ui import format as fmt
from stepdbg.ui.panes.recorded import RecordedPane

LABEL = 20
NUMBER = 10
CHANGE = 12
LONGEST = 60
Reading = Callable[[Recorded], int | None]

ROWS: tuple[tuple[str, Reading], ...] = (
    ("parameters", lambda r: r.memory.parameters if r.memory else None),
    ("gradients", lambda r: r.memory.gradients if r.memory else None),
    ("optimizer state", lambda r: r.memory.optimizer if r.memory else None),
    ("buffers", lambda r: r.memory.buffers if r.memory else None),
    ("saved for backward", lambda r: r.memory.graph if r.memory else None),
    ("held for training", lambda r: held(r.memory) if r.memory else None),
    ("process (RSS)", lambda r: r.rss),
)


class MemoryPane(RecordedPane):
    """Pane 4."""

    NUMBER = "4"
    TITLE = "Memory"
    QUERY = GetMemory
    HELP: ClassVar[str | None] = """\
Bytes at this stop, the change since the stop before (`+` `−`, `=` the same), and the course over the last
stops: `▁` is the least and `█` the most of what is shown; a gap is a stop at which it was not measured.

**parameters**, **gradients**, **optimizer state**, **buffers**: each storage is counted once, in the first
category that holds it. **saved for backward**: what the live graph keeps, without parameters and buffers; 0
once backward has freed it. **held for training**: the sum. **process (RSS)**: resident memory of the whole
process, with libraries and caches.

Gradients are *summed in place*: without `zero_grad` their values grow, not their bytes. Bytes grow from
stop to stop when a graph is kept alive, as `total += loss` does.
"""
    DEFAULT_CSS = """
    MemoryPane VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; padding: 0 1; }
    MemoryPane Static { height: auto; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._table = Static("", classes="memory--table")
        self._scroll = VerticalScroll(self._table)
        self._height = 0

    def content(self) -> Iterable[Widget]:
        yield self._scroll

    def on_resize(self) -> None:
        self.update_pane()

    def parts(self, _view: View, recorded: Recorded) -> tuple[object, ...]:
        return recorded.memory, recorded.rss, recorded.graph

    def show_stop(self, recorded: Recorded) -> str | None:
        if recorded.memory is None:
            self.ask(GetMemory(0))
            if recorded.rss is None:
                return None
        view = self.view
        assert view is not None
        at = len(view.history) - 1 - view.ago
        room = self._table.size.width or self.size.width - 4
        stops = view.history[max(0, at + 1 - LONGEST) : at + 1]
        lines = [memory_line(label, read, stops, room) for label, read in ROWS]
        memory = recorded.memory
        if memory is not None:
            self.set_subtitle(f"{at_least(memory)}{fmt.byte_count(held(memory))} held for training")
            sentences = [gradients_sentence(memory)]
            freed = recorded.graph is not None and recorded.graph.page.freed and memory.graph == 0
            sentences += ["saved for backward: freed by backward."] if freed else []
            sentences += [f"{memory.note.rstrip('.')}."] if memory.note else []
            lines += [Content(""), *_wrapped(sentences, room)]
        else:
            self.set_subtitle("")
            reason = self.why_missing()
            lines += [Content(""), *_wrapped([reason], room)]
        self._show_lines(lines)
        return ""

    def wanted(self, _stop: StopRecord) -> tuple[Query, ...]:
        return (GetMemory(0),)

    def clear(self) -> None:
        self.set_subtitle("")
        self._show_lines([])

    def _show_lines(self, lines: list[Content]) -> None:
        """Lay the pane out anew only where the lines need more room than it has: that repaints the screen."""
        lines = lines + [Content("")] * (self._scroll.size.height - len(lines))
        self._table.update(Content("\n").join(lines), layout=len(lines) != self._height)
        self._height = len(lines)


def _wrapped(sentences: Iterable[str], width: int) -> list[Content]:
    lines = [line for text in sentences for line in textwrap.wrap(text, max(width, 1))]
    return [Content.styled(line, "$foreground 70%") for line in lines]


def held(memory: MemoryRecord) -> int:
    """Bytes of all categories that are known."""
    known = memory.parameters + memory.gradients + memory.optimizer + memory.buffers
    return known + (memory.graph or 0)


def at_least(memory: MemoryRecord) -> str:
    """What stands before a sum that lacks the graph."""
    return "" if memory.graph is not None else "at least "


def gradients_sentence(memory: MemoryRecord) -> str:
    """What the gradients are the sum of."""
    if not memory.gradient_count:
        return "gradients: none (.grad is None everywhere)."
    of = f"gradients of {fmt.plural(memory.gradient_count, 'parameter')}"
    if memory.backwards == 0:
        return f"{of}: cleared, no backward pass since."
    if memory.backwards == 1:
        return f"{of}: of 1 backward pass."
    return f"{of}: {memory.backwards:,} backward passes summed in place."


def memory_line(label: str, read: Reading, stops: tuple[Recorded, ...], width: int) -> Content:
    """One category of the last of `stops`: label, bytes, change since the stop before, course."""
    values = [read(stop) for stop in stops]
    now = values[-1]
    before = values[-2] if len(values) > 1 else None
    text = fmt.byte_count(now) if now is not None else "unknown"
    change = ""
    if now is not None and before is not None:
        sign = "+" if now > before else fmt.MINUS
        change = "=" if now == before else f"{sign}{fmt.byte_count(abs(now - before))}"
    strong = "bold" if label == "held for training" else ""
    parts: list[Content] = [
        Content.styled(label.ljust(LABEL), strong or "$foreground 80%"),
        Content.styled(text.rjust(NUMBER), strong if now is not None else "$foreground 60%"),
    ]
    room = width - LABEL - NUMBER
    if room >= CHANGE:
        parts.append(Content.styled(change.rjust(CHANGE), "$foreground 60%" if change == "=" else "$warning"))
        room -= CHANGE
    if room >= 4:
        parts.append(Content.styled("  " + fmt.sparkline(values, min(room - 2, LONGEST)), "$primary"))
    return Content("").join(parts)
