"""What is noted at optimizer steps while plots are wanted: norms, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class StepTrend:
    """One step of one optimizer. Norms are 2-norms over the finite elements of all its parameters together."""

    number: int
    """From 0, counting the steps that were noted in this run of the script."""
    segment: int
    """Iteration in which the last free run before it ended, 0 for none: between two steps of different segments
    others ran that were not noted."""
    iteration: int
    optimizer: str
    """The user's name for it."""
    grad_norm: float | None
    """Of the gradients that the step was given; None: there were none, or they cannot be read."""
    grad_nonfinite: int = 0
    """NaN and Inf elements among them, left out of the norm."""
    grad_label: str = ""
    """What these gradients are: "scaled", "unscaled", "clipped", "sum of 4 backwards"; several, with commas."""
    value_norm: float | None = None
    """Of the values before the step."""
    update_norm: float | None = None
    """Of what the step added to them; None: `Trends.why_no_ratio` says why."""


@dataclass(frozen=True)
class Trends:
    """The steps that were noted since the number that was asked for."""

    stop: int
    steps: tuple[StepTrend, ...]
    upcoming: StepTrend | None = None
    """The step that is next at this stop, with the gradients as they are now; its number is the one it will have."""
    since: int = 0
    """Iteration from which on steps are noted."""
    note: str = ""
    """Why there are no gradient norms, one line; empty where there are."""
    why_no_ratio: str = ""
    """Why the last step has no `update_norm`, one line; empty where it has."""


@dataclass(frozen=True)
class Rates:
    """Learning rates as they are when asked for: a stop's own record has them as they were when it began."""

    stop: int
    lrs: tuple[tuple[str, float], ...]
    """As `StopRecord.lrs`."""


@dataclass(frozen=True)
class GetRates:
    """The learning rates now."""

    RESULT: ClassVar[type[Any]] = Rates
    id: int
