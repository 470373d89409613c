"""A tree over paged rows: lines in pre-order with their depth, never objects with children.

So a tree that is 2,400 levels deep, or 100,000 rows long, costs what the visible rows cost. The rows come
folded already: folding is asked of whoever keeps the tree (`FoldsWanted`), which sends other rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from textual.binding import Binding, BindingType
from textual.message import Message

from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import Span, Spans
from stepdbg.ui.widgets.line_table import Column, LineTable


class TreeRow(Protocol):
    """What a row must tell of its place."""

    @property
    def index(self) -> int:
        """Its number in the unfolded tree, in pre-order."""

    @property
    def depth(self) -> int:
        """Rows above it in the tree."""

    @property
    def rows_below(self) -> int:
        """Rows of its subtree, without itself, when nothing is folded."""


AnyRow = TypeVar("AnyRow", bound=TreeRow)
Label = Callable[[Any, int], Spans]


class LineTree(LineTable[AnyRow]):
    """Rows with guides, and further columns at the right edge."""

    fills = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "fold", "Fold, or go to the row above", show=False),
        Binding("right,l", "unfold", "Unfold, or go to the row below", show=False),
        Binding("plus", "fold_all(False)", "Unfold all", show=False),
        Binding("minus", "fold_all(True)", "Fold all", show=False),
    ]

    class FoldsWanted(Message):
        """The user folds and unfolds: these rows (by `index`) are to be folded from now on."""

        def __init__(self, sender: LineTree[Any], folded: frozenset[int]) -> None:
            super().__init__()
            self.tree = sender
            self.folded = folded

        @property
        def control(self) -> LineTree[Any]:
            """The tree."""
            return self.tree

    def __init__(
        self,
        columns: Sequence[Column[AnyRow]],
        label: Callable[[AnyRow, int], Spans],
        *,
        id: str | None = None,  # noqa: A002
    ) -> None:
        """`label(row, width)` gives the spans behind the guides, at most `width` columns of them."""
        super().__init__(columns, id=id)
        self.label = label
        self.folded: frozenset[int] = frozenset()
        self._guides: dict[int, str] = {}

    def show_tree(self, rows: Mapping[int, AnyRow], total: int, folded: frozenset[int]) -> None:
        """Show `rows` as they are with `folded` folded."""
        self.folded = folded
        self._guides = {}
        self.show(rows, total)

    # ── guides ──────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, first: int, last: int) -> None:
        if any(index in self.rows and index not in self._guides for index in range(first, last)):
            self._work_out_guides(first, last)
        super().prepare(first, last)

    def _work_out_guides(self, first: int, last: int) -> None:
        """Guides of the rows on screen, from the bottom up, starting as far below as the margin goes."""
        last = min(last + self.page, self.total)
        open_at: list[bool] = self._open_below(last)
        for index in range(last - 1, first - 1, -1):
            row = self.rows.get(index)
            if row is None:
                open_at = self._open_below(index)
                continue
            depth = row.depth
            open_at.extend([False] * (depth + 1 - len(open_at)))
            del open_at[depth + 1 :]
            upper = "".join("│ " if open_at[level] else "  " for level in range(1, depth))
            own = "" if depth == 0 else "├ " if open_at[depth] else "└ "
            self._guides[index] = upper + own
            open_at[depth] = True

    def _open_below(self, end: int) -> list[bool]:
        """By depth: whether a sibling of the rows just above position `end` follows at or below it.

        Told from the extents of the rows that are here; where an ancestor is not here, no guide is drawn.
        """
        last = self.rows.get(end - 1)
        if last is None or end >= self.total:
            return []
        chain: list[AnyRow] = [last]
        for index in range(end - 2, max(end - 2 - 4 * self.page, -1), -1):
            row = self.rows.get(index)
            if row is None:
                break
            if row.depth < chain[-1].depth:
                chain.append(row)
        open_at = [False] * (last.depth + 1)
        for row, parent in itertools.pairwise(chain):
            if parent.depth == row.depth - 1:
                open_at[row.depth] = row.index + row.rows_below < parent.index + parent.rows_below
        return open_at

    # ── the first column ────────────────────────────────────────────────────────────────────────────────────

    def name_width(self, row: AnyRow) -> int:
        return 2 * row.depth + 2 + sum(fmt.columns(text) for text, _role in self.label(row, 200))

    def name_spans(self, index: int, row: AnyRow, width: int) -> Spans:
        guides = self._guides.get(index, "  " * row.depth)
        most = max(width // 2, 4)
        if len(guides) > most:
            note = f"⋯{row.depth} "
            keep = max(most - len(note), 2)
            guides = note + guides[len(guides) - keep - (keep % 2) :]
        mark = "▸ " if row.index in self.folded else "▾ " if row.rows_below else ""
        spans: list[Span] = [(guides, "guide"), (mark, "muted")]
        room = width - len(guides) - len(mark)
        used = 0
        for text, role in self.label(row, max(room, 1)):
            shown = fmt.head(text, room - used)
            spans.append((shown, role))
            used += fmt.columns(shown)
        spans.append((" " * max(room - used, 0), ""))
        return spans

    # ── folding ─────────────────────────────────────────────────────────────────────────────────────────────

    def action_activate(self) -> None:
        """Fold or unfold the row under the cursor; a leaf is chosen."""
        row = self.row_at_cursor
        if row is not None and row.rows_below:
            self._want(self.folded ^ {row.index})
        else:
            super().action_activate()

    def action_fold(self) -> None:
        """Fold the row under the cursor, or go to the row that it hangs from."""
        row = self.row_at_cursor
        if row is None:
            return
        if row.rows_below and row.index not in self.folded:
            self._want(self.folded | {row.index})
            return
        for index in range(self.cursor - 1, -1, -1):
            above = self.rows.get(index)
            if above is None:
                return
            if above.depth < row.depth:
                self._move(index)
                return

    def action_unfold(self) -> None:
        """Unfold the row under the cursor, or go to the first row below it."""
        row = self.row_at_cursor
        if row is None or not row.rows_below:
            return
        if row.index in self.folded:
            self._want(self.folded - {row.index})
        else:
            self._move(self.cursor + 1)

    def action_fold_all(self, fold: bool) -> None:
        """Unfold every row, or fold every row that is here and below the first."""
        here = (row.index for row in self.rows.values() if row.depth and row.rows_below)
        self._want(self.folded | frozenset(here) if fold else frozenset())

    def _want(self, folded: frozenset[int]) -> None:
        self.post_message(self.FoldsWanted(self, folded))
