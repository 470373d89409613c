"""Histograms in equal bins: of a sample whose size is said, or of every element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stepdbg.agent.tensors.moments import INTEGERS
from stepdbg.agent.tensors.pieces import Layout, layout, pieces, sample
from stepdbg.agent.work import Work

SAMPLE = 1 << 15
"""Elements that a histogram is made from unless it is to be exact: a bin with 1 % of them is right within 6 % of it."""

MAX_BINS = 4096


def histogram(
    parts: Sequence[Tensor],
    low: float,
    high: float,
    bins: int,
    *,
    zeros: int = 0,
    finite: bool = False,
    exact: bool = False,
    work: Work | None = None,
) -> tuple[tuple[int, ...], int | None]:
    """Counts of the finite elements in `bins` equal bins from `low` to `high`, and how many were looked at if not all.

    Element x is in bin ⌊(x − low) · bins / (high − low)⌋, computed in float64, the last bin closed: a number that lies
    exactly on an edge is counted above it. One bin where low equals high. `zeros`: so many zeros more. `finite`: there
    are no others.
    Exact: about ten passes over a piece in cache, one over memory.
    """
    own = [layout(part) for part in parts]
    exact = exact or zeros > 0 or sum(part.tensor.numel() for part in own) <= SAMPLE
    bins = min(bins, MAX_BINS) if high > low else 1
    counts = [0] * bins
    looked_at = 0
    for piece, times in _all_pieces(own, work) if exact else _samples(own):
        wide = _wide(piece)
        if not finite and piece.dtype not in INTEGERS:
            wide = wide[torch.isfinite(wide)]
        looked_at += wide.numel() * times
        counts = [known + times * more for known, more in zip(counts, _count(wide, low, high, bins), strict=True)]
    if zeros:
        counts[_count(torch.zeros(1, dtype=torch.float64), low, high, bins).index(1)] += zeros
    return tuple(counts), None if exact else looked_at


def _all_pieces(parts: Sequence[Layout], work: Work | None) -> Iterator[tuple[Tensor, int]]:
    done = 0
    for part in parts:
        for piece in pieces(part.tensor):
            yield piece, part.repeat
            done += piece.numel()
            if work is not None:
                work.step(done, 0, "numbers")


def _samples(parts: Sequence[Layout]) -> Iterator[tuple[Tensor, int]]:
    numel = sum(part.tensor.numel() * part.repeat for part in parts)
    for part in parts:
        if part.tensor.numel():
            yield sample(part.tensor, max(1, SAMPLE * part.tensor.numel() * part.repeat // numel)), 1


def _wide(piece: Tensor) -> Tensor:
    """A copy in float64, on the CPU where the device has no such type."""
    piece = piece.to("cpu") if piece.device.type not in ("cpu", "cuda") else piece
    return piece.to(torch.complex128).abs() if piece.is_complex() else piece.to(torch.float64, copy=True)


def _count(wide: Tensor, low: float, high: float, bins: int) -> list[int]:
    """Counts of finite numbers, which are overwritten."""
    if bins == 1:
        return [wide.numel()]
    span = high - low
    if span * bins == float("inf"):  # one would overflow: half, or less, of everything
        scale = 2.0 ** -(bins.bit_length() + 1)
        wide, low, span = wide.mul_(scale), low * scale, high * scale - low * scale
    # In this order: products of small numbers are exact, and a rounded quotient never falls short of an edge.
    places = wide.sub_(low).mul_(bins).div_(span).to(torch.uint8 if bins < 256 else torch.int32)
    *counts, largest = torch.bincount(places, minlength=bins + 1).tolist()
    counts[-1] += largest  # the number at the upper end
    return counts
