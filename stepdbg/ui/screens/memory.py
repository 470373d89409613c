"""The memory over the panes: what each module saved, what is in each gradient, and the largest other tensors."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.client.store import Recorded, View
from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol.memory import GetGradients, GetOtherMemory, GradientPage, GradientRow, LiveTensor, SavedBy
from stepdbg.protocol.messages import GetMemory, Query
from stepdbg.ui import format as fmt
from stepdbg.ui.header import state_text
from stepdbg.ui.messages import Wanted
from stepdbg.ui.panes.memory import drawn, model
from stepdbg.ui.widgets.line_list import LineList, Span
from stepdbg.ui.widgets.line_table import Column, LineTable

PAGE = 200
"""Gradients asked for at a time."""

TABS = ("modules", "gradients", "other tensors")

KEYS = "tab next table   ↑ ↓ move   n i k c run   [ ] ago   escape closes"

BAR = 24


def _passes(row: GradientRow) -> Span:
    if row.passes is None:
        return "unknown", "muted"
    if row.passes_of_loop:
        return f"loop {row.passes:,}", "muted"
    return f"{row.passes:,}", "changed" if row.passes > 1 else "number" if row.passes else "muted"


def _cleared(row: GradientRow) -> Span:
    return {"none": "to None", "zeros": "to zeros"}.get(row.cleared, "not seen"), "muted"


GRADIENT_COLUMNS: tuple[Column[GradientRow], ...] = (
    Column("parameter", lambda row: (row.title, "name")),
    Column("passes", _passes, priority=1, right=True, least=7),
    Column(".grad", lambda row: (model.size(row.nbytes) if row.state != "none" else "None", "number"), 2, True, 9),
    Column("kind", lambda row: (row.state if row.state == "sparse" else "", "muted"), priority=4, optional=True),
    Column("cleared last", _cleared, priority=3),
)

TENSOR_COLUMNS: tuple[Column[LiveTensor], ...] = (
    Column("tensor", lambda row: (row.name or "(no variable here)", "name" if row.name else "muted")),
    Column("bytes", lambda row: (model.size(row.nbytes), "number"), priority=1, right=True, least=9),
    Column("shape", lambda row: (fmt.shape(row.shape), "muted"), priority=2, right=True),
    Column("dtype", lambda row: (row.dtype, "muted"), priority=3),
    Column("device", lambda row: (row.device, "muted"), priority=4),
)


class MemoryScreen(ModalScreen[None]):
    """Follows `view`. The run goes on under it: its keys work here too."""

    CSS = """
    MemoryScreen { background: $background; }
    MemoryScreen .title, MemoryScreen .keys { height: 1; background: $panel; text-wrap: nowrap; }
    MemoryScreen .keys { color: $text-muted; text-overflow: ellipsis; padding: 0 1; }
    MemoryScreen .about, MemoryScreen .tabs { height: auto; padding: 0 1; text-wrap: nowrap; }
    MemoryScreen .why { height: auto; padding: 0 1; color: $foreground 70%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,M", "dismiss", "Close", show=False),
        Binding("tab", "turn(1)", "Next table", show=False),
        Binding("shift+tab", "turn(-1)", "Table before", show=False),
        Binding("n,space", "app.command('next')", "Next", show=False, id="next"),
        Binding("i", "app.command('iteration')", "Iteration", show=False, id="iteration"),
        Binding("k", "app.command('skip')", "Skip", show=False, id="skip"),
        Binding("c", "app.command('continue')", "Continue", show=False, id="continue"),
        Binding("p", "app.command('pause')", "Pause", show=False, id="pause"),
        Binding("left_square_bracket", "app.command('earlier')", "Earlier", show=False, id="earlier"),
        Binding("right_square_bracket", "app.command('later')", "Later", show=False, id="later"),
    ]
    AUTO_FOCUS = "LineTable"

    view: reactive[View | None] = reactive(None, repaint=False)
    tab: reactive[int] = reactive(0)

    def __init__(self, view: View, ask: Ask) -> None:
        super().__init__()
        self._ask = ask
        self._asked: set[tuple[int, type[Query]]] = set()
        self._gradients: tuple[int, int, dict[int, GradientRow]] = (0, 0, {})
        """Of which stop, how many, and those received."""
        self._title = Static("", classes="title")
        self._about = Static("", classes="about")
        self._tabs = Static("", classes="tabs")
        self._why = Static("", classes="why", markup=False)
        self._most = 0
        """Bytes of the module that saved the most: the longest bar."""
        self._columns: tuple[tuple[Column[Any], ...], ...] = (self._module_columns(), GRADIENT_COLUMNS, TENSOR_COLUMNS)
        self.table: LineTable[Any] = LineTable(self._columns[0])
        self.set_reactive(MemoryScreen.view, view)

    def compose(self) -> ComposeResult:
        """Title, the table with its bars, tabs, a table, keys."""
        yield self._title
        yield self._about
        yield self._tabs
        yield self._why
        yield self.table
        yield Static(KEYS, classes="keys")

    def on_mount(self) -> None:
        """Show what there is."""
        self._redraw(fresh=True)

    def on_resize(self) -> None:
        """The bars take what room there is."""
        self._redraw()

    def watch_view(self) -> None:
        """Another stop, or more is known of it."""
        self._redraw()

    def watch_tab(self) -> None:
        """Another table."""
        self._redraw(fresh=True)

    def action_turn(self, step: int) -> None:
        """Show the next table."""
        self.tab = (self.tab + step) % len(TABS)

    def _module_columns(self) -> tuple[Column[SavedBy], ...]:
        def bar(row: SavedBy) -> Span:
            return "█" * max(1, round(row.nbytes / self._most * BAR)) if self._most else "", "name"

        return (
            Column("module, as the forward went", lambda row: (row.path or "(in no module)", "name")),
            Column("class", lambda row: (row.kind, "muted"), priority=3),
            Column("saved", lambda row: (model.size(row.nbytes), "number"), priority=1, right=True, least=9),
            Column("so far", lambda row: (model.size(row.so_far), "muted"), priority=3, right=True, least=9),
            Column("nodes", lambda row: (f"{row.nodes:,}", "muted"), priority=4, right=True),
            Column("", bar, priority=2, least=BAR),
        )

    # ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────

    def _redraw(self, *, fresh: bool = False) -> None:
        view = self.view
        recorded = view.looking_at if view is not None else None
        if not self.is_mounted or view is None:
            return
        title = Content.assemble((" memory ", "bold $accent"), f" {view.info.title} · {state_text(view).plain}")
        self._title.update(title)
        self._draw_tabs()
        if recorded is None:
            self._show({}, 0, "The script has not stopped yet.")
            return
        if recorded.memory is None:
            self._want(view, recorded, GetMemory(0))
        room = max(self.size.width - 2, 20)
        headline = model.headline(recorded) or "The memory of this stop has not been counted."
        self._about.update(Content("\n").join(drawn.top(view, recorded, headline, room, 13)))
        (self._draw_modules, self._draw_gradients, self._draw_tensors)[self.tab](view, recorded, fresh)

    def _draw_tabs(self) -> None:
        parts = []
        for at, name in enumerate(TABS):
            style = "bold $accent reverse" if at == self.tab else "$foreground 75%"
            parts.append(Content.styled(f" {'▸' if at == self.tab else ' '}{name} ", style))
        self._tabs.update(Content("").join(parts))

    def _draw_modules(self, _view: View, recorded: Recorded, fresh: bool) -> None:
        memory = recorded.memory
        rows = memory.modules if memory is not None else ()
        self._most = max((row.nbytes for row in rows), default=0)
        why = ""
        if memory is not None and not rows:
            why = memory.note or "Nothing is saved for backward now: no forward has run since the last backward."
            why = why[:1].upper() + why[1:].rstrip(".") + "."
        elif memory is not None and memory.modules_left_out:
            why = f"{memory.modules_left_out:,} modules that saved less are left out."
        self._show(dict(enumerate(rows)), len(rows), why, fresh=fresh)

    def _draw_gradients(self, view: View, recorded: Recorded, fresh: bool) -> None:
        stop, total, rows = self._gradients
        number = recorded.stop.number
        if stop == number:
            self._show(rows, total, "" if total else "There are no parameters here.", fresh=fresh)
            return
        why = "Reading…" if view.live else f"Not recorded at stop {number}: gradients are listed at the present stop."
        self._show({}, 0, why)
        if view.live:
            self.run_worker(self._fetch(number, 0), group="gradients", exclusive=True)

    def _draw_tensors(self, view: View, recorded: Recorded, fresh: bool) -> None:
        others = recorded.others
        if others is not None:
            left = others.storages - len(others.largest)
            why = f"The {len(others.largest)} largest; {left:,} smaller ones are left out." if left > 0 else ""
            self._show(dict(enumerate(others.largest)), len(others.largest), why, fresh=fresh)
            return
        failed = recorded.failed.get("GetOtherMemory")
        reason = f"Not counted: {failed}." if failed else "Counting…"
        self._show({}, 0, reason if view.live else f"Not recorded at stop {recorded.stop.number}.")
        if recorded.memory is not None:
            self._want(view, recorded, GetOtherMemory(0))

    def _show(self, rows: dict[int, Any], total: int, why: str, *, fresh: bool = False) -> None:
        self._why.update(why)
        self._why.display = bool(why)
        if self.table.columns is not self._columns[self.tab]:
            self.table.show({}, 0)  # rows of another kind
            self.table.set_columns(self._columns[self.tab])
        self.table.show(rows, total)
        if fresh:
            self.table.go_to(0)

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────

    def _want(self, view: View, recorded: Recorded, query: Query) -> None:
        wish = recorded.stop.number, type(query)
        if view.live and wish not in self._asked:
            self._asked.add(wish)
            self.app.post_message(Wanted(query))

    async def _fetch(self, stop: int, offset: int) -> None:
        try:
            page: GradientPage = await self._ask(GetGradients(0, offset, PAGE))
        except (RequestError, SessionClosedError):
            return  # the script has gone on: the next stop is asked
        known = self._gradients[2] if self._gradients[0] == page.stop else {}
        self._gradients = page.stop, page.total, {**known, **dict(enumerate(page.rows, page.offset))}
        if page.stop == stop:
            self._redraw()

    def on_line_list_rows_wanted(self, event: LineList.RowsWanted) -> None:
        """The user scrolls on."""
        event.stop()
        view = self.view
        if self.tab == 1 and view is not None and view.live:
            stop = view.history[-1].stop.number
            self.run_worker(self._fetch(stop, event.offset), group="gradient pages")
