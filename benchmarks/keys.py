"""Run by overhead.py on a pty: the real app, pressing `n` and timing what it writes to its terminal.

usage: keys.py FILE COUNT SCRIPT [ARGUMENTS…]

Writes, for each key, the seconds from the key to the last byte of the repaint, less those of the phase itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from time import perf_counter

from textual.drivers.linux_driver import LinuxDriver

from stepdbg.client.store import Status
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol.records import StopReason
from stepdbg.ui import StepdbgApp

QUIET = 0.4
"""Seconds without a write after which the screen counts as repainted."""

PATIENCE = 120.0
"""Seconds to wait for a stop, at most."""

paints: list[float] = []


class TimedDriver(LinuxDriver):
    """Notes when something is written to the terminal."""

    def write(self, data: str) -> None:
        super().write(data)
        paints.append(perf_counter())


def number_of_stop(app: StepdbgApp) -> int:
    """The number of the stop that the script is held at; 0 while it runs."""
    view = app.view
    if view is None or view.status is not Status.STOPPED or view.looking_at is None:
        return 0
    return view.looking_at.stop.number


async def next_stop(app: StepdbgApp, after: int) -> None:
    """Wait for a later stop than number `after`, then for the screen to be quiet."""
    deadline = perf_counter() + PATIENCE
    while number_of_stop(app) <= after:
        if perf_counter() > deadline:
            raise TimeoutError(f"no stop after number {after} for {PATIENCE:g} s")
        await asyncio.sleep(0.002)
    rest = QUIET
    while rest > 0:
        await asyncio.sleep(rest)
        rest = paints[-1] + QUIET - perf_counter()


async def press(app: StepdbgApp, count: int) -> list[float]:
    """Press `n` that many times, or until the script's last stop."""
    seconds = []
    await next_stop(app, 0)
    for _ in range(count):
        before = number_of_stop(app)
        start = perf_counter()
        app.simulate_key("n")
        await next_stop(app, before)
        assert app.view is not None
        stop = app.view.history[-1].stop
        if stop.reason is StopReason.FINISHED:
            break
        phase = sum(run.seconds or 0.0 for run in stop.just_ran)
        seconds.append(paints[-1] - start - phase)
    return seconds


async def main(count: int, script: str, arguments: list[str]) -> list[float]:
    """The app, and beside it the one who presses the keys."""
    launch = Launch(Interpreter(sys.executable, "ours"), script, tuple(arguments))
    app = StepdbgApp(ProcessSession(launch))
    app.driver_class = TimedDriver
    measured: list[float] = []

    async def presses() -> None:
        try:
            measured.extend(await press(app, count))
        finally:
            app.exit()

    user = asyncio.create_task(presses())
    await app.run_async()
    await user
    return measured


if __name__ == "__main__":
    target, count, script, *arguments = sys.argv[1:]
    Path(target).write_text(json.dumps(asyncio.run(main(int(count), script, arguments))))
