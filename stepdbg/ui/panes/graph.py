"""The autograd graph as a tree, from the loss down to the parameters it reaches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from stepdbg.client.store import GraphTree, ParameterList, Recorded, View
from stepdbg.protocol.messages import GetGraph, Query
from stepdbg.protocol.records import GraphRow, StopRecord
from stepdbg.ui import format as fmt
from stepdbg.ui.messages import ParameterSelected
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.widgets.line_list import LineList, Span, Spans
from stepdbg.ui.widgets.line_table import Column
from stepdbg.ui.widgets.line_tree import LineTree

PAGE = 80
LEAVES = {"parameter": ("● ", "good"), "tensor": ("○ ", "muted"), "shared": ("↑ ", "muted")}


class GraphPane(RecordedPane):
    """Pane 1. Posts ParameterSelected when the cursor comes to a parameter."""

    NUMBER = "1"
    TITLE = "Graph"
    QUERY = GetGraph
    HELP: ClassVar[str | None] = """\
What `loss.backward()` will walk (or has walked), grouped by the module whose call made it. The title tells
how many parameters of each root module the loss reaches; a module with `0/4` learns nothing from this loss.

| sign | meaning |
|---|---|
| `●` | a parameter: its gradient is written here |
| `○` | another leaf tensor that takes a gradient |
| `↑` | a leaf that is shown further up already |
| `▾` `▸` | unfolded, folded |
| `⋯12` | twelve levels deep: the guides of the upper ones are left out |
| `▌` | the cursor |

Columns: **|g|** norm of a parameter's gradient, **shape**, **kept** bytes that the row holds for backward.
*freed by backward*: the buffers are gone, the picture was recorded before: at which stop, is said beside it.

Up, down or `ctrl+k`, `j` move (vim's `k` is *skip* here); `h` `l` left right fold and unfold; `enter`
toggles; `-` folds all rows that are on hand, `+` unfolds everything; `g` `G` first and last row.
"""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._pattern = ""
        self._folded: frozenset[int] = frozenset()
        self._tree: GraphTree | None = None
        self._shown: tuple[int, GraphTree, ParameterList | None] | None = None
        self._norms: dict[str, float | None] = {}
        self.tree_list: LineTree[GraphRow] = LineTree(
            (
                Column("loss", lambda row: (row.name, "")),
                Column("|g|", self._norm, priority=3, right=True, optional=True, most=10),
                Column("shape", _shape, priority=1, right=True, most=14, optional=True),
                Column("kept", _kept, priority=2, right=True, most=9, optional=True),
            ),
            self._label,
        )

    def content(self) -> Iterable[Widget]:
        yield self.tree_list

    # ── state down ──────────────────────────────────────────────────────────────────────────────────────────

    def parts(self, _view: View, recorded: Recorded) -> tuple[object, ...]:
        return recorded.graph, recorded.parameters

    def show_stop(self, recorded: Recorded) -> str | None:
        tree = recorded.graph
        wanted = tuple(sorted(self._folded)), self._pattern
        if self.live and (tree is None or (tree.folded, tree.pattern) != wanted):
            self.ask(self._first_rows())
        if tree is None:
            return None
        if self._folded and self._another_graph(tree):
            self._folded = frozenset()
            self._tree = tree
            return self.show_stop(recorded)
        self._tree = tree
        self.set_subtitle(self._title(tree))
        if tree.page.recorded_at is None or not tree.page.total:
            self.tree_list.show_tree({}, 0, frozenset())
            self._shown = None
            return self._why_no_rows(tree)
        now = recorded.stop.number, tree, recorded.parameters
        if now != self._shown:
            self._shown = now
            rows = recorded.parameters.rows.values() if recorded.parameters is not None else ()
            self._norms = {row.name: row.grad_norm for row in rows if row.grad != "none"}
            self.tree_list.show_tree(tree.rows, tree.page.total, frozenset(tree.folded))
        return ""

    def wanted(self, _stop: StopRecord) -> tuple[Query, ...]:
        return (self._first_rows(),)

    def _first_rows(self) -> GetGraph:
        first = self.tree_list.window[0] if self._tree is not None else 0
        return self._rows(first, max(PAGE, 2 * self.tree_list.page))

    def clear(self) -> None:
        self._tree = self._shown = None
        self.set_subtitle("")
        self.tree_list.show_tree({}, 0, frozenset())

    def _why_no_rows(self, tree: GraphTree) -> str:
        if tree.page.recorded_at is None:
            note = tree.page.note.rstrip(".")
            if note.startswith("no graph"):
                return f"{note[0].upper()}{note[1:]}."
            return f"No graph: {note}." if note else "No graph: the script has not reached a forward yet."
        return f"Nothing in the graph matches “{tree.pattern}”."

    def state_text(self) -> str:
        if self._tree is None or self._tree.page.recorded_at is None:
            return ""
        page = self._tree.page
        parts = [fmt.plural(page.nodes, "node"), fmt.plural(page.edges, "edge")]
        parts += ["freed by backward"] if page.freed else []
        parts += [f"recorded at stop {page.recorded_at}"] if page.recorded_at != page.stop else []
        parts += [page.note] if page.note else []
        return " · ".join(parts)

    def _title(self, tree: GraphTree) -> str:
        page = tree.page
        reach = " · ".join(f"{r.name} {r.reached}/{r.total}" for r in page.reach)
        parts = [f"{page.root} reaches {reach}"] if page.root and reach else [page.root] if page.root else []
        parts += [f"filter: {tree.pattern}"] if tree.pattern else []
        return " · ".join(parts)

    def _another_graph(self, tree: GraphTree) -> bool:
        """Whether the rows that are folded were rows of a graph of another build."""
        if self._tree is None:
            return False
        before, now = self._tree.page, tree.page
        return (before.nodes, before.edges, before.root_op) != (now.nodes, now.edges, now.root_op)

    # ── wishes up ───────────────────────────────────────────────────────────────────────────────────────────

    def search(self, pattern: str) -> None:
        """Show only rows whose name or detail contains `pattern`, with the rows above them."""
        self._pattern = pattern
        self.update_pane()

    def on_line_list_rows_wanted(self, event: LineList.RowsWanted) -> None:
        event.stop()
        self.ask(self._rows(event.offset, event.count))

    def on_line_list_cursor_moved(self, event: LineList.CursorMoved) -> None:
        event.stop()
        row = event.row
        if isinstance(row, GraphRow) and row.kind in ("parameter", "shared"):
            self.post_message(ParameterSelected(row.name))

    on_line_list_row_chosen = on_line_list_cursor_moved

    def on_line_tree_folds_wanted(self, event: LineTree.FoldsWanted) -> None:
        event.stop()
        if self.live:
            self._folded = event.folded
            self.update_pane()
        else:
            self.set_state("folding needs the present stop")

    def _rows(self, offset: int, count: int) -> GetGraph:
        return GetGraph(0, offset, count, tuple(sorted(self._folded)), self._pattern)

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────────

    def _label(self, row: GraphRow, width: int) -> Spans:
        if row.kind in LEAVES:
            glyph, role = LEAVES[row.kind]
            name = fmt.tail(row.name, max(width - 2, 1))
            spans: list[Span] = [(glyph, role), (name, "" if row.kind == "parameter" else "muted")]
            return [*spans, (f" {row.detail}", "muted")] if row.detail else spans
        name = fmt.tail(row.name, width)
        role = "name" if row.kind in ("module", "loss") else ""
        return [(name, role), (f" {row.detail}", "muted")] if row.detail else [(name, role)]

    def _norm(self, row: GraphRow) -> Span:
        if row.kind != "parameter":
            return "", ""
        return fmt.number(self._norms.get(row.name)), "number"


def _shape(row: GraphRow) -> Span:
    return (fmt.shape(row.shape), "muted") if row.shape is not None else ("", "")


def _kept(row: GraphRow) -> Span:
    return fmt.byte_count(row.nbytes), "muted"
