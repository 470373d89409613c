"""Statistics of many tensors at once are those of each alone; and a scan that is not wanted any more ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdbg.agent import tensors
from stepdbg.agent.quiet import quiet
from stepdbg.agent.tensors import pieces
from stepdbg.agent.work import GivenUpError
from stepdbg.protocol.records import TensorStats
from tests.agent.tensor_truth import check, numbers

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.complex64, torch.int64,
    torch.int8, torch.uint64, torch.uint16, torch.bool,
]  # fmt: skip


class Steps:
    """A Work that counts, and gives up after so many."""

    def __init__(self, until: int = 10**9) -> None:
        self.told: list[tuple[int, int, str]] = []
        self.until = until

    def step(self, done: int, total: int = 0, what: str = "nodes") -> None:
        self.told.append((done, total, what))
        if len(self.told) >= self.until:
            raise GivenUpError(f"cancelled after {done:,} {what}")


def many(of: list[torch.Tensor], columns=tensors.COLUMNS, work=None) -> list[TensorStats]:
    with quiet():
        return tensors.statistics_of_many(of, work, columns)


def random_tensor(dtype: torch.dtype, size: int, seed: int) -> torch.Tensor:
    values = torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 3
    if not dtype.is_floating_point and not dtype.is_complex:
        values = values.abs().round()
    return values.to(dtype)


@given(st.lists(st.tuples(st.sampled_from(DTYPES), st.sampled_from([0, 1, 2, 3, 64])), max_size=30), st.randoms())
@settings(deadline=None, max_examples=100)
def test_each_of_many_has_its_own_statistics(kinds, random) -> None:
    of = [random_tensor(dtype, size, number) for number, (dtype, size) in enumerate(kinds)]
    for tensor in of:
        if tensor.dtype.is_floating_point and tensor.numel() and tensor.dtype is not torch.float8_e5m2:
            tensor[random.randrange(tensor.numel())] = random.choice([math.nan, math.inf, -math.inf, 0.0, 1e-300, 2.0])
    for tensor, found in zip(of, many(of), strict=True):
        check(found, numbers(tensor), rounded=4e-16)


def test_rows_with_a_tiny_spread_on_a_huge_mean() -> None:
    noise = torch.randn(50, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    of = list(noise * 1e-7 + 1e8) + list((noise + 1e8).float()) + [torch.full((64,), 0.1, dtype=torch.float64)] * 2
    for tensor, found in zip(of, many(of), strict=True):
        check(found, numbers(tensor))
    assert [found.std for found in many(of)[-2:]] == [0.0, 0.0]


def test_huge_and_tiny_rows_are_left_to_be_scaled() -> None:
    of = [torch.tensor([1.0, -2.0], dtype=torch.float64) * scale for scale in (1e200, 1e-200, 1.0, 1e-310)]
    for tensor, found in zip(of, many(of), strict=True):
        check(found, numbers(tensor))


def test_what_was_not_asked_for_is_not_there() -> None:
    of = [torch.randn(64), torch.randn(64), torch.randn(5000)]
    for found in many(of, columns=("min", "zeros")):
        assert (found.mean, found.std, found.norm) == (None, None, None)
        assert found.min is not None
    for found in many(of, columns=("std",)):
        assert found.std is not None


def test_mixed_with_what_cannot_be_read() -> None:
    found = many([torch.empty(3, device="meta"), torch.ones(2), torch.nn.UninitializedParameter(), torch.ones(2) * 3])
    assert [stats.norm is None for stats in found] == [True, False, True, False]
    assert "meta device" in found[0].note
    assert found[3].mean == 3.0


def test_a_scan_that_is_not_wanted_any_more_ends() -> None:
    of = [torch.randn(64) for _ in range(20_000)]
    steps = Steps(until=3)
    with pytest.raises(GivenUpError):
        many(of, work=steps)
    assert len(steps.told) == 3


def test_a_large_tensor_can_be_given_up(monkeypatch) -> None:
    monkeypatch.setattr(pieces, "CHUNK", 100)
    for exact in (False, True):
        steps = Steps(until=2)
        with quiet(), pytest.raises(GivenUpError):
            tensors.statistics(torch.randn(10_000), 10 if exact else 0, exact=exact, work=steps)
        assert steps.told[-1][2] == "numbers"


def test_a_scan_says_how_far_it_is() -> None:
    steps = Steps()
    many([torch.randn(64) for _ in range(9000)] + [torch.randn(5000) for _ in range(10)], work=steps)
    done = [told[0] for told in steps.told if told[2] == "tensors"]
    assert done == sorted(done)
    assert done[-1] == 9010
    assert all(total == 9010 for _done, total, what in steps.told if what == "tensors")


# ── norms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("arrangement", ["as it is", "transposed", "every second", "expanded"])
def test_the_norm_of_a_large_tensor_keeps_its_digits(dtype: torch.dtype, arrangement: str) -> None:
    """One float32 sum of a million squares is wrong in the fifth digit, of a hundred million in the second."""
    tensor = (torch.rand(1_000_001, generator=torch.Generator().manual_seed(1)) + 0.5).to(dtype)
    if arrangement == "transposed":
        tensor = tensor[:-1].view(1000, -1).t()
    elif arrangement == "every second":
        tensor = tensor[::2]
    elif arrangement == "expanded":
        tensor = tensor.expand(3, -1)
    with quiet():
        (norm,) = tensors.norms([tensor])
    values = tensor.to(torch.float64).numpy().astype(np.longdouble)
    assert norm.value == pytest.approx(float(np.sqrt((values * values).sum())), rel=1e-6)


@pytest.mark.parametrize("value", [1e-20, 1e-21, 3e-22, 1e-23, 1e-30, 1e-45, 1e25, 3e38])
@pytest.mark.parametrize("size", [3, 10_000])
def test_squares_that_float32_cannot_hold(value: float, size: int) -> None:
    with quiet():
        (norm,) = tensors.norms([torch.full((size,), value)])
    assert norm.value == pytest.approx(float(torch.tensor(value)) * math.sqrt(size), rel=1e-6, abs=0.0)


def test_norm_and_statistics_agree_on_everything_small() -> None:
    of = [random_tensor(dtype, size, size) for dtype in DTYPES for size in (1, 64, 5000)]
    with quiet():
        found = tensors.norms(of)
        for norm, tensor in zip(found, of, strict=True):
            assert norm.value == pytest.approx(tensors.statistics(tensor).norm, rel=1e-6)
