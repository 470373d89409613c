"""Runs with watched gradients, bare ones to hold them against, and what both run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stepdbg import custom_phase
from stepdbg.agent.flows import Backward
from stepdbg.agent.tracker import Tracker
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import Flow, Watching
from stepdbg.protocol.records import StopRecord

from .conftest import drive

X = torch.linspace(-1, 1, 32).reshape(8, 4)
Y = torch.linspace(0, 1, 8).reshape(8, 1)


@dataclass
class Run:
    """What a watched run returned, and what was noted in it."""

    result: Any = None
    backwards: list[Backward] = field(default_factory=list)
    """All that were entered, in order."""
    answers: list[Watching] = field(default_factory=list)


def tracker() -> Tracker:
    """The agent's, of the session that runs."""
    found = custom_phase.observer
    assert isinstance(found, Tracker)
    return found


def watched(
    train: Callable[[], Any],
    visit: Callable[[ThreadSession, StopRecord], m.Action | None] | None = None,
    **wish: bool,
) -> Run:
    """Run `train`, watched from the first stop on; `visit` chooses the action, NEXT where it is None."""
    run = Run()
    results: list[Any] = []

    async def look(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            run.answers.append(await session.request(m.SetWatching(0, **(wish or {"gradients": True}))))
        known = {id(backward) for backward in run.backwards}
        run.backwards += [b for b in tracker().watched.flows._backwards if id(b) not in known]
        return visit(session, stop) if visit is not None else None

    torch.manual_seed(0)
    drive_run = drive(lambda: results.append(train()), visit=look)
    if drive_run.error is not None:
        raise drive_run.error
    assert not [event for event in drive_run.events if isinstance(event, m.Warned)]
    run.result = results[0]
    return run


def both(train: Callable[[], Any]) -> tuple[Any, Any]:
    """What `train` returns bare, and watched."""
    torch.manual_seed(0)
    bare = train()
    run = watched(train)
    assert any(backward.flows for backward in run.backwards), "nothing was watched"
    return bare, run.result


def expected(grad: torch.Tensor) -> Flow:
    """The numbers of a gradient, the plain way."""
    finite = grad[torch.isfinite(grad)].double()
    some = finite.numel() > 0
    return Flow(
        float(finite.square().sum().sqrt()) if some else None,
        float(finite.min()) if some else None,
        float(finite.max()) if some else None,
        grad.numel(),
        grad.numel() - finite.numel(),
    )


def unreadable(numel: int) -> Flow:
    """Of a gradient that cannot be read."""
    return Flow(None, None, None, numel, 0)


def same(found: Flow, wanted: Flow) -> None:
    assert (found.numel, found.nonfinite) == (wanted.numel, wanted.nonfinite)
    assert (found.min, found.max) == (wanted.min, wanted.max)
    assert found.norm == (None if wanted.norm is None else pytest.approx(wanted.norm, rel=1e-5))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(torch.relu(self.first(x)))


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), Block(6), nn.Tanh(), nn.Linear(6, 1))


class Outputs:
    """What every module of a net put out, with its gradient retained, by sequence number."""

    def __init__(self, *nets: nn.Module) -> None:
        self.tensors: dict[int, torch.Tensor] = {}
        for net in nets:
            for module in net.modules():
                module.register_forward_hook(self._note)

    def _note(self, _module: nn.Module, _args: Any, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.retain_grad()
            assert output.grad_fn is not None
            self.tensors[output.grad_fn._sequence_nr()] = output

    def grads(self) -> dict[int, torch.Tensor]:
        return {seq: t.grad for seq, t in self.tensors.items() if t.grad is not None}


class Poison(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        grad = grad.clone()
        grad[0] = math.nan
        grad[1] = math.inf
        grad[2] = -math.inf
        return grad


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        raise ValueError("inside backward")


def bits(*nets: nn.Module) -> list[bytes]:
    tensors = [t for net in nets for t in net.state_dict().values()]
    grads = [p.grad for net in nets for p in net.parameters() if p.grad is not None]
    return [t.numpy().tobytes() for t in [*tensors, *grads, torch.get_rng_state()]]


def plain_loop() -> Any:
    net = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(net.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(net(X + torch.randn_like(X)), Y).backward()
        optimizer.step()
    strides = [p.grad.stride() for p in net.parameters() if p.grad is not None]
    return bits(net), strides
