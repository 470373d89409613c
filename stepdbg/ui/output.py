"""Between the script's terminal and the console pane: what it prints comes in slices that leave time for keys and
painting, what the user types goes in the order in which it was typed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from stepdbg.client.session import Session
from stepdbg.errors import SessionClosedError
from stepdbg.ui.panes.console import ConsolePane

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

SLICE = 16 * 1024
"""Bytes fed at once: a few milliseconds of terminal emulation."""
PAUSE = 1 / 60
"""Seconds between slices: one frame."""
BACKLOG = 4 * 1024 * 1024
"""Bytes waiting, at most; of a script that prints faster than can be shown, the oldest are left out."""


class OutputPump:
    """Takes bytes as they come and feeds them on, in order."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed
        self._waiting = bytearray()
        self._left_out = 0
        self._some = asyncio.Event()

    def push(self, data: bytes) -> None:
        """Take `data`; never blocks."""
        self._waiting += data
        if len(self._waiting) > BACKLOG:
            cut = self._waiting.find(b"\n", len(self._waiting) - BACKLOG // 2) + 1
            cut = cut or len(self._waiting) - BACKLOG // 2
            del self._waiting[:cut]
            self._left_out += cut
        self._some.set()

    async def run(self) -> None:
        """Feed until cancelled."""
        while True:
            await self._some.wait()
            if self._left_out:
                self._feed(f"\r\n[{self._left_out} bytes not shown: printed too fast]\r\n".encode())
                self._left_out = 0
            self._feed(bytes(self._waiting[:SLICE]))
            del self._waiting[:SLICE]
            if not self._waiting:
                self._some.clear()
            await asyncio.sleep(PAUSE)


class ConsoleLink:
    """The app's part for the script's terminal. `session`: gives the one that there is."""

    def __init__(self, app: StepdbgApp, session: Callable[[], Session]) -> None:
        self._app, self._session = app, session
        self.output = OutputPump(self._feed)
        self._size: tuple[int, int] | None = None
        self._writes = asyncio.Lock()

    def started(self) -> None:
        """A script has been started: its terminal has the size of the pane."""
        if self._size is not None:
            self._session().resize_console(*self._size)

    def resize(self, columns: int, rows: int) -> None:
        """The pane has another size."""
        self._size = (columns, rows)
        self._session().resize_console(columns, rows)

    def write(self, data: bytes) -> None:
        """The user has typed this."""
        self._app.run_worker(self._write(data), group="console")

    async def _write(self, data: bytes) -> None:
        # The lock hands out turns in the order asked for, so lines arrive as they were typed.
        async with self._writes:
            try:
                await self._session().write_console(data)
            except SessionClosedError as error:
                self._app.notify(str(error), severity="warning", markup=False)

    def _feed(self, data: bytes) -> None:
        console = self._app.main.query_one(ConsolePane)
        console.feed(data)
        console.input.password = self._session().hides_input()
