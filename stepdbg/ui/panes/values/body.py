"""The lines of the pane: sides beside each other or stacked, and a cursor that moves by cells of a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from stepdbg.protocol.records import TensorView, ValuesRecord
from stepdbg.protocol.slices import Axes
from stepdbg.ui.panes.values import heatmap, numbers
from stepdbg.ui.panes.values.histogram import histogram
from stepdbg.ui.panes.values.look import GAP, Look, Origin, axes_of, stacked
from stepdbg.ui.panes.values.summary import summary
from stepdbg.ui.widgets.line_list import LineList
from stepdbg.ui.widgets.tensor_view import Lines, beside, tensor_lines

LEAST_ROWS = 4
WORDS = 26
"""Columns of a side that has words only, where the others can use the rest."""
GRIDS = ("numbers", "heatmap")
"""Displays in which single cells can be seen."""


class ValuesBody(LineList[list[tuple[str, str]]]):
    """Lines of text; the arrows move a cursor over the cells, and the page follows it."""

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
    cell: reactive[Origin] = reactive(Origin())
    """The cell with the cursor."""

    class Resized(Message):
        """It has been laid out for another size: other cells are on screen."""

    def __init__(self) -> None:
        super().__init__()
        self.record: ValuesRecord | None = None
        self.look = Look()
        self.live = False
        self.origin = Origin()
        """The cell at the upper left corner."""
        self.lines: Lines = []
        self.grid_height = LEAST_ROWS
        """Lines of each grid, with that of the column indices."""
        self.across = 1
        """Columns of cells in each grid."""

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def tensor(self) -> TensorView | None:
        """The tensor whose size limits the scrolling."""
        if self.record is None:
            return None
        return self.record.value or next(filter(None, self.tensors(self.record).values()), None)

    @property
    def axes(self) -> Axes | None:
        """What the slice leaves of it."""
        return axes_of(self.record, self.tensor) if self.record is not None and self.tensor is not None else None

    @property
    def sides(self) -> tuple[str, ...]:
        """What stands side by side at this width."""
        record = self.record
        chosen = self.look.sides(self.size.width - 2)
        if record is not None and record.grad_label == "no" and len(chosen) > 1:
            chosen = tuple(side for side in chosen if side != "grad")  # it takes none: nothing to say of it
        if record is not None and record.previous is None and "previous" in record.sides:
            chosen = tuple(side for side in chosen if side != "difference" or "previous" not in chosen)  # said once
        return chosen

    @staticmethod
    def tensors(record: ValuesRecord) -> dict[str, TensorView | None]:
        """By side."""
        found = {"value": record.value, "grad": record.grad, "previous": record.previous}
        return {**found, "difference": record.difference}

    def show_record(self, record: ValuesRecord | None, look: Look, *, live: bool = False) -> None:
        """Show `record`; None clears. The cursor stays where it was, if it is still the same tensor.

        `live`: what it lacks is on its way.
        """
        self.live = live
        before, self.record, self.look = self.record, record, look
        same = record is not None and before is not None and (record.name, record.slice) == (before.name, before.slice)
        if not same:
            self.origin = Origin()
            self.set_reactive(ValuesBody.cell, Origin())
        self.set_reactive(ValuesBody.cell, self.validate_cell(self.cell))
        self.lay_out()

    def on_resize(self) -> None:
        self.lay_out()
        self.post_message(self.Resized())

    def validate_cell(self, cell: Origin) -> Origin:
        tensor = self.tensor
        if tensor is None:
            return Origin()
        return Origin(
            min(max(cell.row, 0), max(tensor.rows - 1, 0)), min(max(cell.column, 0), max(tensor.columns - 1, 0))
        )

    def watch_cell(self) -> None:
        self.lay_out()

    # ── lines ───────────────────────────────────────────────────────────────────────────────────────────────

    def lay_out(self) -> None:
        """Compose the lines for the present size. Costs the visible cells."""
        record, width, height = self.record, self.size.width - 2, self.size.height
        self.lines = []
        if record is not None and width > 0 and height > 0:
            sides = self.sides
            over = stacked(len(sides), width)
            widths = dict.fromkeys(sides, width) if over else self._widths(record, sides, width)
            if self.look.display in GRIDS:
                self._lay_out_grids(record, widths, height, over=over)
            else:
                room = height // len(sides) if over else height
                blocks = [self._block(record, side, each, room) for side, each in widths.items()]
                self._join(blocks, widths, over=over)
        self.refresh()

    def _widths(self, record: ValuesRecord, sides: tuple[str, ...], width: int) -> dict[str, int]:
        """Columns of each side: equal ones, but no more for words than they need."""
        room = width - GAP * (len(sides) - 1)
        each = room // len(sides)
        tensors = self.tensors(record)
        missing = {side: min(each, WORDS) for side in sides if tensors.get(side) is None}
        there = len(sides) - len(missing)
        if not there:
            return dict.fromkeys(sides, each)
        return {side: missing.get(side, (room - sum(missing.values())) // there) for side in sides}

    def _join(self, blocks: list[Lines], widths: Mapping[str, int], *, over: bool) -> None:
        self.lines = [line for block in blocks for line in block] if over else beside(blocks, list(widths.values()))

    def _why_none(self, record: ValuesRecord, side: str) -> str:
        return "reading…" if self.live and side not in record.sides else why_none(record, side)

    def _block(self, record: ValuesRecord, side: str, width: int, height: int) -> Lines:
        """One side as a histogram or summary."""
        tensor = self.tensors(record).get(side)
        if tensor is None:
            return tensor_lines(title(record, side), None, self._why_none(record, side), width)
        if self.look.display == "summary":
            return summary(title(record, side), tensor, width, height)
        log = self.look.display == "log-histogram"
        return histogram(title(record, side), tensor, width, height, log=log)

    def _lay_out_grids(self, record: ValuesRecord, widths: Mapping[str, int], height: int, *, over: bool) -> None:
        sides = tuple(widths)
        tops = self._tops(record, widths, height, over=over)
        top = max(len(lines) for lines in tops.values())
        used = sum(len(lines) for lines in tops.values()) if over else top
        self.grid_height = max((height - used) // (self._grids(record, sides) if over else 1), 2)
        self.across = self._columns(record, widths)
        self._follow()
        blocks = []
        for side in sides:
            grid = self._grid(record, side)
            # A heatmap's legend stands right above it.
            legend = tops[side][-1:] if self.look.display == "heatmap" and grid else []
            above = tops[side][: len(tops[side]) - len(legend)]
            padding: Lines = [[] for _ in range(0 if over else top - len(tops[side]))]
            blocks.append([*above, *padding, *legend, *grid])
        self._join(blocks, widths, over=over)

    def _grids(self, record: ValuesRecord, sides: tuple[str, ...]) -> int:
        """How many of the sides have numbers."""
        tensors = self.tensors(record)
        return max(sum(tensors.get(side) is not None for side in sides), 1)

    def _tops(self, record: ValuesRecord, widths: Mapping[str, int], height: int, *, over: bool) -> Mapping[str, Lines]:
        """What stands above each grid: less of it where there is little room."""
        found = self.tensors(record)
        heat = self.look.display == "heatmap"
        for detail in (3, 2, 1):
            tops: dict[str, Lines] = {}
            for side, width in widths.items():
                tensor, why = found.get(side), self._why_none(record, side)
                if tensor is not None and detail == 1:
                    tensor = replace(tensor, stats=None)
                tops[side] = tensor_lines(title(record, side), tensor, why, width, histogram=detail == 3 and not heat)
                shown = found.get(side)
                if heat and shown is not None and shown.cells:
                    tops[side] += heatmap.legend(self._scale(shown), width)
            used = sum(map(len, tops.values())) if over else max(map(len, tops.values()))
            if used + LEAST_ROWS * (self._grids(record, tuple(widths)) if over else 1) <= height:
                break
        return tops

    def _columns(self, record: ValuesRecord, widths: Mapping[str, int]) -> int:
        """Columns of cells that all sides have room for."""
        fits = []
        tensors = self.tensors(record)
        for side, width in widths.items():
            tensor = tensors.get(side)
            axes = axes_of(record, tensor) if tensor is not None else None
            if tensor is None or axes is None:
                continue
            if self.look.display == "heatmap":
                fits.append(heatmap.columns_across(tensor, axes, width))
            else:
                fits.append(numbers.columns_across(tensor, axes, self.look.precision, width))
        return min(fits, default=1)

    def _follow(self) -> None:
        """Scroll so that the cursor is on the page."""
        tensor, cell = self.tensor, self.cell
        if tensor is None:
            return
        down = max(self.grid_height - 1, 1)
        self.origin = Origin(
            _within(self.origin.row, cell.row, down, tensor.rows),
            _within(self.origin.column, cell.column, self.across, tensor.columns),
        )

    def _grid(self, record: ValuesRecord, side: str) -> Lines:
        tensor = self.tensors(record).get(side)
        axes = axes_of(record, tensor) if tensor is not None else None
        if tensor is None or axes is None:
            return []
        where = self.origin, self.cell, self.across, self.grid_height
        if self.look.display == "heatmap":
            return heatmap.grid(tensor, axes, *where, self._scale(tensor))
        return numbers.grid(tensor, axes, *where, self.look.precision)

    def _scale(self, tensor: TensorView) -> heatmap.Scale:
        return heatmap.scale_of(tensor, colour=not self.app.no_color)

    def render_line(self, y: int) -> Strip:
        line = self.lines[y] if y < len(self.lines) else []
        return self._strip([(" ", ""), *line], self.size.width, "")

    def _style(self, role: str, line: str) -> Style:
        """Cells of the heatmap bring their own colours, the one with the cursor is reversed."""
        if role != numbers.CURSOR and " on " not in role:
            return super()._style(role, line)
        style = self._styles.get((role, line))
        if style is None:
            base = super()._style("", line)
            own = Style(reverse=True, bold=True) if role == numbers.CURSOR else Style.parse(role)
            style = self._styles[role, line] = base + own
        return style

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def action_cells(self, rows: int, columns: int) -> None:
        """Move the cursor by so many cells."""
        self.cell = Origin(self.cell.row + rows, self.cell.column + columns)

    def action_cell_pages(self, pages: int) -> None:
        """Move it by whole screens of rows, and scroll as far."""
        step = pages * max(self.grid_height - 2, 1)
        self.origin = Origin(max(self.origin.row + step, 0), self.origin.column)
        self.action_cells(step, 0)

    def action_cell_end(self, direction: int) -> None:
        """Move it to the first row (-1) or the last (1)."""
        rows = self.tensor.rows if self.tensor is not None else 0
        self.cell = Origin(0 if direction < 0 else rows, self.cell.column)

    def on_mouse_scroll_down(self) -> None:
        self.action_cells(1, 0)

    def on_mouse_scroll_up(self) -> None:
        self.action_cells(-1, 0)


def _within(first: int, at: int, room: int, total: int) -> int:
    """Where a page of `room` begins, moved no further than needed from `first`, so that `at` is on it."""
    first = min(max(first, at - room + 1), at)
    return max(min(first, total - room), 0)


def title(record: ValuesRecord, side: str) -> str:
    """The heading of one side."""
    if side == "grad":
        return f"gradient ({record.grad_label})" if record.grad_label not in ("", "none", "no") else "gradient"
    return side


def why_none(record: ValuesRecord, side: str) -> str:
    """Why there is nothing to show of that side."""
    if side not in record.sides:
        return "not recorded: it was not looked at"
    if side == "grad":
        return "no gradient: .grad is None" if record.grad_label == "none" or not record.note else record.note
    if side in ("previous", "difference"):
        return f"no previous value: {record.previous_note}"
    return record.note or "not readable"
