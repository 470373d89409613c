"""What an optimizer's step did (or is about to do) to one element of a parameter, as plain text and numbers.

Numbers are text here, since a float32 of the script's is not a float of ours: results have the fewest digits that name
them exactly in the parameter's own dtype, numbers filled into a formula are rounded to six. Signs are ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass

from stepdbg.protocol.shown import Titled

DID, WILL = "did", "will"
"""What an `Explanation` tells: what the last step has done, or what the one about to run is going to do."""


@dataclass(frozen=True)
class Given:
    """One number that goes into the formula."""

    symbol: str
    """As in the formula: "λ"; empty where the formula does not use it."""
    name: str
    """As torch calls it: "weight_decay", "exp_avg"; "value" and "gradient"."""
    text: str


@dataclass(frozen=True)
class StepLine:
    """One line of the computation."""

    rule: str
    """In symbols: "b ← μ·b + (1 - τ)·d"."""
    numbers: str
    """The same with this run's numbers."""
    result: str
    remark: str = ""
    """What is special about it here: "first step: the buffer begins as d"."""


@dataclass(frozen=True)
class Explanation(Titled):
    """The update of one element of a parameter. Where it cannot be explained, `note` says why."""

    stop: int
    name: str
    index: tuple[int, ...]
    """Never negative; () for a parameter without dimensions."""
    shape: tuple[int, ...]
    dtype: str
    position: int = 0
    """Of the parameter among all of this stop, from 0 …"""
    parameters: int = 1
    """… and how many there are."""
    previous: str = ""
    """Names of the parameters before and after it, in the order of the parameter pane; empty at the ends."""
    following: str = ""
    tells: str = ""
    """DID, WILL or nothing (see `note`)."""
    optimizer: str = ""
    """The user's name for the owner; empty: nobody owns the parameter."""
    kind: str = ""
    """Its class."""
    group: int = 0
    groups: int = 0
    owned_by: str = ""
    """One sentence: how the optimizer knows the parameter."""
    iteration: int | None = None
    """Of the step; None where there was none."""
    hyper: tuple[Given, ...] = ()
    given: tuple[Given, ...] = ()
    """Value, gradient and state before the step."""
    rule: str = ""
    """The whole update in symbols."""
    lines: tuple[StepLine, ...] = ()
    before: str | None = None
    after: str | None = None
    """The real value: of a step that has run, while nothing has written the parameter since."""
    change: str | None = None
    """Real after - before (predicted - before where there is no after), to six digits."""
    predicted: str | None = None
    """What the formula gives."""
    exact: bool | None = None
    """Whether `predicted` is `after` to the last bit; None: nothing to compare."""
    ulps: float | None = None
    """How far apart they are, in units in the last place of the larger of before and after; None: not comparable."""
    within: bool | None = None
    """Whether that is within the tolerance; None: nothing to compare."""
    tolerance: str = ""
    """What is claimed: "bit for bit", "2 ulp: fused kernels round at other places"."""
    other: bool = False
    """Whether the other of DID and WILL can be asked for at this stop as well."""
    note: str = ""
    """One sentence on what limits the answer, or why there is none."""
    shown: str = ""
    """As `ParameterRow.shown`."""
