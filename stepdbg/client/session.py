"""A session as the screen sees it: the script, its console and the agent, behind one asyncio object.

`Session` does everything that is the same for every placement of the agent: framing, typed requests, one ordered
stream of events. Subclasses start the script (a process on a pty, or a thread of this process).
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from stepdbg.errors import LocalProtocolError, ProtocolError, RequestCancelledError, RequestError, SessionClosedError
from stepdbg.protocol import VERSION, codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Evaluating, Spec
from stepdbg.protocol.connection import Connection
from stepdbg.protocol.inside import Target
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.states import Role, State


@dataclass(frozen=True)
class SessionInfo:
    """What is known before the script says anything."""

    title: str
    """For the header: "train.py", "-m pkg.train", the function's name in process."""
    command: tuple[str, ...]
    """The very command that was started; empty in process."""
    python: str
    """The interpreter's path, and why that one was chosen in `python_reason`."""
    python_reason: str = ""
    has_console: bool = True
    """False in process: output goes where the host program's goes."""
    can_restart: bool = True


@dataclass(frozen=True)
class Output:
    """Bytes that the script wrote to its terminal."""

    data: bytes


@dataclass(frozen=True)
class Exited:
    """The script is over. Exactly one of `code` and `signal` is set; in process `code` is 0 or 1."""

    code: int | None
    signal: int | None = None

    @property
    def status(self) -> int:
        """The exit status a shell would show: the code, or 128 + the signal's number."""
        if self.signal is not None:
            return 128 + self.signal
        return self.code or 0


@dataclass(frozen=True)
class ConnectionLost:
    """The agent's connection ended while the script may still run (`reason` in one line)."""

    reason: str


Event = (
    m.Hello | m.Stopped | m.Continued | m.Progress | m.Warned | m.Logged | Evaluating | Output | Exited | ConnectionLost
)


@dataclass
class _Pending:
    """A request that has not been answered yet."""

    query: m.Query
    """As it was passed in."""
    future: asyncio.Future[Any]
    progress: Callable[[m.Working], None] | None
    cancelled: bool = False


class Session(ABC):
    """One run of one script. Make a new one to restart."""

    def __init__(self, info: SessionInfo) -> None:
        self.info = info
        self.pid: int | None = None
        """The script's process, once started (this very process when in process)."""
        self.exited: Exited | None = None
        self._connection = Connection(Role.CLIENT)
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._writer: asyncio.StreamWriter | None = None
        self.stop: StopRecord | None = None
        """The present stop; None while running."""
        self.breakpoints: tuple[Spec, ...] = ()
        """What is armed, as last told: a restart begins with it."""
        self.full_names = False
        """As `SetNames.full`, as last told: the same."""

    # ── for subclasses ──────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    async def start(self) -> None:
        """Start the script. Raises UsageError where it cannot be started."""

    @abstractmethod
    async def close(self, *, detach: bool = False) -> None:
        """End the script (or, with `detach`, let it run on bare) and free everything. Safe to call twice."""

    @abstractmethod
    async def restarted(self) -> Session:
        """Close this run and return a new, unstarted session for the same command, with edited source picked up."""

    async def write_console(self, data: bytes) -> None:
        """Send `data` to the script's standard input."""
        del data
        raise SessionClosedError("this session has no console: the script's input is the host program's")

    def resize_console(self, columns: int, rows: int) -> None:  # noqa: B027  (a session without a console has none)
        """Tell the script's terminal its size in characters."""

    def hides_input(self) -> bool:
        """Whether the script has turned echo off, as `getpass` does: what is typed must not be shown."""
        return False

    def emit(self, event: Event) -> None:
        """Put a local event (Output, Exited …) into the stream."""
        if isinstance(event, Exited):
            self.exited = event
        self._events.put_nowait(event)

    def finish(self) -> None:
        """No more events: the iteration over `events` ends."""
        self._events.put_nowait(None)

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read the agent's messages until the connection ends. Subclasses run this as a task."""
        self._writer = writer
        reason = ""
        try:
            while data := await reader.read(256 * 1024):
                for message in self._connection.receive(data):
                    self._handle(message)
            self._connection.close()
        except (ProtocolError, ConnectionError) as error:
            reason = str(error)
        finally:
            self._connection_gone(reason)

    # ── for the screen ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._connection.state

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order, until the session is closed. One consumer."""
        while (event := await self._events.get()) is not None:
            yield event

    def resume(self, action: m.Action, target: Target | None = None) -> None:
        """Let the stopped script go on; UNTIL: to `target`.

        Raises SessionClosedError when it is not stopped, RequestError for a skip of a phase that cannot be skipped;
        then nothing was sent.
        """
        if self.stop is None:
            raise SessionClosedError("the script is not stopped")
        upcoming = self.stop.next
        if action is m.Action.SKIP and (upcoming is None or not upcoming.skippable):
            what = "nothing is about to run" if upcoming is None else f"{upcoming.phase.value} cannot be skipped"
            raise RequestError(f"{what}: only zero_grad, backward, clip, step and scheduler can")
        self._send(m.Resume(action, target))
        self.stop = None

    def pause(self) -> None:
        """Ask for a stop at the next boundary."""
        self._send(m.Pause())

    async def request(self, query: m.Query, progress: Callable[[m.Working], None] | None = None) -> Any:
        """Ask the stopped script; returns the query's RESULT (its `id` is set here, pass 0).

        Where the answer takes a while, `progress` is called with how far it is, at most every 150 ms. A task that is
        cancelled while it waits here cancels the answer as well.

        Raises RequestError with the agent's one line (RequestCancelledError after a `cancel`), SessionClosedError when
        there is nobody to ask (any more).
        """
        number = next(self._ids)
        pending = _Pending(query, asyncio.get_running_loop().create_future(), progress)
        self._send(replace(query, id=number))
        self._pending[number] = pending
        try:
            return await pending.future
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        finally:
            self._pending.pop(number, None)

    def cancel(self, query: m.Query) -> bool:
        """Say that the answer to `query`, as it was passed to `request`, is not wanted any more.

        The request raises RequestCancelledError then, or is answered: the two may cross. False: it is not under way,
        or about to be given up by itself, since the script goes on.
        """
        numbers = [number for number, pending in self._pending.items() if pending.query == query]
        return sum(self._cancel(number) for number in numbers) > 0

    def cancel_evaluation(self) -> bool:
        """Cancel what `Evaluating` told of: the script stops there. False: it does not run."""
        if self._connection.state is not State.RUNNING:
            return False
        try:
            self._send(m.Cancel(0))
        except SessionClosedError:
            return False
        return True

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, message: Any) -> None:
        if self._writer is None or self._writer.is_closing():
            raise SessionClosedError("the script is not connected")
        try:
            frame = self._connection.send(message)
        except LocalProtocolError as error:
            raise SessionClosedError(str(error)) from None
        self._writer.write(frame)

    def _cancel(self, number: int) -> bool:
        pending = self._pending.get(number)
        if pending is None or pending.cancelled or self._connection.state is not State.STOPPED:
            return False
        try:
            self._send(m.Cancel(number))
        except SessionClosedError:
            return False
        pending.cancelled = True
        return True

    def _handle(self, message: Any) -> None:
        if isinstance(message, m.Hello) and message.version != VERSION:
            raise ProtocolError(f"the script's side speaks protocol {message.version}, this side {VERSION}")
        if isinstance(message, (m.Reply, m.Failed)):
            self._answer(message)
            return
        if isinstance(message, m.Working):
            waiting = self._pending.get(message.id)
            if waiting is not None and waiting.progress is not None:
                waiting.progress(message)
            return
        if isinstance(message, m.Stopped):
            self.stop = message.stop
        self._events.put_nowait(message)

    def _answer(self, message: m.Reply | m.Failed) -> None:
        pending = self._pending.pop(message.id, None)
        if pending is None or pending.future.done():
            return  # asked by a task that has been cancelled since
        if isinstance(message, m.Reply):
            pending.future.set_result(codec.from_plain(type(pending.query).RESULT, message.body))
        else:
            error = RequestCancelledError if pending.cancelled else RequestError
            pending.future.set_exception(error(message.error))

    def _connection_gone(self, reason: str) -> None:
        self.stop = None
        if self._connection.state is not State.CLOSED:
            try:
                self._connection.close()
            except ProtocolError as error:
                reason = reason or str(error)
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(SessionClosedError(reason or "the script has ended"))
        self._pending.clear()
        if self._writer is not None:
            self._writer.close()
        self._events.put_nowait(ConnectionLost(reason))
