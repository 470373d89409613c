"""A tree over paged rows: lines in pre-order with their depth, never objects with children.

So a tree that is 50,000 levels deep, or 100,000 rows long, costs what the visible rows cost. The rows come
folded already: folding is asked of whoever keeps the tree (`LevelWanted`), which sends other rows.

Two kinds of tree can be drawn. Mostly a row hangs from the row above it that is one level less deep. In a tree of
*chains* a row may also continue a row of its own depth, after that one's side branches, as in `git log --graph`: depth
counts branchings then, and a chain of 50,000 rows stays at the left edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from textual.binding import Binding, BindingType
from textual.message import Message

from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.guides import FOLDED, Guides
from stepdbg.ui.widgets.line_list import Span, Spans
from stepdbg.ui.widgets.line_table import Column, LineTable


class TreeRow(Protocol):
    """What a row must tell of its place."""

    @property
    def index(self) -> int:
        """Its number in the unfolded tree, in pre-order."""

    @property
    def depth(self) -> int:
        """Rows above it in the tree; in a tree of chains: branchings above it."""

    @property
    def rows_below(self) -> int:
        """Rows of its subtree, without itself, when nothing is folded."""

    @property
    def level(self) -> int:
        """0 folded, 1 as first shown, 2 unfolded whole."""

    @property
    def unfolds(self) -> bool:
        """Whether level 2 shows more than it does now."""


AnyRow = TypeVar("AnyRow", bound=TreeRow)
Label = Callable[[Any, int], Spans]


class LineTree(LineTable[AnyRow]):
    """Rows with guides, and further columns at the right edge."""

    fills = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "fold", "Fold, or go to the row above", show=False),
        Binding("right,l", "unfold", "Unfold, or go to the row below", show=False),
        Binding("minus", "level_of_all(0)", "Fold all", show=False),
        Binding("equals_sign", "level_of_all(1)", "As first shown", show=False),
        Binding("plus", "level_of_all(2)", "Unfold all", show=False),
    ]

    class LevelWanted(Message):
        """The user folds or unfolds: `row` is to have that level, or with None every row."""

        def __init__(self, sender: LineTree[Any], row: Any, level: int) -> None:
            super().__init__()
            self.tree = sender
            self.row = row
            self.level = level

        @property
        def control(self) -> LineTree[Any]:
            """The tree."""
            return self.tree

    class ParentWanted(Message):
        """The user goes to the row that `row` hangs from or continues; it is not among those that are here."""

        def __init__(self, sender: LineTree[Any], row: Any) -> None:
            super().__init__()
            self.tree = sender
            self.row = row

        @property
        def control(self) -> LineTree[Any]:
            """The tree."""
            return self.tree

    def __init__(
        self,
        columns: Sequence[Column[AnyRow]],
        label: Callable[[AnyRow, int], Spans],
        *,
        lit: Callable[[AnyRow], bool] = lambda _row: False,
        id: str | None = None,  # noqa: A002
    ) -> None:
        """`label(row, width)` gives the spans behind the guides, at most `width` columns of them; the guides of `lit`
        rows stand out.
        """
        super().__init__(columns, id=id)
        self.label = label
        self.lit = lit
        self._guides: Guides = Guides({}, 0, chains=False)

    def show_tree(self, rows: Mapping[int, AnyRow], total: int, *, chains: bool = False) -> None:
        """Show `rows` as they are folded."""
        self._guides = Guides(rows, total, chains=chains)
        self.show(rows, total)

    # ── the first column ────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, first: int, last: int) -> None:
        self._guides.work_out(first, last, self.page)
        super().prepare(first, last)

    def name_width(self, row: AnyRow) -> int:
        return 2 * row.depth + 2 + sum(fmt.columns(text) for text, _role in self.label(row, 200))

    def name_spans(self, index: int, row: AnyRow, width: int) -> Spans:
        guides, mark = self._guides.of(index)
        most = max(width // 2, 4)
        if len(guides) > most:
            note = f"⋯{row.depth} "
            keep = max(most - len(note), 2)
            guides = note + guides[len(guides) - keep - (keep % 2) :]
        lit = self.lit(row)
        spans: list[Span] = [(guides, "lit" if lit else "guide"), (mark, "lit" if lit else "muted")]
        room = width - len(guides) - len(mark)
        used = 0
        for text, role in self.label(row, max(room, 1)):
            shown = fmt.head(text, room - used)
            spans.append((shown, role))
            used += fmt.columns(shown)
        spans.append((" " * max(room - used, 0), ""))
        return spans

    # ── folding ─────────────────────────────────────────────────────────────────────────────────────────────

    def is_open(self, index: int) -> bool:
        """Whether rows are drawn under the one at position `index`."""
        row, following = self.rows.get(index), self.rows.get(index + 1)
        if row is None or not row.rows_below or row.level == FOLDED or index + 1 >= self.total:
            return False
        return following is None or following.index <= row.index + row.rows_below

    def parent_of(self, index: int) -> int | None:
        """Position of the row that the one at `index` hangs from or continues; None: it has none, or it is not here.

        That row is the nearest one above whose extent goes this far.
        """
        row = self.rows.get(index)
        if row is None:
            return None
        for position in range(index - 1, -1, -1):
            above = self.rows.get(position)
            if above is None:
                return None
            if above.index + above.rows_below >= row.index:
                return position
        return None

    def action_activate(self) -> None:
        """Fold or unfold the row under the cursor; a leaf is chosen."""
        row = self.row_at_cursor
        if row is None or not row.rows_below:
            super().action_activate()
        elif self.is_open(self.cursor):
            self._want(row, FOLDED)
        else:
            self.action_unfold()

    def action_fold(self) -> None:
        """Show less of the row under the cursor, or go to the row that it hangs from."""
        row = self.row_at_cursor
        if row is None:
            return
        if self.is_open(self.cursor):
            # Along a chain there is nothing between all of it and nothing.
            self._want(row, FOLDED if self._guides.chains else row.level - 1)
            return
        parent = self.parent_of(self.cursor)
        if parent is not None:
            self._move(parent)
        elif self.cursor:
            self.post_message(self.ParentWanted(self, row))

    def action_unfold(self) -> None:
        """Show more of the row under the cursor, or go to the first row below it."""
        row = self.row_at_cursor
        if row is None:
            return
        if row.rows_below and row.level == FOLDED:
            self._want(row, 1)
        elif row.unfolds and row.level < 2:
            self._want(row, 2)
        elif self.is_open(self.cursor):
            self._move(self.cursor + 1)

    def action_level_of_all(self, level: int) -> None:
        """Fold every row, unfold every row, or show all as at first."""
        if self.total:
            self.post_message(self.LevelWanted(self, None, level))

    def _want(self, row: AnyRow, level: int) -> None:
        self.post_message(self.LevelWanted(self, row, level))
