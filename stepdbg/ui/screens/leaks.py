"""What keeps graphs and tensors of earlier iterations alive, over the panes; it follows the run, stop by stop."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.client.store import Status, View
from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.plain import leaks
from stepdbg.protocol.leaks import GetLeaks, LeakReport
from stepdbg.protocol.messages import Working

STYLES = {
    "finding": "bold $error",
    "held": "bold",
    "good": "bold $success",
    "code": "$primary",
    "fix": "$foreground",
    "text": "$foreground 85%",
    "muted": "$foreground 65%",
}
"""Of the roles of `plain.leaks`."""


class LeaksScreen(ModalScreen[None]):
    """Findings first. Asked anew at every stop while it is open."""

    CSS = """
    LeaksScreen { align: center middle; background: $background 60%; }
    LeaksScreen > Vertical {
        width: 96%; max-width: 124; height: auto; max-height: 96%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
        border-subtitle-color: $foreground 75%;
    }
    LeaksScreen VerticalScroll {
        height: auto; padding: 1 1 0 2; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
    }
    LeaksScreen #leaks-text { height: auto; width: 1fr; padding: 0 0 1 0; }
    LeaksScreen .keys { height: 1; padding: 0 1; text-align: center; background: $panel; }
    LeaksScreen.-stale #leaks-text { opacity: 75%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close", show=False),
        Binding("L,r", "again", "Look again", show=False),
        Binding("w", "watch", "Watch free runs", show=False),
        Binding("y", "copy", "Copy", show=False),
        Binding("n,space", "app.command('next')", "Next phase", show=False),
        Binding("i", "app.command('iteration')", "Next iteration", show=False),
    ]

    def __init__(self, ask: Ask, query: GetLeaks) -> None:
        super().__init__()
        self._ask = ask
        self._query = query
        self.report: LeakReport | None = None
        """What is on screen."""
        self._asked: int | None = None
        self._why = ""
        """Why there is nothing to show."""
        self.text = Static("", id="leaks-text")
        self.scroll = VerticalScroll(self.text)

    def compose(self) -> ComposeResult:
        """The text, and the keys."""
        with Vertical() as box:
            box.border_title = "Leaks"
            yield self.scroll
            yield Static(self._keys(), classes="keys")

    def on_mount(self) -> None:
        """Follow the app's view; the text has the keys, to be scrolled."""
        self.scroll.focus()
        self.watch(self.app, "view", self._follow)

    def on_resize(self) -> None:
        """Lay the text out anew, once its width is known."""
        self.call_after_refresh(self._paint)

    def _follow(self, view: View | None) -> None:
        recorded = view.looking_at if view is not None else None
        if view is None or recorded is None:
            return
        self.set_class(view.status is Status.RUNNING, "-stale")
        if view.live and recorded.stop.number != self._asked:
            self._asked = recorded.stop.number
            self._look()

    def _look(self) -> None:
        self.run_worker(self._fetch(), group="leaks", exclusive=True)

    async def _fetch(self) -> None:
        try:
            report: LeakReport = await self._ask(self._query, self._told)
        except RequestError as error:
            self._why = f"Cannot be told: {error}"
        except SessionClosedError:
            self._why = "The script has gone on, or ended."
        else:
            self.report, self._why = report, ""
            self._query = replace(self._query, free=None)
        self._paint()

    def _told(self, working: Working) -> None:
        self.query_one(Vertical).border_subtitle = f"looking… {working.done:,} {working.what}, escape leaves"

    def _paint(self) -> None:
        if not self.children:
            return  # closed meanwhile
        box = self.query_one(Vertical)
        report = self.report
        width = self.text.size.width or self.size.width - 10
        if report is None or self._why:
            self.text.update(Content(self._why or "Looking at what is alive…"))
            box.border_subtitle = ""
            return
        styled = leaks.styled(report, width)
        self.text.update(Content("\n").join(Content.styled(text, STYLES.get(role, "")) for role, text in styled))
        box.border_subtitle = f"stop {report.stop:,} · iteration {report.iteration:,}"
        self.scroll.styles.max_height = max(self.size.height - 5, 4)

    @staticmethod
    def _keys() -> Content:
        pairs = [("n", "next"), ("i", "iteration"), ("w", "free runs"), ("L", "look again"), ("y", "copy")]
        pairs.append(("escape", "closes"))
        parts = [Content.assemble((key, "bold $footer-key-foreground"), f" {word}") for key, word in pairs]
        return Content("  ").join(parts)

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def action_again(self) -> None:
        """Look once more at this stop."""
        self._look()

    def action_watch(self) -> None:
        """Watch free runs too, or no longer."""
        self._query = replace(self._query, free=not (self.report is not None and self.report.free))
        self._look()

    def action_copy(self) -> None:
        """As text into the clipboard."""
        if self.report is not None:
            self.app.copy_to_clipboard("\n".join(leaks.lines(self.report)))
            self.app.notify("copied", markup=False)
