"""Questions to the stopped script: at most one of a kind under way, and of those waiting only the latest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepdbg.client.session import Session
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol import messages as m

Answered = Callable[[int, m.Query, Any], None]
"""Called with the stop's number, the query and its answer (or the one line why there is none)."""


@dataclass(frozen=True)
class _Asked:
    stop: int
    query: m.Query


class Requests:
    """The questions of one session. Not thread-safe: everything happens on the event loop."""

    def __init__(self, session: Session, answered: Answered, failed: Answered, settled: Callable[[], None]) -> None:
        self._session = session
        self._answered = answered
        self._failed = failed
        self._settled = settled
        """Called when nothing is under way any more."""
        self._under_way: dict[type[Any], _Asked] = {}
        self._last: dict[type[Any], _Asked] = {}
        """What was answered last, of each kind."""
        self._waiting: dict[type[Any], _Asked] = {}

    def note(self, stop: int, query: m.Query) -> bool:
        """Note a question about that stop. True: nothing of its kind is under way, so await `ask` for it."""
        kind, asked = type(query), _Asked(stop, query)
        busy = self._under_way.get(kind)
        if asked in (busy, self._last.get(kind) if busy is None else None):
            # The answer is on its way to the screen: the question was put before its answer could be seen there.
            self._waiting.pop(kind, None)
            return False
        self._waiting[kind] = asked
        return busy is None

    async def ask(self, kind: type[Any]) -> None:
        """Ask what waits of that kind until nothing does. A session that is gone ends it without a word."""
        while kind not in self._under_way and (asked := self._waiting.pop(kind, None)) is not None:
            present = self._session.stop
            if present is None or present.number != asked.stop:
                continue
            self._under_way[kind] = self._last[kind] = asked
            try:
                answer = await self._session.request(asked.query)
            except RequestError as error:
                self._failed(asked.stop, asked.query, str(error))
            except SessionClosedError:
                return
            else:
                self._answered(asked.stop, asked.query, answer)
            finally:
                self._under_way.pop(kind, None)
        if not self._under_way:
            self._settled()
