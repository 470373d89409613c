"""The numbers of the selected parameter, and of its gradient beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from stepdbg.client.store import Recorded, View
from stepdbg.protocol.messages import GetParameters, GetValues, Query
from stepdbg.protocol.records import StopRecord, TensorView, ValuesRecord
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.widgets.line_list import LineList
from stepdbg.ui.widgets.tensor_view import Lines, Origin, beside, cell_lines, columns_across, tensor_lines

SIDE_BY_SIDE = 60
"""Columns from which value and gradient stand side by side."""
ROWS, COLUMNS = 64, 32
"""Cells asked for at a time; scrolling inside them asks for nothing."""
LEAST_ROWS = 4
SOME = 20
"""Parameters to select the first one from."""


class ValuesBody(LineList[list[tuple[str, str]]]):
    """Lines of text that scroll by cells of a tensor instead of by lines."""

    DEFAULT_CSS = """
    ValuesBody { padding: 0; overflow-y: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,ctrl+k", "cells(-1, 0)", "Up", show=False),
        Binding("down,j", "cells(1, 0)", "Down", show=False),
        Binding("left,h", "cells(0, -1)", "Left", show=False),
        Binding("right,l", "cells(0, 1)", "Right", show=False),
        Binding("pageup,ctrl+u", "cell_pages(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+d", "cell_pages(1)", "Page down", show=False),
        Binding("home,g", "cell_end(-1)", "First row", show=False),
        Binding("end,G", "cell_end(1)", "Last row", show=False),
    ]
    origin: reactive[Origin] = reactive(Origin())

    def __init__(self) -> None:
        super().__init__()
        self.record: ValuesRecord | None = None
        self.lines: Lines = []
        self.grid_height = LEAST_ROWS

    @property
    def tensor(self) -> TensorView | None:
        """The tensor whose size limits the scrolling."""
        return None if self.record is None else self.record.value or self.record.grad

    def show_record(self, record: ValuesRecord | None) -> None:
        """Show `record`; None clears."""
        if record is None or self.record is None or record.name != self.record.name:
            self.set_reactive(ValuesBody.origin, Origin())
        self.record = record
        self.lay_out()

    def on_resize(self) -> None:
        self.lay_out()

    def watch_origin(self) -> None:
        self.lay_out()

    def validate_origin(self, origin: Origin) -> Origin:
        tensor = self.tensor
        if tensor is None:
            return Origin()
        row = min(max(origin.row, 0), max(tensor.rows - self.grid_height + 1, 0))
        across = columns_across(tensor, self.block_width)
        return Origin(row, min(max(origin.column, 0), max(tensor.columns - across, 0)))

    @property
    def block_width(self) -> int:
        """Columns that each of the two tensors has."""
        width = self.size.width - 2
        return (width - 3) // 2 if width >= SIDE_BY_SIDE else width

    def lay_out(self) -> None:
        """Compose the lines for the present size. Costs the visible cells."""
        record, width, height = self.record, self.block_width, self.size.height
        if record is None or width <= 0:
            self.lines = []
            self.refresh()
            return
        label = f"gradient ({record.grad_label})" if record.grad_label not in ("", "none") else "gradient"
        none = "no gradient: .grad is None" if record.grad_label == "none" or not record.note else record.note
        wide = self.size.width - 2 >= SIDE_BY_SIDE
        missing = record.note or "not readable"
        value = tensor_lines("value", record.value, missing, width)
        grad = tensor_lines(label, record.grad, none, width)
        if not wide and len(value) + len(grad) + 2 * LEAST_ROWS > height:
            value = tensor_lines("value", record.value, missing, width, histogram=False)
            grad = tensor_lines(label, record.grad, none, width, histogram=False)
        top = max(len(value), len(grad))
        room = height - top if wide else (height - len(value) - len(grad)) // 2
        self.grid_height = max(room, 2)
        cells = [
            cell_lines(tensor, self.origin, width, self.grid_height) if tensor is not None else []
            for tensor in (record.value, record.grad)
        ]
        if wide:
            value += [[] for _ in range(top - len(value))] + cells[0]
            grad += [[] for _ in range(top - len(grad))] + cells[1]
            self.lines = beside(value, grad, width)
        else:
            self.lines = value + cells[0] + grad + cells[1]
        self.refresh()

    def render_line(self, y: int) -> Strip:
        line = self.lines[y] if y < len(self.lines) else []
        return self._strip([(" ", ""), *line], self.size.width, "")

    def action_cells(self, rows: int, columns: int) -> None:
        """Scroll by so many cells."""
        self.origin = Origin(self.origin.row + rows, self.origin.column + columns)

    def action_cell_pages(self, pages: int) -> None:
        """Scroll by whole screens of rows."""
        self.action_cells(pages * max(self.grid_height - 2, 1), 0)

    def action_cell_end(self, direction: int) -> None:
        """Scroll to the first row (-1) or the last (1)."""
        rows = self.tensor.rows if self.tensor is not None else 0
        self.origin = Origin(0 if direction < 0 else rows, self.origin.column)

    def on_mouse_scroll_down(self) -> None:
        self.action_cells(1, 0)

    def on_mouse_scroll_up(self) -> None:
        self.action_cells(-1, 0)


class ValuesPane(RecordedPane):
    """Pane 3."""

    NUMBER = "3"
    TITLE = "Values"
    QUERY = GetValues
    HELP: ClassVar[str | None] = """\
The selected parameter (chosen in the graph or the parameters pane) and its gradient. **min, max, mean, std,
norm** are over the finite elements; std is the population one. **zeros**, **nan**, **+inf**, **−inf** are
counted apart.

The blocks are a histogram between the two numbers at its ends; only an empty bin is blank. *sampled N of
M*: it was made from a sample; all other numbers are exact. Numbers run with the last dimension across; at
the left stands the index in the other dimensions, `3,0,2`. `…` marks numbers that have not been received.

*gradient (scaled)*, *(unscaled)*, *(clipped)* tell which of the gradients it is.

Arrows, `h` `j` `l` and `ctrl+k` scroll (vim's `k` is *skip* here), `ctrl+u` `ctrl+d` by page, `g` `G` to
the ends.
"""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.body = ValuesBody()

    def content(self) -> Iterable[Widget]:
        yield self.body

    def on_mount(self) -> None:
        self.watch(self.body, "origin", self._ask_for_cells, init=False)

    def on_resize(self) -> None:
        # Once the body has its new size too.
        self.call_after_refresh(self._ask_for_cells)

    def watch_selected(self) -> None:
        self.update_pane()

    def parts(self, _view: View, recorded: Recorded) -> tuple[object, ...]:
        return (recorded.values.get(self.selected),)

    def show_stop(self, recorded: Recorded) -> str | None:
        if not self.selected:
            self.clear()
            self.ask(GetParameters(0, 0, SOME, ""))  # the app selects one
            return "No parameter selected: choose one in the graph (1) or among the parameters (2)."
        self.set_subtitle(self.selected)
        record = recorded.values.get(self.selected)
        if record is None:
            self.ask(self._first_cells())
            return None
        if record is not self.body.record:
            self.body.show_record(record)
        self._ask_for_cells()
        return ""

    def wanted(self, _stop: StopRecord) -> tuple[Query, ...]:
        return (self._first_cells(),) if self.selected else ()

    def _first_cells(self) -> GetValues:
        shown = self.body.record
        return self._cells(self.body.origin if shown is not None and shown.name == self.selected else Origin())

    def clear(self) -> None:
        self.set_subtitle(self.selected)
        self.body.show_record(None)

    def state_text(self) -> str:
        body = self.body
        tensor = body.tensor
        if tensor is None or not tensor.cells:
            return ""
        parts = []
        for noun, first, shown, total in (
            ("rows", body.origin.row, body.grid_height - 1, tensor.rows),
            ("columns", body.origin.column, columns_across(tensor, body.block_width), tensor.columns),
        ):
            if shown < total:
                parts.append(f"{noun} {first:,}–{min(first + shown, total) - 1:,} of {total:,}")
        return " · ".join(parts)

    def _ask_for_cells(self) -> None:
        """Ask for the page around the origin, if some of the cells on screen are not here."""
        record, body = self.body.record, self.body
        tensor = body.tensor
        if record is None or tensor is None or not tensor.cells:
            return
        origin = body.origin
        down = min(body.grid_height - 1, tensor.rows - origin.row)
        across = min(columns_across(tensor, body.block_width), tensor.columns - origin.column)
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
        row, column = max(0, origin.row - ROWS // 4), max(0, origin.column - COLUMNS // 4)
        return GetValues(0, self.selected, row, column, ROWS, COLUMNS)
