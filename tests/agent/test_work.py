"""Answers that take a while: progress is told, and whatever is said meanwhile is heard at once."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.agent import work as work_module
from stepdbg.agent.channel import Channel, ChannelClosedError
from stepdbg.agent.report import Report
from stepdbg.agent.work import WORKING_EVERY, GivenUpError, Work
from stepdbg.errors import RequestCancelledError, RequestError, SessionClosedError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import codec
from stepdbg.protocol import messages as m
from stepdbg.protocol.connection import Connection
from stepdbg.protocol.graph import GraphPage
from stepdbg.protocol.memory import MemoryRecord
from stepdbg.protocol.records import SourceText, StopReason, StopRecord
from stepdbg.protocol.states import Role

from .conftest import SECONDS

STEP = 1000
MEMORY = MemoryRecord(1, 0, 0, 0, 0, 0, 0, 0)
PAGE = GraphPage(1, 0, 0, (), "loss", "", 1, freed=False, nodes=0, edges=0, reach=())
STOP = StopRecord(1, StopReason.ENTRY, 1, 1, (), None, (), (), None, (), None, "MainThread", 0.5, None)
CANCELLED = r"cancelled after [\d,]+000 nodes"


class Walk:
    """Stands in for `Report.answer`: GetGraph counts until it is let go, everything else is answered at once."""

    def __init__(self) -> None:
        self.counts = threading.Event()
        """Set once a count has begun."""
        self.enough = threading.Event()
        """Set by a test: the count ends."""
        self.answered: list[Any] = []
        self.given_up = 0

    def answer(self, _report: Report, query: Any, work: Work) -> Any:
        if isinstance(query, m.GetGraph):
            self._count(work)
        self.answered.append(query)
        if isinstance(query, m.GetSource):
            return SourceText(query.file, "", changed=False)
        return MEMORY if isinstance(query, m.GetMemory) else PAGE

    def _count(self, work: Work) -> None:
        done = 0
        self.counts.set()
        try:
            while not self.enough.wait(0.0005):
                done += STEP
                work.step(done, 0, "nodes")
        except GivenUpError:
            self.given_up += 1
            with pytest.raises(GivenUpError):  # whoever caught it is told again
                work.step(done)
            raise


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    walk = Walk()
    monkeypatch.setattr(Report, "answer", lambda report, query, work: walk.answer(report, query, work))
    yield walk
    walk.enough.set()


class Training:
    """Two iterations of a tiny net; counts those that ended."""

    def __init__(self) -> None:
        self.iterations = 0

    def __call__(self) -> None:
        net = nn.Linear(2, 1)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            net(torch.ones(3, 2)).sum().backward()
            optimiser.step()
            self.iterations += 1


class Listening(ThreadSession):
    """Keeps what the agent says, and waits for it."""

    def __init__(self, train: Callable[[], Any]) -> None:
        super().__init__(train)
        self.heard: list[Any] = []
        self._news = asyncio.Event()

    def _handle(self, message: Any) -> None:
        super()._handle(message)
        self.heard.append(message)
        self._news.set()

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kinds)]

    async def hears(self, kind: type[Any], count: int = 1) -> Any:
        """The `count`-th message of that kind; waits for it."""
        async with asyncio.timeout(SECONDS):
            while len(self.of(kind)) < count:
                self._news.clear()
                await self._news.wait()
        return self.of(kind)[count - 1]

    def ask(self, query: m.Query, progress: Callable[[m.Working], None] | None = None) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.request(query, progress))


@asynccontextmanager
async def held(train: Callable[[], Any] | None = None) -> AsyncIterator[Listening]:
    """A session held at its first stop."""
    session = Listening(train or Training())
    await session.start()
    try:
        async with asyncio.timeout(SECONDS):
            await session.hears(m.Stopped)
            yield session
    finally:
        await session.close()


async def failure(task: asyncio.Task[Any]) -> str:
    """The one line why it was not answered."""
    with pytest.raises(RequestError) as caught:
        await task
    return str(caught.value)


async def test_work_that_takes_a_while_is_told_of_and_answered(walk: Walk) -> None:
    told: list[m.Working] = []
    async with held() as session:
        task = session.ask(m.GetGraph(0), told.append)
        await session.hears(m.Working, 3)
        walk.enough.set()
        assert await task == PAGE
        assert told == session.of(m.Working)
        counts = [working.done for working in told]
        assert counts == sorted(set(counts))
        assert {working.id for working in told} == {session.of(m.Reply)[0].id}
        assert {(working.total, working.what) for working in told} == {(0, "nodes")}


async def test_a_cancelled_answer_ends_at_once_and_the_next_query_is_answered(walk: Walk) -> None:
    async with held() as session:
        task = session.ask(m.GetGraph(0))
        await session.hears(m.Working)
        behind = session.ask(m.GetMemory(0))
        assert session.cancel(m.GetGraph(0))
        assert not session.cancel(m.GetGraph(0))  # once is enough
        with pytest.raises(RequestCancelledError, match=CANCELLED):
            await task
        assert await behind == MEMORY
        walk.enough.set()
        assert await session.request(m.GetGraph(0)) == PAGE
    assert walk.given_up == 1


async def test_a_step_during_work_takes_effect_at_once(walk: Walk) -> None:
    async with held() as session:
        tasks = [session.ask(query) for query in (m.GetGraph(0), m.GetMemory(0), m.GetSource(0, "a.py"))]
        await session.hears(m.Working)
        session.resume(m.Action.NEXT)
        await session.hears(m.Stopped, 2)
        errors = [await failure(task) for task in tasks]
        assert errors[1:] == ["cancelled: the script went on"] * 2
        # All is answered before the script goes on, in order, and nothing after.
        said = [type(message) for message in session.heard if not isinstance(message, (m.Working, m.Progress))]
        assert said == [m.Hello, m.Stopped, m.Failed, m.Failed, m.Failed, m.Continued, m.Stopped]
        assert [f.id for f in session.of(m.Failed)] == [1, 2, 3]
        assert await session.request(m.GetMemory(0)) == MEMORY
    assert [type(query) for query in walk.answered] == [m.GetMemory]


async def test_what_is_quick_is_answered_although_the_script_is_to_go_on(walk: Walk) -> None:
    async with held() as session:
        task = session.ask(m.GetMemory(0))
        await asyncio.sleep(0)  # it is asked
        session.resume(m.Action.NEXT)
        assert await task == MEMORY


async def test_a_query_that_waits_can_be_cancelled_and_the_others_keep_their_order(walk: Walk) -> None:
    async with held() as session:
        first = session.ask(m.GetGraph(0))
        await session.hears(m.Working)
        rest = [session.ask(m.GetSource(0, name)) for name in ("a", "b", "c")]
        await asyncio.sleep(0)  # they are asked
        session.cancel(m.GetSource(0, "b"))
        assert await failure(rest[1]) == "cancelled"
        assert not first.done()
        walk.enough.set()
        await asyncio.gather(first, rest[0], rest[2])
    assert [getattr(query, "file", "graph") for query in walk.answered] == ["graph", "a", "c"]


async def test_a_cancel_that_comes_with_its_query_spares_the_work(walk: Walk) -> None:
    async with held() as session:
        task = session.ask(m.GetGraph(0))
        await asyncio.sleep(0)  # it is asked; both go out together
        session.cancel(m.GetGraph(0))
        assert (await failure(task)).startswith("cancelled")


async def test_a_late_cancel_is_ignored(walk: Walk) -> None:
    async with held() as session:
        assert await session.request(m.GetMemory(0)) == MEMORY
        session._send(m.Cancel(session.of(m.Reply)[0].id))
        assert await session.request(m.GetMemory(0)) == MEMORY
        assert not session.cancel(m.GetMemory(0))
        assert not session.of(m.Failed)


async def test_a_pause_does_not_disturb_the_work(walk: Walk) -> None:
    async with held() as session:
        task = session.ask(m.GetGraph(0))
        await session.hears(m.Working)
        session.pause()
        await session.hears(m.Working, 3)
        walk.enough.set()
        assert await task == PAGE
        session.resume(m.Action.NEXT)
        await session.hears(m.Stopped, 2)


async def test_a_task_that_is_cancelled_cancels_its_answer(walk: Walk) -> None:
    async with held() as session:
        task = session.ask(m.GetGraph(0))
        await session.hears(m.Working)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await session.hears(m.Failed)).error.startswith("cancelled after")
    assert walk.given_up == 1


async def test_detaching_during_work_lets_the_script_run_on(walk: Walk) -> None:
    train = Training()
    async with held(train) as session:
        tasks = [session.ask(m.GetGraph(0)), session.ask(m.GetMemory(0))]
        await session.hears(m.Working)
        await session.close(detach=True)
        for task in tasks:
            with pytest.raises(SessionClosedError):
                await task
    assert (train.iterations, session.error) == (2, None)
    assert walk.given_up == 1


async def test_a_screen_that_goes_during_work_ends_the_script(walk: Walk) -> None:
    train = Training()
    async with held(train) as session:
        task = session.ask(m.GetGraph(0))
        await session.hears(m.Working)
        await session.close()
        with pytest.raises(SessionClosedError):
            await task
    assert train.iterations == 0
    assert session.exited is not None
    assert session.exited.code == 1


# ── by itself, on a clock of the test's ─────────────────────────────────────────────────────────────────────


class Desk:
    """A channel held at a stop, and the screen's side of it."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.channel = Channel(ours)
        self.screen = Connection(Role.CLIENT)
        self.channel.send(m.Hello(1, 1, "/python", "3.11", "2.13", ()))
        self.channel.send(m.Stopped(STOP))
        self.heard()

    def heard(self) -> list[Any]:
        """What the agent has said since the last time."""
        self.theirs.setblocking(False)
        try:
            return self.screen.receive(self.theirs.recv(65536))
        except BlockingIOError:
            return []

    def say(self, *messages: Any) -> None:
        self.theirs.sendall(b"".join(self.screen.send(message) for message in messages))


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.channel.close()
    desk.theirs.close()


def test_progress_is_told_once_in_a_while(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(work_module, "perf_counter", lambda: now)
    work = Work(desk.channel, 7)
    for done in range(1, 101):
        now += WORKING_EVERY / 10
        work.step(done, 100, "nodes")
    told = desk.heard()
    assert 9 <= len(told) <= 10
    assert told[0].done >= 10
    assert {(working.id, working.total) for working in told} == {(7, 100)}


def test_what_is_quick_says_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "perf_counter", lambda: 100.0)
    work = Work(desk.channel, 7)
    for done in range(1000):
        work.step(done)
    work.end(m.Failed(7, "no"))
    assert desk.heard() == [m.Failed(7, "no")]


def test_an_answer_too_long_for_one_message_fails(desk: Desk) -> None:
    Work(desk.channel, 7).end(m.Reply(7, {"text": "x" * (codec.MAX_MESSAGE + 1)}))
    (failed,) = desk.heard()
    assert failed.id == 7
    assert "bytes, more than" in failed.error


@pytest.mark.parametrize("said", [m.Cancel(7), m.Resume(m.Action.NEXT), m.Detach()], ids=lambda s: type(s).__name__)
def test_what_gives_up_the_work_leaves_the_rest_in_order(desk: Desk, said: Any) -> None:
    desk.say(m.GetMemory(8), m.GetSource(9, "a"), said)
    work = Work(desk.channel, 7)
    with pytest.raises(GivenUpError, match="cancelled after 34,000 nodes"):
        work.step(34_000, 0, "nodes")
    work.give_up("cancelled")
    left = [desk.channel.poll() for _ in range(3)]
    if isinstance(said, m.Cancel):
        assert left == [m.GetMemory(8), m.GetSource(9, "a"), None]
        assert desk.heard() == [m.Failed(7, "cancelled")]
    else:
        assert left == [said, None, None]
        refused = [] if isinstance(said, m.Detach) else [7, 8, 9]
        assert [failed.id for failed in desk.heard()] == refused


def test_a_detach_is_heeded_although_the_stream_has_ended_behind_it(desk: Desk) -> None:
    desk.say(m.Detach())
    desk.theirs.shutdown(socket.SHUT_WR)
    work = Work(desk.channel, 7)
    for _ in range(3):
        with pytest.raises(GivenUpError):
            work.step(1)
    assert desk.channel.wait() == m.Detach()


def test_nobody_to_answer_ends_the_work(desk: Desk) -> None:
    desk.theirs.close()
    with pytest.raises(ChannelClosedError):
        Work(desk.channel, 7).step(1)
