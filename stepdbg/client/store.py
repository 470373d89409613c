"""What the screen shows, as one immutable value, and the pure functions that make the next one.

`View` is the single source of truth of the app: events and answers go in through `apply_event` and `apply_answer`, and
a new View comes out. No I/O, no widgets, no clock. Everything recorded at a stop stays in its `Recorded`, which is how
earlier stops can be looked at: what was never asked for then is not there, and panes say "not recorded".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from stepdbg.client.session import ConnectionLost, Event, Exited, Output, SessionInfo
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import WATCHES, Book, Evaluating, Kind
from stepdbg.protocol.edits import Edit, Edited
from stepdbg.protocol.graph import GraphPage, GraphRow, Lens, Watching
from stepdbg.protocol.leaks import GetLeaks, LeakReport
from stepdbg.protocol.memory import MemoryRecord, OtherMemory
from stepdbg.protocol.parameters import AS_IN_MODEL, Arrangement
from stepdbg.protocol.records import (
    ParameterPage,
    ParameterRow,
    SourceText,
    StopRecord,
    ValuesRecord,
)
from stepdbg.protocol.shown import KnownNames
from stepdbg.protocol.step import Explanation

HISTORY = 500
"""Stops kept, at most; older ones are forgotten first."""

EDITS = 2_000
"""Edits kept, at most."""


WATCHED = 1_000
"""Values kept of each watched expression, at most."""

LOGGED = 1_000
"""Lines of logpoints kept, at most."""


@dataclass(frozen=True)
class Seen:
    """What a watched expression gave at one stop."""

    stop: int
    iteration: int
    text: str
    """Its value, or why there is none."""
    number: float | None = None


class Status(Enum):
    """What the script is doing."""

    STARTING = "starting"
    """Its process runs, but torch is not imported yet."""
    RUNNING = "running"
    STOPPED = "stopped"
    ENDED = "ended"


@dataclass(frozen=True)
class ParameterList:
    """The rows received for one pattern and arrangement: by position, since pages come in any order."""

    pattern: str
    total: int
    everything: int
    rows: Mapping[int, ParameterRow]
    gone: str = ""
    graph_at: int | None = None
    arrangement: Arrangement = AS_IN_MODEL
    matching: int | None = None
    """Parameters that match the pattern; None: as many as there are rows."""


@dataclass(frozen=True)
class GraphTree:
    """The rows received for one way of looking at a graph."""

    lens: Lens
    page: GraphPage
    """The last page received: for its counts and its root (its `rows` are in `rows` as well)."""
    rows: Mapping[int, GraphRow]
    seek: str = ""
    """What that page was asked for with: `GetGraph.seek`."""


@dataclass(frozen=True)
class Recorded:
    """All that is known of one stop."""

    stop: StopRecord
    rss: int | None = None
    """Resident bytes of the script's process, read by the screen's side when the stop arrived."""
    memory: MemoryRecord | None = None
    parameters: ParameterList | None = None
    graph: GraphTree | None = None
    values: Mapping[str, ValuesRecord] = field(default_factory=dict)
    """By parameter name: the last page received of each."""
    explained: Mapping[Hashable, Explanation] = field(default_factory=dict)
    """By (name, index or None, "did", "will" or "") as it was asked for."""
    edits: tuple[Edit, ...] = ()
    """What was set by hand at this stop, oldest first."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Query class name → the one line why the last one could not be answered."""
    working: Mapping[str, m.Working] = field(default_factory=dict)
    """Query class name → how far the answer to the one under way is, where that takes a while."""
    others: OtherMemory | None = None
    """What else is alive, where that was counted."""
    leaks: LeakReport | None = None
    """What was kept from earlier iterations, where that was looked for."""


@dataclass(frozen=True)
class View:
    """Everything the app shows."""

    info: SessionInfo
    status: Status = Status.STARTING
    hello: m.Hello | None = None
    progress: m.Progress | None = None
    """The last one since the script went on; None while stopped."""
    history: tuple[Recorded, ...] = ()
    shown: int | None = None
    """Index into `history` while an earlier stop is looked at; None for the present."""
    sources: Mapping[str, SourceText] = field(default_factory=dict)
    """By file, as asked for in this run."""
    names: KnownNames | None = None
    """What can be pointed at, as told last: when the prompt was opened."""
    watching: Watching | None = None
    """What is recorded about graphs, as last told; None: never asked, as it is at first."""
    evaluating: Evaluating | None = None
    """What is evaluated while the script runs, and takes a while."""
    pausing: bool = False
    """A pause was asked for, and the script has not reached a boundary since."""
    exited: Exited | None = None
    lost: str | None = None
    """Why the connection to the script went, while its end was not known yet; "" for no reason given."""
    notices: tuple[str, ...] = ()
    """One-line warnings of the agent, oldest first."""
    edits: tuple[Edit, ...] = ()
    """What was set by hand in this run, oldest first; also of stops that are forgotten."""
    book: Book | None = None
    """Breakpoints and watches as last told; None: never asked."""
    watched: Mapping[int, tuple[Seen, ...]] = field(default_factory=dict)
    """By number of a watched expression: what it gave at each stop, oldest first, the last WATCHED of them."""
    logged: tuple[m.Logged, ...] = ()
    """What logpoints wrote down, the last LOGGED of it."""
    leaks: LeakReport | None = None
    """As told last; None: nobody has looked for leaks, or they are watched no more."""

    @property
    def looking_at(self) -> Recorded | None:
        """The stop on screen: the chosen earlier one, else the last (which stays while the script runs)."""
        if not self.history:
            return None
        return self.history[-1 if self.shown is None else self.shown]

    @property
    def live(self) -> bool:
        """Whether the stop on screen is the present one and can be asked for more."""
        return self.status is Status.STOPPED and self.shown is None

    @property
    def ago(self) -> int:
        """How many stops back the screen looks; 0 for the present."""
        return 0 if self.shown is None else len(self.history) - 1 - self.shown


def apply_event(view: View, event: Event) -> View:
    """The view after `event`. Console output is not part of it (the console pane keeps that)."""
    if view.status is Status.ENDED and isinstance(event, (m.Hello, m.Stopped, m.Continued, m.Progress)):
        return view  # said before the end and read after it: nothing is alive any more
    if isinstance(event, m.Hello):
        return replace(view, hello=event, status=Status.RUNNING)
    if isinstance(event, m.Stopped):
        history = (*view.history, Recorded(event.stop))[-HISTORY:]
        return replace(
            view, status=Status.STOPPED, history=history, shown=None, progress=None, pausing=False, evaluating=None
        )
    if isinstance(event, m.Continued):
        return replace(_idle(view), status=Status.RUNNING, shown=None)
    if isinstance(event, m.Progress):
        return replace(view, progress=event, evaluating=None)
    if isinstance(event, Evaluating):
        return replace(view, evaluating=event if event.what else None)
    if isinstance(event, m.Warned):
        return replace(view, notices=(*view.notices, event.text)[-50:])
    if isinstance(event, m.Logged):
        return replace(view, logged=(*view.logged, event)[-LOGGED:])
    if isinstance(event, Exited):
        return replace(_idle(view), status=Status.ENDED, exited=event, progress=None, pausing=False, evaluating=None)
    if isinstance(event, ConnectionLost):
        status = view.status if view.status is Status.ENDED else Status.RUNNING
        return replace(_idle(view), status=status, lost=event.reason, evaluating=None)
    assert isinstance(event, Output)
    return view


def apply_answer(view: View, stop: int, query: m.Query, answer: Any) -> View:
    """The view after the answer to `query` asked at stop number `stop`; unchanged if that stop is forgotten."""
    name = type(query).__name__
    if isinstance(answer, SourceText):
        view = replace(view, sources=_with(view.sources, answer.file, answer))
    elif isinstance(answer, KnownNames):
        view = replace(view, names=answer)
    elif isinstance(answer, Watching):
        view = replace(view, watching=answer)
    elif isinstance(answer, Book):
        view = _watched(replace(view, book=answer), stop)
    elif isinstance(answer, LeakReport):
        off = isinstance(query, GetLeaks) and query.off
        view = replace(view, leaks=None if off else answer)
        view = _update(view, stop, lambda recorded: replace(recorded, leaks=None if off else answer))
    elif isinstance(answer, Edited):
        view = replace(view, edits=(*view.edits, *answer.edits)[-EDITS:])
        view = _update(view, stop, lambda recorded: _edited(recorded, answer.edits))
    else:
        view = _update(view, stop, lambda recorded: _recorded_answer(recorded, query, answer))
    return _update(view, stop, lambda recorded: _settled(recorded, name, None))


def apply_failure(view: View, stop: int, query: m.Query, error: str) -> View:
    """The view after `query` could not be answered: the pane concerned says why."""
    name = type(query).__name__
    return _update(view, stop, lambda recorded: _settled(recorded, name, error))


def apply_working(view: View, stop: int, query: m.Query, working: m.Working | None) -> View:
    """The view with how far the answer to `query` is; None: it is not made any more, and another one follows."""
    name = type(query).__name__

    def change(recorded: Recorded) -> Recorded:
        if working is None:
            return replace(recorded, working=_without(recorded.working, name))
        # Asked for again after it failed: what was said of it then is over.
        return replace(_settled(recorded, name, None), working=_with(recorded.working, name, working))

    return _update(view, stop, change)


def apply_pause(view: View) -> View:
    """The view after a pause was asked for; it stays so until the next stop."""
    return replace(view, pausing=view.status is Status.RUNNING)


def apply_rss(view: View, stop: int, rss: int | None) -> View:
    """The view with the process's resident bytes at that stop."""
    return _update(view, stop, lambda recorded: replace(recorded, rss=rss))


def look(view: View, steps: int) -> View:
    """The view looking `steps` stops later (negative: earlier), as far as there are any."""
    if not view.history:
        return view
    last = len(view.history) - 1
    target = min(max((last if view.shown is None else view.shown) + steps, 0), last)
    return replace(view, shown=None if target == last else target)


def _recorded_answer(recorded: Recorded, query: m.Query, answer: Any) -> Recorded:
    if isinstance(answer, ParameterPage) and isinstance(query, m.GetParameters):
        before = recorded.parameters
        same = before is not None and (before.pattern, before.arrangement) == (query.pattern, query.arrangement)
        known = before.rows if same and before is not None else {}
        listing = ParameterList(
            pattern=query.pattern,
            total=answer.total,
            everything=answer.everything,
            rows=MappingProxyType({**known, **dict(enumerate(answer.rows, answer.offset))}),
            gone=answer.gone,
            graph_at=answer.graph_at,
            arrangement=query.arrangement,
            matching=answer.matching,
        )
        return replace(recorded, parameters=listing)
    if isinstance(answer, GraphPage) and isinstance(query, m.GetGraph):
        tree = recorded.graph
        # A measurement fills in what the rows at hand do not have.
        same = tree is not None and tree.lens == query.lens and not query.measure
        held = tree.rows if same and tree is not None else {}
        lines = MappingProxyType({**held, **dict(enumerate(answer.rows, answer.offset))})
        return replace(recorded, graph=GraphTree(query.lens, answer, lines, query.seek))
    if isinstance(answer, ValuesRecord):
        return replace(recorded, values=_with(recorded.values, answer.name, answer))
    if isinstance(answer, MemoryRecord):
        return replace(recorded, memory=answer)
    if isinstance(answer, OtherMemory):
        return replace(recorded, others=answer)
    if isinstance(answer, Explanation) and isinstance(query, m.GetExplanation):
        asked = query.name, query.index, query.tells
        resolved = answer.name, answer.index, query.tells
        both = MappingProxyType({**recorded.explained, asked: answer, resolved: answer})
        return replace(recorded, explained=both)
    raise TypeError(f"no answer to a query: {type(answer).__name__}")


def _watched(view: View, stop: int) -> View:
    """The view with what watched expressions give at that stop added to what they gave before."""
    recorded = next((r for r in view.history if r.stop.number == stop), None)
    if recorded is None or view.book is None:
        return view
    watched = {row.number: view.watched.get(row.number, ()) for row in view.book.rows if row.spec.kind in WATCHES}
    for row in view.book.rows:
        if row.spec.kind is Kind.EXPRESSION and (row.value or row.note) and row.spec.enabled:
            seen = Seen(stop, recorded.stop.iteration, row.value or row.note, row.number_value)
            earlier = tuple(s for s in watched[row.number] if s.stop != stop)
            watched[row.number] = (*earlier, seen)[-WATCHED:]
    return replace(view, watched=MappingProxyType(watched))


def _edited(recorded: Recorded, edits: tuple[Edit, ...]) -> Recorded:
    """A stop after something was set at it: numbers that were read before are not those of now."""
    listing = recorded.parameters
    unread = replace(listing, rows=MappingProxyType({})) if listing is not None else None
    return replace(recorded, edits=(*recorded.edits, *edits), parameters=unread, values=MappingProxyType({}))


def _settled(recorded: Recorded, name: str, error: str | None) -> Recorded:
    failed = _without(recorded.failed, name) if error is None else _with(recorded.failed, name, error)
    return replace(recorded, failed=failed, working=_without(recorded.working, name))


def _update(view: View, stop: int, change: Callable[[Recorded], Recorded]) -> View:
    history = tuple(change(r) if r.stop.number == stop else r for r in view.history)
    return replace(view, history=history)


def _with(mapping: Mapping[str, Any], key: str, value: Any) -> Mapping[str, Any]:
    return MappingProxyType({**mapping, key: value})


def _without(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return MappingProxyType({k: v for k, v in mapping.items() if k != key}) if key in mapping else mapping


def _idle(view: View) -> View:
    """The view once nobody works on an answer any more: the script went on, or is gone."""
    history = tuple(replace(r, working=MappingProxyType({})) if r.working else r for r in view.history)
    return replace(view, history=history)
