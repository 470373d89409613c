"""Values in words: anything in a few lines, tensors by shape, dtype, device, statistics and their first numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import tensors
from stepdbg.agent.tensors.elements import one_line
from stepdbg.agent.values.subjects import in_words
from stepdbg.protocol.words import TensorTold

FIRST = 8
"""Numbers of a tensor that are told."""

MOST_LINES = 60
LONGEST = 2_000
"""Characters of a line, at most."""

ITEMS = 20
"""Items of a container that stand on a line of their own."""


def tensor(value: Tensor) -> TensorTold:
    """One tensor. Reads it once."""
    shape = tensors.shape_of(value)
    first: tuple[str, ...] = ()
    plain, note = tensors.readable(value)
    if plain is not None and plain.numel():
        line = plain
        while line.dim() > 1:
            line = line[0]
        first = tuple(_number(item) for item in line.reshape(-1)[:FIRST].tolist())
    made_by = value.grad_fn
    return TensorTold(
        kind=type(value).__name__,
        dtype=tensors.dtype_name(value),
        shape=shape,
        device=str(value.device),
        requires_grad=value.requires_grad,
        made_by=type(made_by).__name__ if made_by is not None else "",
        stats=tensors.statistics(value),
        first=first,
        note=note,
    )


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _short(value: Tensor) -> str:
    """A tensor inside of something: "float32 4×2 cpu, mean 0.01, −0.5 … 0.6"."""
    stats = tensors.statistics(value)
    head = f"{in_words(value)} {value.device}"
    if stats.numel == 1 and stats.mean is not None and stats.min == stats.max:
        return f"{head}: {stats.mean:.6g}"
    if stats.mean is None:
        return head
    bad = stats.nan + stats.posinf + stats.neginf
    odd = f", {bad:,} not finite" if bad else ""
    return f"{head}: min {stats.min:.4g}, max {stats.max:.4g}, mean {stats.mean:.4g}{odd}"


def lines(value: Any) -> tuple[str, ...]:
    """Anything but a tensor, in at most MOST_LINES lines. Never raises: what `repr` raises is said."""
    try:
        made = _lines(value)
    except Exception as error:  # a class of the user's may raise anything in its `repr`
        made = [f"{type(value).__name__}, which cannot be shown: {type(error).__name__}: {one_line(error)}"]
    shown = [line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…" for line in made[:MOST_LINES]]
    return (*shown, f"… {len(made) - MOST_LINES:,} more lines") if len(made) > MOST_LINES else tuple(shown)


def _lines(value: Any) -> list[str]:
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return _container(value, [("", item) for item in list(value)[:ITEMS]])
    if isinstance(value, Mapping):
        pairs = list(value.items())[:ITEMS]
        return _container(value, [(f"{key!r}: ", item) for key, item in pairs])
    if isinstance(value, Module):
        return repr(value).split("\n")
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and "__repr__" not in vars(kind):
        return repr(value).split("\n")
    return _text(repr(value))


def _container(value: Any, items: list[tuple[str, Any]]) -> list[str]:
    whole = repr(value) if _is_plain(value) else ""
    if whole and len(whole) <= 100:
        return [whole]
    more = [f"  … {len(value) - len(items):,} more"] if len(value) > len(items) else []
    width = len(str(len(items)))
    indexed = not isinstance(value, (Mapping, set, frozenset))
    head = [f"{type(value).__name__} of {len(value):,}"]
    return [
        *head,
        *(
            f"  {f'[{at}]'.ljust(width + 3) if indexed else ''}{label}"
            f"{_short(item) if isinstance(item, Tensor) else in_words(item)}"
            for at, (label, item) in enumerate(items)
        ),
        *more,
    ]


def _is_plain(value: Any, depth: int = 3) -> bool:
    """Whether it is made of numbers and strings only, and short."""
    if type(value) in (int, float, complex, bool, str, bytes, type(None)):
        return True
    if depth and type(value) in (list, tuple, set, frozenset) and len(value) <= 40:
        return all(_is_plain(item, depth - 1) for item in value)
    if depth and type(value) is dict and len(value) <= 20:
        return all(_is_plain(item, depth - 1) for pair in value.items() for item in pair)
    return False


def _text(text: str) -> list[str]:
    return text.split("\n")


def variable(value: Any) -> str:
    """One variable in one line."""
    try:
        if isinstance(value, Tensor):
            return _short(value)
        if isinstance(value, Module):
            return f"{type(value).__name__}, a module"
        return in_words(value)
    except Exception as error:  # as in `lines`
        return f"{type(value).__name__}, which cannot be shown: {one_line(error)}"
