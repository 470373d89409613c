"""What a tensor looked like at a stop, so that the next one can tell whether it changed."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor


class Mark(NamedTuple):
    """What a tensor looked like at a stop. Not the tensor: that is held weakly."""

    ref: weakref.ref[Tensor]
    version: int
    pointer: int
    norm: float | None = None

    def differs(self, now: Mark) -> bool | None:
        """Whether it was written, replaced or is of another norm; None where that cannot be told."""
        if self.ref() is not now.ref() or (self.version, self.pointer) != (now.version, now.pointer):
            return True
        if self.norm is None or now.norm is None:
            return None  # writes through `.data` leave the version alone: without two norms we do not know
        return self.norm != now.norm


def mark(tensor: Tensor, norm: float | None = None) -> Mark:
    """The mark of `tensor` as it is now. Takes half a microsecond; nothing is read."""
    if tensor.layout is torch.strided and not tensor.is_inference():
        try:
            return Mark(weakref.ref(tensor), tensor._version, tensor.data_ptr(), norm)
        except (RuntimeError, NotImplementedError, ValueError):
            pass
    return _careful(tensor, norm)


def _careful(tensor: Tensor, norm: float | None) -> Mark:
    try:
        version = tensor._version
    except RuntimeError:
        version = -1  # inference tensors keep no version
    try:
        pointer = tensor.data_ptr() if tensor.layout is torch.strided else 0
    except (RuntimeError, NotImplementedError, ValueError):
        pointer = 0  # sparse and meta tensors have no single pointer, lazy ones none yet
    return Mark(weakref.ref(tensor), version, pointer, norm)


class Marks:
    """The marks of one stop, by name. A gradient that is not there has the mark None."""

    def __init__(self) -> None:
        self.values: dict[str, Mark] = {}
        self.grads: dict[str, Mark | None] = {}

    def note(self, name: str, value: Mark, grad: Mark | None) -> None:
        """Keep what was shown of a row."""
        self.values[name], self.grads[name] = value, grad

    def note_rest(self, named: Iterable[tuple[str, Tensor]]) -> None:
        """Keep the others too, without norms: the next stop may show any row."""
        values, grads = self.values, self.grads
        for name, tensor in named:
            if name not in values:
                values[name] = mark(tensor)
                grad = tensor.grad
                grads[name] = None if grad is None else mark(grad)

    def value_changed(self, name: str, now: Mark) -> bool | None:
        """Whether the value is another than it was then; None where that cannot be told."""
        then = self.values.get(name)
        return None if then is None else then.differs(now)

    def grad_changed(self, name: str, now: Mark | None) -> bool | None:
        """Whether the gradient is another, came or went."""
        if name not in self.grads:
            return None
        then = self.grads[name]
        return then is not now if then is None or now is None else then.differs(now)
