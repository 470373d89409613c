"""While an answer takes long: keys work, steps take effect at once, escape gives it up. First against the scripted
agent, then on a real run.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import real_runs
from fake_session import FakeSession
from test_shell import Driver, running

from stepdbg.agent.report import Report
from stepdbg.agent.work import Work
from stepdbg.client.store import Status
from stepdbg.protocol import messages as m
from stepdbg.ui.messages import Wanted

CANCELLED = "cancelled after 34,000 nodes"


@asynccontextmanager
async def walking() -> AsyncIterator[Driver]:
    """Held at stop 4, where the graph is walked."""
    async with running(stop=3) as driver:
        agent = driver.session.agent
        asked = len(graphs(driver.session))
        agent.slow = (m.GetGraph,)
        await driver.press("n")
        await driver.stopped_at(4)
        await agent.told(m.GetGraph, asked + 1)
        await tells(driver, 34_000)
        yield driver


async def tells(driver: Driver, done: int) -> None:
    """Let the agent say how far it is, and wait until the panes can see it."""
    driver.session.agent.work(done)

    def seen() -> bool:
        working = driver.view.history[3].working.get("GetGraph")
        return working is not None and working.done == done

    await driver.until(seen, f"{done} are seen")


def graphs(session: FakeSession) -> list[Any]:
    return [message for message in session.agent.received if isinstance(message, m.GetGraph)]


async def test_escape_gives_up_the_work_before_it_leaves_anything() -> None:
    async with walking() as driver:
        await driver.press("z")
        main, recorded = driver.app.main, driver.view.history[-1]
        assert main.maximised
        asked = len(graphs(driver.session))
        await driver.press("escape")
        assert await driver.session.agent.told(m.Cancel) == m.Cancel(graphs(driver.session)[-1].id)
        await driver.until(lambda: driver.view.history[-1].failed, "it is said")
        recorded = driver.view.history[-1]
        assert (recorded.failed, recorded.working) == ({"GetGraph": CANCELLED}, {})
        assert main.maximised
        # The pane is shown again, larger: it does not ask by itself.
        await driver.press("escape", "2", "1")
        assert not main.maximised
        await driver.pilot.resize_terminal(110, 45)
        await driver.pilot.pause()
        assert len(graphs(driver.session)) == asked
        driver.session.agent.slow = ()
        driver.app.main.pane("1").post_message(Wanted(m.GetGraph(0), again=True))
        await driver.until(lambda: driver.view.history[-1].graph, "the user has asked again")
        assert not driver.view.history[-1].failed


async def test_a_step_takes_effect_during_work() -> None:
    async with walking() as driver:
        await driver.press("n")
        await driver.stopped_at(5)
        recorded = driver.view.history[3]
        assert (recorded.failed["GetGraph"], recorded.working) == (CANCELLED, {})
        # Nobody knew that the graph is large: it came first, and what waited behind it was given up as well.
        assert recorded.failed["GetMemory"] == "cancelled: the script went on"


async def test_other_keys_work_during_work() -> None:
    async with walking() as driver:
        await driver.press("2")
        await driver.until(lambda: driver.app.main.pane("2").has_focus_within, "parameters have the focus")
        await tells(driver, 51_000)
        await driver.press("left_square_bracket")
        assert driver.view.ago == 1
        await driver.press("escape")  # what is not on screen is not given up
        assert driver.view.ago == 0
        assert not any(isinstance(message, m.Cancel) for message in driver.session.agent.received)
        driver.session.agent.release()
        await driver.until(lambda: driver.view.history[-1].graph, "it is answered")
        assert not driver.view.history[-1].working


# ── a real run ──────────────────────────────────────────────────────────────────────────────────────────────


class SlowGraph:
    """Makes walking a graph take until the test has had enough; everything else is the agent's own."""

    def __init__(self) -> None:
        self.enough = threading.Event()
        self.enough.set()
        self.original = Report.answer

    def answer(self, report: Report, query: Any, work: Work) -> Any:
        done = 0
        while isinstance(query, m.GetGraph) and not self.enough.wait(0.0005):
            done += 1000
            work.step(done, 0, "nodes")
        return self.original(report, query, work)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowGraph]:
    slow = SlowGraph()
    monkeypatch.setattr(Report, "answer", lambda report, query, work: slow.answer(report, query, work))
    yield slow
    slow.enough.set()


async def walks(driver: real_runs.Driver, number: int) -> None:
    """Wait until the graph of that stop is seen to be walked."""
    await driver.until(lambda: driver.stop.number == number and driver.now.working, f"stop {number} is worked on")


async def test_keys_are_heard_while_a_real_agent_works(slow: SlowGraph) -> None:
    async with real_runs.running("two_nets") as driver:
        slow.enough.clear()
        await driver.press("n")
        await walks(driver, 2)
        working = driver.now.working["GetGraph"]
        await driver.until(lambda: driver.now.working["GetGraph"].done > working.done, "it goes on")
        await driver.press("n")  # at once: the walk of stop 2 does not end by itself
        await walks(driver, 3)
        assert driver.view.history[1].failed["GetGraph"].startswith("cancelled after ")
        assert not driver.view.history[1].working
        await driver.press("escape")
        await driver.until(lambda: "GetGraph" in driver.now.failed, "it is given up")
        await driver.settled()
        assert driver.now.failed["GetGraph"].startswith("cancelled after ")
        assert driver.now.parameters is not None  # it was asked behind the walk
        await driver.press("n")
        await walks(driver, 4)
        slow.enough.set()
        await driver.until(lambda: not driver.now.working, "it has ended")
        await driver.settled()
        assert not driver.now.failed
        assert driver.now.graph is not None


async def test_a_long_run_begins_and_is_paused_during_work(slow: SlowGraph) -> None:
    async with real_runs.running("two_nets") as driver:
        slow.enough.clear()
        driver.run.gate.clear()
        await driver.press("n")
        await walks(driver, 2)
        await driver.press("c")
        await driver.until(lambda: driver.view.status is Status.RUNNING, "it runs")
        await driver.press("p")
        driver.run.gate.set()
        await driver.until(lambda: driver.view.status is Status.STOPPED and driver.now.working, "it is held again")
        await driver.press("q")
        await driver.until(lambda: not driver.app.is_running, "the app is gone")
    assert driver.session.closed
