"""A page of a tensor's numbers as text, beside its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from stepdbg.agent.tensors.elements import dtype_name, nbytes, one_line, outside_transforms, readable, shape_of
from stepdbg.agent.tensors.summary import statistics
from stepdbg.agent.work import Work
from stepdbg.protocol.records import TensorStats, TensorView

EXACT = 1 << 20
"""Elements up to which the histogram of the one tensor that is looked at is exact: that takes some milliseconds."""


def view(
    tensor: Tensor,
    *,
    row: int,
    column: int,
    rows: int,
    columns: int,
    bins: int,
    known: TensorStats | None = None,
    exact: bool = False,
    work: Work | None = None,
) -> TensorView:
    """Statistics and a page of cells of any tensor; what is impossible is said in the note. Raises only what
    `work.step` does.

    `known`: the statistics, where they were made before: then only the cells are read. `exact`: see `statistics`; up to
    EXACT elements, the histogram is exact anyway.
    """
    shape = shape_of(tensor) or ()
    page = TensorView(shape, dtype_name(tensor), str(tensor.device), nbytes(tensor), None, 0, 0, 0, 0, ())
    plain, note = readable(tensor)
    found = known if known is not None else statistics(tensor, bins, exact=exact or _numel(plain) <= EXACT, work=work)
    if found.note:
        return replace(page, note=found.note)
    if plain is None:
        return replace(page, stats=found, note=note)
    down, across = _extent(plain)
    row, column = max(0, min(row, down - 1)), max(0, min(column, across - 1))
    try:
        with outside_transforms():
            cells = _cells(plain, row, min(down, row + rows), column, min(across, column + columns))
    except Exception as error:  # whatever a device or a type cannot do is said, not raised
        cells, note = (), note or f"no numbers: {one_line(error)}"
    return replace(page, stats=found, rows=down, columns=across, row=row, column=column, cells=cells, note=note)


def _numel(plain: Tensor | None) -> int:
    return 0 if plain is None else plain.numel()


def _extent(tensor: Tensor) -> tuple[int, int]:
    if tensor.numel() == 0:
        return 0, 0
    across = int(tensor.shape[-1]) if tensor.dim() else 1
    return tensor.numel() // across, across


def _cells(tensor: Tensor, top: int, bottom: int, left: int, right: int) -> tuple[tuple[str, ...], ...]:
    if tensor.numel() == 0:
        return ()
    leading = tensor.shape[:-1] if tensor.dim() else ()
    result = []
    for index in range(top, bottom):
        line = tensor
        for position in _unravel(index, leading):
            line = line[position]
        line = line.reshape(-1)[left:right]
        result.append(tuple(_text(v) for v in line.tolist()))
    return tuple(result)


def _unravel(index: int, shape: Sequence[int]) -> list[int]:
    positions = []
    for size in reversed(shape):
        index, position = divmod(index, int(size))
        positions.append(position)
    return positions[::-1]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, complex):
        return f"{value.real:.3g}{value.imag:+.3g}j"
    return str(value)
