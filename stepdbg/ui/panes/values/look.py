"""How tensors are looked at: which display, which sides, which slice. Pure; chosen by keys and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from stepdbg.protocol.records import SIDES, TensorView, ValuesRecord
from stepdbg.protocol.slices import Axes, SliceError, against, read_slice

DISPLAYS = ("numbers", "heatmap", "histogram", "log-histogram", "summary")

CHOICES: tuple[tuple[str, ...], ...] = (("value", "grad"), ("value", "previous", "difference"), SIDES)
"""What stands side by side, in the order in which `d` goes through them."""

LEFT_OUT_FIRST = ("previous", "grad", "difference")
"""What is left out where there is no room for all that was chosen."""

GAP = 3
"""Columns between two sides: a rule with a blank on each side."""
LEAST = 22
"""Columns that one of three or four sides needs."""
SIDE_BY_SIDE = 60
"""Columns from which two sides stand beside each other."""

MOST_DIGITS = 17
"""Significant digits that tell any float64 from its neighbours."""


@dataclass(frozen=True)
class Origin:
    """A row and a column: the cell at the upper left corner, or the one with the cursor."""

    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Look:
    """What the user chose."""

    display: str = "numbers"
    choice: int = 0
    """Of CHOICES."""
    precision: int = 4
    """Significant digits."""
    expression: str = ""
    """What is shown instead of the selected parameter; empty: nothing else."""
    slices: Mapping[str, str] = field(default_factory=dict)
    """By name of the tensor."""

    def name(self, selected: str) -> str:
        """What is asked for, as in GetValues; empty: nothing."""
        return f"={self.expression}" if self.expression else selected

    def slice(self, name: str) -> str:
        """The slice of that tensor; empty: the whole."""
        return self.slices.get(name, "")

    def sliced(self, name: str, text: str) -> Look:
        """With another slice of that tensor."""
        return replace(self, slices=MappingProxyType({**self.slices, name: text}))

    def sides(self, width: int) -> tuple[str, ...]:
        """Those of the chosen sides that there is room for in `width` columns."""
        chosen = CHOICES[self.choice]
        for leave in LEFT_OUT_FIRST:
            if len(chosen) <= 2 or (width - GAP * (len(chosen) - 1)) // len(chosen) >= LEAST:
                break
            chosen = tuple(side for side in chosen if side != leave)
        return chosen


def stacked(sides: int, width: int) -> bool:
    """Whether the sides stand one above the other."""
    return sides == 2 and width < SIDE_BY_SIDE


def axes_of(record: ValuesRecord, tensor: TensorView) -> Axes | None:
    """What the slice leaves of that tensor; None where it has nothing to index."""
    if not tensor.rows:
        return None
    shape = (tensor.shape or ()) if tensor.indexed is None else tensor.indexed
    try:
        return against(read_slice(record.slice), shape)
    except SliceError:
        return None
