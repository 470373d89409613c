"""What is kept alive from earlier iterations is found, under the script's own names and lines; nothing else is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.leaks import GetLeaks, Leak, LeakKind, LeakReport
from stepdbg.protocol.records import StopRecord

from .conftest import drive

X = torch.linspace(-1, 1, 32).reshape(8, 4)


def reports(train: Callable[[], Any]) -> list[LeakReport]:
    """What is found at each stop, asked at every one of them."""
    found: list[LeakReport] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        found.append(await session.request(GetLeaks(0, seconds=20)))

    run = drive(train, visit=visit)
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return found


def findings(report: LeakReport) -> list[Leak]:
    return [leak for leak in report.leaks if leak.growing]


def line_of(train: Callable[[], Any], text: str) -> int:
    """Number of the line of `train` that has `text` in it."""
    lines, first = inspect.getsourcelines(train)
    return next(first + at for at, line in enumerate(lines) if text in line)


def total_loss() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    total_loss = 0
    for _ in range(6):
        loss = net(X).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        total_loss += loss
        optimizer.step()


class History:
    def __init__(self) -> None:
        self.kept: dict[str, list[torch.Tensor]] = {"loss": []}


def list_of_losses() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    history = History()
    for _ in range(6):
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward()
        history.kept["loss"].append(loss)
        optimizer.step()
    len(history.kept)


def list_of_outputs() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    outputs = []
    for _ in range(6):
        optimizer.zero_grad()
        output = net(X)
        outputs += [output]
        output.pow(2).mean().backward()
        optimizer.step()
    len(outputs)


def retained() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward(retain_graph=True)
        optimizer.step()


def cache() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    seen: dict[int, torch.Tensor] = {}
    for step in range(8):
        optimizer.zero_grad()
        output = net(X)
        seen[step] = output.detach().clone()
        output.pow(2).mean().backward()
        optimizer.step()
    len(seen)


def carried_state() -> None:
    cell, head = nn.RNNCell(4, 3), nn.Linear(3, 1)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    hidden = torch.zeros(8, 3)
    for _ in range(6):
        optimizer.zero_grad()
        hidden = cell(X, hidden)
        score = hidden.mean()
        loss = head(hidden.detach()).pow(2).mean()
        loss.backward()
        optimizer.step()
    score.item()


CASES: list[tuple[Callable[[], None], LeakKind, str, str]] = [
    (total_loss, LeakKind.GRAPH, "total_loss", "total_loss += loss"),
    (list_of_losses, LeakKind.LIST, "history.kept['loss']", "append(loss)"),
    (list_of_outputs, LeakKind.LIST, "outputs", "outputs += "),
    (retained, LeakKind.RETAINED, "loss", "retain_graph"),
    (cache, LeakKind.TENSORS, "seen", "seen[step] ="),
    (carried_state, LeakKind.GRAPH, "hidden", "hidden = cell"),
]


@pytest.mark.parametrize(("train", "kind", "name", "text"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_each_kind_is_found(train: Callable[[], None], kind: LeakKind, name: str, text: str) -> None:
    found = reports(train)
    for report in found:
        leaks = findings(report)
        assert len(leaks) <= 1
        for leak in leaks:
            assert (leak.kind, leak.name, leak.line) == (kind, name, line_of(train, text))
            assert leak.text in inspect.getsource(train)
            assert leak.file == __file__
    assert findings(found[-2])
