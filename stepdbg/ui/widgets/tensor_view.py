"""One or two tensors as text: statistics, a histogram, and numbers in aligned columns. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from stepdbg.protocol.records import TensorStats, TensorView
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import Span

Lines = list[list[Span]]
GAP = 2
HISTOGRAM = 24


@dataclass(frozen=True)
class Origin:
    """The cell at the upper left corner."""

    row: int = 0
    column: int = 0


def tensor_lines(title: str, tensor: TensorView | None, empty: str, width: int, *, histogram: bool = True) -> Lines:
    """Title, statistics and (if wanted) histogram of `tensor` in `width` columns; `empty` says why it is None."""
    if tensor is None:
        return [[(title, "name")], [(empty, "muted")]]
    facts = f"  {fmt.shape(tensor.shape)} {tensor.dtype} · {fmt.byte_count(tensor.nbytes)}"
    if tensor.device != "cpu":
        facts += f" · {tensor.device}"
    lines: Lines = [[(title, "name"), (facts, "muted")]]
    if tensor.stats is not None:
        lines += stats_lines(tensor.stats, width)
        lines += histogram_lines(tensor.stats, width) if histogram else []
    if tensor.note:
        lines.append([(tensor.note, "muted")])
    return lines


def stats_lines(stats: TensorStats, width: int) -> Lines:
    """Labelled numbers, as many to a line as fit in `width`, one under the other."""
    pairs = [
        ("min", stats.min), ("max", stats.max), ("mean", stats.mean), ("std", stats.std), ("norm", stats.norm)
    ]  # fmt: skip
    cells: list[list[Span]] = [
        [(f"{label} ".ljust(5), "muted"), (fmt.number(value) if value is not None else "–", "number")]
        for label, value in pairs
    ]
    if stats.zeros:
        share = f" ({stats.zeros / stats.numel:.0%})" if stats.numel else ""
        cells.append([("zeros ", "muted"), (f"{fmt.count(stats.zeros)}{share}", "number")])
    for label, number_of in (("nan", stats.nan), ("+inf", stats.posinf), (f"{fmt.MINUS}inf", stats.neginf)):
        if number_of:
            cells.append([(f"{fmt.count(number_of)} {label}", "bad")])
    size = max(sum(len(text) for text, _role in cell) for cell in cells)
    across = max(1, (width + GAP) // (size + GAP))
    lines: Lines = []
    for start in range(0, len(cells), across):
        line: list[Span] = []
        for cell in cells[start : start + across]:
            used = sum(len(text) for text, _role in cell)
            line += [*cell, (" " * (size - used + GAP), "")]
        lines.append(line)
    return lines


def histogram_lines(stats: TensorStats, width: int) -> Lines:
    """The histogram in two rows of blocks between its ends, with what it was made from."""
    if not any(stats.histogram):
        return []
    low, high = fmt.number(stats.low), fmt.number(stats.high)
    bins = fmt.rebin(stats.histogram, max(min(HISTOGRAM, width - len(low) - len(high) - 2), 1))
    upper, lower = fmt.histogram(bins, 2)
    lines: Lines = [
        [(" " * (len(low) + 1), ""), (upper, "name")],
        [(f"{low} ", "muted"), (lower, "name"), (f" {high}", "muted")],
    ]
    if stats.sampled is not None:
        of = f"sampled {fmt.count(stats.sampled)} of {fmt.count(stats.numel)}"
        lines[0].append((fmt.head(f"  {of}", max(width - len(low) - 1 - len(bins), 0)), "muted"))
    return lines


def cell_lines(tensor: TensorView, origin: Origin, width: int, height: int) -> Lines:
    """The numbers from `origin` on, under their column indices and beside their row indices.

    A cell that is not in the page received is "…".
    """
    rows = range(origin.row, min(origin.row + height - 1, tensor.rows))
    if not tensor.cells or not rows:
        return []
    labels = [row_label(tensor, row) for row in rows]
    label_width = max(len(label) for label in labels)
    size = max((len(cell) for line in tensor.cells for cell in line), default=1)
    size = max(size, len(str(tensor.column + len(tensor.cells[0]) - 1)))
    across = max(1, (width - label_width) // (size + GAP))
    columns = range(origin.column, min(origin.column + across, tensor.columns))
    lines: Lines = [[(" " * label_width, ""), *((str(c).rjust(size + GAP), "guide") for c in columns)]]
    for row, label in zip(rows, labels, strict=True):
        line: list[Span] = [(label.rjust(label_width), "guide")]
        line += [_cell(tensor, row, column, size + GAP) for column in columns]
        if columns.stop < tensor.columns:
            line.append((" …", "guide"))
        lines.append(line)
    return lines


def columns_across(tensor: TensorView, width: int) -> int:
    """How many columns of numbers fit in `width`, about."""
    size = max((len(cell) for line in tensor.cells for cell in line), default=1)
    return max(1, (width - len(row_label(tensor, max(tensor.rows - 1, 0)))) // (size + GAP))


def row_label(tensor: TensorView, row: int) -> str:
    """Index of `row` in the dimensions that run down: "3", or "3,0,2"."""
    if len(tensor.shape) < 2:
        return ""
    index = []
    for dimension in reversed(tensor.shape[:-1]):
        row, rest = divmod(row, max(dimension, 1))
        index.append(str(rest))
    return ",".join(reversed(index))


def _cell(tensor: TensorView, row: int, column: int, width: int) -> Span:
    down, across = row - tensor.row, column - tensor.column
    if not (0 <= down < len(tensor.cells) and 0 <= across < len(tensor.cells[down])):
        return "…".rjust(width), "muted"
    text = tensor.cells[down][across]
    role = "bad" if text in ("nan", "inf", "-inf") else "muted" if _is_zero(text) else ""
    return text.replace("-", fmt.MINUS).rjust(width), role


def _is_zero(text: str) -> bool:
    return text.strip("-0.") == ""


def beside(left: Lines, right: Lines, width: int) -> Lines:
    """Two blocks side by side, the left one in `width` columns with a rule behind it."""
    lines: Lines = []
    for at in range(max(len(left), len(right))):
        line = crop(left[at] if at < len(left) else [], width)
        used = sum(len(text) for text, _role in line)
        line += [(" " * (width - used), ""), (" │ ", "guide")]
        lines.append(line + (right[at] if at < len(right) else []))
    return lines


def crop(line: list[Span], width: int) -> list[Span]:
    """`line` in at most `width` columns."""
    result: list[Span] = []
    for text, role in line:
        if width <= 0:
            break
        result.append((fmt.head(text, width), role))
        width -= len(text)
    return result
