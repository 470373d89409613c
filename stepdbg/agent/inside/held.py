"""What is there to look at, at a place inside a phase: tensors by name, for as long as the stop lasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import tensors
from stepdbg.protocol.inside import HeldTensor, HeldTensors

SIGN = "@"
"""What the name of a held tensor begins with where names of parameters are possible as well."""

MOST = 64
"""Tensors told of, of each of what went in and what came out, at most."""

DEPTH = 3
"""Containers in containers that are searched for tensors."""

Held = dict[str, tuple["Tensor | None", str]]
"""Name → the tensor (None: there is none) and a remark. Keep it no longer than the stop."""

Holding = Callable[[], Held]
"""Finds them: asked at a stop, and by a breakpoint that wants them."""


def of_call(args: Sequence[Any], kwargs: Mapping[str, Any], results: Sequence[Any] = ()) -> Held:
    """What was given to a module or an operation, and what it has returned (one item; none: it has not run yet)."""
    held: Held = {}
    for result in results:
        _add(held, "output", result, DEPTH)
    for number, value in enumerate(args):
        _add(held, f"input[{number}]", value, DEPTH)
    for name, value in kwargs.items():
        _add(held, f"input[{name!r}]", value, DEPTH)
    return held


def of_gradients(name: str, grads: Sequence[Tensor | None]) -> Held:
    """Gradients at a node, one for each edge; None where none flows."""
    return {
        f"{name}[{number}]": (grad, "" if grad is not None else "no gradient flows here")
        for number, grad in enumerate(grads[:MOST])
    }


def _add(held: Held, name: str, value: Any, depth: int) -> None:
    if len(held) >= MOST:
        return
    kind = type(value)
    if issubclass(kind, Tensor):
        held[name] = value, ""
    elif depth == 0 or issubclass(kind, Module):
        return
    elif issubclass(kind, tuple):
        for number, item in enumerate(tuple.__getitem__(value, slice(MOST))):
            _add(held, f"{name}[{number}]", item, depth - 1)
    elif issubclass(kind, list):
        for number, item in enumerate(list.__getitem__(value, slice(MOST))):
            _add(held, f"{name}[{number}]", item, depth - 1)
    elif issubclass(kind, dict):
        for key, item in list(dict.items(value))[:MOST]:
            _add(held, f"{name}[{key!r}]", item, depth - 1)
    elif hasattr(kind, "__dataclass_fields__"):
        for key, item in list(object.__getattribute__(value, "__dict__").items())[:MOST]:
            _add(held, f"{name}.{key}", item, depth - 1)


def listed(stop: int, held: Held | None) -> HeldTensors:
    """The names, as plain data. Call inside `quiet()`."""
    if held is None:
        return HeldTensors(stop, (), "the script is held between phases: s goes into the one that is next")
    found = tuple(
        HeldTensor(name, None, "", "", note)
        if tensor is None
        else HeldTensor(name, tensors.shape_of(tensor), tensors.dtype_name(tensor), str(tensor.device), note)
        for name, (tensor, note) in held.items()
    )
    return HeldTensors(stop, found, "" if found else "no tensor goes in or comes out here")
