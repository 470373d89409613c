"""What the commands on breakpoints do: have them made and changed, keep them, and run what a hit runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from stepdbg.commands import book, parse
from stepdbg.errors import RequestError, SessionClosedError, UsageError
from stepdbg.protocol.breakpoints import (
    WATCHES,
    Book,
    Breakpoint,
    DeleteBreakpoint,
    EditBreakpoint,
    GetBreakpoints,
    Kind,
    SetBreakpoint,
    Spec,
)
from stepdbg.protocol.records import StopRecord
from stepdbg.ui.graphs import GONE
from stepdbg.ui.panes.graph.pane import GraphPane
from stepdbg.ui.panes.parameters import ParametersPane
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.screens.breakpoints import BreakpointsScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

Query = SetBreakpoint | EditBreakpoint | DeleteBreakpoint | GetBreakpoints


class BreakpointCommands:
    """The app's part for breakpoints (`commands.command.BreakpointHost`)."""

    def __init__(
        self, app: StepdbgApp, ask: Callable[[Any], Awaitable[Any]], answered: Callable[[int, Any, Book], None]
    ) -> None:
        self._app = app
        self._ask = ask
        self._answered = answered

    @property
    def rows(self) -> tuple[Breakpoint, ...]:
        """All of them, as last told."""
        view = self._app.view
        return view.book.rows if view is not None and view.book is not None else ()

    # ── BreakpointHost ──────────────────────────────────────────────────────────────────────────────────────

    def do(self, query: SetBreakpoint | EditBreakpoint | DeleteBreakpoint) -> None:
        """Have it done, and say what it did."""
        self._app.run_worker(self._do(query), group="breakpoints")

    def toggle(self) -> None:
        """Set one at what is selected, or delete the one that is there."""
        found = self.selection()
        if isinstance(found, str):
            self._app.notify(f"break: {found}", severity="warning", markup=False)
            return
        there = next((row for row in self.rows if _same(row.spec, found)), None)
        self.do(SetBreakpoint(0, found) if there is None else DeleteBreakpoint(0, there.number))

    def unwatch(self, what: str) -> None:
        """Delete the watch of that number or text; "all": every one."""
        try:
            chosen = book.watches(self.rows, what)
        except UsageError as error:
            self._say(str(error), wrong=True)
            return
        for row in chosen:
            self.do(DeleteBreakpoint(0, row.number))

    def show(self) -> None:
        """List them all."""
        if self._screen() is None:
            self._app.clear_notifications()  # they would lie over the list
            self._app.push_screen(BreakpointsScreen(self))
        view = self._app.view
        if view is not None and view.live:
            self._app.run_worker(self._do(GetBreakpoints(0)), group="breakpoints")
        self.tell_state()

    def file(self) -> str:
        """The file that the source pane shows."""
        frame = self._app.main.query_one(SourcePane).frame
        return frame.file if frame is not None else ""

    # ── the app ─────────────────────────────────────────────────────────────────────────────────────────────

    def stopped(self, stop: StopRecord) -> None:
        """The script is held anew: hits have been counted, and expressions give other values."""
        self.look_again(stop.why)

    def look_again(self, hit: str = "") -> None:
        """Have them told anew, where there are any. `hit`: why the script is held."""
        if self.rows or self._app._session.breakpoints:
            self._app.run_worker(self._do(GetBreakpoints(0), hit=hit), group="breakpoints")

    def tell_state(self) -> None:
        """The view is another: the list shows it, where it is open."""
        screen, view = self._screen(), self._app.view
        if screen is not None and view is not None and screen.shown is not view.book:
            screen.show_view(view)

    def selection(self) -> Spec | str:
        """What a breakpoint would be on in the pane that has the keys; or why there is nothing, one line."""
        app = self._app
        view, pane = app.view, app.main.current
        if pane == SourcePane.NUMBER:
            place = app.main.query_one(SourcePane).place
            return Spec(Kind.LINE, place[0], line=place[1]) if place is not None else "no source is shown"
        if pane == GraphPane.NUMBER:
            row = app.main.query_one(GraphPane).tree_list.row_at_cursor
            if row is not None and row.kind == "module":
                name = row.name.partition(" #")[0]
                return Spec(Kind.MODULE, name, direction="forward")
            if row is not None and row.kind == "op":
                return Spec(Kind.NODE, row.name)
            if row is not None and row.kind == "parameter":
                return Spec(Kind.GRADIENT, row.name)
            if row is not None and row.kind == "loss":
                return Spec(Kind.PHASE, "backward")
            return "nothing here can be stopped at: a module, a node or a parameter can"
        if pane == ParametersPane.NUMBER:
            tensor = app.main.query_one(ParametersPane).table.row_at_cursor
            if tensor is not None and tensor.kind == "module":
                return Spec(Kind.MODULE, tensor.name, direction="forward")
            if tensor is not None and tensor.kind == "parameter":
                return Spec(Kind.GRADIENT, tensor.name)
            return "nothing here can be stopped at: a parameter or a module can"
        if pane == "3" and app.selected:
            return Spec(Kind.GRADIENT, app.selected)
        stop = view.history[-1].stop if view is not None and view.history else None
        if pane == "7" and stop is not None and stop.next is not None:
            return Spec(Kind.PHASE, stop.next.phase.value)
        return "select a line (5), a module or node (1), a parameter (2) or the phase that is next (7) first"

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _do(self, query: Query, hit: str = "") -> None:
        session = self._app._session
        stop = session.stop.number if session.stop is not None else 0
        quiet = isinstance(query, GetBreakpoints)
        try:
            told: Book = await self._ask(query)
        except RequestError as error:
            self._say(f"{_word(query)}: {error}", wrong=True)
            return
        except SessionClosedError:
            if not quiet:
                self._say(f"{_word(query)}: {GONE}", wrong=True)
            return
        self._answered(stop, query, told)
        if told.message:
            self._say(told.message)
        specs = tuple(row.spec for row in told.rows)
        if specs != session.breakpoints:
            session.breakpoints = specs
            try:
                self._app.config.save_breakpoints(specs)
            except OSError as error:
                self._say(f"breakpoints cannot be saved: {error.strerror or error}", wrong=True)
        if hit:
            self._run_commands(told.rows, hit)

    def _run_commands(self, rows: Iterable[Breakpoint], why: str) -> None:
        commands = []
        for row in book.hit(rows, why):
            for line in row.spec.commands:
                try:
                    commands.append(parse(line))
                except UsageError as error:
                    self._say(f"breakpoint {row.number}: {error}", wrong=True)
                    break
        if commands:
            self._app.run_worker(self._app.words.run_all(commands), group="commands")

    def _screen(self) -> BreakpointsScreen | None:
        return next((s for s in self._app.screen_stack if isinstance(s, BreakpointsScreen)), None)

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._app.notify(text, severity="warning" if wrong else "information", markup=False)


def _word(query: Query) -> str:
    if isinstance(query, SetBreakpoint):
        return "watch" if query.spec.kind in WATCHES else "break"
    return "breakpoints"


def _same(a: Spec, b: Spec) -> bool:
    kinds = (a.kind, a.direction or "forward") == (b.kind, b.direction or "forward")
    return kinds and (a.target, a.line) == (b.target, b.line)
