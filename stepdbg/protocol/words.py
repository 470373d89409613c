"""Expressions and statements of the user's, run in a frame of the stopped script, and what came of them as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from stepdbg.protocol.records import TensorStats

EVALUATING = "running your expression, seconds"
"""What `Working` tells of one that takes a while."""

STUCK = "still running: waits for a call that cannot be interrupted, seconds"
"""The same, once it was cancelled in vain for two seconds."""


@dataclass(frozen=True)
class TensorTold:
    """A tensor in a few words."""

    kind: str
    """"Tensor", "Parameter", or the class of a subclass."""
    dtype: str
    shape: tuple[int, ...] | None
    device: str
    requires_grad: bool
    made_by: str
    """Class of its `grad_fn`; empty: a leaf."""
    stats: TensorStats
    first: tuple[str, ...]
    """Its first elements as `repr`, in the order of memory's last dimension."""
    note: str = ""


@dataclass(frozen=True)
class Evaluated:
    """What one line of the user's gave."""

    stop: int
    text: str
    kind: str = ""
    """Class of the value; empty: a statement, or an error."""
    lines: tuple[str, ...] = ()
    """The value in words; of a tensor nothing: see `tensor`."""
    tensor: TensorTold | None = None
    assigned: tuple[str, ...] = ()
    """Names that were set in the frame."""
    note: str = ""
    error: str = ""
    """What the user's line raised, in one line."""
    traceback: str = ""


@dataclass(frozen=True)
class Completions:
    """What the last name of a text may become; each is the whole text."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Variables:
    """The variables of one frame."""

    stop: int
    function: str
    items: tuple[tuple[str, str], ...]
    """Name and value, in one line each."""
    left_out: int = 0


@dataclass(frozen=True)
class Evaluate:
    """Run `text` in a frame of the stopped script. Costs what it computes.

    Random states are put back afterwards, no phase of the loop is noted, and nothing stops. An expression is computed
    without recording a graph; a statement as the script itself would have, so that what it assigns can be used.
    """

    RESULT: ClassVar[type[Any]] = Evaluated
    id: int
    text: str
    frame: int | None = None
    """Index into `StopRecord.stack`; None: the innermost frame of the user's code."""
    statement: bool = False
    """Whether statements are allowed: what they assign reaches the frame."""


@dataclass(frozen=True)
class GetCompletions:
    """What the name at the end of `text` may become, from the frame's names; runs none of the user's code."""

    RESULT: ClassVar[type[Any]] = Completions
    id: int
    text: str
    frame: int | None = None


@dataclass(frozen=True)
class GetVariables:
    """The variables of a frame, each in one line."""

    RESULT: ClassVar[type[Any]] = Variables
    id: int
    frame: int | None = None
