"""What differs between two sets of tensors: stops, parameters, modules or files."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from stepdbg.protocol.shown import Titled


class SideKind(str, Enum):
    """Where the tensors of one side come from."""

    NOW = "now"
    """All parameters at this stop."""
    STOP = "stop"
    """All parameters as they were at stop `number`; 0 and less: so many stops before this one."""
    NAME = "name"
    """The parameter, or what is in the module, called `name`."""
    FILE = "file"
    """The file `name`, from the script's working directory."""


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    kind: SideKind
    number: int = 0
    name: str = ""


class DiffOrder(str, Enum):
    """What the rows are sorted by, the largest first. What differs stands before what cannot be compared, that before
    what is only on one side, and what is equal comes last.
    """

    RATIO = "ratio"
    """|Δ| / |A|"""
    DELTA = "delta"
    MOST = "most"
    """The largest single difference."""
    DIFFERING = "differing"
    NAME = "name"
    """In the order of A, whatever they are."""


@dataclass(frozen=True)
class DiffRow(Titled):
    """One pair of tensors, or one that has no partner.

    Norms are 2-norms, accumulated in float64, over the finite elements of each side; `delta`, `most` and `at` are over
    those that are finite on both. None: there is no such number.
    """

    name: str
    """In A, or in B where it is only there."""
    state: str
    """"equal", "differs", "only in A", "only in B", "other shape", "unreadable"."""
    shape: tuple[int, ...] | None
    other_shape: tuple[int, ...] | None = None
    """Of the partner in B, where it is another."""
    other_name: str = ""
    """Of the partner in B, where it is another."""
    dtype: str = ""
    other_dtype: str = ""
    """Of the partner in B, where it is another."""
    norm: float | None = None
    other_norm: float | None = None
    delta: float | None = None
    ratio: float | None = None
    """delta / norm; infinite where norm is 0 and delta is not."""
    most: float | None = None
    """The largest |b - a| of one element."""
    at: tuple[int, ...] = ()
    """The index of that element."""
    differing: int = 0
    """Elements that are not equal; NaN is equal to NaN here."""
    numel: int = 0
    nonfinite: int = 0
    """Elements that are NaN or infinite on one side at least."""
    note: str = ""
    shown: str = ""
    """As `ParameterRow.shown`."""
    other_shown: str = ""
    """The same of `other_name`."""


@dataclass(frozen=True)
class DiffPage:
    """Rows `offset` … of `total`, in the order asked for."""

    stop: int
    offset: int
    total: int
    rows: tuple[DiffRow, ...]
    title: str
    """What A is: "stop 12", "net", "ckpt.pt (state_dict)"."""
    other_title: str
    equal: int
    differ: int
    unpaired: int
    """Only on one side."""
    unlike: int
    """Of another shape, or unreadable."""
    note: str = ""
    """One line on how the names of the two sides were matched."""


@dataclass(frozen=True)
class GetDiff:
    """A page of what differs between two sides. Cost: the first time at a stop four passes over both, chunk by chunk
    in float64; `Working` counts the pairs. A file is mapped, not read as a whole, where its format allows that.
    """

    RESULT: ClassVar[type[Any]] = DiffPage
    id: int
    a: Side
    b: Side
    offset: int = 0
    count: int = 100
    order: DiffOrder = DiffOrder.RATIO
    reverse: bool = False
    pattern: str = ""
    """Only rows whose name contains this, or matches it as a glob."""
