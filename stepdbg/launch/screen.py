"""Running the app over a script's process, with signals and the terminal's end taken care of."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

from stepdbg.launch import ending
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.launch.summary import how_it_ended, last_lines
from stepdbg.ui import StepdbgApp
from stepdbg.ui.options import UiConfig

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

PATIENCE = 3 * ending.GRACE
"""Seconds after a signal in which the screen must have gone; a terminal that is no more can hold it."""


def run_screen(launch: Launch, *, theme: str | None, keymap: Mapping[str, str]) -> int:
    """Show the app until the user quits or a signal comes. Returns the exit status; no process is left."""
    run = _Run(launch, UiConfig(theme=theme, keymap=dict(keymap)))
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
        self._leaving: asyncio.Task[None] | None = None

    @property
    def session(self) -> ProcessSession:
        """The present run: restarting makes new ones."""
        session = self.first
        while session.successor is not None:
            session = session.successor
        return session

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            await self.app.run_async()
        finally:
            await self._close()

    def _on_signal(self, number: int) -> None:
        if self.signal is None:
            self.signal = number
            asyncio.get_running_loop().call_later(PATIENCE, os._exit, 128 + number)
            self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        """The script first: the terminal may be gone, and the app with it."""
        await self._close()
        self.app.exit()

    async def _close(self) -> None:
        session = self.session
        going_on = self.signal is not None and session.launch.settings.on_detach == "continue"
        await session.close(detach=going_on)


def _say(session: ProcessSession) -> None:
    """On the user's own screen again: what would be lost with the app's."""
    title = session.launch.title
    if session.log is not None:
        print(
            f"{title} runs on as process {session.pid}; what it prints goes to {session.log}", file=sys.stderr
        )
    elif session.ended_itself and session.exited is not None:
        for line in last_lines(session.tail()):
            print(line)
        print(how_it_ended(title, session.exited), file=sys.stderr)
