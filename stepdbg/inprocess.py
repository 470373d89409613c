"""The agent and the screen in one process: a training function in a thread, over a socketpair.

For pilot tests, notebooks and the Python API. The same agent, the same protocol and the same screen as for a script in
its own process; only the console stays with the host program.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from stepdbg import custom_phase
from stepdbg.agent import frames
from stepdbg.agent.channel import Channel
from stepdbg.agent.control import Control, SessionEndedError
from stepdbg.agent.importhook import PostImportHook
from stepdbg.agent.instrument import Instruments
from stepdbg.agent.phasemap import await_phases
from stepdbg.agent.tracker import Tracker
from stepdbg.client.session import Exited, Session, SessionInfo
from stepdbg.errors import SessionClosedError
from stepdbg.protocol import VERSION
from stepdbg.protocol import messages as m

_in_use = threading.Lock()
"""torch has one set of functions to wrap, so one session at a time."""


class ThreadSession(Session):
    """Runs `train` in a thread of this process and lets the screen step it.

    When the screen goes while the function is held, the function is left by an exception (`SessionEndedError`). Raises
    SessionClosedError from `start` while another in-process session runs.
    """

    def __init__(self, train: Callable[[], Any], settings: m.Settings | None = None, title: str | None = None) -> None:
        name = title or str(getattr(train, "__name__", "train"))
        super().__init__(SessionInfo(name, (), sys.executable, "this process", has_console=False))
        self._train = train
        self._settings = settings or m.Settings()
        self.breakpoints, self.full_names = self._settings.breakpoints, self._settings.full_names
        self.error: BaseException | None = None
        """What the function raised, if anything."""
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._code = 0
        self._ended = threading.Event()

    async def start(self) -> None:
        """Instrument torch and start the thread."""
        if not _in_use.acquire(blocking=False):
            raise SessionClosedError("another in-process session is running: close it first")
        self.pid = os.getpid()
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        self._thread = threading.Thread(target=self._run, args=(theirs,), name="train", daemon=True)
        self._thread.start()
        self._task = asyncio.create_task(self._follow(reader, writer))

    async def close(self, *, detach: bool = False) -> None:
        """End the conversation and wait for the function to be left."""
        if self._thread is None:
            return
        if detach and self._writer is not None:
            try:
                self._send(m.Detach())
            except SessionClosedError:
                pass
        if self._writer is not None:
            self._writer.close()
        if self._task is not None:
            await self._task
        self._thread = None
        self.finish()

    async def restarted(self) -> Session:
        """A new session with the same function."""
        await self.close()
        return ThreadSession(self._train, self.settings_now, self.info.title)

    @property
    def settings_now(self) -> m.Settings:
        """What a restart begins with."""
        return replace(self._settings, breakpoints=self.breakpoints, full_names=self.full_names)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Exited comes last: after all that was said, and after the thread's own end.
        await self.serve_connection(reader, writer)
        await asyncio.to_thread(self._ended.wait)
        self.emit(Exited(self._code))

    def _run(self, sock: socket.socket) -> None:
        tracker, imports = Tracker(), PostImportHook()
        instruments = Instruments(tracker)
        control = Control(tracker, Channel(sock), self._settings)
        control.on_gone = _leave
        control.detached = instruments.restore
        control.known_optimizers = instruments.optimizers
        tracker.control = control
        tracker.armed = True
        try:
            instruments.install()
            custom_phase.observer = tracker
            version = sys.version.split()[0]
            control.hello(m.Hello(VERSION, os.getpid(), sys.executable, version, torch.__version__, ()))
            await_phases(instruments, imports, self._settings.phases, control.warn)
            self._train()
            control.finished()
        except SessionEndedError:
            self._code = 1
        except BaseException as error:  # shown post-mortem, and kept for the host to raise
            self._code, self.error = 1, error
            error.__traceback__ = frames.clean_traceback(error.__traceback__)
            text = "".join(traceback.format_exception(error))
            try:
                control.post_mortem(error, text)
            except SessionEndedError:
                pass
        finally:
            custom_phase.observer = None
            imports.close()
            control.breakpoints.stop()
            instruments.restore()
            sock.close()
            _in_use.release()
            self._ended.set()


def _leave() -> None:
    raise SessionEndedError
