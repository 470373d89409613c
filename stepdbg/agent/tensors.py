"""Numbers out of tensors: norms of many, statistics of one, a page of cells. Call everything here inside `quiet()`.

Non-finite elements are counted apart and left out of every other statistic. Low-precision types are widened before
they are summed. Whatever cannot be shown is said in words (`note`), never raised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stepdbg.protocol.records import TensorStats, TensorView

CHUNK = 1 << 17
"""Elements handled at a time: their float64 copy (1 MiB, so it stays in cache) is all the extra memory needed."""

HUGE, TINY = 1e140, 1e-140
"""Beyond these, squares of float64 numbers overflow or vanish: such tensors are divided by their largest element."""

HISTOGRAM_SAMPLE = 1 << 17
"""A histogram of more elements than this is made from a strided sample of about this many, and says so."""


@dataclass(frozen=True)
class Norm:
    """2-norm over the finite elements, how many others there are, and why there is none."""

    value: float | None
    nonfinite: int = 0
    note: str = ""


def dtype_name(tensor: Tensor) -> str:
    """The dtype without "torch."."""
    return str(tensor.dtype).removeprefix("torch.")


def shape_of(tensor: Tensor) -> tuple[int, ...] | None:
    """The shape as plain integers; None for a lazy tensor, which has none yet, and a nested one, which has many."""
    if torch.nn.parameter.is_lazy(tensor) or tensor.is_nested:
        return None
    return tuple(int(n) for n in tensor.shape)


def nbytes(tensor: Tensor) -> int:
    """Bytes of the elements that the tensor itself has (sparse: of its indices and values)."""
    try:
        if tensor.layout is torch.sparse_coo:
            return nbytes(tensor._indices()) + nbytes(tensor._values())
        return tensor.numel() * tensor.element_size()
    except (RuntimeError, NotImplementedError, ValueError):
        return 0


def readable(tensor: Tensor) -> tuple[Tensor | None, str]:
    """A plain dense tensor with the same elements, or None and why there is none; the note may also be a remark."""
    try:
        return _readable(tensor)
    except Exception as error:  # a subclass may raise anything here; the script must go on
        return None, f"cannot be read: {_one_line(error)}"


def _readable(tensor: Tensor) -> tuple[Tensor | None, str]:
    if torch.nn.parameter.is_lazy(tensor):
        return None, "not initialised yet: a lazy parameter gets its shape in the first forward"
    remark = ""
    local = getattr(tensor, "_local_tensor", None)
    if isinstance(local, Tensor):
        # full_tensor() would be a collective: every rank would have to take part.
        tensor, remark = local, "local shard of a distributed tensor"
    tensor = tensor.detach()
    if tensor.is_meta:
        return None, "on the meta device: no values exist"
    if tensor.is_nested:
        return None, "a nested tensor has no rectangular view"
    if tensor.layout is not torch.strided:
        remark = f"{str(tensor.layout).removeprefix('torch.')}, shown dense"
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor, remark = tensor.dequantize(), "dequantized"
    if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
        plain = tensor.as_subclass(Tensor)
        remark = remark or f"{type(tensor).__name__}, its own data"
        tensor = plain
    return tensor, remark


def norms(tensors: Sequence[Tensor]) -> list[Norm]:
    """The 2-norm of each tensor. One pass over the data; tensors of one kind are reduced together."""
    results: list[Norm | None] = [None] * len(tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]] = {}
    for index, tensor in enumerate(tensors):
        plain, note = readable(tensor)
        if plain is None:
            results[index] = Norm(None, 0, note)
        elif plain.numel() == 0:
            results[index] = Norm(0.0, 0, note)
        elif plain.dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
            groups.setdefault((plain.device, plain.dtype), []).append((index, plain))
        else:
            results[index] = _careful_norm(plain)
    for members in groups.values():
        _norm_group(members, results)
    return [r if r is not None else Norm(None, 0, "cannot be computed") for r in results]


def _norm_group(members: list[tuple[int, Tensor]], results: list[Norm | None]) -> None:
    plain = [tensor for _, tensor in members]
    wide = torch.float64 if plain[0].dtype is torch.float64 else torch.float32
    try:
        values = torch.stack(torch._foreach_norm(plain, 2, dtype=wide)).tolist()
    except (RuntimeError, NotImplementedError, TypeError):
        values = [math.nan] * len(plain)
    for (index, tensor), value in zip(members, values, strict=True):
        # Not finite: an element is not, or the squares overflowed. Both want the slow, exact way.
        results[index] = Norm(value) if math.isfinite(value) else _careful_norm(tensor)


def _careful_norm(tensor: Tensor) -> Norm:
    try:
        found = statistics(tensor)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        return Norm(None, 0, f"no norm: {_one_line(error)}")
    return Norm(found.norm if found.norm is not None else 0.0, found.nan + found.posinf + found.neginf)


class _Moments:
    """Running statistics over float64 chunks; variances are merged as Chan, Golub and LeVeque do (1983)."""

    def __init__(self) -> None:
        self.count = self.zeros = self.nan = self.posinf = self.neginf = 0
        self.mean = self.m2 = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, chunk: Tensor) -> None:
        """Add a chunk, which is overwritten."""
        low, high = (float(v) for v in torch.aminmax(chunk))
        if not (math.isfinite(low) and math.isfinite(high)):
            self.nan += int(torch.isnan(chunk).sum())
            self.posinf += int((chunk == math.inf).sum())
            self.neginf += int((chunk == -math.inf).sum())
            chunk = chunk[torch.isfinite(chunk)]
            if chunk.numel() == 0:
                return
            low, high = (float(v) for v in torch.aminmax(chunk))
        count = chunk.numel()
        self.zeros += count - int(torch.count_nonzero(chunk))
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.squares += float(torch.dot(chunk, chunk))
        mean = float(chunk.sum()) / count
        centred = chunk.sub_(mean)
        total = self.count + count
        delta = mean - self.mean
        self.mean += delta * (count / total)
        self.m2 += float(torch.dot(centred, centred))
        if self.count:
            self.m2 += delta * delta * self.count * count / total
        self.count = total

    def largest(self) -> float:
        """The largest absolute value; 0 where there is none."""
        return max(abs(self.low), abs(self.high)) if self.count else 0.0


def _moments(flat: Tensor, divisor: float = 1.0) -> _Moments:
    moments = _Moments()
    buffer = torch.empty(min(CHUNK, flat.numel()), dtype=torch.float64, device=flat.device)
    for start in range(0, flat.numel(), CHUNK):
        part = flat[start : start + CHUNK]
        chunk = buffer[: part.numel()].copy_(part)
        moments.add(chunk if divisor == 1.0 else chunk.div_(divisor))
    return moments


def statistics(tensor: Tensor, bins: int = 0) -> TensorStats:
    """Statistics of a plain dense tensor (see `readable`), complex ones by their absolute values.

    Accumulated in float64, chunk by chunk: seven passes over a chunk while it is in cache, one over memory. `bins` > 0
    adds a histogram.
    """
    values = tensor.abs() if tensor.is_complex() else tensor
    flat = values.reshape(-1)
    moments, factor = _moments(flat), 1.0
    if moments.largest() > HUGE or 0.0 < moments.largest() < TINY:
        factor = moments.largest()
        moments = _moments(flat, factor)
    found = TensorStats(
        numel=tensor.numel(), min=None, max=None, mean=None, std=None, norm=None,
        zeros=moments.zeros, nan=moments.nan, posinf=moments.posinf, neginf=moments.neginf,
    )  # fmt: skip
    if moments.count == 0:
        return found
    found = replace(
        found,
        min=moments.low * factor,
        max=moments.high * factor,
        mean=moments.mean * factor,
        std=math.sqrt(moments.m2 / moments.count) * factor,
        norm=math.sqrt(moments.squares) * factor,
    )
    return _with_histogram(found, flat, bins) if bins > 0 else found


def _with_histogram(found: TensorStats, flat: Tensor, bins: int) -> TensorStats:
    low, high = found.min, found.max
    if low is None or high is None:
        return found
    stride = max(1, -(-flat.numel() // HISTOGRAM_SAMPLE))
    sample = flat[::stride].to(torch.float64)
    if found.nan or found.posinf or found.neginf:
        sample = sample[torch.isfinite(sample)]
    if high > low:
        counts = torch.histc(sample, bins=bins, min=low, max=high).to(torch.int64).tolist()
    else:
        counts = [sample.numel()]
    return replace(
        found,
        histogram=tuple(int(c) for c in counts),
        low=low,
        high=high,
        sampled=sample.numel() if stride > 1 else None,
    )


def view(
    tensor: Tensor, *, row: int, column: int, rows: int, columns: int, bins: int, known: TensorStats | None = None
) -> TensorView:
    """Statistics and a page of cells of any tensor; what is impossible is said in the note.

    `known`: the statistics, where they were made before: then only the cells are read.
    """
    shape = shape_of(tensor) or ()
    empty = TensorView(shape, dtype_name(tensor), str(tensor.device), nbytes(tensor), None, 0, 0, 0, 0, ())
    plain, note = readable(tensor)
    if plain is None:
        return replace(empty, note=note)
    try:
        found = known if known is not None else statistics(plain, bins)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        found, note = None, f"no statistics: {_one_line(error)}"
    down, across = _extent(plain)
    row, column = max(0, min(row, down - 1)), max(0, min(column, across - 1))
    try:
        cells = _cells(plain, row, min(down, row + rows), column, min(across, column + columns))
    except (RuntimeError, NotImplementedError, TypeError) as error:
        cells, note = (), note or f"no numbers: {_one_line(error)}"
    return replace(empty, stats=found, rows=down, columns=across, row=row, column=column, cells=cells, note=note)


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


def _one_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return text or type(error).__name__
