"""Extremes, sums, squares, zeros and non-finite elements, piece by piece, in float64 whatever the dtype.

A piece is widened once into a buffer that stays in cache; every further pass reads the buffer. Squares are taken about
zero, which costs no pass of its own, wherever the mean is small beside the spread; elsewhere about a mean of a piece,
which loses nothing to cancellation. Pieces are merged as Chan, Golub and LeVeque do (1983), about a common pivot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stepdbg.agent.tensors.pieces import chunk_of, layout, pieces
from stepdbg.agent.work import Work

HUGE, TINY = 1e140, 1e-140
"""Beyond these, squares of float64 numbers overflow or vanish: such tensors are divided by a power of two."""

CANCELS = 16.0
"""Σx² over Σ(x − mean)² from which the latter is computed about the mean: below, four bits of 53 are lost at most."""

STEP = 16
"""Pieces between two looks at whether the answer is still wanted."""

INTEGERS = (
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool
)  # fmt: skip
FLOATS = (torch.float32, torch.float64)


@dataclass
class Moments:
    """What was counted and summed. `low` and `high` are integers for integer dtypes, and exact for all."""

    sums: bool = True
    """Whether mean, std and norm are wanted."""
    divisor: float = 1.0
    """A power of two that elements are divided by before they are summed, so that squares neither overflow nor vanish.
    `low` and `high` are not divided.
    """
    count: int = 0
    """Finite elements."""
    zeros: int = 0
    nan: int = 0
    posinf: int = 0
    neginf: int = 0
    low: float = math.inf
    high: float = -math.inf
    pivot: float = 0.0
    """What is taken from elements before they are summed: 0, or the mean of an earlier piece whose sums cancelled."""
    pieces: list[tuple[int, float, float, float, float]] = field(default_factory=list)
    """Of each piece: count, mean as a sum of two numbers, Σ(x − mean)², Σx²."""

    def largest(self) -> float:
        """The largest absolute value; 0 where there is none."""
        return float(max(abs(self.low), abs(self.high))) if self.count else 0.0

    def add(self, tensor: Tensor, work: Work | None = None) -> None:
        """Add all elements of a plain dense tensor."""
        own = layout(tensor)
        buffers = _Buffers(tensor)
        of_one = self if own.repeat == 1 else Moments(self.sums, self.divisor)
        for number, piece in enumerate(pieces(own.tensor)):
            if work is not None and number % STEP == STEP - 1:
                work.step(min(number * chunk_of(tensor), own.tensor.numel()), own.tensor.numel(), "numbers")
            of_one._add_piece(piece, buffers)
        if of_one is not self:
            self._merge(of_one, own.repeat)

    def add_zeros(self, count: int) -> None:
        """Add zeros that are stored nowhere."""
        if count:
            self.zeros += count
            self._note_extremes(0, 0, count)
            self.pieces.append((count, 0.0, 0.0, 0.0, 0.0))

    def _merge(self, other: Moments, times: int) -> None:
        self.zeros += other.zeros * times
        self.nan, self.posinf, self.neginf = (
            self.nan + other.nan * times, self.posinf + other.posinf * times, self.neginf + other.neginf * times
        )  # fmt: skip
        if other.count:
            self._note_extremes(other.low, other.high, other.count * times)
        self.pieces += [(n * times, base, rest, m2 * times, q * times) for n, base, rest, m2, q in other.pieces]

    def _note_extremes(self, low: float, high: float, count: int) -> None:
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.count += count

    def _add_piece(self, piece: Tensor, buffers: _Buffers) -> None:
        if piece.numel() == 0:
            return
        piece = buffers.here(piece)
        if piece.dtype in INTEGERS:
            # Zeros stay zeros in float64, and nothing else becomes one.
            self._add_finite(buffers.wide(piece).clone(), *integer_extremes(piece), buffers)
            return
        narrow = buffers.narrow(piece)
        low, high = _extremes(narrow)
        if not (math.isfinite(low) and math.isfinite(high)):
            narrow = self._without_nonfinite(narrow)
            if narrow.numel() == 0:
                return
            low, high = _extremes(narrow)
        self._add_finite(narrow, low, high, buffers)

    def _without_nonfinite(self, values: Tensor) -> Tensor:
        self.nan += int(torch.isnan(values).sum())
        self.posinf += int((values == math.inf).sum())
        self.neginf += int((values == -math.inf).sum())
        return values[torch.isfinite(values)]

    def _add_finite(self, values: Tensor, low: float, high: float, buffers: _Buffers) -> None:
        count = values.numel()
        self._note_extremes(low, high, count)
        if low == high == 0:
            self.zeros += count
        if self.sums:
            self._add_sums(values, low, high, buffers)
        if low <= 0 <= high and low < high:  # last: it overwrites a buffer
            self.zeros += count - buffers.nonzeros(values)

    def _add_sums(self, values: Tensor, low: float, high: float, buffers: _Buffers) -> None:
        count = values.numel()
        if low == high:  # the mean of equal numbers is that number, to the last bit
            value = low / self.divisor
            self.pieces.append((count, value, 0.0, 0.0, count * value * value))
            return
        wide = buffers.wide(values)
        if self.divisor != 1.0:
            wide = wide / self.divisor
        base = self.pivot
        if base:
            wide = wide - base if wide is values else wide.sub_(base)
        total, squares = wide.sum().item(), torch.dot(wide, wide).item()
        rest = total / count
        spread = squares - total * rest
        if squares > CANCELS * spread:
            wide = wide - rest if wide is values else wide.sub_(rest)
            base += rest
            total, squares = wide.sum().item(), torch.dot(wide, wide).item()
            rest = total / count
            spread = max(squares - total * rest, 0.0)
            self.pivot = base
        # Σx² from sums about the base: nothing is lost, as long as the base is no larger than the elements are.
        squares += base * (2.0 * total + count * base)
        self.pieces.append((count, base, rest, spread, max(squares, 0.0)))

    def mean_std_norm(self) -> tuple[float, float, float]:
        """Over the finite elements, of which there is at least one; std without Bessel's correction."""
        pivot = self.pieces[0][1]
        offsets = [(n, (mean - pivot) + rest) for n, mean, rest, _, _ in self.pieces]
        offset = math.fsum(n * d for n, d in offsets) / self.count
        spread = math.fsum(m2 for _, _, _, m2, _ in self.pieces)
        spread += math.fsum(n * (d - offset) ** 2 for n, d in offsets)
        squares = math.fsum(q for _, _, _, _, q in self.pieces)
        mean = min(max((pivot + offset) * self.divisor, float(self.low)), float(self.high))
        return mean, math.sqrt(spread / self.count) * self.divisor, math.sqrt(squares) * self.divisor


class _Buffers:
    """Where pieces are widened: one float64 buffer, and one float32 for types that torch computes little with."""

    def __init__(self, tensor: Tensor) -> None:
        size = min(chunk_of(tensor), tensor.numel())
        # Other devices may know no float64: their pieces are brought here.
        self._elsewhere = tensor.device.type not in ("cpu", "cuda")
        device = "cpu" if self._elsewhere else tensor.device
        self._size, self._device = size, device
        self._wide: Tensor | None = None
        self._narrow: Tensor | None = None
        self._zeros = False
        """Whether the piece before had zeros: then the next one has, as a rule."""

    def here(self, piece: Tensor) -> Tensor:
        """The piece on a device that knows every type."""
        return piece.cpu() if self._elsewhere else piece

    def wide(self, piece: Tensor) -> Tensor:
        """The piece in float64; not a copy if it is that already."""
        if piece.dtype is torch.float64:
            return piece
        if self._wide is None:
            self._wide = torch.empty(self._size, dtype=torch.float64, device=self._device)
        return _first(self._wide, piece.numel()).copy_(piece)

    def narrow(self, piece: Tensor) -> Tensor:
        """The piece as float32 or float64, whichever holds it exactly; complex numbers by their absolute values."""
        piece = piece.resolve_neg()
        if piece.is_complex():
            return piece.to(torch.complex128).abs()
        if piece.dtype in FLOATS:
            return piece
        return _first(self._narrow_buffer(), piece.numel()).copy_(piece)

    def nonzeros(self, values: Tensor) -> int:
        """How many of float32 or float64 numbers, none of them nan, are not zero; what was narrowed is overwritten.

        Σ sign², which is exact up to 2²⁴ of them, in half the time of `count_nonzero`; where the piece before had no
        zero, first min |x|, which takes less.
        """
        room = _first(self._narrow_buffer(), values.numel()) if values.dtype is torch.float32 else None
        if not self._zeros:
            sizes = torch.abs(values) if room is None else torch.abs(values, out=room)
            if sizes.amin().item() > 0.0:
                return values.numel()
        signs = torch.sign(values) if room is None else torch.sign(values, out=room)
        found = int(torch.dot(signs, signs))
        self._zeros = found < values.numel()
        return found

    def _narrow_buffer(self) -> Tensor:
        if self._narrow is None:
            self._narrow = torch.empty(self._size, dtype=torch.float32, device=self._device)
        return self._narrow


def _first(buffer: Tensor, count: int) -> Tensor:
    return buffer if buffer.numel() == count else buffer[:count]


def _extremes(values: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(values)
    return low.item(), high.item()


def integer_extremes(piece: Tensor) -> tuple[int, int]:
    """Smallest and largest of integers, exactly, of types that torch cannot compare as well."""
    if piece.dtype is torch.bool:
        return int(piece.all()), int(piece.any())
    if piece.dtype is torch.uint64:
        # With the first bit turned, unsigned numbers are in the order of signed ones.
        low, high = (int(v) for v in torch.aminmax(piece.view(torch.int64) ^ torch.iinfo(torch.int64).min))
        return low + 2**63, high + 2**63
    if piece.dtype in (torch.uint16, torch.uint32):
        piece = piece.to(torch.int64)
    low, high = (int(v) for v in torch.aminmax(piece))
    return low, high
