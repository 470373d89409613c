"""Where a loss has no number of its own, it is unknown, and reading it breaks nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stepdbg.agent.losswatch import number_of
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import LossValue, Phase, StopReason

from .conftest import drive


def test_a_loss_inside_vmap_is_unknown() -> None:
    read: list[float | None] = []

    def loss_of(weight: Tensor, one: Tensor) -> Tensor:
        loss = (weight * one).square().sum()
        read.append(number_of(loss))
        return loss

    batched = torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0))
    found = batched(torch.ones(3), torch.ones(2, 3))
    assert read == [None]
    assert found.tolist() == [[2.0] * 3] * 2


def test_a_tensor_without_data_is_unknown() -> None:
    assert number_of(torch.ones((), device="meta")) is None


def test_a_plain_loss_is_read() -> None:
    assert number_of(torch.tensor(1.5, requires_grad=True)) == 1.5


def scaled_run(loss_of: Callable[[Tensor], Tensor]) -> tuple[list[float], list[LossValue]]:
    """Two iterations under a GradScaler: the losses as the script has them, and as stops before `step` tell them."""
    losses: list[float] = []

    def train() -> None:
        net = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
        for _ in range(2):
            optimizer.zero_grad()
            loss = loss_of(net(torch.ones(3, 2)))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())

    run = drive(train)
    assert run.error is None
    told = [s.loss for s in run.stops if s.next is not None and s.next.phase is Phase.STEP]
    return losses, [loss for loss in told if loss is not None]


def test_the_loss_is_what_the_criterion_gave_not_what_a_scaler_makes_of_it() -> None:
    losses, told = scaled_run(lambda output: torch.nn.functional.mse_loss(output, torch.ones(3, 1)))
    assert [loss.value for loss in told] == losses
    assert {loss.name for loss in told} == {"mse_loss"}


def test_a_scaled_loss_of_plain_arithmetic_says_that_it_is_scaled() -> None:
    _, told = scaled_run(lambda output: output.square().mean())
    assert [loss.name for loss in told] == ["inline, scaled"] * 2


def test_after_a_free_run_the_loss_is_of_the_iteration_whose_backward_it_was() -> None:
    losses: list[Tensor] = []

    def train() -> None:
        net = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for step in range(4):
            optimizer.zero_grad()
            losses.append(net(torch.ones(3, 2 if step < 2 else 5)).square().mean())
            losses[-1].backward()
            optimizer.step()

    run = drive(train, [m.Action.CONTINUE])
    last = run.stops[-1]
    assert (last.reason, last.iteration) == (StopReason.EXCEPTION, 3)
    assert last.loss is not None
    assert (last.loss.value, last.loss.iteration) == (losses[-1].item(), 2)
