"""The statistics of a tensor as they are: sums of exact numbers, rounded once."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch

from stepdbg.agent.values.sides import Side
from stepdbg.protocol.records import TensorStats, TensorView


def numbers(tensor: torch.Tensor) -> list[float]:
    """The elements as Python's floats, complex ones by absolute value."""
    if tensor.is_complex():
        return [abs(complex(v)) for v in tensor.to(torch.complex128).reshape(-1).tolist()]
    return [float(v) for v in tensor.reshape(-1).tolist()]


def page(tensor: torch.Tensor, columns: int = 5) -> TensorView:
    """The first five rows as the values pane has them, and the statistics beside them. Inside `quiet()`."""
    side = Side(tensor)
    return side.blank() if side.shape is None else side.view(side.axes(""), 0, 0, 5, columns, 4, None)


def root(value: Fraction) -> float:
    """The square root, to about 30 digits and then to the nearest float."""
    if value <= 0:
        return 0.0
    shift = 200 - (value.numerator.bit_length() - value.denominator.bit_length()) // 2
    scaled = value * Fraction(4) ** shift
    return float(Fraction(math.isqrt(scaled.numerator // scaled.denominator)) / Fraction(2) ** shift)


def check(found: TensorStats, values: list[float], *, relative: float = 1e-12, rounded: float = 0.0) -> None:
    """Every statistic against exact arithmetic: counts and extremes as they are (or within `rounded` of it), the rest
    within `relative`.
    """
    finite = [v for v in values if math.isfinite(v)]
    assert found.note == ""
    assert found.numel == len(values)
    assert found.nan == sum(map(math.isnan, values))
    assert found.posinf == values.count(math.inf)
    assert found.neginf == values.count(-math.inf)
    assert found.zeros == values.count(0.0)
    if not finite:
        assert (found.min, found.max, found.mean, found.std, found.norm) == (None,) * 5
        return
    assert found.min is not None
    assert found.max is not None
    assert abs(found.min - min(finite)) <= rounded * abs(min(finite))
    assert abs(found.max - max(finite)) <= rounded * abs(max(finite))
    exact = [Fraction(v) for v in finite]
    mean = sum(exact) / len(exact)
    variance = sum((v - mean) ** 2 for v in exact) / len(exact)
    squares = sum(v * v for v in exact)
    largest = max(abs(v) for v in finite)
    # The mean of numbers that cancel is as good as the numbers: within an error of the largest.
    assert found.mean is not None
    assert abs(Fraction(found.mean) - mean) <= Fraction(1e-13) * Fraction(largest) + Fraction(5e-324)
    assert found.std is not None
    # A float64 near the largest element is spaced so far: below that, no spread can be told.
    assert abs(found.std - root(variance)) <= relative * root(variance) + 1e-15 * largest * (largest > 0) + 5e-324
    if squares < Fraction(1.7976931348623157e308) ** 2 * Fraction(1 - 1e-12):
        assert found.norm is not None
        assert abs(found.norm - root(squares)) <= relative * root(squares) + 5e-324
    elif squares > Fraction(1.7976931348623157e308) ** 2 * Fraction(1 + 1e-12):
        assert found.norm == math.inf


def edges_allow(counts: tuple[int, ...], values: np.ndarray, low: float, high: float) -> bool:
    """Whether counts differ from numpy's by nothing but elements within rounding of an edge."""
    bins = len(counts)
    want, edges = np.histogram(values, bins, range=(low, high))
    if tuple(want) == counts:
        return True
    slack = 4 * np.spacing(max(abs(low), abs(high)))
    for edge, ours, theirs in zip(edges[1:-1], np.cumsum(counts)[:-1], np.cumsum(want)[:-1], strict=True):
        if abs(int(ours) - int(theirs)) > int(np.sum(np.abs(values - edge) <= slack)):
            return False
    return bool(sum(counts) == values.size)
