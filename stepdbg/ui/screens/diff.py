"""What differs between two stops, parameters, modules or files: a table over the panes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol.compare import DiffOrder, DiffPage, DiffRow, GetDiff
from stepdbg.protocol.messages import Working
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import LineList, Span
from stepdbg.ui.widgets.line_table import Column, LineTable

PAGE = 200
"""Rows asked for at a time."""

ORDERS = {
    DiffOrder.RATIO: "|Δ|/|A|",
    DiffOrder.DELTA: "|Δ|",
    DiffOrder.MOST: "max |Δ|",
    DiffOrder.DIFFERING: "differing",
    DiffOrder.NAME: "name",
}
"""What can be sorted by, as the column is called."""

GONE = "the script has gone on, or ended"


def _name(row: DiffRow) -> Span:
    other = row.other_shown or row.other_name
    return (f"{row.title} : {other}" if other and other != row.title else row.title), ""


def _number(value: float | None, state: str) -> Span:
    if value is None:
        return "–" if state != "unreadable" else "?", "muted"
    return (("∞" if value > 0 else fmt.MINUS + "∞") if math.isinf(value) else fmt.number(value)), "number"


def _changed(value: float | None, row: DiffRow) -> Span:
    text, role = _number(value, row.state)
    return text, "changed" if value and row.state == "differs" else "muted" if value == 0 else role


def _equal(row: DiffRow) -> Span:
    """Whether the two are the same, in words."""
    role = {"equal": "good", "differs": "changed", "other shape": "bad", "unreadable": "muted"}.get(row.state, "name")
    return {"equal": "yes", "differs": "no"}.get(row.state, row.state), role


def _shape(row: DiffRow) -> Span:
    text = fmt.shape(row.shape)
    return (f"{text} : {fmt.shape(row.other_shape)}" if row.other_shape is not None else text), "muted"


def _dtype(row: DiffRow) -> Span:
    return (f"{row.dtype} : {row.other_dtype}" if row.other_dtype else ""), "muted"


def _differing(row: DiffRow) -> Span:
    if row.state not in ("equal", "differs"):
        return "", ""
    return f"{row.differing:,} of {row.numel:,}", "muted"


def _at(row: DiffRow) -> Span:
    return (f"[{', '.join(map(str, row.at))}]" if row.at else ""), "muted"


def _remark(row: DiffRow) -> Span:
    nonfinite = f"{row.nonfinite:,} nan/inf left out" if row.nonfinite else ""
    return ", ".join(part for part in (nonfinite, row.note) if part), "muted"


def counts(page: DiffPage) -> str:
    """How many of what: "4 differ · 8 equal · 1 only on one side"."""
    words = (
        (page.differ, "differs" if page.differ == 1 else "differ"),
        (page.equal, "equal"),
        (page.unpaired, "only on one side"),
        (page.unlike, "not comparable"),
    )
    return " · ".join(f"{count:,} {word}" for count, word in words if count) or "nothing to compare"


class DiffScreen(ModalScreen[str]):
    """A and B, how many differ, and by how much each. Dismissed with why it could not be made; empty: closed."""

    CSS = """
    DiffScreen { align: center middle; background: $background 60%; }
    DiffScreen > Vertical {
        width: 98%; max-width: 180; height: 94%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
    }
    DiffScreen LineTable { background: $surface; }
    DiffScreen .about { height: auto; max-height: 6; padding: 0 1; }
    DiffScreen Input { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    DiffScreen .keys { height: 1; text-align: center; background: $panel; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", show=False),
        Binding("q", "close", "Close", show=False),
        Binding("comma", "order(-1)", "Sort by the column before", show=False),
        Binding("full_stop", "order(1)", "Sort by the column after", show=False),
        Binding("R", "reverse", "Reverse the order", show=False),
        Binding("slash", "filter", "Filter", show=False),
    ]

    def __init__(self, query: GetDiff, ask: Ask) -> None:
        super().__init__()
        self._query = replace(query, count=PAGE)
        self._ask = ask
        self.page: DiffPage | None = None
        """The last one received."""
        self._rows: dict[int, DiffRow] = {}
        self.filter = Input(placeholder="part of a name, or a glob")
        self._about = Static("comparing…", classes="about", markup=False)
        columns: tuple[Column[DiffRow], ...] = (
            Column("name", _name),
            Column("equal", _equal, priority=1),
            Column("|Δ|/|A|", lambda row: _changed(row.ratio, row), priority=1, right=True, least=9),
            Column("|Δ|", lambda row: _changed(row.delta, row), priority=2, right=True, least=9),
            Column("max |Δ|", lambda row: _changed(row.most, row), priority=3, right=True, least=9),
            Column("at", _at, priority=4, optional=True, most=20),
            Column("|A|", lambda row: _number(row.norm, row.state), priority=5, right=True, least=7),
            Column("|B|", lambda row: _number(row.other_norm, row.state), priority=5, right=True, least=7),
            Column("shape", _shape, priority=6, right=True, most=24),
            Column("differing", _differing, priority=7, right=True, optional=True, most=26),
            Column("dtype", _dtype, priority=8, optional=True, most=24),
            Column("remark", _remark, priority=9, optional=True, most=60),
        )
        self._titles = [column.title for column in columns]
        self.table: LineTable[DiffRow] = LineTable(columns)

    def compose(self) -> ComposeResult:
        """What is compared, the table, a filter, and the keys."""
        with Vertical() as box:
            box.border_title = "Diff"
            yield self._about
            yield self.table
            yield self.filter
            yield Static(", . sort   R reverse   / filter   ↑ ↓ move   escape closes", classes="keys")

    def on_mount(self) -> None:
        """Ask for the first rows."""
        self.table.focus()
        self._again()

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────

    def _again(self) -> None:
        """Ask anew, in another order or for other rows."""
        self._rows = {}
        self._mark_order()
        self.run_worker(self._fetch(replace(self._query, offset=0), fresh=True), group="diff", exclusive=True)

    async def _fetch(self, query: GetDiff, *, fresh: bool = False) -> None:
        try:
            page: DiffPage = await self._ask(query, self._told)
        except RequestError as error:
            self.dismiss(str(error))
            return
        except SessionClosedError:
            self.dismiss(GONE)
            return
        self._rows = {**({} if fresh else self._rows), **dict(enumerate(page.rows, page.offset))}
        self.page = page
        self._tell(page)
        self.table.show(self._rows, page.total)
        if fresh:
            self.table.go_to(0)

    def _told(self, working: Working) -> None:
        share = f"{working.done / working.total:.0%}" if working.total else f"{working.done:,} {working.what}"
        self._about.update(f"comparing… {share}, escape stops it")

    def _tell(self, page: DiffPage) -> None:
        lines = [f"A  {page.title}", f"B  {page.other_title}", counts(page)]
        if self._query.pattern:
            lines[2] += f" · {page.total:,} match “{self._query.pattern}”"
        self._about.update("\n".join([*lines, page.note] if page.note else lines))

    def on_line_list_rows_wanted(self, event: LineList.RowsWanted) -> None:
        """The user scrolls on."""
        event.stop()
        query = replace(self._query, offset=event.offset, count=max(event.count, PAGE))
        self.run_worker(self._fetch(query), group="diff pages")

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def _mark_order(self) -> None:
        """The column that is sorted by says so."""
        wanted, mark = ORDERS[self._query.order], "▴" if self._query.reverse else "▾"
        for at, title in enumerate(self._titles):
            self.table.set_title(at, f"{title} {mark}" if title == wanted else title)

    def action_order(self, step: int) -> None:
        """Sort by the next column that can be sorted by."""
        orders = list(ORDERS)
        at = (orders.index(self._query.order) + step) % len(orders)
        self._query = replace(self._query, order=orders[at])
        self._again()

    def action_reverse(self) -> None:
        """The other way round."""
        self._query = replace(self._query, reverse=not self._query.reverse)
        self._again()

    def action_filter(self) -> None:
        """Type what names must contain."""
        self.filter.display = True
        self.filter.focus()

    @on(Input.Submitted)
    def _filtered(self, event: Input.Submitted) -> None:
        event.stop()
        self._search(event.value.strip())

    def _search(self, pattern: str) -> None:
        self.filter.display = False
        self.table.focus()
        if pattern != self._query.pattern:
            self._query = replace(self._query, pattern=pattern)
            self._again()

    def action_leave(self) -> None:
        """Out of the filter first, then of the screen; what is still being made is given up."""
        if self.filter.display:
            self._search(self._query.pattern)
        elif self._query.pattern:
            self.filter.value = ""
            self._search("")
        else:
            self.action_close()

    def action_close(self) -> None:
        """Back to the panes."""
        self.workers.cancel_node(self)
        self.dismiss("")
