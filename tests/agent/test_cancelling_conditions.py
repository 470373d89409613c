"""What is evaluated while the run goes on, and never ends, is cancelled: the run stops there and goes on unharmed."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from stepdbg.errors import RequestCancelledError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Book, EditBreakpoint, Evaluating, GetBreakpoints, Kind, SetBreakpoint, Spec
from stepdbg.protocol.records import StopReason, StopRecord
from tests.agent.conftest import Drive, drive

ON = [m.Action.CONTINUE] * 50


def train() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    x = torch.randn(5, 3)
    turns: list[int] = []

    def spin() -> None:
        torch.rand(3)
        while True:
            pass

    def swallows() -> None:
        for _ in range(2):
            try:
                spin()
            except BaseException:
                turns.append(1)
        spin()

    threads = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        threads.append(len(sys._current_frames()))
    result.append([*(p.detach().clone() for p in net.parameters()), torch.random.get_rng_state(), threads])
    assert swallows is not spin


result: list[list[Any]] = []
LINE = train.__code__.co_firstlineno + 24


def taken(run: Drive) -> list[Any]:
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return result.pop()


def same(one: list[Any], other: list[Any]) -> bool:
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(one, other, strict=True))


def cancels(session: ThreadSession, event: Any) -> None:
    if isinstance(event, Evaluating) and event.what and event.seconds == 0:
        assert session.cancel_evaluation()


def pauses(session: ThreadSession, event: Any) -> None:
    if isinstance(event, Evaluating) and event.what and event.seconds == 0:
        session.pause()


CASES = {
    "condition": (Spec(Kind.PHASE, "step", condition="spin()"), "its condition"),
    "swallows": (Spec(Kind.PHASE, "step", condition="swallows()"), "its condition"),
    "own names": (Spec(Kind.PHASE, "step", condition="any(i < 0 for i in range(10**12))"), "its condition"),
    "line": (Spec(Kind.LINE, __file__, line=LINE, condition="spin()"), "its condition"),
    "place": (Spec(Kind.OP, "addmm", condition="spin()"), "its condition"),
    "logpoint": (Spec(Kind.PHASE, "step", log="{spin()}"), "its text"),
}


@pytest.mark.parametrize("ended", [cancels, pauses])
@pytest.mark.parametrize("case", CASES)
def test_what_never_ends_is_cancelled_said_once_and_off(case: str, ended: Callable[[ThreadSession, Any], None]) -> None:
    spec, what = CASES[case]
    bare = taken(drive(train, ON, settings=m.Settings(stop_at="never")))
    books: list[Book] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        books.append(await session.request(GetBreakpoints(0)))

    run = drive(train, ON, visit, m.Settings(stop_at="never", breakpoints=(spec,)), ended)
    assert same(taken(run), bare)
    stops = [stop for stop in run.stops if stop.reason is not StopReason.FINISHED]
    assert [(stop.iteration, stop.reason) for stop in stops] == [(1, StopReason.BREAKPOINT)]
    assert re.fullmatch(rf"breakpoint 1: {what} was cancelled after \d+\.\d s; it is off now", stops[0].why)
    (row,) = books[0].rows
    assert (row.spec.enabled, row.hits) == (False, int(case == "logpoint"))
    assert row.note == stops[0].why.removeprefix("breakpoint 1: ")
    told = [event for event in run.events if isinstance(event, Evaluating)]
    word = "logpoint" if case == "logpoint" else "breakpoint"
    assert told[0] == Evaluating(f"{word} 1: {what}", 0)
    assert told[-1] == Evaluating("", 0)


def test_it_is_tried_again_once_it_is_switched_on() -> None:
    notes: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.reason is StopReason.BREAKPOINT and not notes:
            notes.append((await session.request(EditBreakpoint(0, 1, enabled=True))).rows[0].note)

    run = drive(train, ON, visit, m.Settings(stop_at="never", breakpoints=(CASES["condition"][0],)), cancels)
    taken(run)
    assert notes == [""]
    assert [stop.iteration for stop in run.stops if stop.reason is StopReason.BREAKPOINT] == [1, 2]


def test_detaching_ends_it_as_well() -> None:
    bare = taken(drive(train, ON, settings=m.Settings(stop_at="never")))

    def detaches(session: ThreadSession, event: Any) -> None:
        if isinstance(event, Evaluating) and event.what and event.seconds == 0:
            session._send(m.Detach())

    settings = m.Settings(stop_at="never", on_detach="continue", breakpoints=(CASES["condition"][0],))
    run = drive(train, ON, None, settings, detaches)
    assert same(taken(run)[:-1], bare[:-1])  # the test's own threads end meanwhile
    assert run.stops == []


def test_a_condition_that_is_slow_and_ends_is_told_of_and_counts() -> None:
    spec = Spec(Kind.PHASE, "step", condition="__import__('time').sleep(0.5) or iteration == 2")
    run = drive(train, ON, settings=m.Settings(stop_at="never", breakpoints=(spec,)))
    taken(run)
    assert [stop.iteration for stop in run.stops if stop.reason is StopReason.BREAKPOINT] == [2]
    told = [bool(event.what) for event in run.events if isinstance(event, Evaluating)]
    assert told == [True, False] * 4


def test_a_watched_expression_that_never_ends_is_switched_off_and_the_others_are_told() -> None:
    books: list[Book] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 2:
            await session.request(SetBreakpoint(0, Spec(Kind.EXPRESSION, "6 * 7")))
            query = SetBreakpoint(0, Spec(Kind.EXPRESSION, "sum(1 for _ in iter(int, 1))"))
            takes = asyncio.Event()
            asked = asyncio.ensure_future(session.request(query, lambda _working: takes.set()))
            await takes.wait()
            assert session.cancel(query)
            books.append(await asked)
        if stop.number == 3:
            books.append(await session.request(GetBreakpoints(0)))

    taken(drive(train, visit=visit))
    assert books[0].message == "watch 2: sum(1 for _ in iter(int, 1)) (cancelled; it is off now)"
    for book in books:
        assert [(row.value, row.note, row.spec.enabled) for row in book.rows] == [
            ("42", "", True),
            ("", "cancelled; it is off now", False),
        ]


def test_a_repr_of_the_users_is_cancelled_too() -> None:
    said: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 2:
            from stepdbg.protocol.words import Evaluate

            spins = "type('C', (), {'__repr__': lambda self: str(sum(1 for _ in iter(int, 1)))})()"
            query, takes = Evaluate(0, spins), asyncio.Event()
            asked = asyncio.ensure_future(session.request(query, lambda _working: takes.set()))
            await takes.wait()
            assert session.cancel(query)
            with pytest.raises(RequestCancelledError) as caught:
                await asked
            said.append(str(caught.value))

    taken(drive(train, visit=visit))
    assert said == ["cancelled"]
