"""The pane itself: which page of which tensor is asked for and shown, and what its keys do."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from stepdbg.client.store import Recorded, View
from stepdbg.plain.inside import place as place_text
from stepdbg.protocol.inside import Place
from stepdbg.protocol.messages import GetParameters, GetValues, Query
from stepdbg.protocol.records import StopRecord, ValuesRecord
from stepdbg.ui.messages import ElementSelected, ElementSought, HeldWanted, TensorCopied, Wanted
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.panes.values import numbers
from stepdbg.ui.panes.values.body import GRIDS, ValuesBody
from stepdbg.ui.panes.values.help import HELP, KEYS
from stepdbg.ui.panes.values.look import CHOICES, DISPLAYS, MOST_DIGITS, Look, Origin

ROWS, COLUMNS = 64, 32
"""Cells asked for at a time; scrolling inside them asks for nothing."""
HEAT_COLUMNS = 96
HELD = "@"
"""What the name of a tensor begins with that is held inside a phase; alone: the first of them."""
NOT_HERE = "nothing at this place is called"
"""How the script's side says that it holds no tensor of that name."""
SOME = 20
"""Parameters to select the first one from."""


class ValuesPane(RecordedPane):
    """Pane 3. Posts ElementSelected when the user moves the cursor over the cells."""

    NUMBER = "3"
    TITLE = "Values"
    QUERY = GetValues
    HELP: ClassVar[str | None] = HELP
    BINDINGS: ClassVar[list[BindingType]] = KEYS

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.body = ValuesBody()
        self.look = Look()
        self._wished_at: int | None = None
        """The stop at which the user asked for the expression."""
        self._again = False
        self._arriving: StopRecord | None = None
        """The stop that is being asked about, before it is on screen."""
        self._parameter_at: int | None = None
        """The stop inside a phase at which the user wants the selected parameter, not what is held there."""
        self._elsewhere: int | None = None
        """The stop at whose place there is nothing of the name that the user chose at another one."""

    def content(self) -> Iterable[Widget]:
        yield self.body

    # ── state down ──────────────────────────────────────────────────────────────────────────────────────────

    def on_mount(self) -> None:
        self.watch(self.body, "cell", self._moved, init=False)

    @on(ValuesBody.Resized)
    def _resized(self, event: ValuesBody.Resized) -> None:
        event.stop()
        self._ask_for_cells()

    def watch_selected(self, before: str) -> None:
        if before:  # the first one is chosen by nobody
            self._parameter_at = self._number
        self.update_pane()

    def parts(self, _view: View, recorded: Recorded) -> tuple[object, ...]:
        return (recorded.values.get(self.subject),)

    @property
    def subject(self) -> str:
        """What is looked at, as `GetValues` names it; empty: nothing."""
        at = self._place
        if self.look.expression.startswith(HELD):
            if at is None:
                return self.selected
            return HELD if self._elsewhere == self._number else self.look.name("")
        if at is not None and not self.look.expression and self._parameter_at != self._number:
            return HELD
        return self.look.name(self.selected)

    @property
    def _stop(self) -> StopRecord | None:
        recorded = self.view.looking_at if self.view is not None else None
        return self._arriving or (recorded.stop if recorded is not None else None)

    @property
    def _place(self) -> Place | None:
        """Where inside a phase the script is held; None: between phases."""
        return self._stop.at if self._stop is not None else None

    @property
    def _number(self) -> int | None:
        return self._stop.number if self._stop is not None else None

    @property
    def record(self) -> ValuesRecord | None:
        """What is on screen."""
        return self.body.record

    def show_stop(self, recorded: Recorded) -> str | None:
        if not self.subject:
            self.clear()
            self.ask(GetParameters(0, 0, SOME, ""))  # the app selects one
            return "No parameter selected: choose one in the graph (1) or among the parameters (2)."
        number = recorded.stop.number
        chosen_before = self.look.expression.startswith(HELD) and self._wished_at != number
        if chosen_before and self._failure(recorded).startswith(NOT_HERE):
            self._elsewhere = number  # what is here is shown instead
        self._set_title()
        record = recorded.values.get(self.subject)
        if record is None:
            if self._waits_for_enter(recorded.stop):
                self.body.show_record(None, self.look)
                return f"{self.look.expression} has a call in it, which runs code: enter evaluates it at this stop."
            self.ask(self._first_cells())
            return None
        if record is not self.body.record or self.look is not self.body.look:
            self.body.show_record(record, self.look, live=self.live)
        self._ask_for_cells()
        if self._awaits_answer() or not self.live or not self._lacks(record):
            return self._said_of(record)
        failure = self._failure(recorded)
        return f"Could not be read: {failure}" if failure else self._said_of(record)

    @staticmethod
    def _said_of(record: ValuesRecord) -> str:
        """What stands above the numbers, or instead of them."""
        return record.note if record.name.startswith(("=", HELD)) else ""

    def wanted(self, stop: StopRecord) -> tuple[Query, ...]:
        self._arriving = stop
        try:
            return (self._first_cells(),) if self.subject and not self._waits_for_enter(stop) else ()
        finally:
            self._arriving = None

    def _waits_for_enter(self, stop: StopRecord) -> bool:
        """Whether what is to be shown runs code that the user has not asked for at this stop."""
        return bool(self.look.expression) and self._wished_at != stop.number and runs_code(self.look.expression)

    def clear(self) -> None:
        self._set_title()
        self.body.show_record(None, self.look)

    def _set_title(self) -> None:
        name = self._name_shown()
        if name == HELD and self._place is not None:
            name = place_text(self._place)
        part = self.look.slice(self.subject)
        shown = f"{name}[{part}]" if part else name
        self.set_subtitle(shown if self.look.display == "numbers" or not shown else f"{shown} · {self.look.display}")

    def _name_shown(self) -> str:
        """The subject as the user reads it; of a parameter its row tells it before its numbers are here."""
        subject = self.subject
        recorded = self.view.looking_at if self.view is not None else None
        record = recorded.values.get(subject) if recorded is not None else None
        if record is not None:
            return record.title.removeprefix("=")
        listing = recorded.parameters if recorded is not None else None
        rows = listing.rows.values() if listing is not None else ()
        return next((row.title for row in rows if row.name == subject), subject.removeprefix("="))

    def state_text(self) -> str:
        body, tensor = self.body, self.body.tensor
        if tensor is None or not tensor.cells or body.look.display not in GRIDS:
            return ""
        parts = [text] if (text := self._element_text()) else []
        for noun, first, shown, total in (
            ("rows", body.origin.row, body.grid_height - 1, tensor.rows),
            ("columns", body.origin.column, body.across, tensor.columns),
        ):
            if shown < total:
                parts.append(f"{noun} {first:,}–{min(first + shown, total) - 1:,} of {total:,}")
        while len(parts) > 1 and len(" · ".join(parts)) > self.size.width - 4:
            parts.pop()
        return " · ".join(parts)

    def _element_text(self) -> str:
        """Index and exact value of the element with the cursor."""
        index = self.element
        tensor = self.body.tensor
        if index is None or tensor is None:
            return ""
        return f"[{', '.join(map(str, index))}] = {numbers.exact(tensor, self.body.cell) or '…'}"

    @property
    def element(self) -> tuple[int, ...] | None:
        """Index of the element with the cursor, in the whole tensor."""
        axes = self.body.axes
        return axes.index(self.body.cell.row, self.body.cell.column) if axes is not None else None

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────

    def _first_cells(self) -> GetValues:
        shown = self.body.record
        same = shown is not None and (shown.name, shown.slice) == (self.subject, self.look.slice(self.subject))
        return self._cells(self.body.origin if same else Origin())

    def _lacks(self, record: ValuesRecord) -> bool:
        """Whether the record is of another part, or of other sides, than wanted."""
        sides = set(self.body.sides)
        return record.slice != self.look.slice(self.subject) or not sides <= set(record.sides)

    def _ask_for_cells(self) -> None:
        """Ask for the page around the origin, if something that is wanted on screen is not here."""
        record, body = self.body.record, self.body
        tensor = body.tensor
        if record is None or record.name != self.subject:
            return
        if self._lacks(record):
            self.ask(self._first_cells())
        elif tensor is not None and tensor.cells and body.look.display in GRIDS:
            origin = body.origin
            down = min(body.grid_height - 1, tensor.rows - origin.row)
            across = min(body.across, tensor.columns - origin.column)
            here = (
                tensor.row <= origin.row
                and tensor.column <= origin.column
                and origin.row + down <= tensor.row + len(tensor.cells)
                and origin.column + across <= tensor.column + len(tensor.cells[0])
            )
            if not here:
                self.ask(self._cells(origin))
        self.set_state()

    def _cells(self, origin: Origin) -> GetValues:
        columns = HEAT_COLUMNS if self.look.display == "heatmap" else COLUMNS
        row, column = max(0, origin.row - ROWS // 4), max(0, origin.column - columns // 4)
        name = self.subject
        sides = self.look.sides(self.body.size.width - 2)
        return GetValues(0, name, row, column, ROWS, columns, slice=self.look.slice(name), sides=sides)

    def _moved(self) -> None:
        """The cursor is on another element."""
        self._ask_for_cells()
        index, record = self.element, self.body.record
        if index is not None and record is not None:
            self.post_message(ElementSelected(record.name, index))

    # ── how it is shown: for keys and commands ──────────────────────────────────────────────────────────────

    def change(self, look: Look) -> None:
        """Look at it like that from now on."""
        if look.expression != self.look.expression:
            stop = self.view.history[-1].stop if self.view is not None and self.view.history else None
            self._wished_at = stop.number if stop is not None else None
        self.look = look
        self.update_pane()

    def go_to(self, index: tuple[int, ...]) -> str:
        """Put the cursor on that element of the whole tensor. Returns why it cannot be, in one line."""
        axes = self.body.axes
        cell = axes.cell(index) if axes is not None and len(index) == len(axes.starts) else None
        if cell is None:
            return "it is outside of the slice: slice alone shows the whole tensor"
        self.body.cell = Origin(*cell)
        return ""

    def show_parameter(self) -> None:
        """The selected parameter instead of what is held here."""
        self._parameter_at = self._number
        self.change(replace(self.look, expression=""))

    def action_held(self) -> None:
        """The next of the tensors that are held inside the phase."""
        self.post_message(HeldWanted())

    def action_display(self) -> None:
        """The next display."""
        self.change(replace(self.look, display=DISPLAYS[(DISPLAYS.index(self.look.display) + 1) % len(DISPLAYS)]))

    def action_sides(self) -> None:
        """The next choice of what stands side by side."""
        self.change(replace(self.look, choice=(self.look.choice + 1) % len(CHOICES)))

    def action_digits(self, more: int) -> None:
        """So many more significant digits."""
        self.change(replace(self.look, precision=min(max(self.look.precision + more, 1), MOST_DIGITS)))

    def action_seek(self, what: str) -> None:
        """To the largest, the smallest, or the first element that is not finite."""
        self.post_message(ElementSought(what))

    def action_copy(self) -> None:
        """Copy the shown part as Python."""
        self.post_message(TensorCopied())

    def action_evaluate(self) -> None:
        """Evaluate the expression at this stop, once more if it has been."""
        if self.look.expression and self.live and self.view is not None:
            self._wished_at, self._elsewhere = self.view.history[-1].stop.number, None
            self.post_message(Wanted(replace(self._first_cells(), again=True), again=True))


def runs_code(expression: str) -> bool:
    """Whether the expression has a call in it (or cannot be read: then the script's side says why)."""
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, (ast.Call, ast.Await)) for node in ast.walk(tree))
