"""What is kept of one parameter before a step, and how it is copied: values, gradients and state, in CPU memory."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.calls import storage_address
from stepdbg.agent.compare import snapshots
from stepdbg.agent.optim.copies import copy_of, plain_of
from stepdbg.agent.optim.holdings import plain_number


@dataclass(eq=False)
class Kept:
    """One parameter before a step."""

    ref: weakref.ref[Tensor]
    group: int
    value: Tensor | None = None
    norm: float | None = None
    """Of the value, where that was not kept."""
    why: str = ""
    """Why the value was not kept."""
    had_grad: bool = False
    grad: Tensor | None = None
    grad_ref: weakref.ref[Tensor] | None = None
    grad_version: int = -1
    why_no_grad: str = ""
    state: dict[str, Any] | None = None
    """Numbers, and copies of tensors; None: not kept."""
    why_no_state: str = ""
    began: int | None = None
    """The parameter's own version when this was kept."""
    done: bool = False
    """Whether it has been updated, in a step that goes parameter by parameter or that is over."""
    version: int | None = None
    """The parameter's own right after its update; None until then, and where there is none."""
    place: int | None = None
    """Its storage after the update: `.data = ` gives it another, and leaves the version."""
    nbytes: int = 0
    """Of all copies."""
    shared: snapshots.Kept | None = None
    """The copy of an earlier stop that `value` is: never written to."""


class Room:
    """Bytes that are left."""

    def __init__(self, limit: int, used: int) -> None:
        self.left = limit - used
        self.why = f"over the limit of {limit / (1 << 20):g} MiB"
        """Why something was not kept."""

    def take(self, nbytes: int, kept: Kept) -> bool:
        """Whether so much fits; if so, it is taken for `kept`."""
        if nbytes > self.left:
            return False
        self.left -= nbytes
        kept.nbytes += nbytes
        return True


def keep_value(
    parameter: Tensor, kept: Kept, earlier: Kept | None, room: Room, known: Mapping[int, snapshots.Kept]
) -> None:
    """Copy it, or share the copy among those `known` of the last stop that is the same to the last bit."""
    kept.began = version_of(parameter)
    plain, why = plain_of(parameter)
    if plain is None:
        kept.why = why
    elif room.take(tensors.nbytes(plain), kept):
        copy = known.get(id(weakref.ref(parameter)))
        if copy is not None and copy.ref() is parameter and copy.still_is(parameter, plain):
            kept.value, kept.shared = copy.copy, copy
        else:
            kept.value = copy_of(plain, earlier.value if earlier is not None and earlier.shared is None else None)
    else:
        kept.why = room.why


def norms_of(left_out: Sequence[tuple[Tensor, Kept]]) -> None:
    """Of values that were left out, only these."""
    for (_, kept), norm in zip(left_out, tensors.norms([p for p, _ in left_out]), strict=True):
        kept.norm = norm.value


def keep_grad(parameter: Tensor, kept: Kept, earlier: Kept | None, room: Room, *, closure: bool) -> None:
    """Copy the gradient. `closure`: there is none yet that the step is going to use."""
    grad = parameter.grad
    if closure:
        kept.why_no_grad = "its closure makes the gradient inside the step"
        return
    kept.had_grad, kept.why_no_grad = grad is not None, ""
    if grad is None:
        return
    kept.grad_ref, kept.grad_version = weakref.ref(grad), version_of(grad) or 0
    if grad.layout is torch.sparse_coo and type(grad).__torch_dispatch__ is Tensor.__torch_dispatch__:
        if room.take(tensors.nbytes(grad), kept):
            kept.grad = grad.detach().to("cpu", copy=True)
        else:
            kept.why_no_grad = room.why
        return
    plain, kept.why_no_grad = plain_of(grad)
    if plain is None:
        return
    if room.take(tensors.nbytes(plain), kept):
        kept.grad = copy_of(plain, earlier.grad if earlier is not None else None)
    else:
        kept.why_no_grad = room.why


def keep_state(state: Any, kept: Kept, earlier: Kept | None, room: Room) -> None:
    """Copy the optimizer's state of it, all or nothing."""
    known = earlier.state if earlier is not None and earlier.state is not None else {}
    result: dict[str, Any] = {}
    for name, value in state.items():
        if type(name) is not str:
            continue
        number = ... if isinstance(value, Tensor) and value.dim() else plain_number(value)
        if number is not ...:
            result[name] = number
        elif isinstance(value, Tensor):
            plain, _ = plain_of(value)
            if plain is None or not room.take(tensors.nbytes(plain), kept):
                kept.why_no_state = room.why
                return
            result[name] = copy_of(plain, known.get(name))
    kept.state = result


def place_of(tensor: Tensor) -> int | None:
    """Which storage it has; None where that cannot be told. Asked of plain ones only: no code of a subclass runs."""
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        return None
    try:
        return storage_address(tensor)
    except (RuntimeError, NotImplementedError):
        return None


def version_of(tensor: Tensor) -> int | None:
    """How often it was written in place; None where none is kept."""
    try:
        return int(tensor._version)
    except RuntimeError:
        return None  # inference tensors keep no version


def note_done(parameter: Tensor, kept: Kept) -> None:
    """It has been updated."""
    kept.done, kept.version, kept.place = True, version_of(parameter), place_of(parameter)


def is_as_kept(parameter: Tensor, kept: Kept) -> bool:
    """Whether neither the value nor the gradient has been written since, as far as their versions tell."""
    grad, ref = parameter.grad, kept.grad_ref
    if (grad is None) == kept.had_grad or version_of(parameter) != kept.began:
        return False
    return grad is None or (ref is not None and ref() is grad and (version_of(grad) or 0) == kept.grad_version)
