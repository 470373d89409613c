"""Where a script can be held inside a phase: at a module call, an operation, an autograd node, a parameter's step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar


class Grain(str, Enum):
    """How fine a place inside a phase is."""

    MODULE = "module"
    """FORWARD: before or after the call of a submodule."""
    OP = "op"
    """FORWARD: before or after one torch operation, of those that a module does itself."""
    NODE = "node"
    """BACKWARD: before or after one autograd node."""
    PARAMETER = "parameter"
    """STEP: before or after one parameter's update; CLIP: before or after its scaling."""


@dataclass(frozen=True)
class Place:
    """A place inside a phase, just before or just after something runs."""

    grain: Grain
    when: str
    """"before" or "after"."""
    name: str
    """Module path ("net.2"), op ("aten.addmm.default"), class of the node ("AddmmBackward0"), parameter name."""
    kind: str = ""
    """Class of the module; for an op or node the path of the module that runs or made it, where known; for a parameter
    "group 1" where its optimizer has several; else empty.
    """
    depth: int = 1
    """Levels inside the phase, from 1: modules nest, an op is one further in than the module that runs it."""
    parameter: str = ""
    """For an AccumulateGrad node: the parameter whose `.grad` it adds to. For a parameter's update: that parameter."""
    seq: int | None = None
    """Sequence number of a node."""
    detail: str = ""
    """A short remark, as PhaseRun has: "held: still its old value"."""
    after_the_fact: bool = False
    """Whether nothing was held before it: what was there before is told from a copy."""
    shown: str = ""
    """`parameter` as the user reads it, as `ParameterRow.shown`."""

    @property
    def title(self) -> str:
        """The name as the user reads it."""
        return self.shown if self.shown and self.grain is Grain.PARAMETER else self.name

    @property
    def of(self) -> str:
        """The parameter that a node is of, as the user reads it; empty: of none."""
        return self.shown or self.parameter


@dataclass(frozen=True)
class HeldTensor:
    """One tensor that is there to look at while the script is held at a place."""

    name: str
    """"input[0]", "output", "grad_in[0]", "grad_out[0]", "self.grad", "before". Shown as "@" and this name."""
    shape: tuple[int, ...] | None
    dtype: str
    device: str
    note: str = ""
    """What it is, in a few words, where the name does not say it; or why there is none."""


@dataclass(frozen=True)
class HeldTensors:
    """What is there to look at, at this place, until the script goes on."""

    stop: int
    tensors: tuple[HeldTensor, ...]
    note: str = ""
    """Why there is nothing."""


@dataclass(frozen=True)
class GetHeld:
    """The tensors at the place that the script is held at. Cost: a walk over what went in; no pass over data."""

    RESULT: ClassVar[type[Any]] = HeldTensors
    id: int


@dataclass(frozen=True)
class Target:
    """Where to run until: what `Resume.target` says, in full."""

    kind: str
    """"phase", "module", "op", "node" (by sequence number, or by class), "parameter" (its gradient arrives, or it is
    updated) or "line".
    """
    name: str
    """Value of the phase, path of the module, name of op or node class, parameter name; a line's number."""
    file: str = ""
    """Of a line: absolute."""
    words: str = ""
    """For the user: "net.2 is called", "line 31 of train.py"."""


@dataclass(frozen=True)
class FindTarget:
    """What the user's word for a place to run until means here. Fails with one line where it means nothing.

    `text`: a phase ("step", "zero_grad"), a module's path ("net.2"), a parameter's name, "node 123" (sequence
    number), a node's class or an op's name ("AddmmBackward0", "addmm", "aten.addmm.default"), a line ("31" of the
    file that the script is held in, or "train.py:31").
    """

    RESULT: ClassVar[type[Any]] = Target
    id: int
    text: str
