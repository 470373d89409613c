"""What is told of single tensors is what torch says of them: pages, slices, differences, single elements, text."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stepdbg.agent.values.seek import MOST, as_python, seek
from stepdbg.agent.values.sides import Side
from stepdbg.agent.work import NotThereError
from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.plain.values import lines
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import SIDES, Phase, StopRecord, TensorView, ValuesRecord
from stepdbg.protocol.slices import against, read_slice

from .conftest import drive

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
SMALL = [torch.float8_e4m3fn, torch.float8_e5m2]
WHOLE = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
COMPLEX = [torch.complex64, torch.complex128]
WORK: Any = SimpleNamespace(step=lambda *_args: None)


def number(text: str, dtype: torch.dtype) -> Any:
    if dtype is torch.bool:
        return text == "True"
    return complex(text) if dtype.is_complex else float(text) if dtype.is_floating_point else int(text)


def read_back(view: TensorView, dtype: torch.dtype) -> Tensor:
    rows = [[number(text, dtype) for text in line] for line in view.cells]
    return torch.tensor(rows, dtype=torch.complex128 if dtype.is_complex else torch.float64).to(dtype)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Equal, NaN equal to NaN, and the signs of zeros too."""
    if one.is_complex():
        return same_bits(torch.view_as_real(one), torch.view_as_real(other))
    if not one.is_floating_point():
        return bool(one.equal(other))
    one, other = one.double(), other.double()
    return torch.equal(torch.signbit(one), torch.signbit(other)) and bool(
        torch.equal(
            torch.nan_to_num(one, 12345.0, math.inf, -math.inf), torch.nan_to_num(other, 12345.0, math.inf, -math.inf)
        )
    )


def some(dtype: torch.dtype, *shape: int) -> Tensor:
    if dtype is torch.bool:
        return torch.rand(shape) > 0.5
    if dtype.is_complex or dtype in FLOATS:
        return torch.randn(shape, dtype=dtype)
    return (torch.randn(shape) * 20).to(dtype)


def page(
    tensor: Tensor, text: str = "", rows: int = 500, columns: int = 200, row: int = 0, column: int = 0
) -> TensorView:
    side = Side(tensor)
    return side.view(side.axes(text), row, column, rows, columns, 8, None)


@pytest.mark.parametrize("dtype", [*FLOATS, *SMALL, *WHOLE, *COMPLEX, torch.bool], ids=str)
def test_cells_read_back_as_the_same_numbers(dtype: torch.dtype) -> None:
    tensor = some(dtype, 3, 4, 5)
    view = page(tensor)
    assert (view.rows, view.columns, view.dtype) == (12, 5, str(dtype).removeprefix("torch."))
    assert same_bits(read_back(view, dtype), tensor.reshape(12, 5))
    part = page(tensor, "1, :, -3:", 2, 2, 1, 1)
    assert (part.rows, part.columns, part.row, part.column) == (4, 3, 1, 1)
    assert same_bits(read_back(part, dtype), tensor[1, :, -3:][1:3, 1:3])


def test_statistics_are_those_of_the_slice() -> None:
    tensor = torch.randn(4, 6, 5)
    for text, part in (("", tensor), ("2", None), ("2, ...", tensor[2]), (":, -1, 1:3", tensor[:, -1, 1:3])):
        if part is None:
            with pytest.raises(NotThereError, match="1 index for 3 dimensions"):
                page(tensor, text)
            continue
        stats = page(tensor, text).stats
        assert stats is not None
        assert stats.numel == part.numel()
        assert (stats.min, stats.max) == (part.min().item(), part.max().item())
        assert stats.mean == pytest.approx(part.double().mean().item())


@pytest.mark.parametrize(
    ("tensor", "text", "cells"),
    [
        (torch.tensor(2.5), "", (("2.5",),)),
        (torch.tensor(True), "", (("True",),)),
        (torch.empty(0), "", ()),
        (torch.empty(2, 0, 3), "1, ...", ()),
        (torch.arange(6).reshape(2, 3), "1, 2", (("5",),)),
        (torch.arange(6).reshape(2, 3), "0:0", None),
        (torch.arange(6).reshape(2, 3), "0:0, :", ()),
        (torch.tensor([math.nan, math.inf, -math.inf, -0.0]), "", (("nan", "inf", "-inf", "-0.0"),)),
        (torch.arange(6).reshape(2, 3).T, "", (("0", "3"), ("1", "4"), ("2", "5"))),
    ],
)
def test_odd_shapes(tensor: Tensor, text: str, cells: Any) -> None:
    if cells is None:
        with pytest.raises(NotThereError):
            page(tensor, text)
    else:
        assert page(tensor, text).cells == cells


@pytest.mark.parametrize(
    ("tensor", "note"),
    [
        (lambda: torch.empty(3, device="meta"), "on the meta device: no values exist"),
        (lambda: torch.eye(3).to_sparse(), "sparse_coo, shown dense"),
        (lambda: torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8), "dequantized"),
        (nn.UninitializedParameter, "not initialised yet"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_odd_is_said(tensor: Callable[[], Tensor], note: str) -> None:
    side = Side(tensor())
    view = side.view(side.axes(""), 0, 0, 5, 5, 4, None) if side.shape is not None else side.blank()
    assert view.note.startswith(note)


def differences(now: Tensor, before: Tensor) -> TensorView:
    side = Side(now, before)
    return side.view(side.axes(""), 0, 0, 50, 50, 4, None)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *COMPLEX])
def test_a_difference_is_torchs(dtype: torch.dtype) -> None:
    now, before = some(dtype, 5, 7), some(dtype, 5, 7)
    view = differences(now, before)
    assert same_bits(read_back(view, dtype), now - before)
    assert view.dtype == str(dtype).removeprefix("torch.")
    assert view.stats is not None
    if not dtype.is_complex:
        assert view.stats.max == (now - before).max().item()
        assert seek(Side(now, before), against(read_slice(""), (5, 7)), "max", WORK).value == repr(
            (now - before).max().item()
        )


def test_narrow_differences_are_made_wider() -> None:
    now, before = torch.tensor([250, 3], dtype=torch.uint8), torch.tensor([255, 1], dtype=torch.uint8)
    assert differences(now, before).cells == (("-5", "2"),)
    half = torch.tensor([1.001], dtype=torch.bfloat16), torch.tensor([3.3], dtype=torch.bfloat16)
    assert differences(*half).cells == ((repr((half[0].float() - half[1].float()).item()),),)
    assert differences(torch.tensor([True, False]), torch.tensor([True, True])).cells == (("False", "True"),)
    assert Side(torch.ones(2), torch.ones(3)).note == "the shape was (3,) before"


# ── single elements ─────────────────────────────────────────────────────────────────────────────────────────


def found(tensor: Tensor, what: str, text: str = "") -> tuple[tuple[int, ...], str]:
    side = Side(tensor)
    element = seek(side, side.axes(text), what, WORK)
    return element.index, element.value


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**32 - 1), st.sampled_from(["max", "min", "nan"]))
def test_seek_finds_the_first(shape: list[int], seed: int, what: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randint(-3, 4, tuple(shape), generator=generator).float()
    flat = tensor.reshape(-1)
    for value in (math.nan, math.inf, -math.inf):
        if flat.numel():
            flat[int(torch.randint(0, flat.numel(), (1,), generator=generator))] = value
    numbers = tensor.reshape(-1).tolist()
    finite = [n for n in numbers if math.isfinite(n)]
    bad = [n for n in numbers if not math.isfinite(n)]
    if not (bad if what == "nan" else finite):
        with pytest.raises(NotThereError):
            found(tensor, what)
        return
    at = next(
        i
        for i, n in enumerate(numbers)
        if (not math.isfinite(n) if what == "nan" else n == (max if what == "max" else min)(finite))
    )
    index, value = found(tensor, what)
    assert index == tuple(int(i) for i in torch.unravel_index(torch.tensor(at), tensor.shape))
    assert value == repr(numbers[at])


def test_seek_beyond_a_chunk_and_in_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepdbg.agent.values.sides.CHUNK", 7)
    monkeypatch.setattr("stepdbg.agent.values.seek.CHUNK", 7)
    tensor = torch.arange(60.0).reshape(3, 4, 5)
    tensor[2, 1, 3] = -1
    tensor[1, 3, 4] = math.nan
    assert found(tensor, "min") == ((2, 1, 3), "-1.0")
    assert found(tensor, "max") == ((2, 3, 4), "59.0")
    assert found(tensor, "nan") == ((1, 3, 4), "nan")
    assert found(tensor, "max", ":, 0, 1:3") == ((2, 0, 2), "42.0")


@pytest.mark.parametrize("dtype", [*SMALL, *WHOLE, torch.float16, torch.bfloat16, torch.bool, torch.uint64], ids=str)
def test_seek_in_every_dtype(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1], [3, 2]]).to(dtype)
    largest = (0, 1) if dtype is torch.bool else (1, 0)
    assert found(tensor, "max")[0] == largest
    assert found(tensor, "min")[0] == (0, 0)


def test_seek_compares_complex_numbers_by_size() -> None:
    tensor = torch.tensor([1 + 1j, -3j, complex(math.nan, 0)])
    assert found(tensor, "max") == ((1,), "-0-3j")
    assert found(tensor, "nan")[0] == (2,)


# ── as Python ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [*FLOATS, *SMALL, *WHOLE, *COMPLEX, torch.bool], ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 2), (0,), (2, 0)], ids=str)
def test_copied_text_gives_the_same_tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = some(dtype, *shape)
    made = as_python(Side(tensor), against(read_slice(""), shape))
    copy = eval(made.text)
    assert (copy.dtype, copy.shape) == (tensor.dtype, tensor.shape)
    assert same_bits(copy, tensor)
    assert (made.copied, made.numel) == (tensor.numel(), tensor.numel())


def test_what_is_not_finite_is_copied_too() -> None:
    tensor = torch.tensor([math.nan, math.inf, -math.inf, -0.0, 5e-324], dtype=torch.float64)
    assert same_bits(eval(as_python(Side(tensor), against(read_slice(""), (5,))).text), tensor)
    odd = torch.tensor([complex(math.nan, -0.0), complex(-0.0, -math.inf)])
    assert same_bits(eval(as_python(Side(odd), against(read_slice(""), (2,))).text), odd)


def test_a_large_tensor_is_copied_in_part() -> None:
    tensor = torch.randn(200, 100)
    made = as_python(Side(tensor), against(read_slice(""), (200, 100)))
    assert (made.copied, made.numel) == (MOST, 20_000)
    assert made.text.endswith("# the first 10,000 of 20,000 elements, flat")
    assert same_bits(eval(made.text), tensor.reshape(-1)[:MOST])
    part = as_python(Side(tensor), against(read_slice("3, 5:9"), (200, 100)))
    assert same_bits(eval(part.text), tensor[3, 5:9])


# ── in a run ────────────────────────────────────────────────────────────────────────────────────────────────


Ask = Callable[[ThreadSession], Awaitable[Any]]


def train() -> None:
    net = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.ones(2, 4)).sum().backward()
        optimizer.step()


def at_stop(number: int, ask: Ask, run: Callable[[], Any] = train) -> Any:
    answers: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == number:
            answers.append(await ask(session))
        return None

    result = drive(run, visit=visit)
    assert result.error is None
    assert not [event for event in result.events if isinstance(event, m.Warned)]
    return answers[0]


def test_previous_value_and_difference() -> None:
    async def ask(session: ThreadSession) -> ValuesRecord:
        return await session.request(m.GetValues(0, "net.weight", sides=SIDES))

    record = at_stop(5, ask)  # before zero_grad of the second iteration, after a step
    assert record.previous_note == "before the step of iteration 1"
    value, previous = (read_back(v, torch.float32) for v in (record.value, record.previous))
    assert read_back(record.difference, torch.float32).equal(value - previous)
    torch.testing.assert_close(value - previous, torch.full((3, 4), -1.0))  # lr · gradient: 0.5 · 2
    assert record.grad_label == ""


def test_why_there_is_no_previous_value() -> None:
    async def ask(session: ThreadSession) -> ValuesRecord:
        return await session.request(m.GetValues(0, "net.weight", sides=("value", "previous", "difference")))

    record = at_stop(2, ask)
    assert (record.previous, record.difference, record.grad) == (None, None, None)
    assert record.previous_note == "no step yet"


def test_only_what_is_asked_for_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Tensor] = []
    monkeypatch.setattr("stepdbg.agent.tensors.statistics", lambda tensor, bins=0: read.append(tensor))

    async def ask(session: ThreadSession) -> ValuesRecord:
        return await session.request(m.GetValues(0, "net.weight", sides=("value",)))

    record = at_stop(4, ask)
    assert len(read) == 1
    assert record.grad is None
    assert record.sides == ("value",)


def test_seek_and_copy_over_the_wire() -> None:
    async def ask(session: ThreadSession) -> Any:
        sought = await session.request(m.SeekElement(0, "net.weight", "max", "1, ..."))
        copied = await session.request(m.CopyValues(0, "net.weight", ":, 2"))
        record = await session.request(m.GetValues(0, "net.weight", slice="1, :"))
        lines = []
        for query in (
            m.SeekElement(0, "net.weight", "median"),
            m.SeekElement(0, "net.weight", "nan"),
            m.SeekElement(0, "net.weight", "max", side="grad"),
            m.SeekElement(0, "net.weight", "max", side="gradient"),
            m.CopyValues(0, "net.weight", "9, 9"),
            m.GetValues(0, "net.weight", sides=("valu",)),
        ):
            with pytest.raises(RequestError) as caught:
                await session.request(query)
            lines.append(str(caught.value))
        return sought, copied, record, lines

    sought, copied, record, lines = at_stop(1, ask)
    torch.manual_seed(0)
    weight = nn.Linear(4, 3).weight.detach()
    assert sought.index == (1, int(weight[1].argmax()))
    assert float(sought.value) == weight[1].max().item()
    assert eval(copied.text).equal(weight[:, 2])
    assert read_back(record.value, torch.float32).equal(weight[1:2])
    assert record.slice == "1, :"
    assert lines == [
        "no 'median' to go to: max, min or nan",
        "all elements are finite",
        "there is no gradient",
        "no 'gradient' to look at: value, grad, previous, difference",
        "slice: index 9 is outside dimension 0 of size 3: 0 to 2",
        "no 'valu' to look at: value, grad, previous, difference",
    ]


def test_phases() -> None:
    """The stops that the tests above name."""
    stops = drive(train).stops
    assert stops[3].next is not None
    assert stops[3].next.phase is Phase.STEP


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_has_no_shape_to_tell_and_no_numbers(layout: torch.layout) -> None:
    ragged = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=layout)
    view = Side(ragged).blank()
    assert (view.shape, view.dtype, view.note) == (None, "float32", "a nested tensor has no rectangular view")
    words = lines(ValuesRecord(1, "ragged", view, None, "none"))
    assert words[0].startswith("value: float32 ? on cpu")


def test_a_tensor_of_nan_alone_is_said_to_have_no_finite_number() -> None:
    view = page(torch.full((3,), math.nan))
    assert lines(ValuesRecord(1, "bad", view, None, "none"))[1] == "  not finite 3, all of them"
