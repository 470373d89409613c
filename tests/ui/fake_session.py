"""A session without a script: a scripted agent at the other end of a socket pair speaks the real protocol."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field, replace
from typing import Any

import fake_records as records

from stepdbg.client.session import Exited, Output, Session, SessionInfo
from stepdbg.errors import SessionClosedError, UsageError
from stepdbg.protocol import VERSION, codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.connection import Connection
from stepdbg.protocol.records import StopReason, StopRecord
from stepdbg.protocol.states import Role

DEADLINE = 10.0
"""Seconds that a test waits for something to happen."""


@dataclass
class Script:
    """What the scripted agent does."""

    stops: list[StopRecord] = field(default_factory=records.two_nets)
    greets: bool = True
    """False: torch is never imported."""
    runs_on: bool = False
    """Whether "continue" keeps running until paused, instead of going to the last stop."""
    exit: Exited = field(default_factory=lambda: Exited(0))
    cannot_start: str = ""


class FakeAgent:
    """The agent's end: answers like the real one, and remembers everything it was told."""

    def __init__(self, script: Script, ended: Any) -> None:
        self.script = script
        self.received: list[Any] = []
        self.slow: tuple[type[Any], ...] = ()
        """Set by a test: kinds of queries that take until `release`. What is asked meanwhile waits behind them."""
        self.waiting: list[Any] = []
        """Queries not answered yet; the first of them is worked on."""
        self._done = 0
        self._ended = ended
        self._connection = Connection(Role.AGENT)
        self.writer: asyncio.StreamWriter | None = None
        self._position = -1
        self._news = asyncio.Condition()

    async def serve(self, sock: socket.socket) -> None:
        """Speak until the other side hangs up."""
        reader, self.writer = await asyncio.open_connection(sock=sock)
        try:
            await self._converse(reader)
        finally:
            self.writer.close()

    async def _converse(self, reader: asyncio.StreamReader) -> None:
        if self.script.greets:
            self.say(m.Hello(VERSION, os.getpid(), "/usr/bin/python3", "3.11.7", "2.13.0", ("two_nets.py",)))
            self._stop_at(0)
        while data := await reader.read(65536):
            for message in self._connection.receive(data):
                async with self._news:
                    self.received.append(message)
                    self._news.notify_all()
                self._heed(message)

    def say(self, message: Any) -> None:
        """Send `message`; a rule of the protocol that it breaks raises."""
        assert self.writer is not None
        self.writer.write(self._connection.send(message))

    def hang_up(self) -> None:
        """End the connection as a dying process does."""
        assert self.writer is not None
        self.writer.close()

    async def told(self, wanted: Any, count: int = 1) -> Any:
        """The `count`-th received message equal to `wanted` (or of that class); waits for it."""

        def matches() -> list[Any]:
            return [r for r in self.received if r == wanted or (isinstance(wanted, type) and isinstance(r, wanted))]

        async with self._news, asyncio.timeout(DEADLINE):
            await self._news.wait_for(lambda: len(matches()) >= count)
        return matches()[count - 1]

    def work(self, done: int, total: int = 0, what: str = "nodes") -> None:
        """Say how far the answer is that is worked on."""
        self._done = done
        self.say(m.Working(self.waiting[0].id, done, total, what))

    def release(self) -> None:
        """Nothing takes long any more: answer what waits."""
        self.slow = ()
        self._serve()

    def _heed(self, message: Any) -> None:
        if isinstance(message, m.Resume):
            for query in list(self.waiting):
                self._refuse(query, "cancelled: the script went on")
            self.say(m.Continued(message.action))
            self._go_on(message.action)
        elif isinstance(message, m.Pause):
            if self._connection.state.value == "running":
                self._stop_at(self._position + 1, paused=True)
        elif isinstance(message, m.Cancel):
            for query in [query for query in self.waiting if query.id == message.id]:
                self._refuse(query, "cancelled")
            self._serve()
        elif isinstance(message, m.QUERIES):
            self.waiting.append(message)
            self._serve()

    def _refuse(self, query: Any, why: str) -> None:
        worked_on = query is self.waiting[0] and isinstance(query, self.slow)
        self.waiting.remove(query)
        self.say(m.Failed(query.id, f"cancelled after {self._done:,} nodes" if worked_on else why))

    def _serve(self) -> None:
        while self.waiting and not isinstance(self.waiting[0], self.slow):
            query = self.waiting.pop(0)
            self._done = 0
            answer = records.answer(query, self._position + 1)
            if isinstance(answer, str):
                self.say(m.Failed(query.id, answer))
            else:
                self.say(m.Reply(query.id, codec.to_plain(answer)))

    def _go_on(self, action: m.Action) -> None:
        stops, here = self.script.stops, self._position
        if action is m.Action.CONTINUE:
            if self.script.runs_on:
                return
            target = len(stops) if here >= len(stops) - 1 else len(stops) - 1
        elif action is m.Action.ITERATION:
            target = next(
                (i for i in range(here + 1, len(stops)) if stops[i].iteration > stops[here].iteration),
                len(stops) - 1,
            )
        else:
            target = here + 1
        self._stop_at(target)

    def _stop_at(self, position: int, *, paused: bool = False) -> None:
        if position < len(self.script.stops):
            self._position = position
            stop = self.script.stops[position]
            self.say(m.Stopped(replace(stop, reason=StopReason.PAUSE) if paused else stop))
        else:
            self._ended()


class FakeSession(Session):
    """The session whose agent is scripted."""

    def __init__(self, script: Script | None = None, *, title: str = "two_nets.py") -> None:
        super().__init__(SessionInfo(title, ("python", title), "/usr/bin/python3", "the python of your shell"))
        self.script = script or Script()
        self.agent = FakeAgent(self.script, self._end)
        self.written: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []
        self.closed = 0
        self.successor: FakeSession | None = None
        """The session that a restart made."""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        if self.script.cannot_start:
            raise UsageError(self.script.cannot_start)
        ours, theirs = socket.socketpair()
        self.pid = os.getpid()
        reader, writer = await asyncio.open_connection(sock=ours)
        self._tasks = [
            asyncio.create_task(self.serve_connection(reader, writer)),
            asyncio.create_task(self.agent.serve(theirs)),
        ]
        self.emit(Output(b"epoch 0\r\n"))

    async def close(self, *, detach: bool = False) -> None:
        self.closed += 1
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in (self._writer, self.agent.writer):
            if writer is not None:
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        if self.exited is None:
            self.emit(Exited(None, 15))
        self.finish()

    async def restarted(self) -> Session:
        await self.close()
        self.successor = FakeSession(self.script)
        return self.successor

    async def write_console(self, data: bytes) -> None:
        if self.exited is not None:
            raise SessionClosedError("the script has ended")
        self.written.append(data)

    def resize_console(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def _end(self) -> None:
        self.agent.hang_up()
        self._tasks.append(asyncio.create_task(self._reap()))

    async def _reap(self) -> None:
        # What the agent said last is read before the end is told, as with a real process.
        await self._tasks[0]
        self.emit(self.script.exit)


def ends_with(reason: StopReason, **changes: Any) -> list[StopRecord]:
    """The stops of `two_nets`, the last one of that reason."""
    return records.two_nets(last=reason, **changes)
