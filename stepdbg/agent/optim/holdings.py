"""What an optimizer holds, read without changing it: parameters by group, hyper-parameters as plain numbers.

Any object may stand here: torch's optimizers, subclasses, and others that only have a `step`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

MAX_DEPTH = 3
"""Containers in containers that are searched for the tensors of an optimizer without groups."""


@dataclass
class Group:
    """One group: its parameters, and everything else in it that is a number."""

    params: list[Tensor]
    hyper: dict[str, Any] = field(default_factory=dict)
    """Plain numbers, booleans and None; 0-d CPU tensors for tensor ones; tuples of these for `betas`."""


def groups_of(optimizer: Any) -> list[Group]:
    """The parameters by group, in order. Empty where the optimizer does not tell them."""
    try:
        groups = getattr(optimizer, "param_groups", None)
    except Exception:  # a property of the script's own
        groups = None
    if isinstance(groups, Sequence) and all(isinstance(g, Mapping) for g in groups):
        return [Group([p for p in g.get("params", ()) if isinstance(p, Tensor)], _hyper(g)) for g in groups]
    try:
        own = object.__getattribute__(optimizer, "__dict__")
    except Exception:
        return []
    found: dict[int, Tensor] = {}
    for value in list(own.values()) if type(own) is dict else ():
        for tensor in _tensors(value, MAX_DEPTH):
            if tensor.requires_grad and tensor.is_leaf:
                found.setdefault(id(tensor), tensor)
    numbers = {k: v for k, v in own.items() if type(k) is str and type(v) in (int, float, bool)}
    return [Group(list(found.values()), numbers)] if found else []


def state_of(optimizer: Any, parameter: Tensor) -> Mapping[str, Any]:
    """The optimizer's state of `parameter`; empty where there is none. Never makes one."""
    states = getattr(optimizer, "state", None)
    if not isinstance(states, Mapping):
        return {}
    found = states.get(parameter)
    return found if isinstance(found, Mapping) else {}


def plain_number(value: Any) -> Any:
    """`value` where it is a number, a boolean, None, or a tensor of one element (as a 0-d CPU copy); else Ellipsis."""
    if value is None or type(value) in (int, float, bool):
        return value
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_meta:
        copy = value.detach().reshape(()).to("cpu", copy=True)
        return copy if type(copy) is Tensor else copy.as_subclass(Tensor)
    return ...


def _hyper(group: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in group.items():
        if key == "params" or type(key) is not str:
            continue
        if isinstance(value, (tuple, list)) and 0 < len(value) <= 4:
            numbers = tuple(plain_number(v) for v in value)
            if ... not in [n for n in numbers if n is ...]:
                result[key] = numbers
        else:
            number = plain_number(value)
            if number is not ...:
                result[key] = number
    return result


def _tensors(value: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif depth and type(value) in (list, tuple, dict):
        for inner in list(value.values() if type(value) is dict else value):
            yield from _tensors(inner, depth - 1)
