"""Running the app over a script's process, with signals and the terminal's end taken care of."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import threading
from collections.abc import Mapping
from types import FrameType

from stepdbg.client.history import History
from stepdbg.client.saved import SavedBreakpoints
from stepdbg.launch import ending
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.launch.summary import how_it_ended, last_lines
from stepdbg.ui import StepdbgApp
from stepdbg.ui.options import UiConfig

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

PATIENCE = 3 * ending.GRACE
"""Seconds after a signal in which the screen must have gone; a terminal that is no more can hold it."""


def run_screen(launch: Launch, *, theme: str | None, keymap: Mapping[str, str], history: bool = True) -> int:
    """Show the app until the user quits or a signal comes. Returns the exit status; no process is left."""
    saved = SavedBreakpoints(launch.target, module=launch.module)
    kept = History() if history else None
    run = _Run(launch, UiConfig(theme, saved.save, kept, dict(keymap)))
    asyncio.run(run.run())
    if run.signal is not None:
        return 128 + run.signal
    if run.app.return_code:
        return run.app.return_code  # the app itself failed, and has said so
    session = run.session
    _say(session)
    return session.exited.status if session.ended_itself and session.exited is not None else 0


class _Run:
    """The app, the session it shows at present, and what a signal does to both."""

    def __init__(self, launch: Launch, config: UiConfig) -> None:
        self.first = ProcessSession(launch)
        self.app = StepdbgApp(self.first, config)
        self.signal: int | None = None
        self._loop: asyncio.AbstractEventLoop
        self._leaving: asyncio.Task[None] | None = None

    @property
    def session(self) -> ProcessSession:
        """The present run: restarting makes new ones."""
        session = self.first
        while session.successor is not None:
            session = session.successor
        return session

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            # Not the loop's own handlers: they wait for the loop, which may wait for a terminal that is gone.
            signal.signal(number, self._on_signal)
        try:
            await self.app.run_async()
        finally:
            await self._close()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            return
        self.signal = number
        if not _has_terminal():
            _forget_terminal()
        last = threading.Timer(PATIENCE, os._exit, (128 + number,))
        last.daemon = True
        last.start()
        self._loop.call_soon_threadsafe(self._start_leaving)

    def _start_leaving(self) -> None:
        self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        """The script first: the terminal may be gone, and the app with it."""
        await self._close()
        self.app.exit()

    async def _close(self) -> None:
        session = self.session
        going_on = self.signal is not None and session.launch.settings.on_detach == "continue"
        await session.close(detach=going_on)


def _has_terminal() -> bool:
    try:
        termios.tcgetattr(0)
    except termios.error:
        return False  # hung up: its window or connection is closed
    return True


def _forget_terminal() -> None:
    """Let what is still drawn go nowhere: an error would end Textual's writing thread, and with it the app's end."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)


def _say(session: ProcessSession) -> None:
    """On the user's own screen again: what would be lost with the app's."""
    title = session.launch.title
    if session.log is not None:
        print(f"{title} runs on as process {session.pid}; what it prints goes to {session.log}", file=sys.stderr)
    elif session.ended_itself and session.exited is not None:
        for line in last_lines(session.tail()):
            print(line)
        print(how_it_ended(title, session.exited), file=sys.stderr)
