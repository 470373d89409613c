"""The View as it is brought up to date: what happens within a moment is shown at once and only once.

Painting costs more than all else between a key and the next stop. A phase mostly takes less time than it would take
to show that it runs, and the answers to a new stop arrive within milliseconds of each other. So that the script has
gone on is shown when it has not stopped again within `MOMENT`, and a stop is shown together with its first answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from textual.timer import Timer

from stepdbg.client import store
from stepdbg.client.session import Event
from stepdbg.client.store import View
from stepdbg.protocol import messages as m

MOMENT = 0.08
"""Seconds from Continued to showing it, unless something else happens before."""
TOGETHER = 0.04
"""Seconds that a stop waits for the answers it needs, and an answer for others, at most."""

Change = Callable[[View], View]


class Shows(Protocol):
    """The app, as far as it is needed here."""

    view: View | None

    def set_timer(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back once after `delay` seconds."""


class State:
    """Changes that are about to be shown, in the order in which they came. Lives on the event loop."""

    def __init__(self, app: Shows) -> None:
        self._app = app
        self._changes: list[Change] = []
        self._timer: Timer | None = None
        self._resumed = False

    def event(self, event: Event) -> None:
        """Take an event. Continued may wait for a moment, Stopped for its first answers; others are shown at once."""
        self._changes.append(lambda view: store.apply_event(view, event))
        if isinstance(event, m.Continued):
            self._resumed = True
            self._show_within(MOMENT)
        elif isinstance(event, m.Stopped):
            self._resumed = False
            self._stop_timer()
            self._show_within(TOGETHER)
        else:
            self.show()

    def change(self, change: Change) -> None:
        """Take a change that may wait for others for a moment."""
        self._changes.append(change)
        self._show_within(TOGETHER)

    def failed(self, stop: int, query: m.Query, error: str) -> None:
        """Take the reason why there is no answer to `query`, asked at that stop."""
        self.change(lambda view: store.apply_failure(view, stop, query, error))

    def worked(self, stop: int, query: m.Query, working: m.Working | None) -> None:
        """Take how far the answer to `query`, asked at that stop, is; None: it is given up for another."""
        self.change(lambda view: store.apply_working(view, stop, query, working))

    def show(self) -> None:
        """Show what has been taken."""
        self._stop_timer()
        changes, self._changes, self._resumed = self._changes, [], False
        view = self._app.view
        if changes and view is not None:
            for change in changes:
                view = change(view)
            self._app.view = view

    def settle(self) -> None:
        """No more answers are awaited: show those that have come, but not yet that the script has gone on."""
        if not self._resumed:
            self.show()

    def clear(self, view: View) -> None:
        """Forget what has been taken, and show `view`: that of another run."""
        self._stop_timer()
        self._changes, self._resumed = [], False
        self._app.view = view

    def _show_within(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._app.set_timer(seconds, self.show)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
