"""Every parameter with its norms, what changed since the last stop, and who owns it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.widget import Widget

from stepdbg.client.store import ParameterList, Recorded, View
from stepdbg.protocol.graph import MARKS
from stepdbg.protocol.messages import GetParameters, Query
from stepdbg.protocol.records import ParameterRow, StopRecord
from stepdbg.ui import format as fmt
from stepdbg.ui import marks
from stepdbg.ui.messages import ParameterSelected, Wanted
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.widgets.line_list import LineList, Span
from stepdbg.ui.widgets.line_table import GAP, Column, LineTable

QUICK = 2**20
"""Elements of a tensor whose statistics take no more than a few milliseconds."""


def first_to_see(rows: Sequence[ParameterRow]) -> ParameterRow:
    """What is selected before the user has chosen: the first parameter whose numbers take no time to read."""
    small = (row for row in rows if row.shape is not None and math.prod(row.shape) <= QUICK)
    return next(small, rows[0])


class ParameterTable(LineTable[ParameterRow]):
    """A table whose last column, of sentences, takes the room that is left over."""

    LAST_LEAST = 12

    def _fit(self, width: int) -> list[int | None]:
        widths = super()._fit(width)
        if widths[-1] is None and self._natural[-1]:
            room = width - sum(each + GAP for each in widths if each is not None)
            widths[-1] = room if room >= self.LAST_LEAST else None
        return widths


class ParametersPane(RecordedPane):
    """Pane 2. Posts ParameterSelected when the cursor moves."""

    NUMBER = "2"
    TITLE = "Parameters"
    QUERY = GetParameters
    HELP: ClassVar[str | None] = """\
| column | meaning |
|---|---|
| **name** | as in `named_parameters()`, after the root module's name; `…` cuts it at the left |
| **shape**, **dtype** | `?` for a lazy parameter that has no shape yet |
| **\\|w\\|** | 2-norm of the value, over its finite elements |
| **\\|g\\|** | 2-norm of the gradient; `none`: `.grad` is None |
| **g is** | what the gradient's numbers are: scaled (by GradScaler), unscaled, clipped |
| **changed** | since the stop before: `value`, `grad`, both, `–` neither, `?` no earlier record |
| **owner** | the optimizer and its parameter group; `nobody`: no optimizer will ever step it |
| **reached** | `● yes`: the loss's graph arrives here; `○ no`: not in the graph; blank: no graph recorded |
| | `● unowned`: reached, but no optimizer holds it; `○ unused`: an optimizer holds it, but not reached |
| | `– frozen`: takes no gradient; `shared`: used in more than one place, or under more than one name |
| **nan/inf** | how many NaN and Inf elements there are in the value (`in w`) and the gradient (`in g`) |
| **remark** | why it is not reached, where that can be told; or what is odd about it |
| `▌` | the cursor: the values pane follows it |
| `◂` | the node selected in the graph leads to it |

`/` filters by name, owner or dtype; with `*`, `?` or `[` it is a glob; `is:unowned` and `is:unused`, `is:reached`,
`is:unreached`, `is:shared`, `is:frozen` show those with that mark, which the lower border counts. Columns leave
when there is no room.
Up, down or `ctrl+k`, `j` move (vim's `k` is *skip* here); `g` `G` first and last; `ctrl+u` `ctrl+d` by page.
"""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._pattern = ""
        self._followed = ""
        """The selected parameter, once the cursor has been put on it."""
        self._wandered = False
        """Whether the cursor is on a row that has not been received."""
        self._list: ParameterList | None = None
        self._ambiguous: frozenset[str] = frozenset()
        self._asked_about = 0
        """Number of the stop whose graph the rows were asked for anew."""
        self._wrong = ""
        """What is wrong with the pattern."""
        self._led = False
        """Whether the cursor follows what the graph has marked, until a parameter is selected."""
        self.table: LineTable[ParameterRow] = ParameterTable(
            (
                Column("name", self._named),
                Column("shape", _shape, priority=5, right=True, most=16),
                Column("dtype", lambda row: (row.dtype, "muted"), priority=7),
                Column("|w|", _value_norm, priority=1, right=True, least=7, most=10),
                Column("|g|", _grad_norm, priority=1, right=True, least=7, most=10),
                Column("g is", lambda row: (row.grad_label, "muted"), priority=6, optional=True),
                Column("changed", changed, priority=2),
                Column("owner", self._owner, priority=3, most=18),
                Column("reached", reached, priority=4, optional=True, most=24),
                Column("nan/inf", _nonfinite, optional=True, most=22),
                Column("remark", _remark, priority=8, optional=True, most=72),
            )
        )

    def content(self) -> Iterable[Widget]:
        yield self.table

    # ── state down ──────────────────────────────────────────────────────────────────────────────────────────

    def parts(self, _view: View, recorded: Recorded) -> tuple[object, ...]:
        return recorded.parameters, recorded.graph

    def show_stop(self, recorded: Recorded) -> str | None:
        if self._wrong:
            self.clear()
            return self._wrong
        listing = recorded.parameters
        if self.live and (listing is None or listing.pattern != self._pattern):
            self.ask(self._first_rows())
        if listing is None:
            return None
        self._ask_about_graph(recorded, listing)
        if listing is not self._list:
            self._list = listing
            self._ambiguous = shared_kinds(listing.rows.values())
            self.table.show(listing.rows, listing.total)
            self._follow()
        text = f"{listing.total:,} of {listing.everything:,}"
        self.set_subtitle(f"{text} · filter: {listing.pattern}" if listing.pattern else text)
        return "" if listing.total and not listing.gone else why_no_rows(listing)

    def _ask_about_graph(self, recorded: Recorded, listing: ParameterList) -> None:
        """Ask again where the rows came before the graph of this stop was walked: they are about an older one."""
        number, tree = recorded.stop.number, recorded.graph
        newer = tree is not None and not tree.lens.graph and tree.page.recorded_at == number != listing.graph_at
        if self.live and newer and self._asked_about != number:
            self._asked_about = number
            self.post_message(Wanted(self._first_rows(), again=True))

    def wanted(self, _stop: StopRecord) -> tuple[Query, ...]:
        return (self._first_rows(),)

    def _first_rows(self) -> GetParameters:
        return GetParameters(0, self.table.window[0], max(2 * self.table.page, 20), self._pattern)

    def clear(self) -> None:
        self._list = None
        self.set_subtitle("")
        self.table.show({}, 0)

    def state_text(self) -> str:
        """How many parameters have which mark, as the graph on screen was recorded."""
        recorded = self.view.looking_at if self.view is not None else None
        if recorded is None or recorded.graph is None:
            return ""
        counts = dict(recorded.graph.page.marks)
        return " · ".join(f"{counts[mark]:,} {mark}" for mark in MARKS if counts.get(mark))

    def watch_selected(self) -> None:
        self._followed = ""
        self._led = False
        self._follow()

    def watch_marked(self) -> None:
        """Show what the node selected in the graph leads to."""
        self._led = bool(self.marked)
        self.table.redraw()
        self._follow()

    def _follow(self) -> None:
        """Put the cursor on what the graph has marked last, or on the selected parameter, if its row is here."""
        if self._led:
            first = min((index for index, row in self.table.rows.items() if row.name in self.marked), default=None)
            if first is not None:
                self.table.go_to(first)
            return
        at_cursor = self.table.row_at_cursor
        if not self.selected:
            return
        if at_cursor is not None and at_cursor.name == self.selected:
            self._followed, self._wandered = self.selected, False
            return
        if self.selected == self._followed and self._wandered:
            # The user has moved on to a row that had to be received first: it is the selected one once it is here.
            if at_cursor is not None:
                self._wandered = False
                self.post_message(ParameterSelected(at_cursor.name))
            return
        rows = self.table.rows.items()
        index = next((index for index, row in rows if row.name == self.selected), None)
        if index is not None:
            self._followed = self.selected
            self.table.go_to(index)

    # ── wishes up ───────────────────────────────────────────────────────────────────────────────────────────

    def search(self, pattern: str) -> None:
        """Show only parameters whose name, owner or dtype matches `pattern`, or that have the mark of `is:MARK`."""
        self._pattern, self._wrong = marks.read(pattern, MARKS)
        self.update_pane()

    def on_line_list_rows_wanted(self, event: LineList.RowsWanted) -> None:
        event.stop()
        self.ask(GetParameters(0, event.offset, event.count, self._pattern))

    def on_line_list_cursor_moved(self, event: LineList.CursorMoved) -> None:
        event.stop()
        self._wandered = event.row is None
        self._led = False
        if isinstance(event.row, ParameterRow):
            self.post_message(ParameterSelected(event.row.name))

    on_line_list_row_chosen = on_line_list_cursor_moved

    def _named(self, row: ParameterRow) -> Span:
        return (f"{row.name} ◂", "name") if row.name in self.marked else (row.name, "")

    def _owner(self, row: ParameterRow) -> Span:
        if not row.owner:
            return "nobody", "muted"
        if not row.owner_kind or row.owner_kind in self._ambiguous:
            return row.owner, ""
        bracket = row.owner.rfind("[")
        return row.owner_kind + (row.owner[bracket:] if bracket >= 0 else ""), ""


def why_no_rows(listing: ParameterList) -> str:
    """One sentence that says why a list that has been received is empty."""
    if listing.gone:
        return f"Nothing to show: {listing.gone.rstrip('.')}."
    if listing.pattern.startswith(marks.PREFIX):
        return f"No parameter is {listing.pattern.removeprefix(marks.PREFIX)}, as far as a graph has been recorded."
    if listing.pattern:
        return f"No parameter matches “{listing.pattern}”."
    return "No parameters: no module was called yet, and none was found in the script's variables."


def shared_kinds(rows: Iterable[ParameterRow]) -> frozenset[str]:
    """Optimizer classes of which there are several among `rows`: these are told apart by their names."""
    first: dict[str, str] = {}
    several = set()
    for row in rows:
        name = row.owner.rpartition("[")[0] or row.owner
        if row.owner and first.setdefault(row.owner_kind, name) != name:
            several.add(row.owner_kind)
    return frozenset(several)


def changed(row: ParameterRow) -> Span:
    """What changed since the stop before, in words."""
    if row.value_changed is None and row.grad_changed is None:
        return "?", "muted"
    words = [word for word, did in (("value", row.value_changed), ("grad", row.grad_changed)) if did]
    return (" ".join(words), "changed") if words else ("–", "muted")


def _shape(row: ParameterRow) -> Span:
    return fmt.shape(row.shape), "muted"


def _value_norm(row: ParameterRow) -> Span:
    if row.value_norm is None:
        return "?", "muted"
    return fmt.number(row.value_norm), "changed" if row.value_changed else "number"


def _grad_norm(row: ParameterRow) -> Span:
    if row.grad == "none":
        return "none", "muted"
    if row.grad_norm is None:
        return "?", "muted"
    return fmt.number(row.grad_norm), "changed" if row.grad_changed else "number"


def reached(row: ParameterRow) -> Span:
    """Whether the loss's graph arrives at it, and what is special about that."""
    word, role = "", "muted"
    if "frozen" in row.marks or not row.requires_grad:
        word = "– frozen"
    elif row.reached is not None:
        word, role = ("● yes", "good") if row.reached else ("○ no", "muted")
        for mark, sign in (("unowned", "●"), ("unused", "○")):
            if mark in row.marks:
                word, role = f"{sign} {mark}", "name"
    if "shared" in row.marks:
        word = f"{word}, shared" if word else "shared"
    return word, role


def _nonfinite(row: ParameterRow) -> Span:
    counts = (("w", row.nonfinite), ("g", row.grad_nonfinite))
    return " ".join(f"{count:,} in {where}" for where, count in counts if count), "bad"


def _remark(row: ParameterRow) -> Span:
    parts = [row.cause] if row.cause else []
    parts += ["sparse grad"] if row.grad == "sparse" else ["unreadable grad"] if row.grad == "unreadable" else []
    parts += [row.note] if row.note else []
    return ", ".join(parts), "muted"
