"""A page of cells as numbers in aligned columns. Pure functions."""

from __future__ import annotations

from functools import lru_cache

from stepdbg.protocol.records import TensorView
from stepdbg.protocol.slices import Axes
from stepdbg.ui import format as fmt
from stepdbg.ui.panes.values.look import Origin
from stepdbg.ui.widgets.line_list import Span
from stepdbg.ui.widgets.tensor_view import GAP, Lines

PLAIN = ("nan", "inf", "-inf", "True", "False")
"""What has no digits."""
CURSOR = "cell"
"""Role of the cell with the cursor."""

Cells = tuple[tuple[str, ...], ...]


@lru_cache(maxsize=16)
def aligned(cells: Cells, precision: int) -> Cells:
    """The cells with `precision` significant digits, all equally wide, decimal points one under the other.

    Whole numbers and booleans are left as they are; both parts of complex numbers are aligned.
    """
    if any("j" in cell for line in cells for cell in line):
        pairs = [[_complex(cell, precision) for cell in line] for line in cells]
        real = _on_points([[one for one, _ in line] for line in pairs])
        imaginary = _on_points([[other for _, other in line] for line in pairs])
        both = zip(real, imaginary, strict=True)
        return tuple(tuple(map(_joined, one, other)) for one, other in both)
    return _on_points([[rounded(cell, precision) for cell in line] for line in cells])


def rounded(text: str, precision: int) -> str:
    """One number with so many significant digits: "0.0123", "1.23e−5"."""
    if text in PLAIN or not any(c in text for c in ".e"):
        return text.replace("-", fmt.MINUS)
    mantissa, e, exponent = f"{float(text):.{precision}g}".partition("e")
    return (f"{mantissa}e{int(exponent)}" if e else mantissa).replace("-", fmt.MINUS)


def _complex(text: str, precision: int) -> tuple[str, str]:
    number = complex(text)
    return rounded(repr(number.real), precision), rounded(repr(number.imag), precision)


def _joined(real: str, imaginary: str) -> str:
    shown = imaginary.rstrip()
    sign = fmt.MINUS if fmt.MINUS in shown.split("e")[0] else "+"
    digits = shown.replace(fmt.MINUS, " ", 1) if sign == fmt.MINUS else shown
    return f"{real} {sign}{digits}j{' ' * (len(imaginary) - len(shown))}"


def _on_points(cells: list[list[str]]) -> Cells:
    parts = [[_split(text) for text in line] for line in cells]
    left = max((len(one) for line in parts for one, _ in line), default=0)
    right = max((len(other) for line in parts for _, other in line), default=0)
    return tuple(tuple(one.rjust(left) + other.ljust(right) for one, other in line) for line in parts)


def _split(text: str) -> tuple[str, str]:
    at = next((i for i, c in enumerate(text) if c in ".e"), len(text)) if text not in PLAIN else len(text)
    return text[:at], text[at:]


def cell_width(tensor: TensorView, precision: int) -> int:
    """Columns of one number, without the gap."""
    shown = aligned(tensor.cells, precision)
    last = tensor.column + len(shown[0]) - 1 if shown else 0
    return max(len(shown[0][0]) if shown and shown[0] else 1, len(str(last)))


def columns_across(tensor: TensorView, axes: Axes, precision: int, width: int) -> int:
    """How many columns of numbers fit in `width`."""
    label = len(axes.row_label(max(tensor.rows - 1, 0)))
    return max(1, (width - label) // (cell_width(tensor, precision) + GAP))


def grid(
    tensor: TensorView, axes: Axes, origin: Origin, cell: Origin, across: int, height: int, precision: int
) -> Lines:
    """The numbers from `origin` on, under their column indices and beside their row indices, in `height` lines.

    A cell that is not in the page received is "…". The one at `cell` has the cursor.
    """
    rows = range(origin.row, min(origin.row + height - 1, tensor.rows))
    if not tensor.cells or not rows:
        return []
    shown = aligned(tensor.cells, precision)
    labels = [axes.row_label(row) for row in rows]
    label_width = max(len(label) for label in labels)
    size = cell_width(tensor, precision) + GAP
    columns = range(origin.column, min(origin.column + across, tensor.columns))
    first = axes.first_column
    lines: Lines = [[(" " * label_width, ""), *((str(first + c).rjust(size), "guide") for c in columns)]]
    for row, label in zip(rows, labels, strict=True):
        line: list[Span] = [(label.rjust(label_width), "guide")]
        for column in columns:
            text, role = _shown(tensor, shown, row, column)
            here = (row, column) == (cell.row, cell.column)
            line += [(" " * GAP, ""), (text.rjust(size - GAP), CURSOR if here else role)]
        if columns.stop < tensor.columns:
            line.append((" …", "guide"))
        lines.append(line)
    return lines


def _shown(tensor: TensorView, shown: Cells, row: int, column: int) -> Span:
    down, right = row - tensor.row, column - tensor.column
    if not (0 <= down < len(shown) and 0 <= right < len(shown[down])):
        return "…", "muted"
    exact = tensor.cells[down][right]
    role = "bad" if "nan" in exact or "inf" in exact else "muted" if exact.strip("-0.+j") == "" else ""
    return shown[down][right], role


def exact(tensor: TensorView, cell: Origin) -> str:
    """The number in that cell as it was received; empty where it was not."""
    down, right = cell.row - tensor.row, cell.column - tensor.column
    if 0 <= down < len(tensor.cells) and 0 <= right < len(tensor.cells[down]):
        return tensor.cells[down][right].replace("-", fmt.MINUS)
    return ""
