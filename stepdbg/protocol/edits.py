"""What the user changes by hand at a stop: what to write where, and what that changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar


class How(str, Enum):
    """What is done with the numbers of an Amount."""

    SET = "set"
    """They replace what is there; several for what is a tuple of numbers (betas)."""
    SCALE = "scale"
    """What is there is multiplied by the one number."""
    FLAG = "flag"
    """`flag` replaces what is there: True or False."""


@dataclass(frozen=True)
class Amount:
    """What is to be written."""

    how: How
    numbers: tuple[float, ...] = ()
    """NaN and infinities included."""
    integer: int | None = None
    """The one number as it was written, where that was an integer: a float has no more than 53 bits of it."""
    flag: bool = False


@dataclass(frozen=True)
class Pick:
    """What is chosen along one dimension: position `at` (negative: from the end), or where that is None a slice."""

    at: int | None = None
    start: int | None = None
    stop: int | None = None
    step: int | None = None


@dataclass(frozen=True)
class Edit:
    """One thing that was changed by hand."""

    stop: int
    iteration: int
    target: str
    """"net.0.bias", "net.0.weight[0, 1]", "net.0.bias.grad", "optimiser[0].lr", "net.2.bias.requires_grad"."""
    what: str
    """What `before` and `after` tell: "value" (of one element or one setting) or "2-norm" (of those chosen)."""
    before: str
    after: str
    changed: int | None = None
    """Elements that are other than before, NaN being NaN; None: it is no tensor."""
    numel: int | None = None
    """Elements that were written."""
    note: str = ""
    """One line that the user should know about it."""
    shown: str = ""
    """The target as the user reads it, as `ParameterRow.shown`."""

    @property
    def title(self) -> str:
        """The target as the user reads it."""
        return self.shown or self.target


@dataclass(frozen=True)
class Edited:
    """All that one command changed. What could not be done is not in it: then nothing was, and the answer is Failed."""

    stop: int
    edits: tuple[Edit, ...]
    cut_short: str = ""
    """Why not all of it was done, one line: torch refused in the middle."""


@dataclass(frozen=True)
class SetValue:
    """Write into parameters, their gradients, or an optimizer's settings, in place. Held while a stop lasts only.

    Cost: a copy and two norms of what is written; once a stop also a walk of the live graph, 1 µs a node.
    """

    RESULT: ClassVar[type[Any]] = Edited
    id: int
    target: str
    """As the user writes it: "lr", "optimiser[0].betas", "net[0].bias", "net.*.bias.grad"."""
    amount: Amount
    picks: tuple[Pick, ...] = ()
    """What stood in brackets at the end of the target; empty: all of it."""


@dataclass(frozen=True)
class SetRequiresGrad:
    """Let parameters take gradients from the next forward on, or no longer."""

    RESULT: ClassVar[type[Any]] = Edited
    id: int
    target: str
    on: bool
