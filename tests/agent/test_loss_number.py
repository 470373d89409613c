"""Where a loss has no number of its own, it is unknown, and reading it breaks nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from stepdbg.agent.losswatch import number_of


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
