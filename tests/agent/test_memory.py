"""Bytes known by construction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.memory import MemoryRecord
from stepdbg.protocol.records import StopRecord

from .conftest import drive


def records(train: Callable[[], Any]) -> dict[str, MemoryRecord]:
    """The accounting at each stop, by the phase about to run (the last stop of each name)."""
    found: dict[str, MemoryRecord] = {}

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        name = stop.next.phase.value if stop.next else stop.reason.value
        found[name] = await session.request(m.GetMemory(0))

    drive(train, visit=visit)
    return found


def test_each_category_of_a_known_loop() -> None:
    def train() -> None:
        net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 1, bias=False))
        optimizer = torch.optim.Adam(net.parameters())
        for _ in range(2):
            loss = net(torch.ones(8, 4)).sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    found = records(train)
    parameters = (24 + 6 + 6 + 6) * 4
    assert found["backward"].parameters == parameters
    assert found["backward"].buffers == (6 + 6) * 4 + 8  # running mean and variance, and the int64 batch counter
    # Input of the first layer 8×4, of batch norm 8×6 with its two saved statistics of 6, of the last layer 8×6.
    assert found["backward"].graph == (32 + 48 + 6 + 6 + 48) * 4
    assert (found["step"].gradients, found["step"].gradient_count, found["step"].graph) == (parameters, 4, 0)
    assert found["zero_grad"].optimizer == 2 * parameters + 4 * 4  # two moments, and one float32 step count each
    assert found["forward"].gradients == 0
    assert [found[p].backwards for p in ("backward", "step", "zero_grad", "forward")] == [0, 1, 1, 0]


def test_tied_weights_and_views_are_counted_once() -> None:
    def train() -> None:
        first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        second.weight = first.weight
        whole = torch.zeros(10)
        net = nn.Module()
        net.left, net.right = nn.Parameter(whole[:5]), nn.Parameter(whole[5:])
        second(first(torch.ones(1, 4)))

    assert records(train)["forward"].parameters == 16 * 4 + 10 * 4


def test_gradients_accumulate_in_place() -> None:
    def train() -> None:
        net = nn.Linear(4, 1, bias=False)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            net(torch.ones(1, 4)).sum().backward()
        optimizer.step()

    found = records(train)
    assert found["step"].gradients == 16
    assert found["step"].backwards == 3


def test_checkpointing_keeps_less_and_looking_does_not_recompute() -> None:
    calls: list[int] = []

    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return self.layers(x)

    def loop(use: bool) -> Callable[[], None]:
        def train() -> None:
            net = Counted()
            x = torch.ones(8, 16, requires_grad=True)
            out = checkpoint(net, x, use_reentrant=False) if use else net(x)
            out.sum().backward()

        return train

    plain = records(loop(False))["backward"].graph
    calls.clear()
    saved = records(loop(True))["backward"].graph
    assert len(calls) == 2  # forward, and the one recomputation that backward itself does
    # The results of both tanh; the input is a leaf that requires grad, and counts as a parameter.
    assert plain == 2 * 8 * 16 * 4
    assert saved is not None
    assert saved < plain


def test_hooks_that_pack_are_not_unpacked() -> None:
    unpacked: list[int] = []

    def train() -> None:
        net = nn.Linear(4, 1)

        def unpack(packed: bytes) -> torch.Tensor:
            unpacked.append(1)
            return torch.frombuffer(bytearray(packed), dtype=torch.float32).reshape(2, 4)

        with torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy().tobytes(), unpack):
            out = net(torch.ones(2, 4))
        seen = len(unpacked)
        out.sum().backward()
        assert len(unpacked) > seen == 0

    records(train)


def test_a_torch_that_does_not_tell_what_is_saved_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepdbg.agent.memory.account.READABLE", False)
    monkeypatch.setattr("stepdbg.agent.graph.pages.READABLE", False)
    sizes: list[int | None] = []

    def train() -> None:
        nn.Linear(4, 1)(torch.ones(1, 4)).sum().backward()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        sizes.extend(row.nbytes for row in (await session.request(m.GetGraph(0))).rows)

    record = records(train)["backward"]
    assert record.graph is None
    assert record.note == "this version of torch does not tell what a graph saves"
    drive(train, visit=visit)
    assert sizes
    assert set(sizes) == {None}
