"""The tree of the graph pane: what is in its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType

from stepdbg.client.store import GraphTree, ParameterList
from stepdbg.protocol.graph import GraphRow, GraphView, Reach
from stepdbg.ui import format as fmt
from stepdbg.ui.messages import ModuleMarked
from stepdbg.ui.panes.graph import rows
from stepdbg.ui.widgets.line_list import Span, Spans
from stepdbg.ui.widgets.line_table import Column
from stepdbg.ui.widgets.line_tree import LineTree

TITLES = {GraphView.MODULES: "by module", GraphView.RAW: "node by node"}


class GraphTreeList(LineTree[GraphRow]):
    """Rows of a graph; gradients' norms come from the list of parameters."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "mark", "Keep a module's output", show=False)]

    def __init__(self, enter: Callable[[], bool]) -> None:
        """`enter` does what enter is for before it folds; False: nothing."""
        super().__init__(
            (
                Column(TITLES[GraphView.MODULES], lambda row: (row.title, "")),
                Column("|g|", self._norm, priority=4, right=True, optional=True, most=10),
                Column("∂", rows.flow, priority=1, right=True, optional=True, most=14),
                Column("shape", rows.shape, priority=2, right=True, most=14, optional=True),
                Column("dtype", self._dtype, priority=5, optional=True, most=10),
                Column("kept", self._kept, priority=3, right=True, most=11, optional=True),
            ),
            self._label,
            lit=lambda row: row.lit,
        )
        self._enter = enter
        self._norms: dict[str, float | None] = {}
        self._reach: dict[str, Reach] = {}
        self._usual = ""
        """The dtype that most rows have."""
        self._unmeasured = False

    def show_graph(self, tree: GraphTree, listing: ParameterList | None) -> None:
        """Show the rows that are here, with the norms of the parameters that are here."""
        found = listing.rows.values() if listing is not None else ()
        self._norms = {row.name: row.grad_norm for row in found if row.grad != "none"}
        self._reach = {reach.name: reach for reach in tree.page.reach}
        dtypes = Counter(row.dtype for row in tree.page.rows if row.dtype)
        self._usual = dtypes.most_common(1)[0][0] if dtypes else self._usual
        self._unmeasured = tree.page.unmeasured
        self.set_title(0, TITLES[tree.lens.view])
        self.show_tree(tree.rows, tree.page.total, chains=tree.lens.view is GraphView.RAW)

    def action_activate(self) -> None:
        """Fold, unfold or follow, unless enter is for something else now."""
        if not self._enter():
            super().action_activate()

    def action_mark(self) -> None:
        """Keep what the module under the cursor puts out, or no longer."""
        row = self.row_at_cursor
        if row is not None and row.kind == "module":
            self.post_message(ModuleMarked(row.name))
        else:
            self.notify("m keeps what a module puts out: put the cursor on a module", markup=False)

    def is_sentence(self, row: GraphRow) -> bool:
        return row.kind in rows.SENTENCES

    def _label(self, row: GraphRow, width: int) -> Spans:
        return rows.label(row, width, self._reach)

    def _norm(self, row: GraphRow) -> Span:
        if row.kind != "parameter":
            return "", ""
        return fmt.number(self._norms.get(row.name)), "number"

    def _dtype(self, row: GraphRow) -> Span:
        return (row.dtype if row.dtype != self._usual else "", "muted")

    def _kept(self, row: GraphRow) -> Span:
        return rows.kept(row, unmeasured=self._unmeasured)
