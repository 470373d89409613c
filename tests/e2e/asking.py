"""A run without a screen, driven over the real protocol: stop often, and ask everything at every stop."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from unittest import mock

from runs import Result, _read, environment
from scripts_found import Script

from stepdbg.client.session import Exited, Output
from stepdbg.errors import SessionClosedError
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.chain import Way
from stepdbg.protocol.compare import Side, SideKind
from stepdbg.protocol.graph import MARKS, NODE_MARKS, GraphPage, GraphView, Lens
from stepdbg.protocol.memory import GetGradients, GetOtherMemory
from stepdbg.protocol.parameters import Arrangement
from stepdbg.protocol.records import SIDES, ParameterPage, StopReason, StopRecord
from stepdbg.protocol.step import Explanation

STEPS = 40
"""Stops at which everything is asked; then the script runs free to its end."""

WHOLE = Lens(base=2)
"""By modules, nothing folded."""

EVERYTHING = Arrangement(
    columns=("norm", "g.norm", "delta", "mean", "g.mean", "passes"), sort="g.norm", falling=True, tree=True, base=2
)
"""Every quantity of every parameter, buffer and optimizer state."""

T = TypeVar("T")


@dataclass
class Asked:
    """What a run answered."""

    result: Result
    stops: list[StopRecord] = field(default_factory=list)
    parameters: dict[int, ParameterPage] = field(default_factory=dict)
    graphs: dict[int, GraphPage] = field(default_factory=dict)
    explained: list[Explanation] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """By the name of the query."""
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def ask_everything(
    script: Script,
    folder: Path,
    steps: int = STEPS,
    settings: m.Settings | None = None,
    action: Callable[[StopRecord], m.Action] = lambda _: m.Action.NEXT,
) -> Asked:
    """Run `script` with `steps` stops, each left as `action` says, ask every question at each, then let it run on."""
    return asyncio.run(_run(script, folder, steps, settings or m.Settings(), action))


async def _run(
    script: Script, folder: Path, steps: int, settings: m.Settings, action: Callable[[StopRecord], m.Action]
) -> Asked:
    digest = folder / "asked.json"
    session = ProcessSession(
        Launch(
            interpreter=Interpreter(sys.executable, "the tests' own"),
            target=script.module or str(script.path.relative_to(script.cwd)),
            arguments=script.arguments,
            module=script.module is not None,
            settings=settings,
        ),
        columns=120,
        rows=40,
    )
    asked = Asked(Result(0, b"", None))
    output = bytearray()
    before = Path.cwd()
    with mock.patch.dict(os.environ, environment(folder, digest), clear=True):
        os.chdir(script.cwd)
        try:
            await session.start()
        finally:
            os.chdir(before)
    async with asyncio.timeout(script.timeout * 2):
        async for event in session.events():
            if isinstance(event, Output):
                output += event.data
                if script.prompt and script.prompt.encode() in output:
                    await session.write_console(script.stdin.encode())
                    script = Script(script.path, script.arguments, script.module, timeout=script.timeout)
            elif isinstance(event, m.Warned):
                asked.warnings.append(event.text)
            elif isinstance(event, m.Stopped):
                asked.stops.append(event.stop)
                await _ask(session, event.stop, asked)
                over = event.stop.reason in (StopReason.EXCEPTION, StopReason.FINISHED)
                session.resume(m.Action.CONTINUE if over or len(asked.stops) >= steps else action(event.stop))
            elif isinstance(event, Exited):
                asked.result = Result(event.status, bytes(output), _read(digest))
    await session.close()
    return asked


async def _ask(session: ProcessSession, stop: StopRecord, asked: Asked) -> None:
    queries: list[m.Query] = [
        m.GetGraph(0, count=500, lens=WHOLE),
        *_graph_queries(stop.number),
        m.GetParameters(0),
        m.GetMemory(0),
        m.GetParameters(0, pattern="*"),
        m.GetParameters(0, count=200, pattern="numel != none", arrangement=EVERYTHING),
        m.GetParameters(0, pattern=f"is:{_turn(tuple(MARKS), stop.number)}"),
    ]
    queries += [m.GetSource(0, frame.file) for frame in stop.stack[:2]]
    if stop.number > 1:
        queries.append(m.GetDiff(0, Side(SideKind.STOP, -1), Side(SideKind.NOW)))
    queries.append(m.GetTrends(0))
    queries.append(GetGradients(0))
    if stop.number % 4 == 1:
        queries.append(GetOtherMemory(0))  # goes through all objects
    for query in queries:
        await _one(session, query, stop, asked)
    parameters = asked.parameters.get(stop.number)
    rows = [row for row in parameters.rows if row.kind == "parameter"] if parameters else []
    for row in rows[:4]:
        await _one(session, m.GetValues(0, row.name), stop, asked)
        await _one(session, m.GetExplanation(0, row.name), stop, asked)
        await _one(session, m.GetExplanation(0, row.name, tells="did"), stop, asked)
        await _one(session, m.GetChain(0, row.name, _turn(tuple(Way), stop.number)), stop, asked)
    if rows:  # another chain at each stop, watched at the next backward, mostly
        name, way = _turn(rows, stop.number).name, _turn(tuple(Way), stop.number)
        query = m.SetWatching(0, gradients=stop.number % 4 > 0, chain=name, way=way)
        await _one(session, query, stop, asked)
    await _ask_values(session, stop, asked)
    graph = asked.graphs.get(stop.number)
    if graph is not None and graph.recorded_at is not None:
        names = [row.name for row in parameters.rows] if parameters else []
        await _ask_graphs(session, stop, asked, graph, names)


EXPRESSIONS = ("__import__('torch').rand(3)", "__import__('random').random()", "[v for v in list(locals().values())]",
               "net", "x", "loss", "nothing at all")  # fmt: skip
"""Some of them draw random numbers: the run must not miss them."""
REFUSALS = re.compile(r"(?!(\w+(Error|Exception)|KeyboardInterrupt|SystemExit): )")
"""What is said of a thing that is not there; of a failure of ours its class is told first."""


async def _ask_values(session: ProcessSession, stop: StopRecord, asked: Asked) -> None:
    """Single elements, text, expressions and outputs of modules: some of it is refused, in words."""
    number = stop.number
    parameters, graph = asked.parameters.get(number), asked.graphs.get(number)
    rows = parameters.rows[:2] if parameters else ()
    modules = [row.name for row in (graph.rows if graph is not None else ()) if row.kind == "module"][:3]
    queries: list[m.Query] = [m.GetValues(0, f"={_turn(EXPRESSIONS, number + i)}", again=True) for i in range(3)]
    for row in rows:
        queries += [m.SeekElement(0, row.name, _turn(("max", "min", "nan"), number)), m.CopyValues(0, row.name)]
        queries += [m.GetValues(0, row.name, slice="0, ...", sides=SIDES), m.GetValues(0, row.name, slice="...")]
    for name in modules:
        queries += [m.MarkModule(0, name), m.GetValues(0, f"{name} output"), m.GetValues(0, f"={name} output #1")]
    for query in queries:
        try:
            await session.request(query)
        except SessionClosedError as error:
            raise AssertionError(f"stop {number}: {query}: {error}") from None
        except Exception as error:
            if not REFUSALS.match(str(error)):
                asked.failures.append(f"stop {number}: {query}: {error}")


_LENSES = [Lens(view=view, base=base) for view in (GraphView.RAW, GraphView.MODULES) for base in (0, 1, 2)]
_PATTERNS = ("linear", "0", "32x1", ".py:", "no such row", *(f"is:{mark}" for mark in (*MARKS, *NODE_MARKS)))


def _turn(things: Sequence[T], number: int) -> T:
    """Another one at each stop."""
    return things[number % len(things)]


def _graph_queries(number: int) -> list[m.Query]:
    """What can be asked before it is known whether there is a graph; another part of it each time."""
    lens = _turn(_LENSES, number)
    return [
        m.GetGraph(0, count=500, lens=lens, measure=number % 3 == 0),
        m.GetGraph(0, count=500, lens=replace(lens, pattern=_turn(_PATTERNS, number))),
    ]


async def _ask_graphs(
    session: ProcessSession, stop: StopRecord, asked: Asked, graph: GraphPage, parameters: list[str]
) -> None:
    """Every graph there is, what is inside, and all that is answered only where there is a graph."""
    number = stop.number
    lens = _turn(_LENSES, number + 3)
    queries: list[m.Query] = [
        m.GetGraph(0, lens=replace(lens, graph=choice.id), measure=True) for choice in graph.choices
    ]
    if parameters:
        selected = _turn(parameters, number)
        queries += [
            m.GetGraph(0, lens=replace(lens, selected=selected)),
            m.GetGraph(0, lens=replace(lens, selected=selected), seek=f"parameter:{selected}"),
        ]
    # `index` is of one view: the one that `graph` was asked for in.
    row = _turn(graph.rows, number * 7)
    whole = Lens(graph=graph.graph, base=2)
    queries += [m.GetGraph(0, lens=whole, seek=f"{what}:{row.index}") for what in ("parent", "leaf", "target", "row")]
    folded = Lens(graph=graph.graph, base=lens.base, levels=((row.index, number % 3),))
    queries += [m.GetGraph(0, lens=folded), m.GetGraphEdges(0, lens=folded), m.GetGraphPath(0, row.index, lens=folded)]
    queries.append(m.GetGraphEdges(0, lens=replace(lens, graph=_turn(graph.choices, number).id)))
    for query in queries:
        await _one(session, query, stop, asked)


async def _one(session: ProcessSession, query: m.Query, stop: StopRecord, asked: Asked) -> None:
    try:
        answer = await session.request(query)
    except SessionClosedError as error:
        raise AssertionError(f"stop {stop.number}: {type(query).__name__}: {error}") from None
    except Exception as error:
        asked.failures.append(f"stop {stop.number}: {query}: {error}")
        return
    asked.answered[type(query).__name__] += 1
    if isinstance(answer, Explanation):
        asked.explained.append(answer)
    elif isinstance(answer, ParameterPage):
        if isinstance(query, m.GetParameters) and query == m.GetParameters(0):
            asked.parameters[stop.number] = answer
    elif isinstance(query, m.GetGraph) and query.lens == WHOLE and not query.seek:
        asked.graphs[stop.number] = answer
