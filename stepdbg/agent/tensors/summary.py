"""Statistics of one tensor, or of many.

What they guarantee, for every dtype: counts, min and max are exact. Mean, std and norm are accumulated in float64 with
an error of about 1e-13 of the number itself (mean: of the largest element), also where a tiny spread sits on a huge
mean, where squares overflow and where they vanish; a tensor of equal numbers has that mean and a std of 0 to the last
bit. Integers beyond 2⁵³ are rounded to float64 for mean, std and norm; their extremes are told exactly.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stepdbg.agent.channel import ChannelClosedError
from stepdbg.agent.tensors.elements import Elements, UnreadableError, elements_of, one_line, outside_transforms
from stepdbg.agent.tensors.histogram import histogram
from stepdbg.agent.tensors.many import SMALL, of_equal_length
from stepdbg.agent.tensors.moments import HUGE, TINY, Moments
from stepdbg.agent.work import GivenUpError, Work
from stepdbg.protocol.records import TensorStats

COLUMNS = ("min", "max", "mean", "std", "norm", "zeros", "nonfinite")
"""What can be asked for; mean, std and norm cost two thirds of everything."""

SUMS = frozenset(("mean", "std", "norm"))

WHOLE = 2**53
"""The largest integer below which every integer is a float64."""

BATCH = 1 << 18
"""Elements of small tensors that are looked at together."""


def statistics(tensor: Tensor, bins: int = 0, *, exact: bool = False, work: Work | None = None) -> TensorStats:
    """Statistics of any tensor; those of one that cannot be read have no numbers and a note that says why.

    Takes as long as five or six `sum()` over float32 on the CPU, reads memory once, and needs 6 MiB of extra memory
    (quantized, mkldnn and 4-bit tensors are copied whole). `bins` > 0 adds a histogram of a strided sample, whose size
    is in `sampled`, or with `exact` of every element, which takes twice as long again. Raises only what `work.step`
    does.
    """
    with outside_transforms():
        try:
            elements = elements_of(tensor)
        except UnreadableError as error:
            return _without_numbers(_numel(tensor), str(error))
        return statistics_of(elements, bins, exact=exact, work=work)


def statistics_of(
    elements: Elements,
    bins: int = 0,
    *,
    exact: bool = False,
    work: Work | None = None,
    columns: Collection[str] = COLUMNS,
) -> TensorStats:
    """Statistics of elements that have been found readable."""
    try:
        sums = not SUMS.isdisjoint(columns)
        return _finished(_moments(elements, sums, work), elements, bins, exact, work)
    except (GivenUpError, ChannelClosedError):
        raise
    except Exception as error:  # whatever a device or a type cannot do is said, not raised
        return _without_numbers(elements.numel, f"no statistics: {one_line(error)}")


def statistics_of_many(
    tensors: Sequence[Tensor], work: Work | None = None, columns: Collection[str] = COLUMNS
) -> list[TensorStats]:
    """The statistics of each tensor, as `statistics` makes them: for whole-model scans.

    Small tensors of one dtype and length are computed together: 10,000 of 64 elements take about 0.1 s. Where `columns`
    has neither mean, std nor norm, these stay None and most of the time is saved. Raises only what `work.step` does.
    """
    found: list[TensorStats | None] = [None] * len(tensors)
    alike: dict[tuple[torch.device, torch.dtype, int], list[tuple[int, Elements]]] = {}
    alone: list[tuple[int, Elements]] = []
    sums = not SUMS.isdisjoint(columns)
    done = 0
    with outside_transforms():
        for index, tensor in enumerate(tensors):
            if work is not None and index % 1000 == 999:
                work.step(0, len(tensors), "tensors")
            try:
                elements = elements_of(tensor)
            except UnreadableError as error:
                found[index] = _without_numbers(_numel(tensor), str(error))
                done += 1
                continue
            if _is_small(elements):
                part = elements.parts[0]
                alike.setdefault((part.device, part.dtype, part.numel()), []).append((index, elements))
            else:
                alone.append((index, elements))
        for (_device, _dtype, length), members in alike.items():
            size = max(1, BATCH // length)
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                left = _batch(batch, found, sums)
                alone += left
                done += len(batch) - len(left)
                if work is not None:
                    work.step(done, len(tensors), "tensors")
        for index, elements in alone:
            found[index] = statistics_of(elements, work=work, columns=columns)
            done += 1
            if work is not None:
                work.step(done, len(tensors), "tensors")
    return [stats if stats is not None else _without_numbers(0, "cannot be computed") for stats in found]


def _is_small(elements: Elements) -> bool:
    if len(elements.parts) != 1 or elements.zeros:
        return False
    part = elements.parts[0]
    return 0 < part.numel() <= SMALL and part.device.type in ("cpu", "cuda")


def _batch(
    members: list[tuple[int, Elements]], found: list[TensorStats | None], sums: bool
) -> list[tuple[int, Elements]]:
    """Statistics of tensors of one dtype and length into `found`; those that want to be looked at one by one."""
    if len(members) == 1:
        return members
    try:
        results = of_equal_length([elements.parts[0] for _, elements in members], sums=sums)
    except (RuntimeError, NotImplementedError, TypeError):
        return members
    left = []
    for (index, elements), moments in zip(members, results, strict=True):
        if moments is None or _out_of_range(moments):
            left.append((index, elements))
        else:
            found[index] = _finished(moments, elements, 0, False, None)
    return left


def _moments(elements: Elements, sums: bool, work: Work | None, divisor: float = 1.0) -> Moments:
    moments = Moments(sums, divisor)
    for part in elements.parts:
        moments.add(part, work)
    moments.add_zeros(elements.zeros)
    if divisor == 1.0 and _out_of_range(moments):
        # A power of two: dividing by it is exact, unless something tiny beside the largest vanishes.
        exponent = math.frexp(moments.largest())[1]
        return _moments(elements, sums, work, math.ldexp(1.0, min(max(exponent, -1021), 1023)))
    return moments


def _out_of_range(moments: Moments) -> bool:
    largest = moments.largest()
    return moments.sums and (largest > HUGE or 0.0 < largest < TINY)


def _finished(moments: Moments, elements: Elements, bins: int, exact: bool, work: Work | None) -> TensorStats:
    found = TensorStats(
        numel=elements.numel, min=None, max=None, mean=None, std=None, norm=None,
        zeros=moments.zeros, nan=moments.nan, posinf=moments.posinf, neginf=moments.neginf,
    )  # fmt: skip
    if moments.count == 0:
        return found
    low, high = float(moments.low), float(moments.high)
    mean, std, norm = moments.mean_std_norm() if moments.sums else (None, None, None)
    found = replace(found, min=low, max=high, mean=mean, std=std, norm=norm)
    if isinstance(moments.low, int) and isinstance(moments.high, int):
        whole = [v if abs(v) > WHOLE else None for v in (moments.low, moments.high)]
        found = replace(found, whole_min=whole[0], whole_max=whole[1])
    if bins > 0:
        finite = moments.count == found.numel
        counts, sampled = histogram(
            elements.parts, low, high, bins, zeros=elements.zeros, finite=finite, exact=exact, work=work
        )
        found = replace(found, histogram=counts, low=low, high=high, sampled=sampled)
    return found


def _without_numbers(numel: int, note: str) -> TensorStats:
    return TensorStats(numel, None, None, None, None, None, 0, 0, 0, 0, note=note)


def _numel(tensor: Tensor) -> int:
    try:
        return int(tensor.numel())
    except Exception:  # lazy ones have none yet
        return 0
