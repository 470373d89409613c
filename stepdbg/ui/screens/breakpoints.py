"""Breakpoints and watches in a list over the panes: looked at, switched, edited and deleted with keys."""

from __future__ import annotations

from typing import ClassVar, Protocol

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from stepdbg.client.store import Seen, View
from stepdbg.commands.places import as_line, check_expression
from stepdbg.errors import UsageError
from stepdbg.plain.breakpoints import bars
from stepdbg.protocol.breakpoints import Book, Breakpoint, DeleteBreakpoint, EditBreakpoint, Kind, title
from stepdbg.protocol.messages import Logged
from stepdbg.ui.widgets.line_list import LineList
from stepdbg.ui.widgets.line_table import Column, LineTable

NONE = """\
No breakpoints and no watches.

  b                            sets one at what is selected
  break backward if loss > 2   stops at a phase, module, op or line
  watch nan                    stops at the first not finite number
  watch change net.*           stops at changes outside a step
  watch net[0].weight.norm()   shows a value at every stop"""

KEYS = "space on/off   e condition   d delete   escape closes"
MOST_LOGGED = 6


class Does(Protocol):
    """Who has changes done."""

    def do(self, query: EditBreakpoint | DeleteBreakpoint) -> None:
        """Have it done."""


class BreakpointsScreen(ModalScreen[None]):
    """One row each; below it all there is to say of the one under the cursor."""

    CSS = """
    BreakpointsScreen { align: center middle; background: $background 60%; }
    BreakpointsScreen > Vertical {
        width: 94%; max-width: 140; height: auto; max-height: 90%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
    }
    BreakpointsScreen LineTable { height: auto; max-height: 14; background: $surface; }
    BreakpointsScreen .nothing { height: auto; padding: 1 2; color: $text-muted; }
    BreakpointsScreen .about { height: auto; padding: 0 1; margin: 1 0 0 0; color: $text-muted; }
    BreakpointsScreen .keys { height: 1; text-align: center; background: $panel; color: $text-muted; }
    BreakpointsScreen Input { display: none; }
    BreakpointsScreen.-editing Input { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
        Binding("q,B", "dismiss", "Close", show=False),
        Binding("space", "switch", "On or off", show=False),
        Binding("e", "edit", "Edit the condition", show=False),
        Binding("d,delete", "remove", "Delete", show=False),
    ]

    def __init__(self, does: Does) -> None:
        super().__init__()
        self._does = does
        self._view: View | None = None
        self._composed = False
        self.shown: Book | None = None
        self._rows: tuple[Breakpoint, ...] = ()
        self.table: LineTable[Breakpoint] = LineTable(
            (
                Column("on", lambda row: (f"{_mark(row)} {row.number:>2} {title(row.as_shown)}", _style(row))),
                Column("if", lambda row: (row.spec.condition, ""), priority=2, optional=True, most=40),
                Column("now", lambda row: (row.value, "name"), priority=1, optional=True, most=40),
                Column("history", lambda row: (self._bars(row), "guide"), priority=5, optional=True),
                Column("hits", lambda row: (_hits(row), "number"), priority=3, right=True),
                Column("does", lambda row: (_does(row), "muted"), priority=4, optional=True, most=40),
            )
        )
        self.table.NAME_LEAST = 32  # numbers are not cut off; the condition is told below as well
        self._nothing = Static(NONE, classes="nothing", markup=False)
        self._about = Static("", classes="about", markup=False)
        self._input = Input(placeholder="loss > 2 and iteration % 50 == 0; empty: always")

    def compose(self) -> ComposeResult:
        """The list, or how one is made; what there is to say of one; the keys."""
        with Vertical() as box:
            box.border_title = "Breakpoints and watches"
            yield self._nothing
            yield self.table
            yield self._about
            yield self._input
            yield Static(KEYS, classes="keys", markup=False)

    def on_mount(self) -> None:
        """Show what is known already."""
        self._composed = True
        self._fill()
        self.table.focus()

    def show_view(self, view: View) -> None:
        """Show the breakpoints of that view."""
        self._view, self.shown = view, view.book
        self._rows = view.book.rows if view.book is not None else ()
        if self._composed:
            self._fill()

    def _fill(self) -> None:
        self._nothing.display = not self._rows
        self.table.display = bool(self._rows)
        self.table.styles.height = len(self._rows) + 1
        self.table.show(dict(enumerate(self._rows)), len(self._rows))
        self._tell()
        if self.table.display and not self.has_class("-editing"):
            self.table.focus()

    def on_line_list_cursor_moved(self, event: LineList.CursorMoved) -> None:
        """Tell of another one."""
        event.stop()
        self._tell()

    def action_close(self) -> None:
        """Leave the input, or the screen."""
        if self.has_class("-editing"):
            self._stop_editing()
        else:
            self.dismiss()

    def action_switch(self) -> None:
        """On or off."""
        row = self._row
        if row is not None:
            self._does.do(EditBreakpoint(0, row.number, enabled=not row.spec.enabled))

    def action_remove(self) -> None:
        """Delete it."""
        row = self._row
        if row is not None:
            self._does.do(DeleteBreakpoint(0, row.number))

    def action_edit(self) -> None:
        """Edit its condition."""
        row = self._row
        if row is None:
            return
        if row.spec.kind is Kind.EXPRESSION:
            self.notify("a watched expression has no condition", markup=False)
            return
        self._input.value = row.spec.condition
        self.add_class("-editing")
        self._input.focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip().removeprefix("if ").strip()
        row = self._row
        try:
            if text:
                check_expression(text, "condition")
        except UsageError as error:
            self.notify(str(error), severity="warning", markup=False)
            return
        self._stop_editing()
        if row is not None:
            self._does.do(EditBreakpoint(0, row.number, condition=text))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _row(self) -> Breakpoint | None:
        return self.table.row_at_cursor if self._rows else None

    def _stop_editing(self) -> None:
        self.remove_class("-editing")
        self.table.focus()

    def _seen(self, row: Breakpoint) -> tuple[Seen, ...]:
        return self._view.watched.get(row.number, ()) if self._view is not None else ()

    def _bars(self, row: Breakpoint) -> str:
        return bars([seen.number for seen in self._seen(row)])

    def _tell(self) -> None:
        row = self._row
        lines: list[str] = []
        if row is not None:
            lines.append(as_line(row.spec))
            if row.note:
                lines.append(f"{'✗' if row.stale else '·'} {row.note}")
            if row.spec.commands:
                lines.append(f"· then runs: {'; '.join(row.spec.commands)}")
            if row.spec.log:
                lines += [f"· iteration {e.iteration}: {e.text}" for e in self._logged(row.number)]
            lines += [f"· stop {s.stop}, iteration {s.iteration}: {s.text}" for s in self._seen(row)[-MOST_LOGGED:]]
        self._about.update("\n".join(lines))
        self._about.display = bool(lines)

    def _logged(self, number: int) -> list[Logged]:
        logged = self._view.logged if self._view is not None else ()
        return [event for event in logged if event.number == number][-MOST_LOGGED:]


def _mark(row: Breakpoint) -> str:
    if row.stale:
        return "✗"
    return "●" if row.spec.enabled else "○"


def _style(row: Breakpoint) -> str:
    return "guide" if row.stale or not row.spec.enabled else "name"


def _hits(row: Breakpoint) -> str:
    return "" if row.spec.kind is Kind.EXPRESSION else f"{row.hits:,}"


def _does(row: Breakpoint) -> str:
    spec, parts = row.spec, []
    if row.stale:
        parts.append("not there")
    if spec.once:
        parts.append("once")
    if spec.ignore:
        parts.append(f"ignores {spec.ignore}")
    if spec.log:
        parts.append(f"writes “{spec.log}”")
    if spec.commands:
        parts.append("runs " + "; ".join(spec.commands))
    return ", ".join(parts)
