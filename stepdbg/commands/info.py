"""What `info TOPIC` tells, in words: the same at the prompt and in batch. A topic asks the script, and makes lines."""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stepdbg.client.resident import resident_bytes
from stepdbg.client.store import View
from stepdbg.errors import UsageError
from stepdbg.plain import breakpoints, compare, graph, inside, leaks, memory, parameters, step, stop, words
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import GetBreakpoints
from stepdbg.protocol.graph import Lens
from stepdbg.protocol.inside import GetHeld
from stepdbg.protocol.leaks import GetLeaks
from stepdbg.protocol.parameters import Arrangement
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.trends import GetRates
from stepdbg.protocol.words import GetVariables

MOST_ROWS = 500
"""Rows of one answer, at most."""


class Ask(Protocol):
    """Asks the script that is held, as `Session.request`."""

    def __call__(self, query: Any, progress: Callable[[m.Working], None] | None = None) -> Awaitable[Any]: ...


@dataclass(frozen=True)
class Told:
    """One answer: for people, and the records that it was made of for programs."""

    lines: list[str]
    record: object = None
    failed: bool = False
    """Whether what was asked for raised."""


@dataclass(frozen=True)
class Context:
    """What a topic is told about."""

    view: View
    stop: StopRecord
    frame: int | None
    """The selected one; None: the innermost of the user's code."""
    rest: str
    """What follows the topic."""
    width: int


Answer = Callable[[Ask, Context], Awaitable[Told]]


@dataclass(frozen=True)
class Topic:
    """One thing that can be told."""

    help: str
    answer: Answer
    aliases: tuple[str, ...] = ()
    pattern: bool = False
    """Whether more words may follow."""


_NAME = re.compile(r"[\w.*?\[\]{},]+")
"""A name or a glob of names; what else can stand there asks something to which none is an answer."""


async def _parameters(ask: Ask, context: Context) -> Told:
    page = await ask(m.GetParameters(0, 0, MOST_ROWS, context.rest, Arrangement(columns=("norm", "g.norm"))))
    if page.everything and not page.total and _NAME.fullmatch(context.rest):
        some = await ask(m.GetParameters(0, 0, MOST_ROWS))
        near = difflib.get_close_matches(
            context.rest, [name for row in some.rows for name in (row.title, row.name)], n=1, cutoff=0.5
        )
        hint = f"did you mean {near[0]}?" if near else "info params lists them"
        raise UsageError(f"info params: no parameter is called {context.rest}: {hint}")
    return Told(parameters.lines(page, context.width), page)


async def _graph(ask: Ask, context: Context) -> Told:
    page = await ask(m.GetGraph(0, 0, MOST_ROWS, Lens(pattern=context.rest)))
    if context.rest and not page.rows and not page.note:
        raise UsageError(f"info graph: nothing in the graph matches {context.rest}: as in addmm, net.2 or 32x1")
    return Told(graph.lines(page, context.width), page)


async def _memory(ask: Ask, context: Context) -> Told:
    record = await ask(m.GetMemory(0))
    hello = context.view.hello
    rss = resident_bytes(hello.pid) if hello is not None else None
    return Told(memory.lines(record, context.width, rss=rss), record)


async def _locals(ask: Ask, context: Context) -> Told:
    record = await ask(GetVariables(0, context.frame))
    return Told(words.variables(record, context.width), record)


async def _trends(ask: Ask, context: Context) -> Told:
    record = await ask(m.GetTrends(0))
    return Told(step.trends(record, context.width), record)


async def _stop(_ask: Ask, context: Context) -> Told:
    return Told(stop.lines(context.stop, context.width), context.stop)


async def _rail(_ask: Ask, context: Context) -> Told:
    return Told(stop.rail(context.stop, context.width), list(context.stop.rail))


async def _rates(ask: Ask, _context: Context) -> Told:
    lrs = (await ask(GetRates(0))).lrs  # set by hand, they are others than those of the stop's record
    return Told(stop.rates(lrs), list(lrs))


async def _frame(ask: Ask, context: Context) -> Told:
    return await source(ask, context)


async def _edits(_ask: Ask, context: Context) -> Told:
    return Told(compare.edits(context.view.edits), list(context.view.edits))


async def _breakpoints(ask: Ask, context: Context) -> Told:
    book = await ask(GetBreakpoints(0))
    watched = context.view.watched
    return Told(
        breakpoints.lines(book, context.width, lambda number: [seen.number for seen in watched.get(number, ())]), book
    )


async def _leaks(ask: Ask, context: Context) -> Told:
    report = await ask(GetLeaks(0))
    return Told(leaks.lines(report, context.width), report)


async def _inside(ask: Ask, context: Context) -> Told:
    found = await ask(GetHeld(0))
    return Told([*inside.lines(context.stop, context.width), *inside.held(found)], found)


async def source(ask: Ask, context: Context) -> Told:
    """The lines around the one that the selected frame stands at."""
    here = context.stop.here if context.frame is None else context.frame
    if here is None or not 0 <= here < len(context.stop.stack):
        return Told(["no line of the script is running at this stop"])
    chosen = context.stop.stack[here]
    record = await ask(m.GetSource(0, chosen.file))
    return Told([stop.frame(chosen), *stop.source(record, chosen.line, context.width)], chosen)


TOPICS: dict[str, Topic] = {
    "params": Topic("parameters, their norms and gradients", _parameters, ("parameters",), pattern=True),
    "graph": Topic("what the loss was computed from", _graph, pattern=True),
    "memory": Topic("the bytes held for training", _memory),
    "stop": Topic("where the script is held", _stop, ("program",)),
    "phases": Topic("the phases of this loop", _rail, ("rail",)),
    "frame": Topic("the selected frame and its lines", _frame, ("line",)),
    "locals": Topic("the variables of the selected frame", _locals),
    "lr": Topic("learning rates", _rates, ("optimizers",)),
    "trends": Topic("what optimizer steps did", _trends, ("plot",)),
    "breakpoints": Topic("breakpoints and watches", _breakpoints, ("watchpoints", "break")),
    "leaks": Topic("what keeps tensors of earlier iterations alive", _leaks),
    "inside": Topic("the place inside a phase, and what is held there", _inside),
    "edits": Topic("what was set by hand", _edits),
}
"""In the order in which the help names them. Another feature adds its topic here."""
