"""Slices of tensors, as they are written at the prompt."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepdbg.protocol.slices import SliceError, against, read_index, read_slice

SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def sliced(draw):
    """A shape, a slice of it as text, and the same for torch."""
    shape = draw(SHAPES)
    words, real = [], []
    for size in shape:
        kind = draw(st.sampled_from(["index", "range", "whole"] if size else ["range", "whole"]))
        if kind == "index":
            at = draw(st.integers(-size, size - 1))
            words.append(str(at))
            real.append(at)
        elif kind == "range":
            start, stop = (draw(st.none() | st.integers(-7, 7)) for _ in range(2))
            words.append(f"{'' if start is None else start} : {'' if stop is None else stop}")
            real.append(slice(start, stop))
        else:
            words.append(":")
            real.append(slice(None))
    if shape and draw(st.booleans()):
        first = draw(st.integers(0, len(shape)))
        last = draw(st.integers(first, len(shape)))
        words[first:last] = ["..."]
        real[first:last] = [...]
    return shape, ", ".join(words), tuple(real)


@given(sliced())
def test_every_slice_is_torchs(case) -> None:
    shape, text, real = case
    tensor = torch.arange(torch.Size(shape).numel()).reshape(shape)
    axes = against(read_slice(text), shape)
    expected = tensor[real]
    assert tensor[axes.slices].equal(expected)
    assert axes.shape == tuple(expected.shape)
    rows, columns = axes.extent
    assert rows * columns == expected.numel()
    for row in range(rows):
        for column in range(columns):
            index = axes.index(row, column)
            assert axes.cell(index) == (row, column)
            assert tensor[index].item() == expected.reshape(rows, columns)[row, column].item()


@given(sliced())
def test_a_slice_reads_as_it_is_written(case) -> None:
    shape, text, _real = case
    wanted = read_slice(text)
    assert against(read_slice(str(wanted)), shape) == against(wanted, shape)


@given(st.text(max_size=30), SHAPES)
def test_any_text_is_a_slice_or_one_line(text, shape) -> None:
    said = ""
    try:
        against(read_slice(text), shape)
    except SliceError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("0, 1", (6,), "2 indices for 1 dimension (6): give 1, as in :"),
        ("0", (6, 4), "1 index for 2 dimensions (6×4): give 2, as in :, :, or use ..."),
        ("0", (), "1 index for 0 dimensions (scalar): a single number has no slices"),
        ("7, 0", (6, 4), "index 7 is outside dimension 0 of size 6: 0 to 5"),
        ("0, -5", (6, 4), "index -5 is outside dimension 1 of size 4: 0 to 3"),
        ("0, x", (6, 4), "'x' is no index: a whole number, a range a:b or ..., as in 0, :, 3"),
        ("0, 1:3:2", (6, 4), "'1:3:2' has a step: only a:b can be shown"),
        ("..., 0, ...", (6, 4), "'..., 0, ...' has ... twice: once is enough, as in 0, ..., 3"),
        ("0, ², 1", (2, 2, 2), "'²' is no index: a whole number, a range a:b or ..., as in 0, :, 3"),
    ],
)
def test_what_does_not_fit_is_named(text, shape, message) -> None:
    with pytest.raises(SliceError) as caught:
        against(read_slice(text), shape)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["", "...", " [...] ", "[]"])
def test_the_whole(text) -> None:
    assert against(read_slice(text), (2, 3)).shape == (2, 3)
    assert str(read_slice(text)) == ""


def test_one_element() -> None:
    assert read_index("3, -1", (6, 4)) == (3, 3)
    assert read_index("[2]", (6,)) == (2,)
    assert read_index("", ()) == ()
    with pytest.raises(SliceError, match="is no index of one element: 0, 0"):
        read_index("3, :", (6, 4))
    with pytest.raises(SliceError, match="outside dimension 0"):
        read_index("6, 0", (6, 4))


def test_labels_count_in_the_whole_tensor() -> None:
    axes = against(read_slice("1:, 2, 1:3"), (3, 4, 5))
    assert axes.shape == (2, 2)
    assert [axes.row_label(row) for row in range(2)] == ["1", "2"]
    assert axes.first_column == 1
    assert against(read_slice(""), (7,)).row_label(0) == ""
    assert against(read_slice(""), (2, 3, 4)).row_label(5) == "1,2"
