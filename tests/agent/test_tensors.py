"""Statistics and norms against NumPy in float64."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stepdbg.agent import tensors
from stepdbg.agent.quiet import quiet
from stepdbg.agent.tensors.histogram import SAMPLE
from stepdbg.agent.tensors.pieces import CHUNK
from tests.agent.tensor_truth import page

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def expected(values: np.ndarray) -> dict[str, float | None]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return dict.fromkeys(("min", "max", "mean", "std", "norm"))
    return {
        "min": finite.min(),
        "max": finite.max(),
        "mean": finite.mean(),
        "std": finite.std(),
        "norm": math.sqrt(math.fsum(float(v) ** 2 for v in finite.flat)),
    }


def check(tensor: torch.Tensor) -> None:
    with quiet():
        found = tensors.statistics(tensor)
    values = tensor.to(torch.float64).numpy()
    scale = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    for name, want in expected(values).items():
        got = getattr(found, name)
        if want is None:
            assert got is None
        else:
            assert got == pytest.approx(want, rel=1e-12, abs=1e-13 * scale), name
    assert found.numel == values.size
    assert found.nan == np.isnan(values).sum()
    assert found.posinf == np.isposinf(values).sum()
    assert found.neginf == np.isneginf(values).sum()
    assert found.zeros == (values == 0).sum()


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
@settings(deadline=None, max_examples=150)
def test_statistics_of_any_float32_tensor(values: np.ndarray) -> None:
    check(torch.from_numpy(np.array(values)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 7, CHUNK, CHUNK * 2 + 3])
def test_statistics_across_chunks(dtype: torch.dtype, size: int) -> None:
    check(torch.randn(size, generator=torch.Generator().manual_seed(1)).to(dtype))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.full((300_000,), 1e8) + torch.arange(300_000) % 2 * 8,  # catastrophic cancellation in E[x²] − E[x]²
        torch.tensor([1e-45, 3e-45, 0.0]),  # denormals
        torch.tensor([1e200, -1e200], dtype=torch.float64),
        torch.tensor([1e-200, 3e-200], dtype=torch.float64),
        torch.tensor([]),
        torch.tensor(3.0),
        torch.tensor([math.nan, math.inf, -math.inf]),
        torch.ones(4, 4)[:, ::2],
    ],
    ids=["cancellation", "denormal", "huge", "tiny", "empty", "scalar", "nothing finite", "strided"],
)
def test_statistics_of_awkward_tensors(tensor: torch.Tensor) -> None:
    with quiet():
        found = tensors.statistics(tensor)
    values = tensor.to(torch.float64).numpy().reshape(-1)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        assert found.norm is None
        return
    scale = np.abs(finite).max()
    assert found.mean == pytest.approx(finite.mean(), rel=1e-12)
    assert found.std == pytest.approx((finite / scale).std() * scale, rel=1e-9, abs=1e-15 * scale)
    assert found.norm == pytest.approx(float(np.linalg.norm(finite / scale)) * scale, rel=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
def test_norms_of_many_tensors_at_once(dtype: torch.dtype) -> None:
    values = [torch.randn(n, generator=torch.Generator().manual_seed(n)).to(dtype) for n in (1, 5, 100, 0)]
    with quiet():
        found = tensors.norms(values)
    for norm, value in zip(found, values, strict=True):
        assert norm.value == pytest.approx(np.linalg.norm(value.to(torch.float64).numpy()), rel=1e-6)
        assert (norm.nonfinite, norm.note) == (0, "")


def test_norms_leave_nonfinite_elements_out_and_count_them() -> None:
    with quiet():
        (norm,) = tensors.norms([torch.tensor([3.0, math.nan, 4.0, math.inf])])
    assert (norm.value, norm.nonfinite) == (5.0, 2)


def test_a_half_precision_norm_does_not_overflow() -> None:
    with quiet():
        (norm,) = tensors.norms([torch.full((10_000,), 60_000.0, dtype=torch.float16)])
    assert norm.value == pytest.approx(60_000 * 100, rel=1e-3)


def awkward() -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls several of these a prototype
        return {
            "int64": torch.arange(6).reshape(2, 3),
            "bool": torch.tensor([True, False]),
            "complex64": torch.tensor([3 + 4j, 0j]),
            "float8": torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn),
            "sparse": torch.eye(3).to_sparse(),
            "csr": torch.eye(3).to_sparse_csr(),
            "meta": torch.empty(3, device="meta"),
            "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
            "empty": torch.empty(0, 4),
            "scalar": torch.tensor(2.5),
            "lazy": torch.nn.UninitializedParameter(),
            "quantized": torch.quantize_per_tensor(torch.tensor([1.0, 2.0]), 0.1, 0, torch.qint8),
        }


AWKWARD = awkward()


@pytest.mark.parametrize("name", AWKWARD)
def test_any_tensor_is_shown_or_said_to_be_unshowable(name: str) -> None:
    tensor = AWKWARD[name]
    with quiet():
        view, stats = page(tensor), tensors.statistics(tensor, 4)
        (norm,) = tensors.norms([tensor])
    if name in ("meta", "lazy"):
        assert view.note
        assert view.stats is None
        assert stats.note
        assert norm.value is None
        assert norm.note
    else:
        assert norm.value == pytest.approx(stats.norm or 0.0)
        assert view.stats is not None or "nested" in view.note


def test_histograms_count_every_element_or_say_how_many() -> None:
    small = torch.linspace(0, 1, 1000)
    large = torch.linspace(0, 1, SAMPLE * 3)
    with quiet():
        exact, sampled = tensors.statistics(small, 10), tensors.statistics(large, 10)
    assert exact.histogram == tuple(int(c) for c in np.histogram(small.double().numpy(), 10)[0])
    assert exact.sampled is None
    assert sampled.sampled == sum(sampled.histogram) < large.numel()


def test_quiet_leaves_modes_and_tracers_as_they_were() -> None:
    import sys

    seen: list[str] = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    def trace(frame, event, arg):  # type: ignore[no-untyped-def]
        return None

    before = torch.get_rng_state()
    old = sys.gettrace()
    sys.settrace(trace)
    try:
        with Mode(), torch.autocast("cpu", dtype=torch.bfloat16), quiet():
            tensors.norms([torch.ones(3, requires_grad=True)])
            product = torch.ones(2, 2, requires_grad=True) @ torch.ones(2, 2)
            assert not product.requires_grad
            assert product.dtype is torch.float32
        assert sys.gettrace() is trace
    finally:
        sys.settrace(old)
    assert not seen
    assert torch.equal(before, torch.get_rng_state())
