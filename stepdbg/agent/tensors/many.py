"""Moments of many small tensors at once: those of one length are rows of one matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stepdbg.agent.tensors.moments import INTEGERS, Moments, integer_extremes

SMALL = 4096
"""Elements up to which a tensor costs more to call torch for than to read."""


def of_equal_length(tensors: Sequence[Tensor], *, sums: bool = True) -> list[Moments | None]:
    """The moments of plain dense tensors of one device, dtype and length, at least 1. None for those that
    want to be looked at one by one: with elements that are not finite.
    """
    rows = torch.stack([tensor.reshape(-1) for tensor in tensors])
    count = rows.shape[1]
    whole = rows.dtype in INTEGERS
    wide = rows.to(torch.complex128).abs() if rows.is_complex() else rows.to(torch.float64)
    lows, highs = _extremes(rows) if whole else tuple(v.tolist() for v in torch.aminmax(wide, dim=1))
    zeros = (count - torch.count_nonzero(wide, dim=1)).tolist()
    sums_of: list[list[float]] = [[0.0] * 4] * len(lows)
    if sums:
        mean = wide.sum(1) / count
        squares = wide.square().sum(1)
        wide = wide - mean[:, None]
        rest = wide.sum(1) / count
        spread = (wide.square().sum(1) - count * rest * rest).clamp_min_(0.0)
        sums_of = torch.stack((mean, rest, spread, squares), 1).tolist()
    found: list[Moments | None] = []
    for low, high, zero, (average, off, centred, square) in zip(lows, highs, zeros, sums_of, strict=True):
        if not (whole or (math.isfinite(low) and math.isfinite(high))):
            found.append(None)
            continue
        moments = Moments(sums, count=count, zeros=zero, low=low, high=high)
        if sums and low == high:
            moments.pieces = [(count, float(low), 0.0, 0.0, count * float(low) * float(low))]
        elif sums:
            moments.pieces = [(count, average, off, centred, square)]
        found.append(moments)
    return found


def _extremes(rows: Tensor) -> tuple[list[int], list[int]]:
    if rows.dtype in (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8):
        low, high = (v.tolist() for v in torch.aminmax(rows, dim=1))
        return low, high
    each = [integer_extremes(row) for row in rows]
    return [low for low, _ in each], [high for _, high in each]
