"""A script as a child that has our own standard input, output and error: to it, it is the bare run.

Only where its output is to be told as records does it get a pipe in place of our standard output.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from contextlib import suppress

from stepdbg.client.session import Exited, Output, Session, SessionInfo
from stepdbg.errors import SessionClosedError, StepdbgError, UsageError
from stepdbg.launch import ending, spawn
from stepdbg.launch.process import Launch, environment
from stepdbg.protocol import messages as m

CHUNK = 64 * 1024


class BatchSession(Session):
    """One run. `start` it inside the event loop that consumes its events."""

    def __init__(self, launch: Launch, *, capture: bool = False) -> None:
        info = SessionInfo(
            launch.title,
            launch.command,
            launch.interpreter.path,
            launch.interpreter.reason,
            has_console=False,
            can_restart=False,
        )
        super().__init__(info)
        self.launch = launch
        self._capture = capture
        """Whether what it writes to its standard output becomes Output events."""
        self._reading: int | None = None
        self._ended = asyncio.Event()
        self._connection_task: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the script. Raises UsageError where it cannot be started."""
        ours, theirs = socket.socketpair()
        writing = None
        if self._capture:
            self._reading, writing = os.pipe()
        try:
            self.pid = spawn.inheriting(
                self.launch.command, environment(self.launch.settings), theirs.fileno(), output=writing
            )
        except OSError as error:
            ours.close()
            raise UsageError(f"cannot start {self.launch.command[0]}: {error.strerror}") from None
        finally:
            theirs.close()
            if writing is not None:
                os.close(writing)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._wait, args=(self.pid, loop), name="stepdbg-wait", daemon=True).start()
        if self._reading is not None:
            os.set_blocking(self._reading, False)
            loop.add_reader(self._reading, self._read)
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        self._connection_task = asyncio.create_task(self.serve_connection(reader, writer))

    def detach(self) -> None:
        """Take everything out of the script; it runs on bare."""
        with suppress(SessionClosedError):
            self._send(m.Detach())

    async def close(self, *, detach: bool = False) -> None:
        """End the script and what it has started; nothing where it has ended."""
        if self.pid is None or detach:
            return
        if not self._ended.is_set():
            members = ending.family(self.pid)
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._ended.wait(), ending.GRACE)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                await self._ended.wait()
            ending.send(ending.alive(members), signal.SIGKILL)
        if self._finishing is not None:
            await self._finishing

    async def restarted(self) -> Session:
        """There is no second run in batch."""
        raise StepdbgError("a batch runs its script once")

    def _wait(self, pid: int, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: reap the script, then tell the loop."""
        _pid, status = os.waitpid(pid, 0)
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(self._process_ended, os.waitstatus_to_exitcode(status))

    def _process_ended(self, code: int) -> None:
        self._ended.set()
        self._finishing = asyncio.create_task(self._finish(code))

    async def _finish(self, code: int) -> None:
        """Everything the script wrote and said comes first, then its end."""
        if self._connection_task is not None:
            # A child of the script may hold the socket open: its end must not be waited for long.
            _done, late = await asyncio.wait({self._connection_task}, timeout=1.0)
            for task in late:
                task.cancel()
            await asyncio.wait({self._connection_task})
        if self._reading is not None:
            while self._read():
                pass
            self._close_pipe()
        self.emit(Exited(None, -code) if code < 0 else Exited(code))
        self.finish()

    def _read(self) -> bool:
        """Take what the script has written; False: there is no more now."""
        if self._reading is None:
            return False
        try:
            data = os.read(self._reading, CHUNK)
        except BlockingIOError:
            return False
        if data:
            self.emit(Output(data))
            return True
        self._close_pipe()
        return False

    def _close_pipe(self) -> None:
        if self._reading is not None:
            asyncio.get_running_loop().remove_reader(self._reading)
            os.close(self._reading)
            self._reading = None
