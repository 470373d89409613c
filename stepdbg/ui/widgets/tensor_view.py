"""Tensors as text: what they are, statistics, a small histogram, and blocks side by side. Pure functions."""

from __future__ import annotations

import textwrap

from stepdbg.protocol.records import TensorStats, TensorView
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import Span

Lines = list[list[Span]]
GAP = 2
HISTOGRAM = 24


def facts_line(title: str, tensor: TensorView, width: int) -> list[Span]:
    """The title, and shape, dtype, bytes and device as far as there is room."""
    facts = [f"  {fmt.shape(tensor.shape)}", f" {tensor.dtype}", f" · {fmt.byte_count(tensor.nbytes)}"]
    facts += [f" · {tensor.device}"] if tensor.device != "cpu" else []
    while len(facts) > 1 and fmt.columns(title) + sum(map(fmt.columns, facts)) > width:
        facts.pop()
    return crop([(title, "name"), ("".join(facts), "muted")], width)


def tensor_lines(title: str, tensor: TensorView | None, empty: str, width: int, *, histogram: bool = True) -> Lines:
    """Title, statistics and (if wanted) histogram of `tensor` in `width` columns; `empty` says why it is None."""
    if tensor is None:
        return [[(title, "name")], *[[(line, "muted")] for line in wrapped(empty, width)]]
    lines: Lines = [facts_line(title, tensor, width)]
    if tensor.stats is not None:
        lines += stats_lines(tensor.stats, width)
        lines += histogram_lines(tensor.stats, width) if histogram else []
    if tensor.note:
        lines += [[(line, "muted")] for line in wrapped(tensor.note, width)]
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns."""
    return textwrap.wrap(text, max(width, 8)) or [""]


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


def beside(blocks: list[Lines], widths: list[int]) -> Lines:
    """Blocks side by side, each in so many columns, with rules between them."""
    lines: Lines = []
    for at in range(max(len(block) for block in blocks)):
        line: list[Span] = []
        for number, (block, width) in enumerate(zip(blocks, widths, strict=True)):
            part = crop(block[at] if at < len(block) else [], width)
            if number:
                line.append((" │ ", "guide"))
            line += part
            if number + 1 < len(blocks):
                line.append((" " * (width - sum(fmt.columns(text) for text, _role in part)), ""))
        lines.append(line)
    return lines


def crop(line: list[Span], width: int) -> list[Span]:
    """`line` in at most `width` columns."""
    if sum(fmt.columns(text) for text, _role in line) <= width:
        return line
    result: list[Span] = []
    for text, role in line:
        if width <= 0:
            break
        result.append((fmt.head(text, width) if text.strip() else text[:width], role))
        width -= fmt.columns(text)
    return result
