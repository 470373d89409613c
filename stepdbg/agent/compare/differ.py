"""How two tensors differ, in numbers. Call everything here inside `quiet()`.

Both are gone through chunk by chunk in float64, in the host's memory: that needs a megabyte or two beside them,
whatever their size, and nothing of another device's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1 << 15
"""Elements handled at a time: their float64 copies stay in cache, and torch does not spread so few over threads, which
would wait for one another at each of the many small steps (25 times as long on a busy machine)."""

HUGE, TINY = 1e140, 1e-140
"""Beyond these, squares of float64 numbers overflow or vanish."""


@dataclass
class Difference:
    """Of `b - a`. Norms are 2-norms over the finite elements of each; the rest is over those finite in both."""

    norm: float = 0.0
    other_norm: float = 0.0
    delta: float = 0.0
    most: float = 0.0
    at: tuple[int, ...] = ()
    """Index of the element that differs most; empty where none does, and for a single number."""
    differing: int = 0
    """Elements that are not equal; NaN is equal to NaN."""
    nonfinite: int = 0
    """Elements that are NaN or infinite in one at least."""

    @property
    def ratio(self) -> float:
        """|Δ| / |a|; 0 where nothing differs, infinite where all of it is new."""
        if not self.delta:
            return 0.0
        return self.delta / self.norm if self.norm else math.inf


def difference(a: Tensor, b: Tensor, step: Callable[[int], None]) -> Difference:
    """Of two plain dense tensors of one shape. `step` is told of elements as they are done, and may raise."""
    found = Difference()
    one, other = a.reshape(-1), b.reshape(-1)
    whole = not any(t.dtype.is_floating_point or t.dtype.is_complex for t in (a, b))
    best = -1
    for start in range(0, one.numel(), CHUNK):
        x, y = (flat[start : start + CHUNK].to("cpu") for flat in (one, other))
        if x.dtype is y.dtype and torch.equal(x, y):
            same = _norm(_wide(x))
            if math.isfinite(same):
                found.norm, found.other_norm = math.hypot(found.norm, same), math.hypot(found.other_norm, same)
                step(len(x))
                continue
        # Integers are compared as they are: float64 has no more than 53 bits of them.
        unequal = (x != y) if whole else None
        x, y = _wide(x), _wide(y)
        best = _add(found, x, y, unequal, start, best)
        step(len(x))
    if best >= 0:
        found.at = tuple(int(i) for i in torch.unravel_index(torch.tensor(best), a.shape)) if a.dim() else ()
    return found


def _wide(chunk: Tensor) -> Tensor:
    return chunk.to(torch.complex128 if chunk.is_complex() else torch.float64)


def _add(found: Difference, x: Tensor, y: Tensor, unequal: Tensor | None, start: int, best: int) -> int:
    """Add a chunk that starts at element `start`; returns the index of the element that differs most until now."""
    here, there = torch.isfinite(x), torch.isfinite(y)
    if unequal is None:
        unequal = (x != y) & ~(torch.isnan(x) & torch.isnan(y))
    found.differing += int(unequal.sum())
    if not (bool(here.all()) and bool(there.all())):
        both = here & there
        found.nonfinite += len(x) - int(both.sum())
        found.norm, found.other_norm = (
            math.hypot(found.norm, _norm(x[here])),
            math.hypot(found.other_norm, _norm(y[there])),
        )
        zero = torch.zeros((), dtype=torch.float64)
        x, y = torch.where(both, x, zero), torch.where(both, y, zero)
    else:
        found.norm, found.other_norm = math.hypot(found.norm, _norm(x)), math.hypot(found.other_norm, _norm(y))
    apart = (y - x).abs()
    found.delta = math.hypot(found.delta, _norm(apart))
    most, at = apart.max(0)
    if float(most) > found.most:
        found.most = float(most)
        return start + int(at)
    return best


def _norm(values: Tensor) -> float:
    """2-norm of finite float64 or complex128 numbers, however large or small."""
    norm = float(torch.linalg.vector_norm(values))
    if TINY < norm < HUGE or not values.numel():
        return norm
    largest = float(values.abs().max())
    if HUGE < largest < math.inf or 0.0 < largest < TINY:
        return float(torch.linalg.vector_norm(values / largest)) * largest
    return norm
