"""Where the script shall be held, and what is watched: what the user asked for, and what has become of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, ClassVar


class Kind(str, Enum):
    """What a breakpoint is on. The last three are watches: they are numbered, listed and edited with the others."""

    PHASE = "phase"
    ITERATION = "iteration"
    LINE = "line"
    MODULE = "module"
    OP = "op"
    NODE = "node"
    GRADIENT = "gradient"
    """Of a parameter, when it arrives."""
    NAME = "name"
    """A module or a parameter: the agent finds out which of the two."""
    NAN = "nan"
    CHANGE = "change"
    EXPRESSION = "expression"
    """Shown at every stop; never stops."""


WATCHES = frozenset({Kind.NAN, Kind.CHANGE, Kind.EXPRESSION})


@dataclass(frozen=True)
class Spec:
    """What the user asked for; this much is saved."""

    kind: Kind
    target: str = ""
    """A phase's value; a name or glob; of a LINE the file, absolute; of an EXPRESSION its text."""
    line: int = 0
    """Of a LINE its number from 1, of an ITERATION that."""
    direction: str = ""
    """Of a MODULE: "forward" or "backward"."""
    condition: str = ""
    """An expression; empty: always."""
    ignore: int = 0
    """Hits to let pass before the first stop."""
    once: bool = False
    """It goes with its first stop."""
    enabled: bool = True
    commands: tuple[str, ...] = ()
    """Command lines to run when it has stopped the script."""
    log: str = ""
    """A text with expressions in braces that is written down instead of stopping; empty: it stops."""


@dataclass(frozen=True)
class Breakpoint:
    """One as it is now."""

    number: int
    """From 1, never given twice in a run."""
    spec: Spec
    hits: int = 0
    """Times it was reached with its condition true, those that were ignored included."""
    note: str = ""
    """One line that the user should know: why it cannot be hit, how its condition failed, how it is done."""
    stale: bool = False
    """What it is on is not there."""
    value: str = ""
    """Of an EXPRESSION: what it gives at this stop; empty where it has not been evaluated."""
    number_value: float | None = None
    """The same as a number, where it is one."""
    shown: str = ""
    """The target as the user reads it, as `ParameterRow.shown`; empty: as `spec.target`."""

    @property
    def as_shown(self) -> Spec:
        """The Spec with that target, for `title` and `described`."""
        return replace(self.spec, target=self.shown or self.spec.target)


@dataclass(frozen=True)
class Book:
    """All of them, in order of their numbers."""

    rows: tuple[Breakpoint, ...] = ()
    changed: int = 0
    """The one that was made or changed last by this request; 0: none."""
    message: str = ""
    """What was done, one line."""


@dataclass(frozen=True)
class Evaluating:
    """While the script runs: what the user wants evaluated there takes a while, every second."""

    what: str
    """"breakpoint 1: its condition"; empty: it is over."""
    seconds: int
    stuck: bool = False
    """It was cancelled two seconds ago, and goes on: a call into C, which nothing interrupts."""


@dataclass(frozen=True)
class SetBreakpoint:
    """Make one. Failed where its condition cannot be read, or nothing has that name."""

    RESULT: ClassVar[type[Any]] = Book
    id: int
    spec: Spec


@dataclass(frozen=True)
class EditBreakpoint:
    """Change one (or all, number 0); what is None stays as it is."""

    RESULT: ClassVar[type[Any]] = Book
    id: int
    number: int
    enabled: bool | None = None
    condition: str | None = None
    ignore: int | None = None
    commands: tuple[str, ...] | None = None
    log: str | None = None


@dataclass(frozen=True)
class DeleteBreakpoint:
    """Delete one (or all, number 0)."""

    RESULT: ClassVar[type[Any]] = Book
    id: int
    number: int


@dataclass(frozen=True)
class GetBreakpoints:
    """All of them. Evaluates the watched expressions in the stopped frame, each once a stop."""

    RESULT: ClassVar[type[Any]] = Book
    id: int


def title(spec: Spec) -> str:
    """What it is on, as the user would write it: "backward", "net.2 backward", "train.py:12", "watch nan"."""
    if spec.kind is Kind.LINE:
        return f"{spec.target.replace(chr(92), '/').rpartition('/')[2]}:{spec.line}"
    if spec.kind is Kind.ITERATION:
        return f"iteration {spec.line}"
    if spec.kind is Kind.GRADIENT:
        return f"grad {spec.target}"
    if spec.kind in (Kind.OP, Kind.NODE):
        return f"{spec.kind.value} {spec.target}"
    if spec.kind is Kind.MODULE:
        return f"module {spec.target}{' backward' if spec.direction == 'backward' else ''}"
    if spec.kind is Kind.NAN:
        return "watch nan"
    if spec.kind is Kind.CHANGE:
        return f"watch change {spec.target}"
    if spec.kind is Kind.EXPRESSION:
        return f"watch {spec.target}"
    return spec.target


def described(spec: Spec) -> str:
    """Its title, and the condition: "backward if loss > 2"."""
    return f"{title(spec)} if {spec.condition}" if spec.condition else title(spec)
