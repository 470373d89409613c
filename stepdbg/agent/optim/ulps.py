"""How far apart two numbers of one floating-point dtype are."""

from __future__ import annotations

import math

import torch


def ulp(size: float, dtype: torch.dtype) -> float:
    """The distance between neighbouring numbers of `dtype` at magnitude `size` (finite)."""
    info = torch.finfo(dtype)
    smallest = info.smallest_normal * info.eps
    if size == 0:
        return smallest
    return max(math.ldexp(info.eps, math.frexp(abs(size))[1] - 1), smallest)


def apart(one: float, other: float, size: float, dtype: torch.dtype) -> float | None:
    """|one - other| in units in the last place at magnitude `size`; two NaN are no distance apart.

    None where they differ and one of them is not finite.
    """
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    if not (math.isfinite(one) and math.isfinite(other) and math.isfinite(size)):
        return None
    return abs(one - other) / ulp(size, dtype)
