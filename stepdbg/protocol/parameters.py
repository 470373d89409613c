"""How the rows of the parameter pane are arranged: which quantities are wanted, in which order, folded how."""

from __future__ import annotations

from dataclasses import dataclass

NORMS = ("norm", "g.norm")


@dataclass(frozen=True)
class Arrangement:
    """All that decides which rows there are and what they tell, but for the pattern."""

    columns: tuple[str, ...] = NORMS
    """Names of `quantities.QUANTITIES` that are shown: of rows on the page, what these need is read. What needs nothing
    is told always."""
    sort: str = ""
    """Name of the quantity to sort by, unknown ones last; empty: the model's own order."""
    falling: bool = False
    """Whether the largest comes first."""
    tree: bool = False
    """Whether parameters hang from their modules."""
    base: int = 1
    """Level of every row that is not in `levels`: 0 folded, 1 modules unfolded without their buffers, optimizer state
    folded, 2 everything unfolded."""
    levels: tuple[tuple[str, int], ...] = ()
    """(`ParameterRow.key`, level) of the rows that the user has folded or unfolded, sorted."""


AS_IN_MODEL = Arrangement()
"""A flat list in the model's own order, with the norms."""
