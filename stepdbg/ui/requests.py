"""Questions to the stopped script: at most one of a kind under way, and of those waiting only the latest."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Protocol

from stepdbg.client.session import Session
from stepdbg.errors import RequestCancelledError, RequestError, SessionClosedError
from stepdbg.protocol import messages as m

LONG = 0.5
"""Seconds after which an answer is given up for one that is wanted instead; sooner, its end is waited for."""

OVERTAKEN: tuple[type[Any], ...] = (m.GetGraph, m.GetParameters)
"""Questions whose answer may take so long that another one is not made to wait for it."""

Answered = Callable[[int, m.Query, Any], None]
"""Called with the stop's number, the query and its answer."""


class Shows(Protocol):
    """Where the rest goes: `ui.state.State`, as far as it is needed here."""

    def failed(self, stop: int, query: m.Query, error: str) -> None:
        """There is no answer: the one line why."""

    def worked(self, stop: int, query: m.Query, working: m.Working | None) -> None:
        """How far the answer is; None: it is given up for another."""

    def settle(self) -> None:
        """Nothing is under way any more."""


@dataclass
class _Asked:
    stop: int
    query: m.Query
    since: float = 0.0
    working: bool = False
    """Whether the agent has told that it takes a while."""
    overtaken: bool = False
    """Given up for the one that waits, not by the user."""

    def answered_by(self, other: _Asked | None) -> bool:
        """Whether the answer to `other` is the one to this."""
        return other is not None and not other.overtaken and (self.stop, self.query) == (other.stop, other.query)

    @property
    def work(self) -> Hashable:
        """What takes long in answering it: another question with the same is served by the same work."""
        if isinstance(self.query, m.GetGraph):
            return self.stop, self.query.lens.graph, self.query.lens.view, self.query.measure
        if isinstance(self.query, m.GetParameters):
            how = self.query.arrangement
            return self.stop, self.query.pattern, how.sort, how.falling, how.tree
        return self.stop, self.query

    @property
    def wish(self) -> Hashable:
        """What the user wants to see: other pages of it, other folds or another parameter lit are not another wish."""
        if isinstance(self.query, m.GetGraph):
            return self.work, self.query.lens.pattern
        return self.work


class Requests:
    """The questions of one session. Not thread-safe: everything happens on the event loop."""

    def __init__(self, session: Session, answered: Answered, shows: Shows) -> None:
        self._session = session
        self._answered = answered
        self._shows = shows
        self._under_way: dict[type[Any], _Asked] = {}
        self._last: dict[type[Any], _Asked] = {}
        """What was answered last, of each kind."""
        self._waiting: dict[type[Any], _Asked] = {}
        self._cancelled: dict[type[Any], Hashable] = {}
        """The wish that the user cancelled last, of each kind: panes that still wish it are not heard."""
        self._granted: dict[type[Any], Hashable] = {}
        """The wish that was answered last: more pages of it may be asked for, whatever became of one."""

    def note(self, stop: int, query: m.Query, *, again: bool = False) -> bool:
        """Note a question about that stop; `again`: also if the user has cancelled it, since it is the user who asks.

        True: nothing of its kind is under way, so await `ask` for it.
        """
        kind, asked = type(query), _Asked(stop, query)
        busy = self._under_way.get(kind)
        if again:
            self._last.pop(kind, None)
        elif asked.wish == self._cancelled.get(kind) != self._granted.get(kind):
            return False
        self._cancelled.pop(kind, None)
        if asked.answered_by(busy if busy is not None else self._last.get(kind)):
            # The answer is on its way to the screen: the question was put before its answer could be seen there.
            self._waiting.pop(kind, None)
            return False
        self._waiting[kind] = asked
        self._overtake(kind)
        return busy is None

    async def ask(self, kind: type[Any]) -> None:
        """Ask what waits of that kind until nothing does. A session that is gone ends it without a word."""
        while kind not in self._under_way and (asked := self._waiting.pop(kind, None)) is not None:
            present = self._session.stop
            if present is None or present.number != asked.stop:
                continue
            self._under_way[kind] = self._last[kind] = asked
            asked.since = monotonic()
            try:
                answer = await self._session.request(asked.query, partial(self._told, asked))
            except RequestCancelledError as error:
                if asked.overtaken:
                    self._shows.worked(asked.stop, asked.query, None)
                else:
                    self._shows.failed(asked.stop, asked.query, str(error))
            except RequestError as error:
                self._shows.failed(asked.stop, asked.query, str(error))
            except SessionClosedError:
                return
            else:
                self._granted[kind] = asked.wish
                self._answered(asked.stop, asked.query, answer)
            finally:
                self._under_way.pop(kind, None)
        if not self._under_way:
            self._shows.settle()

    def cancel(self) -> bool:
        """Cancel what takes a while, and what waits for the same work; it is not asked for again by itself.

        False: there is nothing that takes a while.
        """
        found = False
        for kind, asked in self._under_way.items():
            if asked.working and self._session.cancel(asked.query):
                found = True
                waiting = self._waiting.get(kind)
                if waiting is not None and waiting.work == asked.work:
                    self._cancelled[kind] = self._waiting.pop(kind).wish
                else:
                    self._cancelled[kind] = asked.wish
        return found

    def _told(self, asked: _Asked, working: m.Working) -> None:
        asked.working = True
        self._shows.worked(asked.stop, asked.query, working)
        self._overtake(type(asked.query))

    def _overtake(self, kind: type[Any]) -> None:
        """Give up what is under way if it takes long and what waits is other work: it is not wanted any more."""
        busy, waiting = self._under_way.get(kind), self._waiting.get(kind)
        if busy is None or waiting is None or not busy.working or kind not in OVERTAKEN:
            return
        if busy.work != waiting.work and monotonic() - busy.since >= LONG and self._session.cancel(busy.query):
            busy.overtaken = True
