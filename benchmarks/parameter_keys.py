"""Run by parameters.py on a pty: the real app with the parameter pane over the whole screen.

usage: parameter_keys.py FILE SCRIPT [ARGUMENTS…]

Writes seconds, by what was done: from keys of the pane to the repaint that shows what they ask for, by the clock and of
processor time in the app.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

from graph_keys import TimedApp, is_stopped, painted, quiet, until
from keys import TimedDriver

from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol.records import Phase
from stepdbg.ui.panes.parameters import ParametersPane

PAGES = 24
STOPS = 6


def pane(app: TimedApp) -> ParametersPane:
    return app.main.query_one(ParametersPane)


def here(app: TimedApp) -> bool:
    """Whether all rows on screen have been received."""
    table = pane(app).table
    first, last = table.window
    return last > first and all(index in table.rows for index in range(first, last))


async def done(app: TimedApp, key: str | Callable[[], None], condition: Callable[[], bool]) -> tuple[float, float]:
    """Press a key, or do what a command does: seconds until the screen has been painted with what is wanted, and those
    of processor time that the app has worked by then.
    """
    began, worked = perf_counter(), process_time()
    if isinstance(key, str):
        app.simulate_key(key)
    else:
        key()
    shown = await painted(began)
    if not condition():
        await until(condition, f"what {key} asks for", 0.002)
        shown = await painted(perf_counter() - 0.001)
    worked = process_time() - worked
    await quiet(0.05)
    return shown - began, worked


async def press(app: TimedApp) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    await until(lambda: is_stopped(app), "the first stop")
    app.simulate_key("2")
    await quiet()
    app.simulate_key("z")
    await until(lambda: here(app), "the first rows")
    await quiet()

    async def note(what: str, key: str, condition=lambda: here(app)) -> None:
        found.setdefault(what, []).append(await done(app, key, condition))

    async def scroll(what: str) -> None:
        for _ in range(PAGES):
            await note(f"{what}: a page down", "pagedown")
        for _ in range(PAGES // 2):
            await note(f"{what}: a page up, seen before", "pageup")
        for _ in range(PAGES):
            await note(f"{what}: a row down", "down")
        await note(f"{what}: to the end", "end")
        app.simulate_key("home")
        await quiet()

    def listing():
        return app.view.history[-1].parameters

    async def step() -> None:
        number = app.view.history[-1].stop.number
        began, worked = perf_counter(), process_time()
        app.simulate_key("n")
        await until(lambda: is_stopped(app) and app.view.history[-1].stop.number > number, "the next stop")
        await until(lambda: listing() is not None, "its rows", 0.0005)
        await painted(perf_counter() - 0.002)
        ran = sum(run.seconds or 0.0 for run in app.view.history[-1].stop.just_ran)
        seconds = perf_counter() - began - ran
        found.setdefault("to the next stop, less what ran", []).append((seconds, process_time() - worked))
        await quiet()

    while app.view.history[-1].stop.next.phase is not Phase.STEP:
        await step()
    for _ in range(STOPS):
        await step()
    while app.view.history[-1].stop.next.phase is not Phase.STEP:
        await step()
    await scroll("list")
    found["sort by |g|, all gradients read"] = [
        await done(
            app,
            lambda: app.parameters.sort("g.norm", falling=True),
            lambda: listing().arrangement.sort == "g.norm" and here(app),
        )
    ]
    await scroll("sorted")
    found["reverse it"] = [await done(app, "R", lambda: not listing().arrangement.falling and here(app))]
    found["sort by mean, all values' statistics"] = [
        await done(
            app,
            lambda: app.parameters.sort("mean", falling=False),
            lambda: listing().arrangement.sort == "mean" and here(app),
        )
    ]
    found["filter g.norm > 0, known by now"] = [
        await done(app, lambda: app.main.search(pane(app), "g.norm > 0"), lambda: listing().pattern == "g.norm > 0")
    ]
    app.simulate_key("escape")
    await quiet()
    found["tree, with the totals of all"] = [await done(app, "m", lambda: listing().arrangement.tree and here(app))]
    await scroll("tree")
    found["unfold all, with optimizer state"] = [await done(app, "plus", lambda: listing().arrangement.base == 2)]
    await scroll("tree, all unfolded")
    return found


async def main(script: str, arguments: list[str]) -> dict[str, list[tuple[float, float]]]:
    launch = Launch(Interpreter(sys.executable, "ours"), script, tuple(arguments))
    app = TimedApp(ProcessSession(launch))
    app.driver_class = TimedDriver
    measured: list[dict[str, list[tuple[float, float]]]] = []

    async def presses() -> None:
        try:
            measured.append(await press(app))
        finally:
            app.exit()

    user = asyncio.create_task(presses())
    await app.run_async()
    await user
    return measured[0]


if __name__ == "__main__":
    target, script, *arguments = sys.argv[1:]
    Path(target).write_text(json.dumps(asyncio.run(main(script, arguments))))
