"""The pane itself: which rows are asked for and shown, and what its keys do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from stepdbg.client.store import ParameterList, Recorded, View
from stepdbg.errors import UsageError
from stepdbg.protocol import predicates
from stepdbg.protocol.graph import MARKS
from stepdbg.protocol.messages import GetParameters, Query
from stepdbg.protocol.records import ParameterRow, StopRecord
from stepdbg.ui.messages import ParameterSelected, Wanted
from stepdbg.ui.panes.parameters import cells, columns
from stepdbg.ui.panes.parameters.help import HELP, KEYS
from stepdbg.ui.panes.parameters.look import Look
from stepdbg.ui.panes.parameters.past import Past
from stepdbg.ui.panes.parameters.picker import ColumnPicker
from stepdbg.ui.panes.parameters.table import ParameterTable
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.widgets.line_list import LineList, Span
from stepdbg.ui.widgets.line_table import Column
from stepdbg.ui.widgets.line_tree import LineTree

QUICK = 2**20
"""Elements of a tensor whose statistics take no more than a few milliseconds."""

CANCELLED = "cancelled"
"""How a failure begins that the user has caused."""


def first_to_see(rows: Sequence[ParameterRow]) -> str:
    """What is selected before the user has chosen: the first parameter whose numbers take no time to read."""
    found = [row for row in rows if row.kind == "parameter"]
    small = [row for row in found if row.shape is not None and math.prod(row.shape) <= QUICK]
    return next((row.name for row in (*small, *found)), "")


class ParametersPane(RecordedPane):
    """Pane 2. Posts ParameterSelected when the cursor moves."""

    NUMBER = "2"
    TITLE = "Parameters"
    QUERY = GetParameters
    HELP: ClassVar[str | None] = HELP
    BINDINGS: ClassVar[list[BindingType]] = KEYS

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.look = Look()
        self._pattern = ""
        self._followed = ""
        """The selected parameter, once the cursor has been put on it."""
        self._wandered = False
        """Whether the cursor is on a row that has not been received."""
        self._list: ParameterList | None = None
        self._parked = ""
        """Key of the row on which the user has left the cursor, where that stands for no tensor."""
        self._ambiguous: frozenset[str] = frozenset()
        self._stepped = False
        """Whether a change by a step is known of any row."""
        self._past = Past()
        self._asked_about = 0
        """Number of the stop whose graph the rows were asked for anew."""
        self._wrong = ""
        """What is wrong with the pattern."""
        self._led = False
        """Whether the cursor follows what the graph has marked, until a parameter is selected."""
        self.specs = columns.specs(
            {
                "name": lambda row: (row.title, ""),
                "|Δw|": self._delta,
                "Δw/w": self._ratio,
                "changed": self._changed,
                "trend": lambda row: (self._past.trend(row.name), "muted"),
                "owner": lambda row: cells.owner(row, self._ambiguous),
                "remark": lambda row: cells.remark(row, why_no_delta=self._stepped),
            }
        )
        self.table = ParameterTable(self.specs, lambda row: "◂" if row.name in self.marked else "", self._again)

    def content(self) -> Iterable[Widget]:
        yield self.table

    # ── state down ──────────────────────────────────────────────────────────────────────────────────────────

    def parts(self, _view: View, recorded: Recorded) -> tuple[object, ...]:
        return recorded.parameters, recorded.graph, recorded.working.get(GetParameters.__name__)

    def show_stop(self, recorded: Recorded) -> str | None:
        listing = recorded.parameters
        failure = self._failure(recorded) if self.live else ""
        if self.live and not failure and not self._is_wanted(listing):
            self.ask(self._first_rows())
        if listing is None:
            return None
        self._ask_about_graph(recorded, listing)
        if listing is not self._list:
            self._show_list(listing)
        count = listing.total if listing.matching is None else listing.matching
        text = f"{count:,} of {listing.everything:,}"
        self.set_subtitle(f"{text} · filter: {listing.pattern}" if listing.pattern else text)
        if self._wrong:
            return self._wrong
        if failure and not self._is_wanted(listing):
            return f"As before: {failure.rstrip('.')}. Enter tries again."
        return "" if listing.total and not listing.gone else why_no_rows(listing)

    def _is_wanted(self, listing: ParameterList | None) -> bool:
        """Whether the list at hand is arranged as the user wants it, and tells what the columns need."""
        needed = self._needed()
        for known in (listing.arrangement.columns if listing is not None else (), self.look.arrangement.columns):
            if set(needed) <= set(known):  # columns come and go: what was asked for at this stop stays among it
                needed = known
                break
        self.look.ask_for(needed)
        how = self.look.arrangement
        return listing is not None and (listing.pattern, listing.arrangement) == (self._pattern, how)

    def _needed(self) -> tuple[str, ...]:
        return columns.wanted(self.specs[title] for title in self.table.possible_columns)

    def _show_list(self, listing: ParameterList) -> None:
        self._list = listing
        rows = listing.rows.values()
        self._ambiguous = cells.shared_kinds(rows)
        self._stepped = any(row.delta_norm is not None for row in rows)
        view = self.view
        if view is not None:
            self._past.look(view.history[: None if view.shown is None else view.shown + 1])
        self.table.is_tree = listing.arrangement.tree
        self.table.show_order(listing.arrangement.sort, listing.arrangement.falling)
        self.table.show_tree(listing.rows, listing.total)
        self._follow()

    def _ask_about_graph(self, recorded: Recorded, listing: ParameterList) -> None:
        """Ask again where the rows came before the graph of this stop was walked: they are about an older one."""
        number, tree = recorded.stop.number, recorded.graph
        newer = tree is not None and not tree.lens.graph and tree.page.recorded_at == number != listing.graph_at
        if self.live and newer and self._asked_about != number:
            self._asked_about = number
            self.post_message(Wanted(self._first_rows(), again=True))

    def wanted(self, _stop: StopRecord) -> tuple[Query, ...]:
        self.look.ask_for(self._needed())
        return (self._first_rows(),)

    def _first_rows(self) -> GetParameters:
        return self._rows(self.table.window[0], max(2 * self.table.page, 20))

    def _rows(self, offset: int, count: int) -> GetParameters:
        return GetParameters(0, offset, count, self._pattern, self.look.arrangement)

    def clear(self) -> None:
        self._list = None
        self.set_subtitle("")
        self.table.show_tree({}, 0)

    def state_text(self) -> str:
        """How far a sort or a filter is; else how many parameters have which mark, as the graph on screen has it."""
        recorded = self.view.looking_at if self.view is not None else None
        if recorded is None:
            return ""
        working = recorded.working.get(GetParameters.__name__) if self.live else None
        if working is not None:
            of = f" of {working.total:,}" if working.total else ""
            return f"reading: {working.done:,}{of} {working.what} · escape stops it"
        counts = dict(recorded.graph.page.marks) if recorded.graph is not None else {}
        parts = [f"{counts[mark]:,} {mark}" for mark in MARKS if counts.get(mark)]
        return " · ".join([*parts, *self._why_no_deltas(recorded.parameters), *self._without_room()])

    def _without_room(self) -> list[str]:
        """Columns that the user has chosen and cannot see."""
        possible = self.table.possible_columns
        missing = [title for title in self.look.columns if title not in possible]
        return [f"no room for {', '.join(missing)}"] if missing else []

    def _why_no_deltas(self, listing: ParameterList | None) -> list[str]:
        """Why no row tells what the last step changed, where one reason holds for all."""
        rows = listing.rows.values() if listing is not None and not self._stepped else ()
        notes = {row.delta_note for row in rows if row.owner and row.kind == "parameter"}
        return [f"no |Δw|: {note}" for note in notes if note] if len(notes) == 1 else []

    def watch_selected(self) -> None:
        self._followed = self._parked = ""
        self._led = False
        self._follow()

    def watch_marked(self) -> None:
        """Show what the node selected in the graph leads to."""
        self._led = bool(self.marked)
        self._parked = ""
        self.table.redraw()
        self._follow()

    def _follow(self) -> None:
        """Put the cursor on what the graph has marked last, or on the selected parameter, if its row is here."""
        if self._led:
            first = min((index for index, row in self.table.rows.items() if row.name in self.marked), default=None)
            if first is not None:
                self.table.go_to(first)
            return
        if self._parked:
            here = (index for index, row in self.table.rows.items() if row.key == self._parked)
            self.table.go_to(next(here, self.table.cursor))
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
                self._select(at_cursor)
            return
        rows = self.table.rows.items()
        index = next((index for index, row in rows if row.name == self.selected and cells.is_tensor(row)), None)
        if index is not None:
            self._followed = self.selected
            self.table.go_to(index)

    # ── wishes up ───────────────────────────────────────────────────────────────────────────────────────────

    def search(self, pattern: str) -> None:
        """Show only rows that `pattern` asks for: see `protocol.predicates`. What is wrong with it is said."""
        try:
            self._pattern, self._wrong = predicates.parse(pattern).text, ""
        except UsageError as error:
            self._wrong = str(error)
        self.update_pane()

    def on_line_list_rows_wanted(self, event: LineList.RowsWanted) -> None:
        event.stop()
        if self._list is not None and self._is_wanted(self._list):
            self.ask(self._rows(event.offset, event.count))

    def on_descendant_focus(self) -> None:
        """The keys come here: what the graph has led the cursor to is what they are for, so it is selected."""
        row = self.table.row_at_cursor
        if self._led and row is not None:
            self._led = False
            self._select(row)

    def on_line_list_cursor_moved(self, event: LineList.CursorMoved) -> None:
        event.stop()
        self._wandered = event.row is None
        self._led = False
        if isinstance(event.row, ParameterRow):
            self._select(event.row)

    on_line_list_row_chosen = on_line_list_cursor_moved

    def _select(self, row: ParameterRow) -> None:
        self._parked = "" if cells.is_tensor(row) else row.key
        if not self._parked:
            self.post_message(ParameterSelected(row.name))

    def on_parameter_table_columns_shown(self, event: ParameterTable.ColumnsShown) -> None:
        event.stop()
        self.update_pane()

    def on_line_tree_level_wanted(self, event: LineTree.LevelWanted) -> None:
        event.stop()
        if self._is_present("folding"):
            if event.row is None:
                self.look.base(event.level)
            else:
                self.look.level(event.row.key, event.level)
            self.update_pane()

    def on_line_tree_parent_wanted(self, event: LineTree.ParentWanted) -> None:
        event.stop()
        if event.row.above is not None:
            self.table.move_to(event.row.above)

    def _is_present(self, what: str) -> bool:
        """Whether the stop on screen can be asked; if not, the border says that `what` needs it."""
        if not self.live:
            self.set_state(f"{what} needs the present stop")
        return self.live

    # ── how it is shown: for keys and commands ──────────────────────────────────────────────────────────────

    def show_columns(self, titles: tuple[str, ...] | None) -> None:
        """Show these; none of them: those as at first; None: as before."""
        if titles is None:
            return
        self.look.columns = titles
        self.table.set_columns([self._as_chosen(at, title) for at, title in enumerate(titles or columns.DEFAULT)])
        self.update_pane()

    def _as_chosen(self, at: int, title: str) -> Column[ParameterRow]:
        """The column; one that the user has chosen has its room, from left to right as far as there is any."""
        column = self.specs[title].column
        return replace(column, priority=at, optional=title in columns.MAY_BE_EMPTY) if self.look.columns else column

    def sort(self, quantity: str, falling: bool) -> None:
        """In that order, from the first row on; empty: in the model's."""
        if self._is_present("sorting"):
            self.look.sort(quantity, falling)
            self._from_the_top()

    def show_tree(self, on: bool | None) -> None:
        """As a tree of modules, or as a list; None: the other of the two."""
        if self._is_present("the tree"):
            self.look.tree(not self.look.arrangement.tree if on is None else on)
            self.update_pane()

    def _from_the_top(self) -> None:
        """Show the rows as they are wanted now, with the first of them selected once it is here."""
        self.table.go_to(0)
        self._parked, self._followed, self._wandered = "", self.selected, True
        self.update_pane()

    def action_columns(self) -> None:
        """Choose columns from a list."""
        shown = self.look.columns or columns.DEFAULT
        self.app.push_screen(ColumnPicker(self.specs, shown), self.show_columns)

    def action_tree(self) -> None:
        """As a tree, or as a list."""
        self.show_tree(None)

    def action_sort(self, step: int) -> None:
        """By the column after the one that rows are sorted by, or before it."""
        if self._is_present("sorting"):
            self.look.sort_beside(self.table.sortable, step)
            self._from_the_top()

    def action_reverse(self) -> None:
        """The other way round."""
        now = self.look.arrangement
        if not now.sort:
            self.notify("rows are in the model's own order: . sorts by a column, R reverses that", markup=False)
        else:
            self.sort(now.sort, not now.falling)

    def _again(self) -> bool:
        """Ask once more, after it failed or was cancelled; False: it did not."""
        recorded = self.view.looking_at if self.view is not None else None
        if not self.live or recorded is None or not self._failure(recorded) or self._is_wanted(recorded.parameters):
            return False
        self.post_message(Wanted(self._first_rows(), again=True))
        return True

    # ── cells that know more than their row ─────────────────────────────────────────────────────────────────

    def _delta(self, row: ParameterRow) -> Span:
        return self._known_after_a_step(cells.delta(row), row)

    def _ratio(self, row: ParameterRow) -> Span:
        return self._known_after_a_step(cells.ratio(row), row)

    def _known_after_a_step(self, span: Span, row: ParameterRow) -> Span:
        wants = bool(self.look.columns) or self._stepped
        return cells.NONE if not span[0] and wants and row.kind == "parameter" else span

    def _changed(self, row: ParameterRow) -> Span:
        if not cells.is_tensor(row):
            return cells.EMPTY
        text, role = cells.changed(row)
        arrow = self._past.direction(row)
        return (text.replace("value", f"value {arrow}", 1) if arrow else text), role


def why_no_rows(listing: ParameterList) -> str:
    """One sentence that says why a list that has been received is empty."""
    if listing.gone:
        return f"Nothing to show: {listing.gone.rstrip('.')}."
    if listing.pattern.startswith(predicates.MARK) and " " not in listing.pattern:
        return f"No parameter is {listing.pattern.removeprefix(predicates.MARK)}, as far as a graph has been recorded."
    if listing.pattern:
        return f"No parameter matches “{listing.pattern}”."
    return "No parameters: no module was called yet, and none was found in the script's variables."
