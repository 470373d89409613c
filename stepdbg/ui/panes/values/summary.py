"""All that is known of a tensor, one fact a line. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stepdbg.protocol.records import TensorStats, TensorView
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.tensor_view import Lines, facts_line, histogram_lines

LABEL = 7


def summary(title: str, tensor: TensorView, width: int, height: int) -> Lines:
    """Title, then statistics in as many columns as `height` lines need, and the histogram if it still fits."""
    lines: Lines = [facts_line(title, tensor, width)]
    if tensor.note:
        lines.append([(tensor.note, "muted")])
    if tensor.stats is None:
        return lines
    facts = list(_facts(tensor.stats))
    size = max(len(value) for _, value, _ in facts) + LABEL + 1
    across = max(1, min((width + 2) // (size + 2), -(-len(facts) // max(height - len(lines), 1))))
    down = -(-len(facts) // across)
    for row in range(down):
        line: list[tuple[str, str]] = []
        for name, value, role in facts[row::down]:
            line += [(name.ljust(LABEL), "muted"), (value.rjust(size - LABEL) + "  ", role)]
        lines.append(line)
    blocks = histogram_lines(tensor.stats, width)
    return [*lines, *blocks] if len(lines) + len(blocks) <= height else lines


def _facts(stats: TensorStats) -> Iterator[tuple[str, str, str]]:
    yield "numel", f"{stats.numel:,}", "number"
    for name, whole, value in (("min", stats.whole_min, stats.min), ("max", stats.whole_max, stats.max)):
        yield name, f"{whole:,}" if whole is not None else fmt.number(value) if value is not None else "–", "number"
    for name, value in (("mean", stats.mean), ("std", stats.std), ("norm", stats.norm)):
        yield name, fmt.number(value) if value is not None else "–", "number"
    finite = stats.numel - stats.nan - stats.posinf - stats.neginf
    if stats.norm is not None and finite:
        yield "rms", fmt.number(stats.norm / math.sqrt(finite)), "number"
    share = f" {stats.zeros / stats.numel:.1%}" if stats.zeros else ""
    yield "zeros", f"{stats.zeros:,}{share}", "number"
    for name, count in (("nan", stats.nan), ("+inf", stats.posinf), (f"{fmt.MINUS}inf", stats.neginf)):
        yield name, f"{count:,}", "bad" if count else "number"
