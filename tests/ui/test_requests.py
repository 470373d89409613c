"""Questions to the stopped script: one of a kind at a time, the newest waits, and what takes long can be left."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_session import DEADLINE, FakeSession

from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import GraphView, Lens
from stepdbg.ui import requests
from stepdbg.ui.requests import Requests

RAW = m.GetGraph(0, lens=Lens(view=GraphView.RAW))
MODULES = m.GetGraph(0)
OTHER = m.GetGraph(0, lens=Lens(graph=2))
NEXT_PAGE = m.GetGraph(0, offset=60)


class Asker:
    """Requests as the app uses them; keeps what came of each."""

    def __init__(self, session: FakeSession) -> None:
        self.session, self.agent = session, session.agent
        self.requests = Requests(session, self.answered, self)
        self.outcomes: list[tuple[Any, ...]] = []
        self.settled = 0
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def answered(self, stop: int, query: m.Query, answer: Any) -> None:
        self._note("answered", query)

    def failed(self, stop: int, query: m.Query, error: str) -> None:
        self._note("failed", query, error)

    def worked(self, stop: int, query: m.Query, working: m.Working | None) -> None:
        self._note("worked", query, working and working.done)

    def settle(self) -> None:
        self.settled += 1
        self._news.set()

    def _note(self, *outcome: Any) -> None:
        self.outcomes.append(outcome)
        self._news.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def ask(self, query: m.Query, *, again: bool = False) -> None:
        assert self.session.stop is not None
        if self.requests.note(self.session.stop.number, query, again=again):
            self._tasks.append(asyncio.create_task(self.requests.ask(type(query))))

    async def works(self, query: m.Query, done: int = 1000) -> None:
        """Ask it, and let the agent tell how far it is."""
        asked = len(self.queries)
        self.ask(query)
        await self.agent.told(type(query), asked + 1)
        await self.tells(query, done)

    async def tells(self, query: m.Query, done: int) -> None:
        self.agent.work(done)
        await self.until(lambda: ("worked", query, done) in self.outcomes)

    async def ended(self) -> None:
        """Wait until nothing is under way."""
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*self._tasks)

    @property
    def queries(self) -> list[Any]:
        """What the agent was asked, as it was passed in."""
        return [r for r in self.agent.received if isinstance(r, m.GetGraph)]


@asynccontextmanager
async def asking(stop: int = 4) -> AsyncIterator[Asker]:
    session = FakeSession()
    await session.start()
    try:
        async for event in session.events():
            if isinstance(event, m.Stopped):
                if event.stop.number == stop:
                    break
                session.resume(m.Action.NEXT)
        session.agent.slow = (m.GetGraph,)
        yield Asker(session)
    finally:
        await session.close()


@pytest.fixture(params=[0.0, math.inf], ids=["long", "not long"])
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(requests, "LONG", request.param)
    return float(request.param)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LONG", 0.0)


async def test_of_those_that_wait_only_the_latest_is_asked() -> None:
    async with asking() as asker:
        asker.ask(m.GetGraph(0, 0))
        await asker.agent.told(m.GetGraph)
        for offset in (10, 20, 30):
            asker.ask(m.GetGraph(0, offset))
        asker.agent.release()
        await asker.ended()
        assert asker.outcomes == [("answered", m.GetGraph(0, offset)) for offset in (0, 30)]
        assert asker.settled == 1


async def test_progress_is_told_and_other_kinds_do_not_wait_here() -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        asker.ask(m.GetMemory(0))
        await asker.agent.told(m.GetMemory)
        asker.agent.release()
        await asker.ended()
        assert asker.outcomes == [("worked", MODULES, 1000), ("answered", MODULES), ("answered", m.GetMemory(0))]


async def test_what_is_quick_cannot_be_cancelled() -> None:
    async with asking() as asker:
        assert not asker.requests.cancel()
        asker.ask(MODULES)
        await asker.agent.told(m.GetGraph)
        assert not asker.requests.cancel()
        asker.agent.release()
        await asker.ended()
        assert asker.outcomes == [("answered", MODULES)]
        assert not any(isinstance(r, m.Cancel) for r in asker.agent.received)


async def test_what_was_cancelled_is_not_asked_again_unless_the_user_asks() -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        asker.ask(NEXT_PAGE)  # waits for the same walk
        assert asker.requests.cancel()
        await asker.ended()
        failed = ("failed", MODULES, "cancelled after 1,000 nodes")
        assert asker.outcomes[-1] == failed
        for query in (MODULES, NEXT_PAGE, m.GetGraph(0, lens=Lens(selected="net.0.weight", base=2))):
            asker.ask(query)
        await asker.ended()
        assert len(asker.queries) == 1
        asker.agent.release()
        asker.ask(MODULES, again=True)
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", MODULES)
        asker.ask(NEXT_PAGE)  # now it is there
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", NEXT_PAGE)


async def test_a_search_that_waits_is_cancelled_with_the_walk_it_waits_for() -> None:
    search = m.GetGraph(0, lens=Lens(pattern="net.0"))
    async with asking() as asker:
        await asker.works(MODULES)
        asker.ask(search)
        assert asker.requests.cancel()
        await asker.ended()
        asker.ask(search)
        await asker.ended()
        assert asker.queries[1:] == []
        asker.agent.slow = ()
        asker.ask(search, again=True)
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", search)


async def test_who_comes_back_to_what_was_cancelled_wants_it() -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        asker.requests.cancel()
        await asker.ended()
        asker.agent.slow = ()
        for query in (RAW, MODULES):
            asker.ask(query)
            await asker.ended()
            assert asker.outcomes[-1] == ("answered", query)


async def test_a_page_that_was_cancelled_does_not_close_the_graph() -> None:
    async with asking() as asker:
        asker.agent.slow = ()
        asker.ask(MODULES)
        await asker.ended()
        asker.agent.slow = (m.GetGraph,)
        await asker.works(NEXT_PAGE)
        assert asker.requests.cancel()
        await asker.ended()
        assert asker.outcomes[-1][0] == "failed"
        asker.agent.slow = ()
        asker.ask(m.GetGraph(0, offset=120))
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", m.GetGraph(0, offset=120))


@pytest.mark.parametrize("other", [RAW, OTHER, m.GetGraph(0, measure=True)], ids=["view", "graph", "measure"])
async def test_other_work_is_asked_after_a_cancelled_one(other: m.GetGraph) -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        asker.requests.cancel()
        asker.agent.slow = ()
        asker.ask(other)
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", other)


async def test_what_was_cancelled_is_asked_at_the_next_stop() -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        asker.requests.cancel()
        await asker.ended()
        asker.agent.slow = ()
        asker.session.resume(m.Action.NEXT)
        async for event in asker.session.events():
            if isinstance(event, m.Stopped):
                break
        asker.ask(MODULES)
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", MODULES)


async def test_an_answer_that_crosses_its_cancel_counts() -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        asker.agent.release()  # the answer is on its way
        assert asker.requests.cancel()
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", MODULES)
        asker.ask(NEXT_PAGE)
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", NEXT_PAGE)


@pytest.mark.parametrize("other", [RAW, OTHER, m.GetGraph(0, measure=True)], ids=["view", "graph", "measure"])
@pytest.mark.parametrize("early", [True, False], ids=["asked early", "asked late"])
async def test_work_that_takes_long_is_left_for_other_work(other: m.GetGraph, early: bool, patience: float) -> None:
    async with asking() as asker:
        if early:
            asker.ask(MODULES)
            await asker.agent.told(m.GetGraph)
            asker.ask(other)
            assert not any(isinstance(r, m.Cancel) for r in asker.agent.received)
            await asker.tells(MODULES, 1000)
        else:
            await asker.works(MODULES)
            asker.ask(other)
        if patience:
            await asker.tells(MODULES, 2000)
            asker.agent.release()
            await asker.ended()
            assert asker.outcomes[-2:] == [("answered", MODULES), ("answered", other)]
        else:
            await asker.agent.told(m.GetGraph, 2)
            asker.agent.release()
            await asker.ended()
            # Nothing is said to have failed: the other one follows.
            assert asker.outcomes == [("worked", MODULES, 1000), ("worked", MODULES, None), ("answered", other)]


@pytest.mark.usefixtures("impatient")
async def test_work_is_not_left_for_another_page_of_it() -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        for query in (NEXT_PAGE, m.GetGraph(0, lens=Lens(pattern="net.0")), m.GetGraph(0, lens=Lens(base=2))):
            asker.ask(query)
        await asker.tells(MODULES, 2000)
        asker.agent.release()
        await asker.ended()
        assert not any(isinstance(r, m.Cancel) for r in asker.agent.received)
        assert [o for o in asker.outcomes if o[0] == "answered"] == [
            ("answered", MODULES),
            ("answered", m.GetGraph(0, lens=Lens(base=2))),
        ]


@pytest.mark.usefixtures("impatient")
async def test_who_changes_the_mind_twice_gets_what_was_wanted_first() -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        asker.ask(RAW)
        asker.ask(MODULES)  # before the agent has given up the first one
        asker.agent.slow = ()
        await asker.ended()
        assert asker.outcomes[-1] == ("answered", MODULES)


async def test_a_step_ends_what_is_under_way_and_what_waits() -> None:
    async with asking() as asker:
        await asker.works(MODULES)
        asker.ask(RAW)
        asker.session.resume(m.Action.NEXT)
        await asker.ended()
        assert asker.outcomes[-1] == ("failed", MODULES, "cancelled after 1,000 nodes")
        assert len(asker.queries) == 1
