"""Expressions that take long are cancelled, and nothing of that reaches the script."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.agent.cancelling import CancelledExpression, Cancelling
from stepdbg.errors import RequestCancelledError, RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.words import STUCK, Evaluate
from tests.agent.conftest import drive

SWALLOWS = "\n".join(  # noqa: FLY002
    (
        "def spin():",
        "    while True: pass",
        "for _ in range(2):",
        "    try: spin()",
        "    except BaseException: turns.append(1)",
        "spin()",
    )
)


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def loop() -> list[Any]:
    net, turns = nn.Linear(2, 2), []
    seen = []
    for count in range(3):
        loss = net(torch.ones(1, 2)).sum()
        loss.backward()
        seen.append((count, threading.active_count(), len(sys._current_frames()), _descriptors()))
    result.append((seen, turns, [p.grad.clone() for p in net.parameters()]))
    return seen


result: list[Any] = []


async def cancelled(session: ThreadSession, query: Evaluate, *, after: float = 0.0) -> str:
    """What is said of the query once it has been told that it takes a while, and was cancelled then."""
    takes = asyncio.Event()
    asked = asyncio.ensure_future(session.request(query, lambda _working: takes.set()))
    await takes.wait()
    if after:
        await asyncio.sleep(after)
    assert session.cancel(query)
    with pytest.raises(RequestCancelledError) as caught:
        await asked
    return str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        Evaluate(0, "sum(1 for _ in iter(int, 1))"),
        Evaluate(0, "while True: count += 1", statement=True),
        Evaluate(0, SWALLOWS, statement=True),
    ],
    ids=["expression", "statement", "swallows"],
)
def test_what_never_ends_is_cancelled_and_the_run_goes_on_as_if_it_had_not_been(query: Evaluate) -> None:
    result.clear()
    assert drive(loop).error is None
    (bare, _, grads), said = result.pop(), []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 2:
            said.append(await cancelled(session, query))
            said.append((await session.request(Evaluate(0, "40 + 2"))).lines)

    assert drive(loop, visit=visit).error is None
    seen, turns, after = result.pop()
    assert said == ["cancelled", ("42",)]
    assert [entry[1:] for entry in seen] == [entry[1:] for entry in bare]
    assert len(turns) == (2 if query.text == SWALLOWS else 0)
    assert all(map(torch.equal, grads, after))


@pytest.mark.parametrize("text", ["40 + 2", "sum(1 for _ in iter(int, 1))"], ids=["plain", "cancelled"])
@pytest.mark.timeout(60)
def test_a_script_that_traces_itself_runs_on_after_an_expression(text: str) -> None:
    events: list[str] = []

    def traced() -> None:
        net = nn.Linear(2, 2)
        net(torch.ones(1, 2)).sum().backward()
        sys.settrace(lambda _frame, event, _arg: events.append(event))
        try:
            _descriptors()
        finally:
            sys.settrace(None)

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if text == "40 + 2":
            assert (await session.request(Evaluate(0, text))).lines == ("42",)
        elif stop.number == 1:
            assert await cancelled(session, Evaluate(0, text)) == "cancelled"

    assert drive(traced, visit=visit).error is None
    assert "call" in events


def test_an_expression_is_given_up_when_the_script_shall_go_on() -> None:
    said = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            takes = asyncio.Event()
            query = Evaluate(0, "while True: pass", statement=True)
            asked = asyncio.ensure_future(session.request(query, lambda _working: takes.set()))
            await takes.wait()
            session.resume(m.Action.NEXT)
            with pytest.raises(RequestError) as caught:
                await asked
            said.append(str(caught.value))

    result.clear()
    done = drive(loop, visit=visit)
    assert (done.error, said) == (None, ["cancelled"])
    assert len(result.pop()[2]) == 2


def test_what_is_quick_ends_although_the_script_shall_go_on() -> None:
    said = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            asked = asyncio.ensure_future(session.request(Evaluate(0, "turns.append(7)", statement=True)))
            await asyncio.sleep(0)
            session.resume(m.Action.NEXT)
            said.append(await asked)

    result.clear()
    drive(loop, visit=visit)
    assert not said[0].error
    assert result.pop()[1] == [7]


@pytest.mark.slow
def test_a_call_that_cannot_be_interrupted_is_told_of() -> None:
    told: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            query = Evaluate(0, "__import__('time').sleep(4)")
            takes = asyncio.Event()

            def progress(working: m.Working) -> None:
                told.append(working.what)
                takes.set()

            asked = asyncio.ensure_future(session.request(query, progress))
            await takes.wait()
            session.cancel(query)
            with pytest.raises(RequestCancelledError):
                await asked

    assert drive(loop, visit=visit).error is None
    assert told[-1] == STUCK


def test_a_ctrl_c_ends_the_expression_and_not_the_script() -> None:
    cancelling, guarded = Cancelling(), []
    before = signal.getsignal(signal.SIGINT)
    assert cancelling.run(lambda: 5) == 5  # nothing is answered: nothing is watched

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            with pytest.raises(RequestError) as caught:
                await session.request(Evaluate(0, "raise KeyboardInterrupt", statement=True))
            guarded.append(str(caught.value))

    assert drive(loop, visit=visit).error is None
    assert guarded == ["cancelled"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_cancel_that_comes_at_the_very_end_reaches_nobody() -> None:
    """The exception is raised again and again from outside, at any instruction: it never leaves `run`."""
    from stepdbg.agent import cancelling as module
    from stepdbg.agent.work import GivenUpError

    class Channel:
        state = None

        def arrived(self) -> list[Any]:
            return [m.Cancel(1)]

        def listen(self, poll: Any) -> None:
            del poll

    outcomes: set[bool | None] = set()
    until = time.perf_counter() + 1.5
    watched = Cancelling()
    watched.channel, watched.number = Channel(), 1  # type: ignore[assignment]
    before = module.AGAIN
    module.AGAIN = 0.0
    try:
        turn = 0
        while time.perf_counter() < until:
            turn += 1
            try:
                outcomes.add(watched.run(partial(sum, range(turn % 997 * 20))) >= 0)
            except GivenUpError:
                outcomes.add(None)
            except CancelledExpression:
                pytest.fail("it has got out")
            for _ in range(100):
                pass
    finally:
        module.AGAIN = before
    assert outcomes <= {True, None}
    assert turn > 50
