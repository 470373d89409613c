"""How the user looks at the parameters: which columns, in which order, as a tree or a list, folded how."""

from __future__ import annotations

from dataclasses import replace

from stepdbg.protocol.parameters import AS_IN_MODEL, Arrangement
from stepdbg.protocol.quantities import BY_NAME, TEXT


class Look:
    """The arrangement that is wanted, and how it changes. A list and a tree are folded each in its own way."""

    def __init__(self) -> None:
        self.arrangement: Arrangement = AS_IN_MODEL
        self.columns: tuple[str, ...] = ()
        """Titles of the columns that the user has chosen; none: as at first."""
        self._other: tuple[int, tuple[tuple[str, int], ...]] = 1, ()

    def ask_for(self, columns: tuple[str, ...]) -> None:
        """Want these quantities of the rows."""
        self.arrangement = replace(self.arrangement, columns=columns)

    def sort(self, quantity: str, falling: bool) -> None:
        """In the order of that quantity; empty: in the model's own."""
        self.arrangement = replace(self.arrangement, sort=quantity, falling=falling and bool(quantity))

    def sort_beside(self, sortable: list[str], step: int) -> None:
        """By the quantity of the column before or after; the model's own order stands before the first."""
        around = ["", *dict.fromkeys(sortable)]
        now = self.arrangement.sort
        at = around.index(now) if now in around else 0
        chosen = around[(at + step) % len(around)]
        self.sort(chosen, bool(chosen) and BY_NAME[chosen].kind != TEXT)

    def tree(self, on: bool) -> None:
        """By module, or in a list."""
        if on != self.arrangement.tree:
            base, levels = self._other
            self._other = self.arrangement.base, self.arrangement.levels
            self.arrangement = replace(self.arrangement, tree=on, base=base, levels=levels)

    def level(self, key: str, level: int) -> None:
        """Fold or unfold one row."""
        levels = {**dict(self.arrangement.levels), key: level}
        self.arrangement = replace(self.arrangement, levels=tuple(sorted(levels.items())))

    def base(self, level: int) -> None:
        """Fold or unfold every row."""
        self.arrangement = replace(self.arrangement, base=level, levels=())

    def take(self, arrangement: Arrangement) -> None:
        """Look as at that one again: the one that is wanted cannot be shown."""
        self.arrangement = arrangement
