"""What a name stands for at a stop: a parameter, the output of a marked module, or what an expression gives."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from stepdbg.agent import naming, tensors
from stepdbg.agent.inside.held import SIGN, Held
from stepdbg.agent.parameters import entries
from stepdbg.agent.work import NotThereError

EXPRESSION = "="
"""What the name of an expression begins with."""

LONGEST = 300
"""Characters in which something that is no tensor is told."""


class NoSuchNameError(NotThereError):
    """Nothing nameable is called so."""


@dataclass(frozen=True)
class Subject:
    """What is looked at. Holds the tensor: keep it no longer than the stop."""

    tensor: Tensor | None
    grad: Tensor | None = None
    grad_label: str = ""
    """"none": it has no gradient; "no": it takes none; empty: it has one."""
    note: str = ""
    """What it is where it is no tensor; or a remark."""
    shown: str = ""
    """The name as the user reads it, where it has one."""


def named(names: naming.Names, name: str) -> Subject:
    """The parameter (by any of its names) with its gradient, or the buffer or optimizer state, of that name.

    Raises NoSuchNameError.
    """
    entry = entries.find(names, name)
    if entry is None:
        raise NoSuchNameError(f"no parameter is called {name} at this stop")
    if entry.kind != entries.PARAMETER:
        return Subject(entry.tensor, None, "no", shown=entries.shown(names, entry))
    grad = entry.tensor.grad
    return Subject(entry.tensor, grad, "none" if grad is None else "", shown=entries.shown(names, entry))


def of_output(copy: Tensor | None, alive: Tensor | None, note: str) -> Subject:
    """What a module put out, by its copy if there is one. Raises NotThereError where nothing is left."""
    shown = copy if copy is not None else alive
    if shown is None:
        raise NotThereError(note)
    grad = _grad_of(alive) if alive is not None else None
    return Subject(shown, grad, "no" if grad is None else "", note)


def of_held(held: Held | None, name: str) -> Subject:
    """What is there to look at inside a phase, "@input[0]". Raises NotThereError naming what there is."""
    if held is None:
        raise NotThereError(f"{name} is there only inside a phase: s goes into the one that is next")
    key = name.removeprefix(SIGN)
    if not key:  # the first that is there
        key = next((name for name, (tensor, _) in held.items() if tensor is not None), "")
        if not key:
            return Subject(None, None, "no", "no tensor goes in or comes out here")
        others = [f"{SIGN}{name}" for name in held if name != key]
        also = f"{', '.join(others[:4])}{', …' if len(others) > 4 else ''}"
        words = [f"{SIGN}{key}", held[key][1], f"@ shows {also}" if others else ""]
        return Subject(held[key][0], None, "no", " · ".join(word for word in words if word))
    if key not in held:
        there = ", ".join(SIGN + known for known in list(held)[:6]) or "no tensor"
        raise NotThereError(f"nothing at this place is called {name}: {there}")
    tensor, note = held[key]
    if tensor is None:
        return Subject(None, None, "no", note)
    grad = _grad_of(tensor)
    return Subject(tensor, grad, "no" if grad is None else "", note)


def of_value(value: Any) -> Subject:
    """What an expression gave. An array of NumPy is shown as a tensor over the same memory."""
    remark = ""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        try:
            value, remark = torch.from_numpy(numpy.asarray(value)), f"a NumPy array of {value.dtype}"
        except (TypeError, ValueError):
            pass  # of a dtype that tensors do not have: said in words
    if not isinstance(value, Tensor):
        return Subject(None, note=in_words(value))
    grad = _grad_of(value)
    label = "" if grad is not None else "none" if value.requires_grad and value.is_leaf else "no"
    return Subject(value, grad, label, remark)


def _grad_of(tensor: Tensor) -> Tensor | None:
    # Reading `.grad` of any other tensor makes torch warn.
    return tensor.grad if tensor.is_leaf or tensor.retains_grad else None


def in_words(value: Any, depth: int = 2) -> str:
    """Anything in one line: numbers and strings as they are, tensors by dtype and shape, containers by their items."""
    return _shorter(_in_words(value, depth))


def _in_words(value: Any, depth: int) -> str:
    kind = type(value)
    if isinstance(value, Tensor):
        shape = tensors.shape_of(value)
        size = "×".join(map(str, shape)) or "scalar" if shape is not None else "no shape"
        return f"{tensors.dtype_name(value)} {size}"
    if isinstance(value, Module):
        return f"{kind.__name__}: a module, show one of its parameters"
    if kind in (list, tuple, set, frozenset) and depth:
        shown = ", ".join(_in_words(item, depth - 1) for item in list(value)[:8])
        more = ", …" if len(value) > 8 else ""
        return f"{kind.__name__} of {len(value)}: {shown}{more}" if value else f"an empty {kind.__name__}"
    if isinstance(value, Mapping) and depth and kind is dict:
        pairs = [f"{reprlib.repr(key)}: {_in_words(item, depth - 1)}" for key, item in list(value.items())[:8]]
        more = ", …" if len(value) > 8 else ""
        return f"dict of {len(value)}: {', '.join(pairs)}{more}" if value else "an empty dict"
    if kind in (int, float, complex, bool, str, bytes, type(None)):
        return _shorter(repr(value)) if kind in (str, bytes) else repr(value) if kind is not int else _whole(value)
    try:
        return f"{kind.__name__}: {_shorter(repr(value))}"
    except Exception as error:
        return f"{kind.__name__}, whose repr raises {type(error).__name__}"


def _whole(value: int) -> str:
    return str(value) if value.bit_length() < 1000 else f"a whole number of {value.bit_length():,} bits"


def _shorter(text: str) -> str:
    line = " ".join(text.split("\n"))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
