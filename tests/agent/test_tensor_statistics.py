"""Every statistic against exact rational arithmetic, on any numbers; histograms against numpy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stepdbg.agent import tensors
from stepdbg.agent.quiet import quiet
from stepdbg.agent.tensors import histogram as bars
from stepdbg.agent.tensors import pieces
from stepdbg.protocol.records import TensorStats
from tests.agent.tensor_truth import check, edges_allow, numbers

FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
FLOAT8 += [torch.float8_e8m0fnu] if hasattr(torch, "float8_e8m0fnu") else []
DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, *FLOAT8,
    torch.complex32, torch.complex64, torch.complex128,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
    torch.bool,
]  # fmt: skip


pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")


def statistics(tensor: torch.Tensor, bins: int = 0, *, exact: bool = False) -> TensorStats:
    with quiet():
        return tensors.statistics(tensor, bins, exact=exact)


def of_bytes(data: bytes, dtype: torch.dtype) -> torch.Tensor:
    """Any bits as numbers of a type: every nan, infinity and denormal there is."""
    if dtype is torch.bool:
        return torch.tensor([b & 1 for b in data], dtype=torch.bool)
    size = torch.empty(0, dtype=dtype).element_size()
    return torch.frombuffer(bytearray(data[: len(data) // size * size] or bytes(size)), dtype=torch.uint8).view(dtype)


def arranged(tensor: torch.Tensor, how: str) -> torch.Tensor:
    """The same elements, some of them, or some several times, with other strides."""
    if how == "transposed":
        return tensor[: tensor.numel() // 2 * 2].view(2, -1).t()
    if how == "every second":
        return tensor[::2]
    if how == "expanded":
        return tensor.view(-1, 1, 1).expand(-1, 3, 2)
    if how == "windows":
        return tensor.as_strided((max(tensor.numel() - 2, 0), min(3, tensor.numel())), (1, 1))
    return tensor


@given(
    st.binary(min_size=16, max_size=200),
    st.sampled_from(DTYPES),
    st.sampled_from(["as it is", "transposed", "every second", "expanded", "windows"]),
)
@settings(deadline=None, max_examples=250)
def test_any_bits_of_any_type_in_any_arrangement(data: bytes, dtype: torch.dtype, how: str) -> None:
    tensor = arranged(of_bytes(data, dtype), how)
    # Two libraries' absolute values of a complex number may differ in the last bit.
    check(statistics(tensor), numbers(tensor), rounded=4e-16 if tensor.is_complex() else 0.0)


@given(
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    st.permutations(range(4)),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(1, 40),
)
@settings(deadline=None, max_examples=200)
def test_any_shape_and_strides_in_pieces_of_any_size(shape, order, expanded: int, step: int, size: int) -> None:
    """Pieces hold each element once, or each distinct one and how often it occurs."""
    tensor = torch.arange(math.prod(shape)).view(shape)
    tensor = tensor.permute([dim for dim in order if dim < tensor.dim()])
    if tensor.dim():
        tensor = tensor[::step]
        tensor = tensor.unsqueeze(-1).expand(*tensor.shape, expanded) if expanded else tensor
    own = pieces.layout(tensor)
    found = [piece.tolist() for piece in pieces.pieces(own.tensor, size)]
    assert all(len(piece) <= size for piece in found)
    assert sorted(v for piece in found for v in piece for _ in range(own.repeat)) == sorted(tensor.reshape(-1).tolist())
    check(statistics(tensor.float()), numbers(tensor.float()))


@given(hnp.arrays(np.float64, st.integers(0, 60), elements=st.floats(allow_nan=True, allow_infinity=True)))
@settings(deadline=None, max_examples=150)
def test_any_float64(values: np.ndarray) -> None:
    check(statistics(torch.from_numpy(np.array(values))), values.tolist())


@given(
    hnp.arrays(np.float64, st.integers(2, 200), elements=st.floats(-1, 1)),
    st.floats(-1e12, 1e12),
    st.integers(-40, 0),
    st.sampled_from([torch.float64, torch.float32]),
)
@settings(deadline=None, max_examples=150)
def test_a_tiny_spread_on_a_huge_mean(noise: np.ndarray, offset: float, exponent: int, dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(noise * 2.0**exponent + offset).to(dtype)
    check(statistics(tensor), numbers(tensor))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("mean", "spread"), [(1e8, 1e-7), (-1e8, 8.0), (1.0, 0.02), (0.0, 0.02), (1e4, 1e-3)])
def test_a_spread_across_pieces(monkeypatch, dtype: torch.dtype, mean: float, spread: float) -> None:
    monkeypatch.setattr(pieces, "CHUNK", 256)
    noise = torch.randn(3001, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    tensor = (noise * spread + mean).to(dtype)
    check(statistics(tensor), numbers(tensor))


@pytest.mark.parametrize(
    "levels", [(1e8, 0.0, -1e8), (0.0, 1e8), (1e8, 1e-3, 1e-3), (1.0, 1e8, 1.0), (-3.0, -3.0, 5.0)]
)
@pytest.mark.parametrize("spread", [1.0, 1e-6, 0.0])
def test_pieces_of_different_levels(monkeypatch, levels: tuple[float, ...], spread: float) -> None:
    """What is taken from the elements of one piece may be far from those of the next."""
    monkeypatch.setattr(pieces, "CHUNK", 128)
    noise = torch.randn(len(levels), 128, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    tensor = noise * spread + torch.tensor(levels, dtype=torch.float64)[:, None]
    check(statistics(tensor), numbers(tensor))
    check(statistics(tensor.float()), numbers(tensor.float()))


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-30, 1e30, 1e200, 1.7e308])
def test_squares_that_overflow_or_vanish(scale: float) -> None:
    tensor = torch.tensor([1.0, -0.5, 0.25, 0.0], dtype=torch.float64) * scale
    check(statistics(tensor), numbers(tensor))


@pytest.mark.parametrize("value", [0.1, -1e8 / 3, 1e-320, 1.7e308, 0.0, -0.0])
def test_equal_numbers_have_that_mean_and_no_spread(value: float) -> None:
    found = statistics(torch.full((100_003,), value, dtype=torch.float64))
    assert (found.min, found.max, found.mean, found.std) == (value, value, value, 0.0)


@pytest.mark.parametrize(
    "values",
    [[math.nan] * 5, [math.inf] * 5, [-math.inf, math.inf], [math.nan, 0.0], [], [math.inf, 1.0, 1.0]],
    ids=["nan", "inf", "both", "nan and zero", "empty", "inf and equal"],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_is_not_finite_is_counted_apart(values: list[float], dtype: torch.dtype) -> None:
    tensor = torch.tensor(values, dtype=dtype)
    check(statistics(tensor), numbers(tensor))


@pytest.mark.parametrize("place", [0, 255, 256, 700, 999])
def test_one_odd_element_is_found_wherever_it_is(monkeypatch, place: int) -> None:
    monkeypatch.setattr(pieces, "CHUNK", 256)
    for odd in (0.0, -0.0, math.nan, math.inf, -math.inf, -7.0, 7.0, 1e-45):
        tensor = torch.rand(1000, generator=torch.Generator().manual_seed(1)) + 0.5
        tensor[place] = odd
        check(statistics(tensor), numbers(tensor))


def test_zeros_are_counted_where_they_come_and_go(monkeypatch) -> None:
    monkeypatch.setattr(pieces, "CHUNK", 16)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.int32):
        tensor = torch.arange(-40, 60).to(dtype)
        tensor[::7] = 0
        tensor[30:70] = -5
        check(statistics(tensor), numbers(tensor))


@pytest.mark.parametrize(
    ("tensor", "extremes"),
    [
        (torch.tensor([2**63 - 1, -(2**63), 5]), (-(2**63), 2**63 - 1)),
        (torch.tensor([2**64 - 1, 2**53 + 1], dtype=torch.uint64), (2**53 + 1, 2**64 - 1)),
        (torch.tensor([0, 2**64 - 2], dtype=torch.uint64), (None, 2**64 - 2)),
        (torch.tensor([-(2**53), 2**53]), (None, None)),
        (torch.tensor([7, 2**32 - 1], dtype=torch.uint32), (None, None)),
    ],
    ids=["int64", "uint64", "small and large", "just exact", "uint32"],
)
def test_extremes_of_integers_are_exact(tensor: torch.Tensor, extremes: tuple[int | None, int | None]) -> None:
    found = statistics(tensor)
    assert (found.whole_min, found.whole_max) == extremes
    whole = tensor.tolist()
    assert (found.min, found.max) == (float(min(whole)), float(max(whole)))
    assert found.min == (found.whole_min if found.whole_min is None else float(found.whole_min)) or extremes[0] is None


def test_the_tensor_is_not_written() -> None:
    for dtype in DTYPES:
        tensor = of_bytes(bytes(range(1, 129)), dtype)
        before = tensor.clone().view(torch.uint8) if dtype is not torch.bool else tensor.clone()
        statistics(tensor, 5, exact=True)
        with quiet():
            tensors.norms([tensor])
            tensors.statistics_of_many([tensor, tensor])
        assert torch.equal(before, tensor.view(torch.uint8) if dtype is not torch.bool else tensor)


def test_a_transposed_and_an_expanded_tensor_are_not_copied_whole() -> None:
    base = torch.ones(1000, 1000)
    own = pieces.layout(base.t())
    assert own.flat is not None
    assert own.flat.data_ptr() == base.data_ptr()
    wide = pieces.layout(torch.ones(3, 1).expand(3, 10**9))
    assert (wide.tensor.numel(), wide.repeat) == (3, 10**9)
    found = statistics(torch.tensor([[1.0], [2.0], [0.0]]).expand(3, 10**9), 2)
    assert (found.numel, found.zeros, found.mean, sum(found.histogram)) == (3 * 10**9, 10**9, 1.0, 3 * 10**9)
    assert found.norm == pytest.approx(math.sqrt(5e9), rel=1e-12)


# ── histograms ──────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    hnp.arrays(np.float64, st.integers(1, 80), elements=st.floats(allow_nan=True, allow_infinity=True)),
    st.integers(1, 300),
)
@settings(deadline=None, max_examples=150)
def test_any_histogram_counts_what_numpy_counts(values: np.ndarray, bins: int) -> None:
    found = statistics(torch.from_numpy(np.array(values)), bins)
    finite = values[np.isfinite(values)]
    assert sum(found.histogram) == finite.size
    assert found.sampled is None
    with np.errstate(over="ignore"):
        span = finite.max(initial=-math.inf) - finite.min(initial=math.inf)
    if 1e-300 < span < 1e300:
        assert (found.low, found.high) == (finite.min(), finite.max())
        assert len(found.histogram) == bins
        assert edges_allow(found.histogram, finite, found.low, found.high)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=200), st.integers(1, 250))
@settings(deadline=None, max_examples=150)
def test_integers_on_edges_are_counted_above_them(values: list[int], bins: int) -> None:
    """In exact arithmetic: ⌊(x − low) · bins / (high − low)⌋."""
    low, high = min(values), max(values)
    if low == high:
        return
    want = [0] * bins
    for value in values:
        want[min((value - low) * bins // (high - low), bins - 1)] += 1
    for dtype in (torch.int64, torch.float32, torch.float64):
        assert statistics(torch.tensor(values, dtype=dtype), bins).histogram == tuple(want)


@pytest.mark.parametrize("width", [1, 7, 41, 49, 55, 98, 100, 103, 187, 250])
def test_bins_between_integers(width: int) -> None:
    """49 · (1 / 49) is less than 1 in float64."""
    assert statistics(torch.arange(4 * width + 1), 4).histogram == (width, width, width, width + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_an_exact_histogram_of_a_large_tensor(monkeypatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(pieces, "CHUNK", 1000)
    tensor = torch.randn(3, bars.SAMPLE, generator=torch.Generator().manual_seed(2)).to(dtype)
    tensor[0, 5], tensor[2, 7] = math.nan, math.inf
    values = tensor.double().numpy().reshape(-1)
    values = values[np.isfinite(values)]
    found = statistics(tensor.t(), 40, exact=True)
    assert found.sampled is None
    assert sum(found.histogram) == values.size
    assert edges_allow(found.histogram, values, found.low, found.high)
    sampled = statistics(tensor.t(), 40)
    assert sampled.sampled == sum(sampled.histogram)
    assert bars.SAMPLE // 2 <= sampled.sampled <= 2 * bars.SAMPLE
    share = np.array(sampled.histogram) / sampled.sampled - np.array(found.histogram) / values.size
    assert np.abs(share).max() < 0.02


@pytest.mark.parametrize("width", [768, 1024, 64, 1000, 3])
def test_a_sample_sees_every_column(width: int) -> None:
    """One in 64 columns is out of the way: a sample in step with the rows would see all of it, or nothing."""
    tensor = torch.zeros(1 << 20 if width < 64 else (1 << 25) // width, width)
    tensor[:, 0] = 1.0
    found = statistics(tensor, 2)
    assert found.sampled is not None
    assert found.histogram[1] / found.sampled == pytest.approx(1 / width, rel=0.2)


def test_a_sample_sees_every_part_of_what_lies_apart() -> None:
    base = torch.arange(400_000.0).view(200, 2000)[:, ::2]
    found = statistics(base, 4)
    assert found.sampled is not None
    assert all(count == pytest.approx(found.sampled / 4, rel=0.05) for count in found.histogram)


@pytest.mark.parametrize("bins", [1, 2, 255, 256, 1000])
def test_as_many_bins_as_asked_for(bins: int) -> None:
    values = torch.randn(5000, generator=torch.Generator().manual_seed(4))
    found = statistics(values, bins)
    assert len(found.histogram) == bins
    assert edges_allow(found.histogram, values.double().numpy(), found.low, found.high)


def test_the_largest_range_there_is() -> None:
    found = statistics(torch.tensor([-1.7e308, 0.0, 1.7e308, 1.6e308], dtype=torch.float64), 4)
    assert found.histogram == (1, 0, 1, 2)
