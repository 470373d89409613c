"""A tensor's histogram in all the room there is, with linear or logarithmic counts. Pure functions."""

from __future__ import annotations

import math

from stepdbg.protocol.records import TensorStats, TensorView
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.tensor_view import Lines, facts_line, wrapped

FINE = 10_000
"""Steps in which logarithms are compared."""


def histogram(title: str, tensor: TensorView, width: int, height: int, *, log: bool) -> Lines:
    """Title, bars between the smallest and the largest element, their counts at the left, the ends below.

    With `log` a bar's height goes with the logarithm of its count: of 1 it is the least, of 0 there is none.
    """
    lines: Lines = [facts_line(title, tensor, width)]
    stats = tensor.stats
    if stats is None or not any(stats.histogram):
        return [*lines, [(tensor.note or "no finite element", "muted")]]
    label, bins = 1, list(stats.histogram)
    for _ in range(2):  # fewer bars have larger counts
        bins = fmt.rebin(stats.histogram, max(width - label - 1, 1))
        label = max(label, len(fmt.count(max(bins))))
    bins = fmt.rebin(stats.histogram, max(width - label - 1, 1))
    highest = max(bins)
    told = [_words(stats, log=log), *([tensor.note] if tensor.note else [])]
    words: Lines = [[(line, "muted")] for text in told for line in wrapped(text, width)]
    rows = max(height - len(words) - 2, 1)
    heights = [round(FINE * _share(count, highest, log=log)) if count else 0 for count in bins]
    each = max((width - label - 1) // len(bins), 1)
    drawn = ["".join(block * each for block in row) for row in fmt.histogram(heights, rows)]
    marks = {0: fmt.count(highest), rows - 1: ("1" if log else "")}
    for at, row in enumerate(drawn):
        lines.append([(f"{marks.get(at, '').rjust(label)} ", "muted"), (row, "name")])
    lines.append(_axis(stats, len(bins) * each, label, width))
    return [*lines, *words]


def _share(count: int, highest: int, *, log: bool) -> float:
    if not log:
        return count / highest
    # 1 is one step high, so that it can be seen; 10 one more.
    return (1 + math.log10(count)) / (1 + math.log10(highest))


def _axis(stats: TensorStats, room: int, label: int, width: int) -> list[tuple[str, str]]:
    low, high = fmt.number(stats.low), fmt.number(stats.high)
    if room < len(low) + len(high) + 1:
        return [(" " * (label + 1), ""), (fmt.head(f"{low} to {high}", max(width - label - 1, 0)), "muted")]
    line = list(low + " " * (room - len(low) - len(high)) + high)
    if stats.low < 0 < stats.high:
        at = min(int((0 - stats.low) / (stats.high - stats.low) * room), room - 1)
        if all(c == " " for c in line[max(at - 1, 0) : at + 2]):
            line[at] = "0"
    return [(" " * (label + 1), ""), ("".join(line), "muted")]


def _words(stats: TensorStats, *, log: bool) -> str:
    finite = stats.numel - stats.nan - stats.posinf - stats.neginf
    scale = "logarithmic counts" if log else "linear counts"
    made = (
        f"sampled {fmt.count(stats.sampled)} of {fmt.count(finite)}"
        if stats.sampled is not None
        else f"all {fmt.count(finite)}"
    )
    return f"{scale} · {made} finite"
