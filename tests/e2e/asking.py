"""A run without a screen, driven over the real protocol: stop often, and ask everything at every stop."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from runs import Result, _read, environment
from scripts_found import Script

from stepdbg.client.session import Exited, Output
from stepdbg.errors import SessionClosedError
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import GraphPage, ParameterPage, StopReason, StopRecord

STEPS = 40
"""Stops at which everything is asked; then the script runs free to its end."""


@dataclass
class Asked:
    """What a run answered."""

    result: Result
    stops: list[StopRecord] = field(default_factory=list)
    parameters: dict[int, ParameterPage] = field(default_factory=dict)
    graphs: dict[int, GraphPage] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def ask_everything(script: Script, folder: Path, steps: int = STEPS, settings: m.Settings | None = None) -> Asked:
    """Run `script` with `steps` stops, ask every question at each, then let it run to its end."""
    return asyncio.run(_run(script, folder, steps, settings or m.Settings()))


async def _run(script: Script, folder: Path, steps: int, settings: m.Settings) -> Asked:
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
                session.resume(m.Action.CONTINUE if over or len(asked.stops) >= steps else m.Action.NEXT)
            elif isinstance(event, Exited):
                asked.result = Result(event.status, bytes(output), _read(digest))
    await session.close()
    return asked


async def _ask(session: ProcessSession, stop: StopRecord, asked: Asked) -> None:
    queries: list[m.Query] = [
        m.GetGraph(0, count=500),
        m.GetParameters(0),
        m.GetMemory(0),
        m.GetParameters(0, pattern="*"),
    ]
    queries += [m.GetSource(0, frame.file) for frame in stop.stack[:2]]
    for query in queries:
        await _one(session, query, stop, asked)
    page = asked.parameters.get(stop.number)
    for row in page.rows[:4] if page else ():
        await _one(session, m.GetValues(0, row.name), stop, asked)


async def _one(session: ProcessSession, query: m.Query, stop: StopRecord, asked: Asked) -> None:
    try:
        answer = await session.request(query)
    except SessionClosedError as error:
        raise AssertionError(f"stop {stop.number}: {type(query).__name__}: {error}") from None
    except Exception as error:
        asked.failures.append(f"stop {stop.number}: {type(query).__name__}: {error}")
        return
    if isinstance(answer, ParameterPage):
        asked.parameters[stop.number] = answer
    elif isinstance(answer, GraphPage):
        asked.graphs[stop.number] = answer
