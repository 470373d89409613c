"""The computation of one element, written down while it is done: what every family of optimizers is built of.

The arithmetic is torch's own, on small tensors of the parameter's dtype in which every element is the same: its
kernels round differently where they work on whole vectors (`WIDE` elements) and on single numbers (one), so both can be
tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stepdbg.protocol.step import StepLine

WIDE = 64
"""Elements that fill the widest vector of any CPU, in any floating-point dtype."""

SINGLE, FOREACH, FUSED = "single", "foreach", "fused"
"""Torch's three implementations of a step."""


@dataclass(frozen=True)
class Case:
    """What one step starts from, at one element."""

    value: Tensor
    grad: Tensor
    state: Mapping[str, Tensor]
    """Empty at the first step."""
    hyper: Mapping[str, Any]
    path: str = SINGLE
    step: float = 0.0
    """Steps that the optimizer has made before, as its state counts them."""

    def scaled(self, number: Tensor, factor: Any) -> Tensor:
        """`number`, multiplied by `factor` in place: torch's multi-tensor kernel rounds the factor first."""
        copy = number.clone()
        if self.path == FOREACH:
            torch._foreach_mul_([copy], factor)
            return copy
        return copy.mul_(factor)


@dataclass
class Sheet:
    """The lines written so far."""

    lines: list[StepLine] = field(default_factory=list)

    def line(self, rule: str, numbers: str, value: Tensor | float, remark: str = "") -> Any:
        """Write a line; returns its value."""
        self.lines.append(StepLine(rule, numbers, exact(value), remark))
        return value


@dataclass(frozen=True)
class Family:
    """How one kind of optimizer is told."""

    rule: Callable[[Mapping[str, Any]], str]
    """The whole update in symbols, given the hyper-parameters."""
    update: Callable[[Case, Sheet], Tensor]
    """The new value, every line of its computation written down."""
    hyper: Mapping[str, str]
    """Name of each hyper-parameter that the formula may use → its symbol ("" for switches)."""
    state: Mapping[str, str]
    """Name of each number of the state → its symbol."""
    fused: float = 2.0
    """Units in the last place by which the fused kernels may differ."""


def exact(value: Tensor | float) -> str:
    """The fewest digits that name this number exactly in its own dtype."""
    if not isinstance(value, Tensor):
        return f"{value:.0f}" if float(value).is_integer() else repr(value)
    one = value.detach().reshape(-1)[0]
    number = one.item()
    if not isinstance(number, float):
        return str(number)
    if one.dtype is torch.float64 or number != number or number in (float("inf"), float("-inf")):
        return repr(number)
    for digits in range(1, 10):
        text = f"{number:.{digits}g}"
        if torch.tensor(float(text), dtype=torch.float64).to(one.dtype).item() == number:
            return text
    return repr(number)


def short(value: Tensor | complex) -> str:
    """At most six digits."""
    number = value.detach().reshape(-1)[0].item() if isinstance(value, Tensor) else value
    if isinstance(number, complex):
        return f"{number.real:.6g}{number.imag:+.6g}j"
    return f"{number:.6g}" if isinstance(number, float) else str(number)


def inner(value: Tensor | float) -> str:
    """At most six digits, a negative number in parentheses: for the middle of a formula."""
    text = short(value)
    return f"({text})" if text.startswith("-") else text


def is_zero(value: Any) -> bool:
    """Whether a hyper-parameter is zero, so that torch leaves its term out."""
    return bool(value == 0)
