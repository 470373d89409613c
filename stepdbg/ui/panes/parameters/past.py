"""What was seen of parameters at the stops before: the trend of |g|, and whether |w| rose. Only what was looked at."""

from __future__ import annotations

from collections.abc import Sequence

from stepdbg.client.store import ParameterList, Recorded
from stepdbg.protocol.records import ParameterRow
from stepdbg.ui import format as fmt

POINTS = 8
"""Gradients that a trend is drawn from, at most."""

STOPS = 80
"""Stops that are gone back over, at most."""


class Past:
    """Rows by name of each stop's list. Indexed once a list, and only as far back as is needed."""

    def __init__(self) -> None:
        self._lists: list[ParameterList] = []
        self._rows: dict[int, tuple[ParameterList, dict[str, ParameterRow]]] = {}

    def look(self, history: Sequence[Recorded]) -> None:
        """Take the stops up to the one on screen, oldest first."""
        self._lists = [r.parameters for r in history[-STOPS:] if r.parameters is not None]
        kept = {id(known) for known in self._lists}
        self._rows = {key: pair for key, pair in self._rows.items() if key in kept}

    def trend(self, name: str) -> str:
        """|g| as blocks, oldest first: one for each gradient that was seen to be new; empty for less than two."""
        norms: list[float | None] = []
        for at in range(len(self._lists) - 1, -1, -1):
            row = self._row(at, name)
            if row is not None and row.grad_norm is not None and row.grad_changed is not False:
                norms.append(row.grad_norm)
                if len(norms) == POINTS:
                    break
        return fmt.sparkline(norms[::-1], POINTS) if len(norms) > 1 else ""

    def direction(self, row: ParameterRow) -> str:
        """Whether |w| rose ▲ or fell ▼ since it was seen last; empty where it did neither, was not seen, or has
        NaN or Inf elements.
        """
        if not row.value_changed or row.value_norm is None or row.nonfinite:
            return ""
        for at in range(len(self._lists) - 2, -1, -1):
            then = self._row(at, row.name)
            if then is not None and then.nonfinite:
                return ""  # its norm was over other elements
            if then is not None and then.value_norm is not None:
                return "▲" if row.value_norm > then.value_norm else "▼" if row.value_norm < then.value_norm else ""
        return ""

    def _row(self, at: int, name: str) -> ParameterRow | None:
        listing = self._lists[at]
        known = self._rows.get(id(listing))
        if known is None:
            known = self._rows[id(listing)] = listing, {row.name: row for row in listing.rows.values()}
        return known[1].get(name)
