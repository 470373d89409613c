"""The peak inside a backward: estimated from its graph, held beside what hooks count in the same backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stepdbg.agent.deep import nodes_behind
from stepdbg.agent.graph.walk import is_leaf_class
from stepdbg.agent.memory.account import Count
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.memory import MemoryNote, MemoryRecord
from stepdbg.protocol.records import StopRecord

from .conftest import drive

Seen = list[tuple[int, int, int]]
"""Parameters and buffers apart: gradients, saved, and the number of the node that ran last."""


def measured(net: nn.Module, loss: Tensor) -> Seen:
    """Run the backward, and count after every node, as a stop would."""
    found: Seen = []
    nodes = nodes_behind([loss.grad_fn])
    last = 0

    def look() -> None:
        count = Count()
        count.hold(net.parameters(), net.buffers(), ())
        count.save(nodes)
        found.append((count.gradients, count.saved, last))

    def before(node: Any) -> Callable[..., None]:
        return lambda *_: look()

    def after(node: Any) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            nonlocal last
            if not is_leaf_class(type(node)):
                last = node._sequence_nr()
            else:
                look()

        return hook

    look()
    for node in nodes:
        node.register_prehook(before(node))
        node.register_hook(after(node))
    loss.backward()
    look()
    return found


class Tied(nn.Module):
    """A head far larger than what it saves, over two embeddings that share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.again = nn.Embedding(20, 8)
        self.again.weight = self.embed.weight
        self.body = nn.Sequential(nn.Linear(8, 64), *(nn.Tanh() for _ in range(9)), nn.Linear(64, 8))
        self.head = nn.Linear(8, 600)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embed(x)) + self.again(x)).T[:, :4].expand(2, -1, -1)


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.rest = nn.Sequential(nn.Tanh(), nn.Tanh(), nn.BatchNorm1d(16), nn.Linear(16, 800))

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.first(x) * self.first(x * 2))


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "tied": (Tied, lambda: torch.arange(6)),
    "wide": (Wide, lambda: torch.ones(10, 64)),
}


def told(train: Callable[[], Any], actions: list[m.Action] | None = None) -> list[MemoryNote]:
    """The peaks inside phases that are noted while all is stepped through and looked at."""
    records: list[MemoryRecord] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        records.append(await session.request(m.GetMemory(0)))

    run = drive(train, actions or [], visit)
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return [note for record in records for note in record.passed if note.inside]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cleared", [True, False])
def test_the_peak_is_that_which_hooks_count(name: str, cleared: bool) -> None:
    make, data = CASES[name]

    def train(each: Callable[[nn.Module, Tensor], None]) -> None:
        torch.manual_seed(0)
        net, x = make(), data()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(2):
            if cleared:
                optimizer.zero_grad()
            loss = net(x).square().mean()
            each(net, loss)
            optimizer.step()

    truth: list[Seen] = []
    train(lambda net, loss: truth.append(measured(net, loss)))
    notes = told(lambda: train(lambda _net, loss: loss.backward()))
    expected = []
    for seen in truth:
        top = max(seen, key=lambda one: one[0] + one[1])
        if sum(top[:2]) > max(sum(seen[0][:2]), sum(seen[-1][:2])):
            expected.append(top[:2])
    assert [(note.gradients, note.graph) for note in notes] == expected
    assert len(expected) == (2 if cleared else 1)  # gradients that are there are added to in place
    assert not any(note.at_least for note in notes)


def test_where_it_was_reached_is_told() -> None:
    def train() -> None:
        net, x = Wide(), torch.ones(10, 64)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()

    (note,) = told(train)
    assert (note.module, note.iteration) == ("net.rest.3", 1)
    assert note.ran.startswith("backward")
    (passed,) = [n for n in told(lambda: (train(), train()), [m.Action.NEXT, m.Action.ITERATION]) if n.iteration == 1]
    assert passed == note


def test_nothing_is_told_where_it_cannot_be_known() -> None:
    """Gradients put elsewhere, a graph that stays, and one that grows."""

    def train() -> None:
        net, x = Wide(), torch.ones(10, 64)
        torch.autograd.grad(net(x).square().mean(), list(net.parameters()))
        net(x).square().mean().backward(inputs=list(net.parameters()))
        net.zero_grad()
        net(x).square().mean().backward(retain_graph=True)

    assert told(train) == []


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_a_checkpoint_computes_again_comes_on_top(reentrant: bool) -> None:
    def train() -> None:
        net, x = Wide(), torch.ones(10, 64, requires_grad=True)
        net.rest = nn.Sequential(*(nn.Tanh() for _ in range(20)), *net.rest)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        out = checkpoint(lambda v: net.first(v) * net.first(v * 2), x, use_reentrant=reentrant)
        net.rest(out).square().mean().backward()
        optimizer.step()

    (note,) = told(train)
    assert note.at_least
