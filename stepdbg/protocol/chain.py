"""How a backward comes from the loss to one parameter: the nodes on one path, and the gradient at each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stepdbg.protocol.graph import Flow
from stepdbg.protocol.shown import Titled


class Way(str, Enum):
    """Which of the paths from the root to the parameter is shown.

    Of several equally long ones it is the one that takes the first edge of `next_functions` wherever they part.
    """

    SHORTEST = "shortest"
    """The one with the fewest nodes: through skip connections, the last step of a recurrent net."""
    LONGEST = "longest"
    """The one with the most nodes: through every layer, from the first step of a recurrent net."""


@dataclass(frozen=True)
class ChainStep:
    """One node on the path. Gradients are None where they were not watched."""

    op: str
    """`AddmmBackward0`; the last one is `AccumulateGrad`."""
    module: str
    """Path of the innermost module whose call made it; empty: made outside of any that is known. Of AccumulateGrad
    the name of the parameter."""
    kind: str
    """That module's class."""
    shape: tuple[int, ...] | None
    """Of what it put out forward; what flows into it backward has the same. None: unknown."""
    seq: int | None
    """Its sequence number; None of AccumulateGrad."""
    joins: int
    """Edges of the graph that lead to it: what flows into it is the sum over all of them."""
    entering: Flow | None = None
    """The gradient of its outputs: what flows into it, summed over all the paths that join there."""
    leaving: Flow | None = None
    """The gradient of the input that is next on the path: what it alone hands on there. None of the last one."""


@dataclass(frozen=True)
class ChainPage(Titled):
    """A page of the path, the root first."""

    stop: int
    name: str
    """The parameter."""
    way: Way
    offset: int
    total: int
    steps: tuple[ChainStep, ...]
    root: str = ""
    """What the backward starts from: "loss"; empty where there is no path: `note` says why."""
    paths: str = ""
    """How many paths there are in all: exact ("1,024"), or "about 10^31"."""
    nodes: int = 0
    """Nodes of the whole graph that lie on any of them."""
    note: str = ""
    """Why there is no path, one line."""
    watched: bool = False
    """Whether the chain of this parameter is watched from the next backward on."""
    why_no_flows: str = ""
    """Why the steps have no gradients, one line; empty where they have."""
    iteration: int = 0
    """Iteration and micro-batch of the backward that the gradients are of; 0: there are none, or unknown."""
    micro_batch: int = 0
    times: int = 0
    """Backwards that have come through this very path; the gradients are the last one's."""
    accumulated: int = 0
    """Backwards since gradients were cleared, at this stop."""
    grad_before: float | None = None
    """2-norm of `.grad` when that backward came to AccumulateGrad; None: there was no `.grad`, or it is unknown."""
    had_grad: bool | None = None
    """Whether there was a `.grad` then; None: not watched."""
    grad_after: float | None = None
    """2-norm of `.grad` when that backward had ended; None: unknown, or there is none."""
    grad_now: float | None = None
    """2-norm of `.grad` at this stop; None: there is none, or it cannot be read."""
    grad_label: str = ""
    """What `.grad` is now: "", "none", "scaled", "unscaled", "clipped"."""
    shown: str = ""
    """As `ParameterRow.shown`."""
