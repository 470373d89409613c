"""What a free run has left is found at the pause after it, and what was not recorded in it is said."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from threading import Event
from time import sleep
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.leaks import GetLeaks, Leak, LeakKind, LeakReport
from stepdbg.protocol.records import StopReason, StopRecord

from .conftest import drive
from .test_leaks import findings

pytestmark = pytest.mark.usefixtures("nothing_kept_before")

X = torch.linspace(-1, 1, 32).reshape(8, 4)
FREE = 10


class Gate:
    """Closed until the run has come to it; then the run turns in one phase until it was looked at."""

    def __init__(self) -> None:
        self.reached = Event()
        self.done = False

    def wait(self, optimizer: torch.optim.Optimizer) -> None:
        self.reached.set()
        while not self.done:
            optimizer.zero_grad(set_to_none=False)
            sleep(0.001)


def made() -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    return net, torch.optim.Adam(net.parameters(), lr=0.1)


def total(gate: Gate) -> None:
    net, optimizer = made()
    total_loss = 0
    for _ in range(FREE):
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward()
        total_loss += loss
        optimizer.step()
    gate.wait(optimizer)


def listed(gate: Gate) -> None:
    net, optimizer = made()
    losses = []
    for _ in range(FREE):
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    gate.wait(optimizer)


def retained(gate: Gate) -> None:
    net, optimizer = made()
    for _ in range(FREE):
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward(retain_graph=True)
        optimizer.step()
    gate.wait(optimizer)
    del loss


def cached(gate: Gate) -> None:
    net, optimizer = made()
    cache = {}
    for at in range(FREE):
        optimizer.zero_grad()
        output = net(X)
        output.pow(2).mean().backward()
        optimizer.step()
        cache[at] = output.detach().clone()
    gate.wait(optimizer)


def local(gate: Gate) -> None:
    """Graphs are kept by backward, but end with the function: no leak."""
    net, optimizer = made()

    def step() -> None:
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward(retain_graph=True)
        optimizer.step()

    for _ in range(FREE):
        step()
    gate.wait(optimizer)


def healthy(gate: Gate) -> None:
    net, optimizer = made()
    values: list[float] = []
    recent: deque[torch.Tensor] = deque(maxlen=FREE)
    window: list[torch.Tensor] = []
    for _ in range(FREE):
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
        recent.append(loss)
        window.append(loss)
        del window[:-5]
    gate.wait(optimizer)


def found_after(train: Callable[[Gate], None], asked: bool) -> LeakReport:
    """What is told at the pause in the iteration after those that ran free."""
    gate = Gate()
    found: list[LeakReport] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            if asked:
                await session.request(GetLeaks(0, seconds=20))
            session.resume(m.Action.CONTINUE)
            await asyncio.to_thread(gate.reached.wait)
            session.pause()
            return None
        if stop.reason is StopReason.PAUSE:
            assert stop.iteration == FREE + 1
            found.append(await session.request(GetLeaks(0, seconds=20)))
            gate.done = True
        return m.Action.CONTINUE

    run = drive(lambda: train(gate), visit=visit)
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    (report,) = found
    return report


def line_of(train: Callable[..., Any], text: str) -> int:
    lines, first = inspect.getsourcelines(train)
    return next(first + at for at, line in enumerate(lines) if text in line)


CASES: list[tuple[Callable[[Gate], None], LeakKind, str, str, bool]] = [
    (total, LeakKind.GRAPH, "total_loss", "total_loss += loss", True),
    (listed, LeakKind.LIST, "losses", "losses.append(loss)", True),
    (cached, LeakKind.TENSORS, "cache", "cache[at] =", False),
]


def one(report: LeakReport, name: str) -> Leak:
    return next(leak for leak in report.leaks if leak.name == name)


@pytest.mark.parametrize("asked", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("train", "kind", "name", "text", "steady"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_it_is_found_after_a_free_run(
    train: Callable[[Gate], None], kind: LeakKind, name: str, text: str, steady: bool, asked: bool
) -> None:
    report = found_after(train, asked)
    leak = one(report, name)
    assert (leak.kind, leak.line, leak.count, leak.growing) == (kind, line_of(train, text), leak.count, steady)
    assert leak.count == (1 if kind is LeakKind.GRAPH else FREE)
    assert (leak.first, leak.last) == (1, FREE)
    assert findings(report) == ([leak] if steady else [])
    assert steady or "not recorded while running free" in leak.note
    assert "10 iterations ran free" in report.note


def test_a_graph_that_a_backward_left_whole_is_found() -> None:
    report = found_after(retained, asked=False)
    (leak,) = findings(report)
    assert (leak.kind, leak.name, leak.line) == (LeakKind.RETAINED, "loss", line_of(retained, "retain_graph"))
    assert leak.note == "the last 10 backwards of the free run left their graphs whole"
    assert leak.saved


@pytest.mark.slow
def test_of_one_that_is_gone_only_what_was_seen_is_said() -> None:
    report = found_after(local, asked=True)
    assert findings(report) == []
    (leak,) = report.leaks
    assert leak.line == line_of(local, "retain_graph")
    assert "whether these outlive their iteration was not recorded" in leak.note


@pytest.mark.parametrize("asked", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_nothing_is_found_in_a_healthy_run(asked: bool) -> None:
    report = found_after(healthy, asked)
    assert findings(report) == []
    # What other tests have compiled in this process stays in torch's own cache.
    assert {leak.name for leak in report.leaks if not leak.name.startswith("torch._dynamo.")} <= {"recent", "window"}
