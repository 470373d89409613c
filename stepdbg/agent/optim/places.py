"""Which parameter and which element of it is meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from stepdbg.agent import tensors
from stepdbg.agent.naming import Named
from stepdbg.agent.work import NotThereError


def find(parameters: Sequence[Named], name: str, index: tuple[int, ...] | None) -> tuple[int, tuple[int, ...] | None]:
    """The position of the parameter of that name (or alias), and the index with nothing negative in it.

    Raises NotThereError that names the nearest right form.
    """
    by_name = {alias: at for at, p in enumerate(parameters) for alias in reversed((p.name, *p.aliases))}
    written = name if index is None else f"{name}[{', '.join(map(str, index))}]"
    if name not in by_name and index is not None and written.replace(" ", "") in by_name:
        return by_name[written.replace(" ", "")], None  # "optimiser[0].params[3]" is itself a name
    if not by_name:
        raise NotThereError("no parameter is known at this stop")
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.4)
        hint = f": did you mean {near[0]}?" if near else ""
        raise NotThereError(f"no parameter is called {name} at this stop{hint}")
    position = by_name[name]
    shape = tensors.shape_of(parameters[position].tensor)
    if index is None or shape is None:
        return position, None
    return position, _within(name, written, index, shape)


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
