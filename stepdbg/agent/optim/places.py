"""Which parameter and which element of it is meant."""

from __future__ import annotations

from collections.abc import Sequence

from stepdbg.agent import pointing, tensors
from stepdbg.agent.naming import Names
from stepdbg.agent.work import NotThereError


def find(names: Names, name: str, index: tuple[int, ...] | None) -> tuple[int, tuple[int, ...] | None]:
    """The position of the parameter of that name, and the index with nothing negative in it.

    Raises NotThereError that names the nearest right form.
    """
    if not names.parameters:
        raise NotThereError("no parameter is known at this stop")
    written = name if index is None else f"{name}[{', '.join(map(str, index))}]"
    named = pointing.one(names, name)
    if named is None and index is not None and (whole := pointing.one(names, written.replace(" ", ""))) is not None:
        named, index = whole, None  # "optimiser[0].params[3]" is itself a name
    if named is None:
        near = pointing.nearest(name, pointing.known_names(names))
        raise NotThereError(f"no parameter is called {name} at this stop{near}")
    position = next(at for at, p in enumerate(names.parameters) if p is named)
    shape = tensors.shape_of(named.tensor)
    if index is None or shape is None:
        return position, None
    return position, _within(named.shown, written, index, shape)


def first_of(shape: Sequence[int]) -> tuple[int, ...]:
    """The first element."""
    return (0,) * len(shape)


def _within(name: str, written: str, index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    dimensions = "×".join(map(str, shape)) if shape else "no dimensions"
    if len(index) != len(shape):
        form = f"{name}[{', '.join('0' for _ in shape)}]" if shape else name
        raise NotThereError(f"{written}: the shape is {dimensions}, so write {form}")
    for at, size in zip(index, shape, strict=True):
        if not -size <= at < size:
            raise NotThereError(f"{written}: {at} is out of range, the shape is {dimensions}")
    return tuple(at % size for at, size in zip(index, shape, strict=True))
