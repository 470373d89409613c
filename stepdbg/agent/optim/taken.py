"""What one step takes in, of one parameter: whole tensors, of which single elements are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.optim.before import Before, Step
from stepdbg.agent.optim.copies import plain_of
from stepdbg.agent.optim.kept import Kept


@dataclass
class Taken:
    """Before the step."""

    value: Tensor | None
    grad: Tensor | None
    had_grad: bool
    state: Mapping[str, Any] | None
    hyper: Mapping[str, Any]
    label: str = ""
    why_no_value: str = ""
    why_no_grad: str = ""
    why_no_state: str = ""
    scale: float | None = None
    """What a GradScaler leaves to the step to divide the gradient by."""

    @property
    def sparse(self) -> bool:
        """Whether the gradient is sparse."""
        return self.grad is not None and self.grad.layout is not torch.strided

    def sparse_is_plain(self) -> bool:
        """Whether the formula is the same for a sparse gradient, at the elements that it has."""
        return not self.hyper.get("momentum") and not self.hyper.get("weight_decay")

    def entries(self, index: tuple[int, ...]) -> list[Tensor]:
        """The values that a sparse gradient has at this element, in its own order."""
        grad = self.grad
        if grad is None or grad.layout is not torch.sparse_coo or len(index) != grad.dim():
            return []
        depth = grad.sparse_dim()
        at = torch.tensor(index[:depth], device=grad.device).reshape(depth, 1)
        columns = (grad._indices() == at).all(0).nonzero().flatten().tolist()
        values = grad._values()
        return [values[(column, *index[depth:])].detach().to("cpu") for column in columns]

    def absent(self, index: tuple[int, ...]) -> bool:
        """Whether the gradient is sparse and has nothing at this element."""
        return self.sparse and not self.entries(index)

    def grad_at(self, index: tuple[int, ...]) -> tuple[Tensor | None, int]:
        """The gradient at this element, and of how many entries of a sparse one it is the sum (0: it is dense)."""
        if self.grad is None:
            return None, 0
        if self.sparse:
            entries = self.entries(index)
            return (torch.stack(entries).sum(0) if entries else None), len(entries)
        return element(self.grad, index), 0

    def state_at(self, index: tuple[int, ...]) -> tuple[dict[str, Tensor], float]:
        """The numbers of the state at this element, and the count of steps before this one."""
        result: dict[str, Tensor] = {}
        step = 0.0
        for name, value in (self.state or {}).items():
            if name == "step":
                step = float(value)
            elif isinstance(value, Tensor) and self.value is not None and value.shape == self.value.shape:
                found = element(value, index)
                if found is not None:
                    result[name] = found
        return result, step


def taken_from(before: Before, step: Step, kept: Kept, parameter: Tensor) -> Taken:
    """What was kept of it before that step."""
    grad, why = before.grad_of(parameter, kept)
    return Taken(
        value=kept.value,
        grad=grad,
        had_grad=kept.had_grad,
        state=kept.state,
        hyper=step.hyper[kept.group],
        label=step.grad_label,
        why_no_value=kept.why,
        why_no_grad=why,
        why_no_state=kept.why_no_state,
        scale=step.grad_scale,
    )


def element(tensor: Tensor, index: tuple[int, ...]) -> Tensor | None:
    """One element, as a 0-d CPU tensor; None where it cannot be read or has another place in memory here."""
    plain, _ = plain_of(tensor)
    if plain is None or plain.dim() != len(index):
        return None
    if any(at >= size for at, size in zip(index, plain.shape, strict=True)):
        return None  # a distributed tensor's shard
    return plain[index].detach().to("cpu", copy=True)
