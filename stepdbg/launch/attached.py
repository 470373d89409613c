"""The screen of a script that has opened it itself: a child of the script, on the script's terminal.

    attached.main [SOCKET_FD, MASTER_FD, PID, ARGV…]

The script waits for this process when the conversation is over, so the terminal is left in order before either goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import replace

from stepdbg.config import load
from stepdbg.errors import SessionClosedError, StepdbgError
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import LAST_STOPS, Launch, ProcessSession
from stepdbg.launch.summary import plain_lines
from stepdbg.protocol import messages as m

DRAIN = 1.0
"""Seconds in which the script must have let go of the pseudo-terminal."""


class AttachedSession(ProcessSession):
    """The process that has started us. Its end is the end of the conversation: it is not our child to wait for."""

    def __init__(self, connection: int, master: int, pid: int, argv: list[str]) -> None:
        target, *rest = argv or ["script"]
        launch = Launch(Interpreter(sys.executable, "the script's own"), target or "script", tuple(rest))
        super().__init__(launch)
        self.info = replace(self.info, can_restart=False)
        self.pid = pid
        self._fds = connection, master
        self.gone = asyncio.Event()
        """The script speaks no more: it was let go, or has ended."""
        self.kill = False
        """Whether the script is to be ended once the screen has left the terminal."""

    async def start(self) -> None:
        """Speak with the script."""
        connection, self._master = self._fds
        os.set_blocking(self._master, False)
        self._resume_reading()
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=connection))
        self._connection_task = asyncio.create_task(self._serve(reader, writer))

    async def close(self, *, detach: bool = False) -> None:
        """Let the script run on, or have it ended when the screen has gone. Safe to call twice."""
        if self.gone.is_set():
            return
        last = self.stop is not None and self.stop.reason in LAST_STOPS
        with suppress(SessionClosedError):
            if last:
                self.resume(m.Action.CONTINUE)
                detach = True
            else:
                self._send(m.Detach())
        self.kill = self.kill or not detach
        assert self._connection_task is not None
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._connection_task), DRAIN)

    async def restarted(self) -> ProcessSession:
        """It was not started from here."""
        raise StepdbgError("this session cannot be restarted from here")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.serve_connection(reader, writer)
        self.gone.set()

    def rest(self) -> None:
        """Read what is left on the pseudo-terminal, until the script has let go of it."""
        if self._master is None:
            return
        os.set_blocking(self._master, False)
        import select

        while select.select([self._master], [], [], DRAIN)[0]:
            length, more = self._read_chunk()
            if not length and not more:
                break


def main(arguments: list[str]) -> int:
    """Show the app until the script speaks no more or the user leaves; then print what the script has printed."""
    connection, master, pid = map(int, arguments[:3])
    try:
        from textual.theme import BUILTIN_THEMES

        from stepdbg.client.history import History
        from stepdbg.ui import StepdbgApp
        from stepdbg.ui.options import UiConfig
        from stepdbg.ui.theme import DARK, LIGHT
    except ImportError as error:
        print(f"stepdbg: the screen cannot be loaded ({error})", file=sys.stderr)
        return 2
    try:
        config = load(None)
        config.check_theme((DARK.name, LIGHT.name, *BUILTIN_THEMES))
    except StepdbgError as error:
        print(f"stepdbg: {error}", file=sys.stderr)
        return 2

    async def run() -> AttachedSession:
        session = AttachedSession(connection, master, pid, arguments[3:])
        history = History() if config.history is not False else None
        app = StepdbgApp(session, UiConfig(theme=config.theme, history=history, keymap=dict(config.keys)))

        async def follow() -> None:
            await session.gone.wait()
            app.exit()

        following = asyncio.create_task(follow())
        await app.run_async()
        following.cancel()
        session.rest()
        return session

    session = asyncio.run(run())
    for line in plain_lines(session.tail()):
        print(line)
    sys.stdout.flush()
    if session.kill:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return 0
