"""Where a script can be held inside a phase: at a module call, an operation, an autograd node, a parameter's step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Grain(str, Enum):
    """How fine a place inside a phase is."""

    MODULE = "module"
    """FORWARD: before or after the call of a submodule."""
    OP = "op"
    """FORWARD: before or after one torch operation."""
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
    """Class of the module; for a node the path of the module that made it, where known; for the rest empty."""
    depth: int = 1
    """Levels inside the phase, from 1: modules nest, an op is one further in than the module that runs it."""
    parameter: str = ""
    """For an AccumulateGrad node: the parameter whose `.grad` it adds to."""
    seq: int | None = None
    """Sequence number of a node."""
    detail: str = ""
    """A short remark, as PhaseRun has: "shown from a copy after the fact"."""
