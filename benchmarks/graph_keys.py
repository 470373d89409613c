"""Run by graph.py on a pty: the real app with the graph pane over the whole screen.

usage: graph_keys.py FILE VIEW COUNT SCRIPT [ARGUMENTS…]

Writes seconds: for each stop before a backward, from the script being held to the graph on screen; then, with that
graph on screen, from keys of the pane to the repaint.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from time import perf_counter

from keys import TimedDriver, paints

import stepdbg.ui
from stepdbg.client.session import Event
from stepdbg.client.store import Status
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase
from stepdbg.ui import StepdbgApp

PATIENCE = 120.0
MOVES = ("down", "down", "pagedown", "down", "up", "pageup", "end", "home") * 12
"""Keys pressed in the pane, each timed."""

held: list[float] = []


class TimedApp(StepdbgApp):
    """Notes when the script is held before a backward."""

    CSS_PATH = Path(stepdbg.ui.__file__).parent / "app.tcss"

    def _take(self, event: Event) -> None:
        if isinstance(event, m.Stopped):
            upcoming = event.stop.next
            if upcoming is not None and upcoming.phase is Phase.BACKWARD:
                held.append(perf_counter())
        super()._take(event)


def walked(app: StepdbgApp) -> bool:
    """Whether the graph of the present stop has come."""
    recorded = app.view.looking_at if app.view is not None else None
    if recorded is None or recorded.graph is None or app.view is None or app.view.status is not Status.STOPPED:
        return False
    upcoming = recorded.stop.next
    here = upcoming is not None and upcoming.phase is Phase.BACKWARD
    return here and recorded.graph.page.recorded_at == recorded.stop.number


def is_stopped(app: StepdbgApp) -> bool:
    return app.view is not None and app.view.status is Status.STOPPED


async def until(condition, what: str, every: float = 0.001) -> None:
    deadline = perf_counter() + PATIENCE
    while not condition():
        if perf_counter() > deadline:
            raise TimeoutError(f"waited {PATIENCE:g} s for {what}")
        await asyncio.sleep(every)


async def painted(after: float) -> float:
    """Wait for the first write later than `after`; when it was."""
    await until(lambda: bool(paints) and paints[-1] > after, "a repaint", 0.0002)
    return next(when for when in paints if when > after)


async def quiet(seconds: float = 0.3) -> None:
    await until(lambda: perf_counter() - paints[-1] > seconds, "the screen to be quiet", 0.01)


async def press(app: StepdbgApp, view: str, count: int) -> tuple[list[float], list[float]]:
    graphs: list[float] = []
    keys: list[float] = []
    await until(lambda: is_stopped(app), "the first stop")
    app.simulate_key("z")
    if view == "raw":
        app.simulate_key("v")
    await quiet()
    for _ in range(count):
        before = len(held)
        while len(held) == before:
            number = app.view.history[-1].stop.number
            app.simulate_key("n")
            await until(lambda n=number: is_stopped(app) and app.view.history[-1].stop.number > n, "the next stop")
        await until(lambda: walked(app), "the graph")
        graphs.append(await painted(perf_counter()) - held[-1])
        await quiet()
    if view == "modules":
        app.simulate_key("plus")  # all nodes inside their modules: as many rows as there are
        await quiet()
    for key in MOVES:
        began = perf_counter()
        app.simulate_key(key)
        keys.append(await painted(began) - began)
        await quiet(0.05)
    return graphs, keys


async def main(view: str, count: int, script: str, arguments: list[str]) -> tuple[list[float], list[float]]:
    launch = Launch(Interpreter(sys.executable, "ours"), script, tuple(arguments))
    app = TimedApp(ProcessSession(launch))
    app.driver_class = TimedDriver
    measured: list[tuple[list[float], list[float]]] = []

    async def presses() -> None:
        try:
            measured.append(await press(app, view, count))
        finally:
            app.exit()

    user = asyncio.create_task(presses())
    await app.run_async()
    await user
    return measured[0]


if __name__ == "__main__":
    target, view, count, script, *arguments = sys.argv[1:]
    Path(target).write_text(json.dumps(asyncio.run(main(view, int(count), script, arguments))))
