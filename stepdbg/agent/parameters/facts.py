"""What every quantity is of one entry, from what has been read of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.naming import Names
from stepdbg.agent.parameters.entries import PARAMETER, Entry
from stepdbg.agent.parameters.marks import Marks, mark
from stepdbg.agent.parameters.passes import Passes
from stepdbg.agent.parameters.readings import Readings
from stepdbg.protocol import quantities as q
from stepdbg.protocol.predicates import Value
from stepdbg.protocol.records import TensorStats

Number = Callable[[TensorStats], Any]


class Facts:
    """Tells quantities. What costs a pass must have been read before (`Readings.read`): else it is None."""

    def __init__(
        self, names: Names, readings: Readings, before: Marks | None, passes: Passes, backwards: int | None
    ) -> None:
        self.readings = readings
        self._names = names
        self._before = before
        self._passes = passes
        self._backwards = backwards
        self._classes = dict(names.paths.values())

    def value(self, entry: Entry, quantity: str) -> Value:
        """What the quantity of that name is; None where it is unknown, not there, or has not been read."""
        return _TELL[quantity](self, entry)

    def module(self, entry: Entry) -> str:
        """Class of the module that holds it; of optimizer state, nothing."""
        return self._classes.get(entry.place, "")

    def of_group(self, entry: Entry, key: str) -> float | None:
        """A number of the param group that holds it."""
        if entry.kind != PARAMETER:
            return None
        group = self._names.groups.get(id(entry.tensor))
        number = group.get(key) if isinstance(group, dict) else None
        if isinstance(number, Tensor) and number.numel() == 1 and not number.is_meta:
            number = number.item()
        return float(number) if isinstance(number, (int, float)) else None

    def passes(self, entry: Entry) -> tuple[int | None, bool]:
        """Backward passes in its gradient, and whether that is only the loop's count."""
        if entry.kind != PARAMETER:
            return None, False
        count = self._passes.count(entry.tensor)
        return (count, False) if count is not None else (self._backwards, self._backwards is not None)

    def owner(self, entry: Entry) -> tuple[str, str]:
        """The optimizer with its group, and its class; empty where none holds it."""
        return self._names.owners.get(id(entry.tensor), ("", "")) if entry.kind == PARAMETER else ("", "")

    def owners(self, entry: Entry) -> Value:
        """All that its owner may be called."""
        owner, kind = self.owner(entry)
        if not owner:
            return None
        name, bracket, group = owner.rpartition("[")
        return owner, name, kind, kind + bracket + group

    def norm(self, tensor: Tensor | None) -> float | None:
        """Its norm, as far as it was read."""
        norm = self.readings.norm(tensor) if tensor is not None else None
        return norm.value if norm is not None else None

    def moved(self, entry: Entry) -> bool | None:
        """Whether the value is another than at the stop before."""
        if self._before is None:
            return None
        return self._before.value_changed(entry.name, mark(entry.tensor, self.norm(entry.tensor)))

    def odd(self, tensor: Tensor | None, number: Callable[[TensorStats], int]) -> int | None:
        """How many elements are NaN (or Inf): none, where the norm was read and all were finite."""
        if tensor is None:
            return None
        stats = self.readings.stats(tensor)
        if stats is not None:
            return number(stats)
        return 0 if self.readings.nonfinite(tensor) == 0 else None

    def of_both(self, entry: Entry, number: Callable[[TensorStats], int]) -> int | None:
        """The sum over value and gradient, as far as there is a gradient."""
        known = [n for t in (entry.tensor, grad_of(entry)) if (n := self.odd(t, number)) is not None]
        return sum(known) if known else None


def grad_of(entry: Entry) -> Tensor | None:
    """The gradient of a parameter that has one."""
    return entry.tensor.grad if entry.kind == PARAMETER else None


def ratio(delta: float | None, norm: float | None) -> float | None:
    """|Δw| / |w|; None where one is unknown, or the norm is 0."""
    return delta / norm if delta is not None and norm else None


def _nan(stats: TensorStats) -> int:
    return stats.nan


def _inf(stats: TensorStats) -> int:
    return stats.posinf + stats.neginf


_NUMBERS: dict[str, Callable[[TensorStats], Any]] = {
    "mean": lambda stats: stats.mean,
    "std": lambda stats: stats.std,
    "min": lambda stats: stats.min,
    "max": lambda stats: stats.max,
    "zeros": lambda stats: 100 * stats.zeros / stats.numel if stats.numel else None,
}


def _shape(entry: Entry) -> str:
    shape = tensors.shape_of(entry.tensor)
    return "?" if shape is None else "x".join(str(n) for n in shape) or "scalar"


def _grad(entry: Entry) -> str | None:
    grad = grad_of(entry)
    return None if grad is None else "dense" if grad.layout is torch.strided else "sparse"


def _of_value(number: Number) -> Callable[[Facts, Entry], Value]:
    def tell(facts: Facts, entry: Entry) -> Value:
        stats = facts.readings.stats(entry.tensor)
        told: Value = number(stats) if stats is not None else None
        return told

    return tell


def _of_grad(number: Number) -> Callable[[Facts, Entry], Value]:
    def tell(facts: Facts, entry: Entry) -> Value:
        grad = grad_of(entry)
        stats = facts.readings.stats(grad) if grad is not None else None
        told: Value = number(stats) if stats is not None else None
        return told

    return tell


# Functions of the module, not of an object that would refer to itself by them: nothing may outlive the stop.
_TELL: dict[str, Callable[[Facts, Entry], Value]] = {
    "name": lambda _f, e: (e.name, *e.aliases),
    "module": lambda f, e: f.module(e),
    "shape": lambda _f, e: _shape(e),
    "dtype": lambda _f, e: tensors.dtype_name(e.tensor),
    "device": lambda _f, e: str(e.tensor.device),
    "numel": lambda _f, e: None if tensors.shape_of(e.tensor) is None else e.tensor.numel(),
    "bytes": lambda _f, e: None if tensors.shape_of(e.tensor) is None else tensors.nbytes(e.tensor),
    "trainable": lambda _f, e: e.tensor.requires_grad if e.kind == PARAMETER else None,
    "owner": lambda f, e: f.owners(e),
    "lr": lambda f, e: f.of_group(e, "lr"),
    "wd": lambda f, e: f.of_group(e, "weight_decay"),
    "grad": lambda _f, e: _grad(e),
    "passes": lambda f, e: f.passes(e)[0],
    "moved": lambda f, e: f.moved(e),
    "norm": lambda f, e: f.norm(e.tensor),
    "g.norm": lambda f, e: f.norm(grad_of(e)),
    "delta": lambda f, e: f.readings.delta(e.tensor),
    "ratio": lambda f, e: ratio(f.readings.delta(e.tensor), f.norm(e.tensor)),
    "nan": lambda f, e: f.of_both(e, _nan),
    "inf": lambda f, e: f.of_both(e, _inf),
    "w.nan": lambda f, e: f.odd(e.tensor, _nan),
    "w.inf": lambda f, e: f.odd(e.tensor, _inf),
    "g.nan": lambda f, e: f.odd(grad_of(e), _nan),
    "g.inf": lambda f, e: f.odd(grad_of(e), _inf),
    **{name: _of_value(number) for name, number in _NUMBERS.items()},
    **{f"g.{name}": _of_grad(number) for name, number in _NUMBERS.items()},
}

NEEDS_BOTH = frozenset({"nan", "inf"})
"""Quantities that are told of value and gradient together."""


def needs_of(quantities: tuple[str, ...]) -> frozenset[str]:
    """What must be read for these."""
    needs = {q.BY_NAME[name].needs for name in quantities}
    if NEEDS_BOTH & set(quantities):
        needs.add(q.STATS)
    return frozenset(needs - {q.FREE})
