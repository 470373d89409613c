"""Value, gradient, previous value and difference, read alike: the part that a slice leaves, in pages or in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.tensors.elements import one_line
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.records import TensorStats, TensorView
from stepdbg.protocol.slices import Axes, SliceError, against, read_slice

CHUNK = 1 << 20
"""Elements that are looked through at a time."""


class Side:
    """A tensor, or what it differs by from another of the same shape. Call everything inside `quiet()`."""

    def __init__(self, tensor: Tensor, minus: Tensor | None = None) -> None:
        self.tensor = tensor
        self._plain, self.note = tensors.readable(tensor)
        self._minus: Tensor | None = None
        if minus is not None and self._plain is not None:
            self._minus, note = tensors.readable(minus)
            self.note = self.note or note
            if self._minus is None:
                self._plain = None
            elif self._minus.shape != self._plain.shape:
                self._plain, self.note = None, f"the shape was {tensors.shape_of(minus)} before"

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape that indices count in; None where nothing can be read."""
        return None if self._plain is None else tuple(int(n) for n in self._plain.shape)

    def axes(self, text: str) -> Axes:
        """What that slice leaves. Raises NotThereError with one line."""
        if self.shape is None:
            raise NotThereError(self.note)
        try:
            return against(read_slice(text), self.shape)
        except SliceError as error:
            problem = str(error)
        raise NotThereError(f"slice: {problem}")

    def part(self, axes: Axes) -> Tensor:
        """What the slice leaves: a view, or for a difference a new tensor."""
        assert self._plain is not None
        plain = self._plain[axes.slices] if axes.starts else self._plain
        if self._minus is None:
            return plain
        return _difference(plain, self._minus[axes.slices] if axes.starts else self._minus)

    def chunks(self, axes: Axes) -> Iterator[Tensor]:
        """What the slice leaves, flat, CHUNK elements at a time."""
        assert self._plain is not None
        flat = [side[axes.slices].reshape(-1) for side in (self._plain, self._minus) if side is not None]
        for start in range(0, flat[0].numel(), CHUNK):
            chunk = [side[start : start + CHUNK] for side in flat]
            yield chunk[0] if len(chunk) == 1 else _difference(*chunk)

    def view(
        self, axes: Axes, row: int, column: int, rows: int, columns: int, bins: int, known: TensorStats | None
    ) -> TensorView:
        """Statistics of what the slice leaves, and a page of its cells. `known`: where they were made before."""
        view = self.blank()
        note = self.note
        if known is None:
            try:
                known = tensors.statistics(self.part(axes), bins)
            except (RuntimeError, NotImplementedError, TypeError) as error:
                note = note or f"no statistics: {one_line(error)}"
        if known is not None and known.note:
            note = note or known.note
            known = None
        down, across = axes.extent
        row, column = max(0, min(row, down - 1)), max(0, min(column, across - 1))
        cells: tuple[tuple[str, ...], ...] = ()
        try:
            if down:
                cells = self._cells(axes, range(row, min(down, row + rows)), column, min(across, column + columns))
        except (RuntimeError, NotImplementedError, TypeError) as error:
            note = note or f"no numbers: {one_line(error)}"
        return replace(view, stats=known, rows=down, columns=across, row=row, column=column, cells=cells, note=note)

    def blank(self) -> TensorView:
        """The view without any numbers: shape, dtype, device, and why it cannot be read."""
        tensor, shape = self.tensor, tensors.shape_of(self.tensor)
        dtype = tensors.dtype_name(tensor)
        if self._minus is not None and self._plain is not None:
            dtype = tensors.dtype_name(_difference(self._plain.new_empty(0), self._minus.new_empty(0)))
        indexed = self.shape if self.shape != shape else None
        size = tensors.nbytes(tensor)
        return TensorView(shape, dtype, str(tensor.device), size, None, 0, 0, 0, 0, (), self.note, indexed)

    def _cells(self, axes: Axes, rows: range, left: int, right: int) -> tuple[tuple[str, ...], ...]:
        sides = [side for side in (self._plain, self._minus) if side is not None]
        result = []
        for row in rows:
            lines = []
            for side in sides:
                index: list[Any] = list(axes.index(row, 0))
                kept = [at for at, size in enumerate(axes.sizes) if size is not None]
                if kept:
                    first = axes.starts[kept[-1]]
                    index[kept[-1]] = slice(first + left, first + right)
                lines.append((side[tuple(index)] if index else side).reshape(-1))
            line = lines[0] if len(lines) == 1 else _difference(*lines)
            result.append(tuple(text_of(value) for value in line.tolist()))
        return tuple(result)


def _difference(now: Tensor, before: Tensor) -> Tensor:
    if now.dtype is torch.bool:
        return now ^ before
    if not (now.is_floating_point() or now.is_complex()):
        return now.to(torch.int64) - before.to(torch.int64)
    if now.dtype not in (torch.float32, torch.float64, torch.complex64, torch.complex128):
        wide = torch.complex64 if now.is_complex() else torch.float32
        now, before = now.to(wide), before.to(wide)
    return now - before


def text_of(value: Any) -> str:
    """A number as text that reads back as the same one."""
    return repr(value).strip("()")
