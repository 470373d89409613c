"""What the panes have in common that show something recorded at a stop: when to ask, and what to say
instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from stepdbg.client.store import Recorded, Status, View
from stepdbg.protocol.messages import Query
from stepdbg.protocol.records import StopRecord
from stepdbg.ui.messages import Wanted
from stepdbg.ui.panes.pane import Pane

LATE = 0.1
"""Seconds that an answer may take before the content of the stop before is dimmed."""


class RecordedPane(Pane):
    """A pane over `View.looking_at`. It works only while it is on screen, and asks only at the present stop.

    While the script runs, and when the answer to a new stop takes long, the last content stays, dimmed.
    """

    DEFAULT_CSS = """
    RecordedPane > .pane--sentence { height: auto; padding: 0 1; color: $foreground 70%; display: none; }
    RecordedPane.-sentence > .pane--sentence { display: block; }
    RecordedPane.-stale > .pane--content { opacity: 75%; }
    """

    QUERY: type[Query] | None = None
    """What the pane asks, for the reason why there is no answer."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._on_screen = False
        self._said = ""
        self._filled = False
        """Whether there is content, of this stop or of the one before."""
        self._asked: tuple[int, Query] | None = None
        self._outdated = 0
        """The stop at which what was answered is not so any more, where that has not been asked anew yet."""
        self._late: Timer | None = None
        self._sentence = Static("", classes="pane--sentence", markup=False)

    def compose(self) -> ComposeResult:
        yield self._sentence
        for widget in self.content():
            yield widget.add_class("pane--content")

    def content(self) -> Iterable[Widget]:
        """The widgets below the sentence."""
        raise NotImplementedError

    @property
    def live(self) -> bool:
        """Whether the stop on screen can be asked for more."""
        return self.view is not None and self.view.live

    def show_stop(self, recorded: Recorded) -> str | None:
        """Show what is recorded, and `ask` for what is not.

        Returns the sentence that goes above it, mostly empty; None when there is nothing recorded to show.
        """
        raise NotImplementedError

    def clear(self) -> None:
        """Show nothing: there is no stop, or nothing was recorded at the one on screen."""

    # ── when to work ────────────────────────────────────────────────────────────────────────────────────────

    def parts(self, view: View, recorded: Recorded) -> tuple[object, ...]:
        """What the pane shows of `view`, which looks at `recorded`.

        As long as these are the same objects there is nothing to do.
        """
        raise NotImplementedError

    def watch_view(self, before: View | None, after: View | None) -> None:
        if not _same(self._parts_of(before), self._parts_of(after)):
            self.update_pane()

    def _parts_of(self, view: View | None) -> tuple[object, ...]:
        recorded = view.looking_at if view is not None else None
        if view is None or recorded is None:
            return view is None, view and view.status
        return view.status, view.live, recorded.stop, recorded.failed, *self.parts(view, recorded)

    def on_show(self) -> None:
        self._on_screen = True
        self.update_pane()

    def on_hide(self) -> None:
        self._on_screen = False

    def update_pane(self) -> None:
        """Bring the pane up to date with `view`, if anybody can see it."""
        if not (self._on_screen and self.is_attached):
            return
        self._ask_anew()
        view = self.view
        recorded = view.looking_at if view is not None else None
        sentence = self.show_stop(recorded) if recorded is not None else None
        shown = sentence is not None
        pending = not shown and self._awaits_answer()
        if not shown and not pending:
            self.clear()
        self._filled = shown or (pending and self._filled)
        running = view is not None and view.status is Status.RUNNING and recorded is not None
        self._dim(now=running, soon=pending)
        self.set_state("running…" if running and shown else None)
        if sentence is None:
            sentence = "" if self._filled else self.why_missing()
        self.say(sentence)

    def _dim(self, *, now: bool, soon: bool) -> None:
        """Dim what is not of the present: at once, or when the answer is late. Most answers come so soon that
        dimming in between would only flicker, and cost a repaint of the whole pane twice.
        """
        if self._late is not None and (now or not soon):
            self._late.stop()
            self._late = None
        if now or not soon:
            self.set_class(now, "-stale")
        elif self._late is None and not self.has_class("-stale"):
            self._late = self.set_timer(LATE, self._dim_late)

    def _dim_late(self) -> None:
        if self._late is not None:  # a timer may have been stopped when its call was on the way already
            self._late = None
            self.set_class(True, "-stale")

    def say(self, sentence: str) -> None:
        """Show `sentence` above the content; an empty one takes it away."""
        self.set_class(bool(sentence), "-sentence")
        if sentence != self._said:
            self._said = sentence
            self._sentence.update(sentence)  # lays the pane out anew: not at every view

    def set_state(self, override: str | None = None) -> None:
        """Write the pane's remark into its lower border; `override` takes precedence."""
        self.set_remark(self.state_text() if override is None else override)

    def state_text(self) -> str:
        """A short remark on what is shown, for the lower border."""
        return ""

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────

    def wishes(self, stop: StopRecord) -> tuple[Query, ...]:
        """What the pane is going to ask at `stop`, which it has not been shown yet; nothing while it is hidden.

        So the app can ask first, and show the stop together with the answers.
        """
        return self.wanted(stop) if self._on_screen and self.is_attached else ()

    def wanted(self, _stop: StopRecord) -> tuple[Query, ...]:
        """What fills the pane at `stop`."""
        return ()

    def ask(self, query: Query, *, again: bool = False) -> None:
        """Post a wish for `query`, once; only at the present stop and while the pane can be seen. `again`: even if it
        has been answered, or cancelled, at this stop.
        """
        view = self.view
        if view is None or not view.live or not self._on_screen:
            return
        wish = view.history[-1].stop.number, query
        if wish != self._asked:
            self._asked = wish
            self.post_message(Wanted(query, again=again))

    def outdate(self) -> None:
        """What was answered at this stop is not so any more: ask anew, once the pane can be seen."""
        view = self.view
        if view is not None and view.live:
            self._outdated = view.history[-1].stop.number
            self._ask_anew()

    def _ask_anew(self) -> None:
        view = self.view
        if not self._outdated or view is None or not view.live or not (self._on_screen and self.is_attached):
            return
        stop, outdated, self._outdated = view.history[-1].stop, self._outdated, 0
        if stop.number == outdated:  # at another one everything is asked for
            self._asked = None
            for query in self.wanted(stop):
                self.ask(query, again=True)

    def _awaits_answer(self) -> bool:
        view = self.view
        if view is None or not view.live or self._asked is None:
            return False
        recorded = view.history[-1]
        return self._asked[0] == recorded.stop.number and not self._failure(recorded)

    def _failure(self, recorded: Recorded) -> str:
        return recorded.failed.get(self.QUERY.__name__, "") if self.QUERY is not None else ""

    def why_missing(self) -> str:
        """One sentence that says why nothing is recorded."""
        view = self.view
        if view is None:
            return "No script has been started yet."
        recorded = view.looking_at
        if recorded is None:
            return {
                Status.STARTING: "The script is starting: it has not imported torch yet.",
                Status.RUNNING: "The script runs and has not stopped yet: p stops it at the next phase.",
                Status.ENDED: "The script has ended without a stop.",
            }.get(view.status, "The script has not stopped yet.")
        failure = self._failure(recorded)
        if failure:
            return f"Could not be read: {failure}"
        if view.live:
            return "Reading…"
        if view.status is Status.ENDED and view.shown is None:
            return "Not recorded: the script ended before this was looked at."
        if view.status is Status.RUNNING and view.shown is None:
            return "Running…  Not recorded at the last stop."
        return f"Not recorded at stop {recorded.stop.number}: this was not looked at then."


def _same(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    return len(before) == len(after) and all(a is b for a, b in zip(before, after, strict=True))
