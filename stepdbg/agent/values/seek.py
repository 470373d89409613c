"""Finding single elements, and writing a tensor as Python text."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.values.sides import CHUNK, Side, text_of
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol.slices import Axes
from stepdbg.protocol.values import ElementFound, PythonText

MOST = 10_000
"""Elements that are copied, at most."""

WHAT = ("max", "min", "nan")


def seek(side: Side, axes: Axes, what: str, work: Work) -> ElementFound:
    """The first element that is largest, smallest, or not finite. Raises NotThereError where there is none.

    One pass over the data. Complex numbers are compared by their absolute value, as statistics are.
    """
    if what not in WHAT:
        raise NotThereError(f"no {what!r} to go to: max, min or nan")
    down, across = axes.extent
    total = down * across
    if not total:
        raise NotThereError("there are no elements")
    best: float | int | None = None
    at = -1
    for number, chunk in enumerate(side.chunks(axes)):
        work.step(number * CHUNK, total, "elements")
        found = _first_not_finite(chunk) if what == "nan" else _extreme(chunk, what == "max")
        if found is None:
            continue
        position, value = found
        if best is None or (value > best if what == "max" else value < best):
            best, at = value, number * CHUNK + position
        if what == "nan":
            break
    if at < 0:
        raise NotThereError("all elements are finite" if what == "nan" else "no element is finite")
    index = axes.index(*divmod(at, across))
    element = Axes(index, (None,) * len(index))
    return ElementFound(index, text_of(side.part(element).tolist()))


def _comparable(chunk: Tensor) -> Tensor:
    if chunk.is_complex():
        chunk = (chunk.to(torch.complex64) if chunk.element_size() < 8 else chunk).abs()
    if chunk.is_floating_point():
        return chunk if chunk.element_size() >= 4 else chunk.to(torch.float32)
    # Above 2**63 an unsigned number is compared as a float64.
    return chunk.to(torch.float64 if chunk.dtype is torch.uint64 else torch.int64)


def _extreme(chunk: Tensor, largest: bool) -> tuple[int, float | int] | None:
    numbers = _comparable(chunk)
    if numbers.is_floating_point():
        finite = torch.isfinite(numbers)
        if not bool(finite.any()):
            return None
        if not bool(finite.all()):
            numbers = numbers.masked_fill(~finite, -math.inf if largest else math.inf)
    position = int(numbers.argmax() if largest else numbers.argmin())
    return position, numbers[position].item()


def _first_not_finite(chunk: Tensor) -> tuple[int, int] | None:
    if not (chunk.is_floating_point() or chunk.is_complex()):
        return None
    bad = ~torch.isfinite(_comparable(chunk) if not chunk.is_complex() else torch.view_as_real(chunk)).reshape(
        chunk.numel(), -1
    ).all(1)
    return (int(bad.to(torch.uint8).argmax()), 0) if bool(bad.any()) else None


def as_python(side: Side, axes: Axes) -> PythonText:
    """`torch.tensor([...], dtype=...)` with the very numbers; of more than MOST elements the first ones, flat."""
    part = side.part(axes)
    dtype, numel = str(part.dtype), part.numel()
    if numel == 0:
        return PythonText(f"torch.empty({tuple(part.shape)}, dtype={dtype})", 0, 0, side.note)
    if numel <= MOST:
        return PythonText(f"torch.tensor({_literal(part.tolist())}, dtype={dtype})", numel, numel, side.note)
    first = next(side.chunks(axes))[:MOST]
    remark = f"  # the first {MOST:,} of {numel:,} elements, flat"
    return PythonText(f"torch.tensor({_literal(first.tolist())}, dtype={dtype}){remark}", MOST, numel, side.note)


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, complex):
        return f"complex({_literal(value.real)}, {_literal(value.imag)})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)
