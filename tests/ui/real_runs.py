"""The whole app on real runs: a demo in a thread of this process, and waiting for what comes of a key."""

from __future__ import annotations

import asyncio
import runpy
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from stepdbg.client.session import Exited
from stepdbg.client.store import Recorded, Status, View
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import Target
from stepdbg.protocol.records import StopRecord
from stepdbg.ui import StepdbgApp, UiConfig

DEMOS = Path(__file__).parents[2] / "demo_models"
DEADLINE = 10.0
"""Seconds that a test waits for something to happen."""
WIDE = (120, 40)
NARROW = (80, 24)


@dataclass
class Run:
    """One script as a training function. Its `print` can be made a gate: the script waits there while running."""

    path: Path
    arguments: tuple[str, ...] = ()
    printed: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    """Set: printing goes through. Cleared: the script waits in `print`."""
    waits: threading.Event = field(default_factory=threading.Event)
    """Set once the script has come to its first `print`."""
    result: dict[str, Any] = field(default_factory=dict)
    """The script's globals, once it has ended by itself."""

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(self) -> None:
        """Run it as `python PATH ARGUMENTS` does, in the calling thread."""
        self.waits.clear()
        before = sys.argv
        sys.argv = [str(self.path), *self.arguments]
        try:
            # Its own `print` instead of a redirected stdout: that would be the whole process's.
            self.result = runpy.run_path(str(self.path), {"print": self._print}, "__main__")
        finally:
            sys.argv = before

    def _print(self, *values: object) -> None:
        self.printed.append(" ".join(str(value) for value in values))
        self.waits.set()
        if not self.gate.wait(DEADLINE):
            raise TimeoutError("nobody opened the gate")


class ToldSession(ThreadSession):
    """A session that remembers what it was told, over restarts too."""

    def __init__(
        self, run: Callable[[], Any], title: str, told: list[Any] | None = None, settings: m.Settings | None = None
    ) -> None:
        super().__init__(run, settings, title)
        self.run = run
        self.told: list[Any] = [] if told is None else told
        """Resume, Pause and queries in order."""
        self.unanswered = 0
        """Queries under way."""
        self.closed = False

    def resume(self, action: m.Action, target: Target | None = None) -> None:
        super().resume(action, target)
        self.told.append(m.Resume(action, target))

    def pause(self) -> None:
        super().pause()
        self.told.append(m.Pause())

    async def request(self, query: m.Query, progress: Callable[[m.Working], None] | None = None) -> Any:
        self.told.append(query)
        self.unanswered += 1
        try:
            return await super().request(query, progress)
        except (RequestError, SessionClosedError):
            raise
        finally:
            self.unanswered -= 1

    async def close(self, *, detach: bool = False) -> None:
        await super().close(detach=detach)
        self.closed = True

    async def restarted(self) -> ToldSession:
        await self.close()
        return ToldSession(self.run, self.info.title, self.told, self.settings_now)


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until the app has nothing left to do: no message, worker or question, and the view stays the same."""
    app = pilot.app
    assert isinstance(app, StepdbgApp)
    before: View | None = None
    same = 0
    async with asyncio.timeout(DEADLINE):
        while same < 3:
            await pilot.pause()
            working = any(not w.is_finished and w.name not in {"events", "output"} for w in app.workers)
            idle = not (working or app._session.unanswered or app._state._changes) and app.view is before
            same = same + 1 if idle else 0
            before = app.view


async def _one_turn(*_limits: float) -> None:
    await asyncio.sleep(0.001)


@contextmanager
def brisk_pilot() -> Iterator[None]:
    """The pilot waits for messages to be handled, not for an idle processor (40 ms a key): the tests wait for
    conditions.
    """
    with patch("textual.app.wait_for_idle", _one_turn), patch("textual.pilot.wait_for_idle", _one_turn):
        yield


class Driver:
    """The app on a real run: keys go in, and conditions are waited for."""

    def __init__(self, app: StepdbgApp, pilot: Pilot[Exited | None], run: Run) -> None:
        self.app, self.pilot, self.run = app, pilot, run
        self.pressed: set[str] = set()
        """Keys pressed for what they are bound to, not as text for an input."""

    @property
    def view(self) -> View:
        assert self.app.view is not None
        return self.app.view

    @property
    def now(self) -> Recorded:
        return self.view.history[-1]

    @property
    def stop(self) -> StopRecord:
        return self.now.stop

    @property
    def session(self) -> ToldSession:
        session = self.app._session
        assert isinstance(session, ToldSession)
        return session

    def told(self, kind: type[Any]) -> list[Any]:
        """What the session was told of that kind."""
        return [message for message in self.session.told if isinstance(message, kind)]

    async def press(self, *keys: str) -> None:
        for key in keys:
            if not isinstance(self.app.focused, Input):
                self.pressed.add(key)
            await self.pilot.press(key)
            # A key goes to the app, on to the focused widget, and what that posts comes back.
            await self.pilot.pause()
            await self.pilot.pause()

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not condition():  # noqa: ASYNC110  (what is waited for is a state, of any part)
                    # The script's thread needs the interpreter too: no busy waiting.
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pytest.fail(f"waited in vain until {what}")

    async def settled(self) -> None:
        await settled(self.pilot)

    async def stopped_at(self, number: int) -> StopRecord:
        """Wait until the script is held at that stop and all that is on screen has been answered."""
        await self.until(lambda: self.view.status is Status.STOPPED and self.stop.number == number, f"stop {number}")
        await self.settled()
        return self.stop

    async def step(self, key: str = "n") -> StopRecord:
        """Press a key that runs on to the next stop, and wait for that."""
        number = self.stop.number + 1
        await self.press(key)
        return await self.stopped_at(number)

    async def step_until(self, condition: Callable[[StopRecord], bool], what: str, most: int = 60) -> StopRecord:
        """Press `n` until a stop is as wanted."""
        for _ in range(most):
            if condition(self.stop):
                return self.stop
            await self.step()
        pytest.fail(f"no stop in {most} was {what}")

    def text(self, selector: Any) -> str:
        """What a widget of lines, or one that draws itself, has on screen."""
        widget = self.app.main.query_one(selector)
        return "\n".join(widget.render_line(y).text.rstrip() for y in range(widget.size.height))


@asynccontextmanager
async def running(
    demo: str | Path, *arguments: str, size: tuple[int, int] = WIDE, config: UiConfig | None = None
) -> AsyncIterator[Driver]:
    """The app on a demo (or on a script), held at its first stop."""
    path = DEMOS / f"{demo}.py" if isinstance(demo, str) else demo
    run = Run(path, arguments)
    app = StepdbgApp(ToldSession(run, path.name), config)
    app.animation_level = "none"
    with brisk_pilot():
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, pilot, run)
            try:
                await driver.stopped_at(1)
                yield driver
            finally:
                run.gate.set()
