"""Every kind of tensor that torch has is shown, or said in one line to be unshowable; none is touched, none raises."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode

from stepdbg.agent import tensors
from stepdbg.agent.quiet import quiet
from stepdbg.agent.tensors import elements
from stepdbg.protocol import codec
from stepdbg.protocol.records import TensorStats, TensorView
from tests.agent.tensor_truth import check, numbers, page

pytestmark = [
    pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental"),
    pytest.mark.filterwarnings("ignore:Sparse"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor"),
]

ALL_DTYPES = sorted({v for v in vars(torch).values() if isinstance(v, torch.dtype)}, key=str)

BROKEN: list[str] = []


class Raising(torch.Tensor):
    """Raises whatever is done with it, and notes that something was."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        BROKEN.append(str(func))
        raise ValueError("not for you")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        BROKEN.append(str(func))
        raise ValueError("not for you either")


class Wrapper(torch.Tensor):
    """Has no elements of its own."""

    @staticmethod
    def __new__(cls, shape, **held):
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float32)

    def __init__(self, shape, **held):
        self.__dict__.update(held)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        BROKEN.append(str(func))
        raise ValueError("not for you")


def raising() -> torch.Tensor:
    with torch._C.DisableTorchFunction():
        return torch.Tensor._make_subclass(Raising, torch.tensor([3.0, 4.0]))


def fake() -> torch.Tensor:
    with FakeTensorMode():
        return torch.empty(3)


def freed() -> torch.Tensor:
    tensor = torch.ones(5)
    tensor.untyped_storage().resize_(0)
    return tensor


def inference() -> torch.Tensor:
    with torch.inference_mode():
        return torch.tensor([3.0, 4.0])


def nested(layout: torch.layout) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prototype
        return torch.nested.nested_tensor([torch.tensor([3.0, 0.0]), torch.tensor([4.0])], layout=layout)


def quantized_per_channel() -> torch.Tensor:
    scales, zeros = torch.tensor([0.5, 1.0]), torch.tensor([0, 1])
    return torch.quantize_per_channel(torch.tensor([[3.0, 0.0], [4.0, 0.0]]), scales, zeros, 0, torch.qint8)


def quantized_four_bits() -> torch.Tensor:
    scales, zeros = torch.tensor([0.5, 1.0]), torch.tensor([0.0, 0.0])
    return torch.quantize_per_channel(torch.tensor([[3.0, 0.0], [4.0, 0.0]]), scales, zeros, 0, torch.quint4x2)


def uncoalesced() -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor([[0, 0, 2]]), torch.tensor([1.0, 2.0, 4.0]), (3,))


SQUARE = torch.tensor([[3.0, 0.0], [0.0, 4.0]])

SHOWN: dict[str, tuple[Callable[[], torch.Tensor], int, str]] = {
    # Each has a 3, a 4 and zeros: how many elements, and what the note says.
    "sparse coo": (lambda: SQUARE.to_sparse(), 4, "sparse_coo"),
    "sparse uncoalesced": (uncoalesced, 3, "sparse_coo"),
    "sparse hybrid": (lambda: SQUARE.to_sparse(1), 4, "sparse_coo"),
    "sparse csr": (lambda: SQUARE.to_sparse_csr(), 4, "sparse_csr"),
    "sparse csc": (lambda: SQUARE.to_sparse_csc(), 4, "sparse_csc"),
    "sparse bsr": (lambda: SQUARE.to_sparse_bsr((1, 2)), 4, "sparse_bsr"),
    "sparse bsc": (lambda: SQUARE.to_sparse_bsc((2, 1)), 4, "sparse_bsc"),
    "mkldnn": (lambda: SQUARE.to_mkldnn(), 4, "mkldnn"),
    "nested": (lambda: nested(torch.strided), 3, "nested"),
    "jagged": (lambda: nested(torch.jagged), 3, "nested"),
    "quantized": (lambda: torch.quantize_per_tensor(SQUARE, 0.5, 3, torch.quint8), 4, "dequantized"),
    "qint32": (lambda: torch.quantize_per_tensor(SQUARE, 0.5, 3, torch.qint32), 4, "dequantized"),
    "quantized per channel": (quantized_per_channel, 4, "dequantized"),
    "quantized four bits": (quantized_four_bits, 4, "dequantized"),
    "raising subclass": (raising, 2, "Raising, its own data"),
    "parameter": (lambda: torch.nn.Parameter(torch.tensor([3.0, 4.0])), 2, ""),
    "wrapper of one": (lambda: Wrapper((2,), inner=torch.tensor([3.0, 4.0])), 2, "inner"),
    "inference": (inference, 2, ""),
    "negative view": (lambda: torch.tensor([-3j, -4j]).conj().imag, 2, ""),
    "conjugate view": (lambda: torch.tensor([3j, 4 + 0j]).conj(), 2, ""),
    "expanded": (lambda: torch.tensor([3.0, 4.0]).expand(1, 2), 2, ""),
    "empty": (lambda: torch.empty(0, 3), 0, ""),
    "empty sparse": (lambda: torch.sparse_coo_tensor(torch.empty(1, 0), torch.empty(0), (3,)), 3, "sparse_coo"),
    "empty csr": (lambda: torch.zeros(2, 2).to_sparse_csr(), 4, "sparse_csr"),
    "no elements at all": (lambda: torch.sparse_coo_tensor(torch.empty(1, 0), torch.empty(0), (0,)), 0, "sparse_coo"),
    "zero tensor": (lambda: torch._efficientzerotensor(3), 3, ""),
    "buffer": (lambda: torch.nn.Buffer(torch.tensor([3.0, 4.0])), 2, ""),
}  # fmt: skip

if elements.FLOAT4 is not None:
    SHOWN["four bits"] = (lambda: torch.tensor([0x65], dtype=torch.uint8).view(elements.FLOAT4), 2, "4-bit")

UNSHOWABLE: dict[str, tuple[Callable[[], torch.Tensor], str]] = {
    "meta": (lambda: torch.empty(3, device="meta"), "meta device"),
    "sparse meta": (lambda: torch.empty(3, 3, device="meta", layout=torch.sparse_coo), "meta device"),
    "fake": (fake, "fake tensor"),
    "lazy parameter": (torch.nn.UninitializedParameter, "not initialised"),
    "lazy buffer": (torch.nn.UninitializedBuffer, "not initialised"),
    "freed": (freed, "freed"),
    "wrapper": (lambda: Wrapper((2,)), "Wrapper has no elements of its own"),
    "wrapper of two": (lambda: Wrapper((2,), a=torch.ones(2), b=torch.ones(2)), "wraps a, b"),
    "functional": (lambda: torch._to_functional_tensor(torch.ones(3)), "traced"),
}


def everything(tensor: torch.Tensor) -> tuple[TensorView, TensorStats, tensors.Norm]:
    """All that can be asked of a tensor; each answer can be sent."""
    BROKEN.clear()
    with quiet():
        view = page(tensor)
        stats = tensors.statistics(tensor, 4, exact=True)
        (norm,) = tensors.norms([tensor])
        first, second = tensors.statistics_of_many([tensor, tensor])
        tensors.readable(tensor)
    assert not BROKEN
    assert first == second
    assert first == without_histogram(stats)
    assert codec.from_plain(TensorView, codec.to_plain(view)) == view
    return view, stats, norm


def without_histogram(stats: TensorStats) -> TensorStats:
    return replace(stats, histogram=(), low=0.0, high=0.0, sampled=None)


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown(name: str) -> None:
    make, count, note = SHOWN[name]
    view, stats, norm = everything(make())
    values = [3.0, 4.0, *[0.0] * (count - 2)] if norm.value else [0.0] * count
    check(stats, values)
    if view.stats is not None:
        check(view.stats, values)
    assert (view.stats is None) == (note == "nested")  # it has no rectangle that a page could be of
    assert norm.value in (0.0, pytest.approx(5.0))
    assert (norm.value == 0.0) == (name.startswith(("empty", "no ", "zero")))
    assert sum(stats.histogram) == count
    assert note in view.note
    assert bool(view.note) == bool(note)
    assert "\n" not in view.note
    assert bool(view.cells) == (count > 0 and note != "nested")


@pytest.mark.parametrize("name", UNSHOWABLE)
def test_what_cannot_be_shown_is_said_in_one_line(name: str) -> None:
    make, words = UNSHOWABLE[name]
    view, stats, norm = everything(make())
    assert (view.stats, view.cells, norm.value, stats.norm) == (None, (), None, None)
    for said in (view.note, stats.note, norm.note):
        assert words in said
        assert "\n" not in said


@pytest.mark.parametrize("dtype", ALL_DTYPES, ids=str)
def test_every_dtype_there_is(dtype: torch.dtype) -> None:
    """From bytes; or, where torch makes no tensor of that type from them, quantized."""
    quantized = {torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4}
    if dtype in quantized:
        scales = torch.tensor([0.5])
        if dtype in (torch.quint4x2, torch.quint2x4):
            tensor = torch.quantize_per_channel(torch.ones(1, 4), scales, torch.zeros(1), 0, dtype)
        else:
            tensor = torch.quantize_per_tensor(torch.ones(4), 0.5, 0, dtype)
    else:
        tensor = torch.tensor([0, 1, 0, 0, 1, 0, 1, 0] * 2, dtype=torch.uint8).view(dtype)
    view, stats, norm = everything(tensor)
    assert view.stats == stats
    assert view.cells
    assert stats.norm == pytest.approx(norm.value)
    if dtype in elements.RAW:
        assert "raw bits" in view.note
    elif dtype not in quantized and dtype is not elements.FLOAT4:
        assert view.note == ""
        check(stats, numbers(tensor), rounded=4e-16)


@pytest.mark.skipif(elements.FLOAT4 is None, reason="this torch has no such type")
def test_all_sixteen_numbers_of_four_bits() -> None:
    codes = torch.arange(16, dtype=torch.uint8)
    packed = (codes[::2] | codes[1::2] << 4).view(elements.FLOAT4)
    everything(packed.view(2, 4))
    magnitudes = ("0.0", "0.5", "1.0", "1.5", "2.0", "3.0", "4.0", "6.0")
    with quiet():
        view = page(packed.view(2, 4), columns=8)
    assert view.cells == (magnitudes, tuple("-" + m for m in magnitudes))
    assert (view.rows, view.columns) == (2, 8)


def test_a_sparse_tensor_too_large_to_be_dense_has_statistics() -> None:
    tensor = torch.sparse_coo_tensor(
        torch.tensor([[0, 0, 5], [1, 1, 2]]), torch.tensor([1.0, 2.0, 4.0]), (10**6, 10**6)
    )
    view, stats, norm = everything(tensor)
    assert (stats.numel, stats.zeros, stats.min, stats.max) == (10**12, 10**12 - 2, 0.0, 4.0)
    assert (stats.norm, norm.value) == (5.0, 5.0)
    assert stats.mean == pytest.approx(7e-12, rel=1e-12)
    assert stats.std == pytest.approx((25 / 1e12) ** 0.5, rel=1e-9)
    assert "too large" in view.note
    assert view.cells == ()


@pytest.mark.parametrize(
    ("transform", "note"),
    [
        (torch.func.grad, "torch.func"),
        (lambda f: lambda x: torch.func.jvp(f, (x,), (x,)), "torch.func"),
        (lambda f: torch.func.vmap(f, in_dims=0), "dimension 0 is the batch"),
        (lambda f: torch.func.vmap(torch.func.grad(lambda y: f(y).sum())), "dimension 0 is the batch"),
    ],
    ids=["grad", "jvp", "vmap", "vmap of grad"],
)
def test_inside_a_transform_of_functions(transform, note: str) -> None:
    seen = []

    def loss(x: torch.Tensor) -> torch.Tensor:
        plain = torch.tensor([3.0, 4.0])
        seen.extend(everything(tensor) for tensor in (x, plain))
        return (x * x).sum()

    transform(loss)(torch.tensor([3.0, 4.0]))
    for (view, stats, norm), words in zip(seen, (note, ""), strict=True):
        check(stats, [3.0, 4.0])
        assert norm.value == pytest.approx(5.0)
        assert words in view.note


@pytest.fixture
def one_rank() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_a_distributed_tensor_shows_the_shard_that_is_here(one_rank: None) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    mesh = init_device_mesh("cpu", (1,))
    tensor = distribute_tensor(torch.tensor([3.0, 4.0]), mesh, [Shard(0)])
    for each in (tensor, torch.nn.Parameter(tensor)):
        view, stats, _norm = everything(each)
        check(stats, [3.0, 4.0])
        assert view.note == "local shard of a distributed tensor"
        assert view.cells == (("3.0", "4.0"),)


def test_the_cells_of_a_conjugate_view() -> None:
    view, _stats, _norm = everything(torch.tensor([[1 + 2j, 3 - 4j]]).conj().t())
    assert view.cells == (("1-2j",), ("3+4j",))
