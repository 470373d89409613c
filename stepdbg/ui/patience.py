"""Questions that run the user's own code: how long they take is shown, and `escape` cancels them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from stepdbg.commands.exporting import Ask
from stepdbg.protocol import messages as m
from stepdbg.protocol.words import EVALUATING, STUCK
from stepdbg.ui.progress import ProgressLine

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

LONG = 0.3
"""Seconds after which a question is one that takes a while: before that `escape` is not for it."""

VAIN = 2.0
"""Seconds after a cancel in which most code has heard of it."""


class Patience:
    """Those that are under way. The time is ours: a call into C may keep the script's side from telling anything."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app, self._ask = app, ask
        self._since: dict[int, tuple[m.Query, float]] = {}
        self._cancelled: float | None = None
        self._last = 0

    async def ask(self, query: m.Query) -> Any:
        """As `Session.request`."""
        self._last = number = self._last + 1
        self._since[number] = query, monotonic()
        timer = self._app.set_interval(LONG, self._tell)
        try:
            return await self._ask(query)
        finally:
            timer.stop()
            del self._since[number]
            if not self._since:
                self._cancelled = None
                if self._line.progress is not None and self._line.progress[0] in (EVALUATING, STUCK):
                    self._line.progress = None

    def cancel(self) -> bool:
        """Cancel what takes a while; False: nothing does."""
        late = [query for query, since in self._since.values() if monotonic() - since >= LONG]
        for query in late:
            self._app._session.cancel(query)
        if late and self._cancelled is None:
            self._cancelled = monotonic()
        return bool(late)

    @property
    def _line(self) -> ProgressLine:
        return self._app.main.query_one(ProgressLine)

    def _tell(self) -> None:
        if self._since:
            now = monotonic()
            stuck = self._cancelled is not None and now - self._cancelled >= VAIN
            since = min(since for _, since in self._since.values())
            self._line.progress = STUCK if stuck else EVALUATING, int(now - since), 0
