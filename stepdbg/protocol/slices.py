"""Which part of a tensor is looked at: `0, :, 3` read and held against a shape. Pure; used on both sides of the wire.

A slice has one item for each dimension: an index, a range `a:b` (also `:`, `a:`, `:b`), or `...` for as many whole
dimensions as are left. Negative numbers count from the end. What remains is laid out in two dimensions: the last one
runs across, all before it run down.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
REST = "..."
FORM = "0, :, 3"
"""What a slice looks like, for messages."""


class SliceError(ValueError):
    """The text is no slice, or none of this tensor; one line for the user."""


@dataclass(frozen=True)
class Range:
    """`start:stop` as written; None where nothing stands."""

    start: int | None = None
    stop: int | None = None


Item = int | Range


@dataclass(frozen=True)
class Slice:
    """The items before and behind `...`. Without one, `open` is False and all are in `head`."""

    head: tuple[Item, ...] = ()
    tail: tuple[Item, ...] = ()
    open: bool = True

    def __str__(self) -> str:
        items = [*map(_text, self.head), *([REST] if self.open else []), *map(_text, self.tail)]
        return "" if self == WHOLE else ", ".join(items)


WHOLE = Slice()


@dataclass(frozen=True)
class Axes:
    """A slice held against a shape: for each dimension where it begins and how many of it are left.

    `sizes` has None for a dimension that an index has taken away.
    """

    starts: tuple[int, ...]
    sizes: tuple[int | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is left."""
        return tuple(size for size in self.sizes if size is not None)

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns of what is left; 0 × 0 where nothing is."""
        shape = self.shape
        across = shape[-1] if shape else 1
        down = 1
        for size in shape[:-1]:
            down *= size
        return (down, across) if down and across else (0, 0)

    def index(self, row: int, column: int) -> tuple[int, ...]:
        """The index in the whole tensor of the element in that row and column."""
        left = [*_unravel(row, self.shape[:-1]), column]
        result = []
        for start, size in zip(self.starts, self.sizes, strict=True):
            result.append(start if size is None else start + left.pop(0))
        return tuple(result)

    def cell(self, index: Sequence[int]) -> tuple[int, int] | None:
        """Row and column of the element with that index; None where the slice leaves it out."""
        position = []
        for at, start, size in zip(index, self.starts, self.sizes, strict=True):
            if not start <= at < start + (1 if size is None else size):
                return None
            if size is not None:
                position.append(at - start)
        column = position.pop() if position else 0
        row = 0
        for at, size in zip(position, self.shape[:-1], strict=True):
            row = row * size + at
        return row, column

    def row_label(self, row: int) -> str:
        """Index of `row` in the dimensions that run down, as in the whole tensor: "3", or "3,0,2"."""
        starts = [start for start, size in zip(self.starts, self.sizes, strict=True) if size is not None]
        return ",".join(str(start + at) for start, at in zip(starts, _unravel(row, self.shape[:-1]), strict=False))

    @property
    def first_column(self) -> int:
        """Index in the whole tensor of the first column."""
        starts = [start for start, size in zip(self.starts, self.sizes, strict=True) if size is not None]
        return starts[-1] if starts else 0

    @property
    def slices(self) -> tuple[int | slice, ...]:
        """For indexing a tensor."""
        pairs = zip(self.starts, self.sizes, strict=True)
        return tuple(start if size is None else slice(start, start + size) for start, size in pairs)


def read_slice(text: str) -> Slice:
    """`text` as a slice; empty, or `...`: the whole. Brackets around it may be written. Raises SliceError."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1].strip()
    if not text:
        return WHOLE
    words = [word.strip() for word in text.removesuffix(",").split(",")]
    if words.count(REST) > 1:
        raise SliceError(f"{text!r} has ... twice: once is enough, as in 0, ..., 3")
    items = [word if word == REST else _item(word) for word in words]
    if REST not in items:
        return Slice(tuple(i for i in items if not isinstance(i, str)), open=False)
    at = items.index(REST)
    head, tail = items[:at], items[at + 1 :]
    return Slice(
        tuple(i for i in head if not isinstance(i, str)), tuple(i for i in tail if not isinstance(i, str)), open=True
    )


def against(wanted: Slice, shape: Sequence[int]) -> Axes:
    """`wanted` of a tensor of that shape. Raises SliceError naming what does not fit."""
    given, rank = len(wanted.head) + len(wanted.tail), len(shape)
    if given > rank or (given < rank and not wanted.open):
        sizes = "×".join(map(str, shape)) or "scalar"
        raise SliceError(f"{given} {_plural(given)} for {rank} {_plural(rank, 'dimension')} ({sizes}): {_form(rank)}")
    items = [*wanted.head, *([Range()] * (rank - given)), *wanted.tail]
    starts: list[int] = []
    left: list[int | None] = []
    for number, (item, size) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, Range):
            start, stop, _ = slice(item.start, item.stop).indices(size)
            starts.append(start)
            left.append(max(stop - start, 0))
        else:
            starts.append(_within(item, size, number))
            left.append(None)
    return Axes(tuple(starts), tuple(left))


def read_index(text: str, shape: Sequence[int]) -> tuple[int, ...]:
    """`3, 0, 2` as the index of one element of a tensor of that shape. Raises SliceError."""
    wanted = read_slice(text)
    if wanted.open and not wanted.head and not shape:
        return ()
    items = wanted.head
    if wanted.open or any(isinstance(item, Range) for item in items):
        raise SliceError(
            f"{text.strip()!r} is no index of one element: {', '.join('0' * len(shape)) or 'leave it out'}"
        )
    axes = against(wanted, shape)
    return axes.starts


def _item(word: str) -> Item:
    start, colon, stop = word.partition(":")
    if ":" in stop:
        raise SliceError(f"{word!r} has a step: only a:b can be shown")
    if not colon:
        return _integer(word)
    return Range(_integer(start) if start.strip() else None, _integer(stop) if stop.strip() else None)


def _integer(word: str) -> int:
    word = word.strip()
    if not _INTEGER.fullmatch(word):
        raise SliceError(f"{word!r} is no index: a whole number, a range a:b or ..., as in {FORM}")
    return int(word)


def _within(index: int, size: int, dimension: int) -> int:
    if not -size <= index < size:
        there = f"0 to {size - 1}" if size else "it has no elements"
        raise SliceError(f"index {index} is outside dimension {dimension} of size {size}: {there}")
    return index + size if index < 0 else index


def _unravel(index: int, shape: Sequence[int]) -> list[int]:
    positions = []
    for size in reversed(shape):
        index, position = divmod(index, max(size, 1))
        positions.append(position)
    return positions[::-1]


def _text(item: Item) -> str:
    if isinstance(item, Range):
        return f"{'' if item.start is None else item.start}:{'' if item.stop is None else item.stop}"
    return str(item)


def _plural(count: int, noun: str = "index", nouns: str = "") -> str:
    if noun == "index":
        nouns = "indices"
    return noun if count == 1 else nouns or noun + "s"


def _form(rank: int) -> str:
    if rank == 0:
        return "a single number has no slices"
    return f"give {rank}, as in {', '.join([':'] * rank)}" + (", or use ..." if rank > 1 else "")
