"""A line for what takes a while, and how to leave it."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from stepdbg.protocol.words import STUCK

WIDTH = 20
"""Columns of the bar."""


class ProgressLine(Widget, can_focus=False):
    """On screen only while there is something to tell."""

    DEFAULT_CSS = """
    ProgressLine { height: 1; display: none; padding: 0 1; background: $surface; text-wrap: nowrap; }
    """

    progress: reactive[tuple[str, int, int] | None] = reactive(None)
    """What is done, how much of it is, and of how much; None: nothing."""

    def watch_progress(self) -> None:
        """Take the line's room, or give it back."""
        self.display = self.progress is not None

    def render(self) -> Content:
        """The words, a bar, numbers, and the key that stops it."""
        if self.progress is None:
            return Content("")
        what, done, total = self.progress
        leave = "" if what == STUCK else " · escape stops it", "$foreground 75%"
        if not total:
            return Content.assemble(f"{what}: {done:,}", leave)
        share = min(done / total, 1.0)
        filled = int(share * WIDTH)
        bar = ("━" * filled, "$accent"), ("─" * (WIDTH - filled), "$text-disabled")
        return Content.assemble(f"{what} ", *bar, f" {share:.0%}", leave)
