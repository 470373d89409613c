"""A session whose script is a process on a pty of its own, started by the very command the user typed.

    screen                                     script
    pty master  ◄──── Output / console ────►   0, 1, 2 and controlling terminal
    socket      ◄──── protocol ────────────►   fd 200 (STEPDBG_FD)

The agent gets in through `PYTHONPATH` (see `agent/inject`) and takes these traces out before the script runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from stepdbg.client.session import Event, Exited, Output, Session, SessionInfo
from stepdbg.errors import SessionClosedError, StepdbgError, UsageError
from stepdbg.launch import ending, spawn
from stepdbg.launch.interpreter import Interpreter
from stepdbg.protocol import codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import Target
from stepdbg.protocol.records import StopReason

INJECT = Path(__file__).parent.parent / "agent" / "inject"
"""First on the script's PYTHONPATH: the folder whose `sitecustomize.py` brings the agent in."""

CHUNK = 64 * 1024
"""Bytes of console output in one Output event, at most."""

BACKLOG = 1024 * 1024
"""Bytes of output waiting for the screen; beyond it the terminal is not read, and so the script waits."""

LAST_STOPS = (StopReason.EXCEPTION, StopReason.FINISHED)
"""Stops after which only the script's end comes."""

TAIL = 64 * 1024
"""Bytes of output kept to be shown again after the screen has gone."""


@dataclass(frozen=True)
class Launch:
    """What to run and how; everything a restart needs."""

    interpreter: Interpreter
    target: str
    """The script's path as typed, or the module's name."""
    arguments: tuple[str, ...] = ()
    module: bool = False
    settings: m.Settings = field(default_factory=m.Settings)
    output: Path | None = None
    """A file that gets every byte the script prints; begun anew by the first run, appended to by restarts."""
    attributes: spawn.Attributes | None = None
    """Of the user's terminal: echo, control characters, character set."""

    @property
    def command(self) -> tuple[str, ...]:
        """The command line, as the user would have typed it."""
        selector = ("-m", self.target) if self.module else (self.target,)
        return (self.interpreter.path, *selector, *self.arguments)

    @property
    def title(self) -> str:
        """The script's name for headers and messages."""
        return f"-m {self.target}" if self.module else Path(self.target).name


def environment(settings: m.Settings) -> dict[str, str]:
    """Our own environment with what brings the agent in; it is the only difference to a bare run's."""
    env = dict(os.environ)
    old = env.get("PYTHONPATH")
    env.pop("STEPDBG_PYTHONPATH", None)
    if old is not None:
        env["STEPDBG_PYTHONPATH"] = old
    # An empty entry would put the working directory on the script's path.
    env["PYTHONPATH"] = f"{INJECT}{os.pathsep}{old}" if old else str(INJECT)
    env["STEPDBG_FD"] = str(spawn.SOCKET_FD)
    env["STEPDBG_SETTINGS"] = json.dumps(codec.to_plain(settings))
    return env


class ProcessSession(Session):
    """One run of a script in its own process. `start` it inside the event loop that consumes its events."""

    def __init__(self, launch: Launch, *, columns: int = 80, rows: int = 24, append: bool = False) -> None:
        super().__init__(SessionInfo(launch.title, launch.command, launch.interpreter.path, launch.interpreter.reason))
        self.launch = launch
        self.breakpoints, self.full_names = launch.settings.breakpoints, launch.settings.full_names
        self.successor: ProcessSession | None = None
        """The session that `restarted` made of this one."""
        self.log: Path | None = None
        """Where the script's output goes after `close(detach=True)`."""
        self.ended_itself = False
        """Whether the script ended by itself: before `close`, or let go there from its last stop."""
        self._over = False
        self._size = (columns, rows)
        self._append = append
        self._master: int | None = None
        self._slave: int | None = None
        self._tee: int | None = None
        self._tail = bytearray()
        self._unseen = 0
        self._reading = False
        self._input = bytearray()
        self._ended = asyncio.Event()
        self._keeper: int | None = None
        self._keeper_pipe: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection_task: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    # ── the run ─────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Start the script; its first output and its Hello follow as events. Raises UsageError if not."""
        if self._master is not None or self._closing is not None:
            raise StepdbgError("a session is started once; `restarted` makes a new one")
        self._open_output()
        ours, theirs = socket.socketpair()
        self._master, self._slave = spawn.open_pty(*self._size, self.launch.attributes)
        try:
            self.pid = spawn.on_terminal(
                self.launch.command, environment(self.launch.settings), self._slave, theirs.fileno()
            )
        except OSError as error:
            ours.close()
            self._free_terminal()
            raise UsageError(f"cannot start {self.launch.command[0]}: {error.strerror}") from None
        finally:
            theirs.close()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._wait, args=(self.pid, loop), name="stepdbg-wait", daemon=True).start()
        if self.launch.settings.on_detach == "continue":
            self._start_keeper()
        self._resume_reading()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        self._connection_task = asyncio.create_task(self.serve_connection(reader, writer))

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order, until the session is closed. One consumer."""
        async for event in super().events():
            if isinstance(event, Output):
                self._unseen -= len(event.data)
                if not self._reading and self._unseen < BACKLOG // 2:
                    self._resume_reading()
            yield event

    def tail(self) -> bytes:
        """The last TAIL bytes that the script printed."""
        return bytes(self._tail)

    def _wait(self, pid: int, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: reap the script, then tell the loop."""
        _pid, status = os.waitpid(pid, 0)
        try:
            loop.call_soon_threadsafe(self._process_ended, os.waitstatus_to_exitcode(status))
        except RuntimeError:
            pass  # the loop is closed: the screen has gone, nobody is left to be told

    def _process_ended(self, code: int) -> None:
        self._ended.set()
        self.ended_itself = self._closing is None
        self._finishing = asyncio.create_task(self._finish(code))

    async def _finish(self, code: int) -> None:
        """Everything the script wrote and said comes first, then its end."""
        self._drain()
        if self._connection_task is not None:
            # A child of the script may hold the socket open: its end must not be waited for long.
            _done, late = await asyncio.wait({self._connection_task}, timeout=1.0)
            for task in late:
                task.cancel()
            await asyncio.wait({self._connection_task})
        self._release_keeper()
        self.emit(Exited(None, -code) if code < 0 else Exited(code))
        self.finish()

    # ── the console ─────────────────────────────────────────────────────────────────────────────────────────

    async def write_console(self, data: bytes) -> None:
        """Type `data` into the script's terminal: Ctrl-C (0x03) and Ctrl-D (0x04) do what they do when typed.

        Raises SessionClosedError when the script has ended. Does not wait until the script reads it.
        """
        if self._master is None or self._ended.is_set():
            raise SessionClosedError("the script has ended: nothing reads its input")
        self._input += data
        self._write_ready()

    def hides_input(self) -> bool:
        """Whether the script's terminal is in line mode without echo, as `getpass` sets it."""
        return self._master is not None and spawn.hides_input(self._master)

    def resize_console(self, columns: int, rows: int) -> None:
        """Tell the script's terminal its size in characters; before the start, that it begins with."""
        self._size = (columns, rows)
        if self._master is not None:
            spawn.set_size(self._master, columns, rows)

    def _write_ready(self) -> None:
        assert self._master is not None
        loop = asyncio.get_running_loop()
        try:
            del self._input[: os.write(self._master, self._input)]
        except BlockingIOError:
            pass  # the terminal's line buffer is full until the script reads
        except OSError:
            self._input.clear()
        if self._input:
            loop.add_writer(self._master, self._write_ready)
        else:
            loop.remove_writer(self._master)

    def _resume_reading(self) -> None:
        if self._master is not None and not self._ended.is_set():
            self._reading = True
            asyncio.get_running_loop().add_reader(self._master, self._read_ready)

    def _pause_reading(self) -> None:
        if self._reading and self._master is not None:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._master)

    def _read_ready(self) -> None:
        _data, more = self._read_chunk()
        if not more or self._unseen > BACKLOG:
            self._pause_reading()

    def _read_chunk(self) -> tuple[int, bool]:
        """Read what there is, at most CHUNK bytes, into one event; its length, and whether more may come."""
        assert self._master is not None
        data = bytearray()
        more = True
        while len(data) < CHUNK:
            try:
                piece = os.read(self._master, CHUNK - len(data))
            except BlockingIOError:
                break
            except OSError:  # EIO: no process has the terminal open
                piece = b""
            if not piece:
                more = False
                break
            data += piece
        if data:
            self._record(bytes(data))
        return len(data), more

    def _record(self, data: bytes) -> None:
        self._tail += data
        del self._tail[:-TAIL]
        self._unseen += len(data)
        self.emit(Output(data))
        if self._tee is None:
            return
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._tee, view) :]
        except OSError as error:
            os.close(self._tee)
            self._tee = None
            self.emit(m.Warned(f"--output {self.launch.output}: {error.strerror}; no more is written there"))

    def _drain(self) -> None:
        """After the script's end: what its terminal still holds, at most BACKLOG bytes."""
        self._pause_reading()
        if self._master is None:
            return
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None
        total, more = 0, True
        while more and total < BACKLOG:
            length, more = self._read_chunk()
            total += length
            more = more and length > 0

    def _open_output(self) -> None:
        if self.launch.output is None:
            return
        mode = os.O_APPEND if self._append else os.O_TRUNC
        try:
            self._tee = os.open(self.launch.output, os.O_WRONLY | os.O_CREAT | mode, 0o644)
        except OSError as error:
            raise UsageError(f"--output {self.launch.output}: {error.strerror}") from None

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    async def close(self, *, detach: bool = False) -> None:
        """End the script with all its processes, or let it run on bare; free everything. Safe to call twice.

        A script held at its last stop (finished, or post-mortem) has only its end to run, and runs that: it writes
        out its files and exits with its own code.
        With `detach` its output goes on into the file `log`. Takes at most about twice `ending.GRACE`.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(detach))
        await asyncio.shield(self._closing)

    async def _close(self, detach: bool) -> None:
        if detach and self.pid is not None and not self._ended.is_set():
            await self._detach()
        elif self.pid is not None:
            await self._let_end()
            await ending.end_family(self.pid, self._ended)
            if self._finishing is not None:
                await self._finishing
        if self._finishing is None:
            self.finish()  # never started, detached, or stuck in the kernel: no end will be told
        self._free_terminal()

    def resume(self, action: m.Action, target: Target | None = None) -> None:
        """Let the stopped script go on; see `Session.resume`."""
        last = self.stop is not None and self.stop.reason in LAST_STOPS
        super().resume(action, target)
        self._over = last

    async def _let_end(self) -> None:
        """Give a script that is at its last stop, or beyond it, the time to end."""
        if self.stop is not None and self.stop.reason in LAST_STOPS:
            with suppress(SessionClosedError):
                self.resume(m.Action.CONTINUE)
        if self._over:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), ending.GRACE)
                self.ended_itself = True

    async def _detach(self) -> None:
        if self._keeper is None:
            self._start_keeper()
        self.log = self._log_path()
        try:
            self._send(m.Detach())
            assert self._writer is not None
            await self._writer.drain()
        except (SessionClosedError, ConnectionError):
            pass  # torch is not imported yet, or the agent has gone: the socket's end says the same
        if self._connection_task is not None:
            _done, late = await asyncio.wait({self._connection_task}, timeout=1.0)
            for task in late:
                task.cancel()
        self._pause_reading()
        if self._keeper_pipe is not None:
            os.close(self._keeper_pipe)
            self._keeper_pipe = None

    async def restarted(self) -> ProcessSession:
        """Close this run; a new, unstarted session for the same command, which picks up edited source."""
        await self.close()
        columns, rows = self._size
        settings = replace(self.launch.settings, breakpoints=self.breakpoints, full_names=self.full_names)
        self.successor = ProcessSession(
            replace(self.launch, settings=settings), columns=columns, rows=rows, append=True
        )
        return self.successor

    def _log_path(self) -> Path:
        name = Path(self.launch.target).stem if not self.launch.module else self.launch.target
        return Path.cwd() / f"stepdbg-{name}-{self.pid}.log"

    def _start_keeper(self) -> None:
        assert self._master is not None
        reading, self._keeper_pipe = os.pipe()
        try:
            self._keeper = spawn.keeper(self._master, reading, self._log_path())
        finally:
            os.close(reading)

    def _release_keeper(self) -> None:
        """Tell the keeper that there is nothing to keep, and reap it."""
        if self._keeper is None or self._keeper_pipe is None:
            return
        try:
            os.write(self._keeper_pipe, b"q")
        except OSError:
            os.kill(self._keeper, signal.SIGKILL)
        os.close(self._keeper_pipe)
        self._keeper_pipe = None
        pid = self._keeper
        threading.Thread(target=os.waitpid, args=(pid, 0), name="stepdbg-keeper", daemon=True).start()

    def _free_terminal(self) -> None:
        self._pause_reading()
        if self._master is not None:
            asyncio.get_running_loop().remove_writer(self._master)
        for fd in (self._master, self._slave, self._tee):
            if fd is not None:
                os.close(fd)
        self._master = self._slave = self._tee = None
