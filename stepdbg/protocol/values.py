"""Facts about single elements of tensors, text made of them, and which modules' outputs are kept to look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ElementFound:
    """Where the element is that was sought; an empty tuple with `value` is the only one of a 0-d tensor."""

    index: tuple[int, ...]
    """In the whole tensor."""
    value: str
    """As in `TensorView.cells`."""


@dataclass(frozen=True)
class PythonText:
    """A tensor (or the first elements of it) as a Python expression."""

    text: str
    copied: int
    """Elements in it."""
    numel: int
    """Elements there were to copy."""
    note: str = ""
    """What is not as in the tensor: "dequantized"."""


@dataclass(frozen=True)
class Marked:
    """One module whose outputs are kept to look at."""

    module: str
    calls: int
    """In this iteration, while stepping."""
    kept: int
    """Bytes of the copies that are kept."""
    note: str = ""


@dataclass(frozen=True)
class MarkedModules:
    """All that are marked."""

    modules: tuple[Marked, ...]
    limit: int
    """Bytes that the copies may take together."""
