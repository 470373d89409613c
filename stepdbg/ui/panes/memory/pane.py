"""Bytes held for training, by category, with their course over the last boundaries as stacked bars."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from stepdbg.client.store import Recorded, View
from stepdbg.protocol.leaks import GetLeaks
from stepdbg.protocol.memory import GetOtherMemory
from stepdbg.protocol.messages import GetMemory, Query
from stepdbg.protocol.records import StopRecord
from stepdbg.ui.panes.memory import drawn, model
from stepdbg.ui.panes.memory.help import HELP
from stepdbg.ui.panes.recorded import RecordedPane


class MemoryPane(RecordedPane):
    """Pane 4."""

    NUMBER = "4"
    TITLE = "Memory"
    QUERY = GetMemory
    HELP: ClassVar[str | None] = HELP
    DEFAULT_CSS = """
    MemoryPane VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; padding: 0 1; }
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

    def on_descendant_focus(self) -> None:
        """Looked at closely: what costs a pass over all objects is counted now."""
        self.update_pane()

    def parts(self, _view: View, recorded: Recorded) -> tuple[object, ...]:
        return recorded.memory, recorded.others, recorded.rss, recorded.graph, recorded.working, recorded.leaks

    def show_stop(self, recorded: Recorded) -> str | None:
        if recorded.memory is None:
            self.ask(GetMemory(0))
            if recorded.rss is None:
                return None
        elif recorded.others is None and self._scroll.has_focus and "GetOtherMemory" not in recorded.failed:
            self.ask(GetOtherMemory(0))
        view = self.view
        assert view is not None
        room = self._table.size.width or self.size.width - 5
        memory = recorded.memory
        self.set_subtitle(f"{model.at_least(memory)}{model.size(memory.held)} held for training" if memory else "")
        headline = model.headline(recorded) if memory is not None else self.why_missing()
        lines = drawn.top(view, recorded, headline, room, self._scroll.size.height)
        lines += drawn.wrapped(model.sentences(recorded, drawn.moments_of(view)), room)
        self._show_lines(lines)
        return ""

    def wanted(self, stop: StopRecord) -> tuple[Query, ...]:
        # Leaks are looked for once an iteration, and only where the user has begun to: it goes through all objects.
        known = self.view.leaks if self.view is not None else None
        again = known is not None and known.iteration != stop.iteration
        return (GetMemory(0), GetLeaks(0)) if again else (GetMemory(0),)

    def clear(self) -> None:
        self.set_subtitle("")
        self._show_lines([])

    def _show_lines(self, lines: list[Content]) -> None:
        """Lay the pane out anew only where the lines need more room than it has: that repaints the screen."""
        lines = lines + [Content("")] * (self._scroll.size.height - len(lines))
        self._table.update(Content("\n").join(lines), layout=len(lines) != self._height)
        self._height = len(lines)
