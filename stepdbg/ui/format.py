"""Numbers, sizes and shapes as text. Pure functions; every result has a known width or is asked for one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from stepdbg.plain import sizes

BLOCKS = "▁▂▃▄▅▆▇█"
ELLIPSIS = "…"
MINUS = "−"

byte_count = sizes.byte_count


def seconds(duration: float | None) -> str:
    """A duration in seconds with the unit that suits it: "12 µs", "0.4 ms", "1.23 s", "2 min 05 s"."""
    if duration is None or not math.isfinite(duration):
        return ""
    if duration < 0.0001:
        return f"{duration * 1e6:.0f} µs"
    if duration < 0.09995:
        return f"{duration * 1e3:.1f} ms"
    if duration < 0.9995:
        return f"{duration * 1e3:.0f} ms"
    if duration < 59.995:
        return f"{duration:.2f} s"
    minutes, rest = divmod(round(duration), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def count(number_of: int) -> str:
    """A count: exact up to 9,999, then with a decimal unit: "12.3k", "124.4M"."""
    if abs(number_of) < 10_000:
        return f"{number_of:,}"
    value = float(number_of)
    units = ["T", "G", "M", "k"]
    value /= 1000
    while abs(value) >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop()
    return f"{value:.1f}{units[-1]}"


def number(value: float | None, width: int = 0) -> str:
    """`value` to at least three significant digits, right-aligned in `width` columns; at most 10 characters.

    None is the empty string. The minus sign is U+2212, as wide as a digit in every terminal font.
    """
    return _number(value).replace("-", MINUS).rjust(width) if value is not None else " " * width


def _number(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 99_999.5 or size < 0.0009995:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    if size < 0.00995:
        return f"{value:.5f}"
    decimals = 4 if size < 0.99995 else 3 if size < 9.9995 else 2 if size < 99.995 else 1 if size < 999.95 else 0
    return f"{value:.{decimals}f}"


def shape(dimensions: Sequence[int] | None) -> str:
    """A tensor's shape: "6×4", "scalar" for no dimensions, "?" for a lazy one that has none yet."""
    if dimensions is None:
        return "?"
    return "×".join(str(size) for size in dimensions) if dimensions else "scalar"


def tail(text: str, width: int) -> str:
    """`text` in at most `width` columns, cut at the left: the end of a dotted name is what tells."""
    if columns(text) <= width:
        return text
    kept = text
    while kept and columns(kept) > width - 1:
        kept = kept[1:]
    return ELLIPSIS + kept if width > 0 else ""


def head(text: str, width: int) -> str:
    """`text` in at most `width` columns, cut at the right."""
    if columns(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + ELLIPSIS if width > 0 else ""


def columns(text: str) -> int:
    """Columns that `text` takes on a terminal: two for each wide character."""
    return len(text) if text.isascii() else cell_len(text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled up to `width` columns, at its left if it stands at the right."""
    fill = " " * (width - columns(text))
    return fill + text if right else text + fill


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The last `width` of `values` as blocks, one column each, scaled from their minimum to their maximum.

    Equal values are drawn flat and low, unknown ones (None, nan, inf) as a blank. Shorter than `width` when
    there are fewer values.
    """
    shown = [v if v is not None and math.isfinite(v) else None for v in values][-width:] if width > 0 else []
    known = [v for v in shown if v is not None]
    if not known:
        return " " * len(shown)
    low, high = min(known), max(known)
    top = len(BLOCKS) - 1
    return "".join(
        " " if v is None else BLOCKS[0] if high == low else BLOCKS[round(_share(v, low, high) * top)] for v in shown
    )


def _share(value: float, low: float, high: float) -> float:
    """Where `value` stands between `low` and `high`, 0 to 1; halved first, so that the span cannot
    overflow.
    """
    return (value / 2 - low / 2) / (high / 2 - low / 2) if high / 2 > low / 2 else 0.0


def rebin(counts: Sequence[int], width: int) -> list[int]:
    """`counts` added up into at most `width` bins of (nearly) equal span; the sum is kept."""
    if width <= 0 or not counts:
        return []
    if len(counts) <= width:
        return list(counts)
    edges = [i * len(counts) // width for i in range(width + 1)]
    return [sum(counts[a:b]) for a, b in itertools.pairwise(edges)]


def histogram(counts: Sequence[int], height: int = 1) -> list[str]:
    """`counts` as `height` rows of blocks, top row first, one column a bin.

    Only an empty bin is blank: the smallest count still shows the lowest block.
    """
    highest = max(counts, default=0)
    if highest <= 0 or height <= 0:
        return [" " * len(counts) for _ in range(height)]
    eighths = [max(1, round(c / highest * height * 8)) if c > 0 else 0 for c in counts]
    rows = []
    for level in range(height - 1, -1, -1):
        cells = (min(max(e - level * 8, 0), 8) for e in eighths)
        rows.append("".join(BLOCKS[c - 1] if c else " " for c in cells))
    return rows


def plural(number_of: int, noun: str, nouns: str = "") -> str:
    """A count with its noun, "1 stop", "2 stops"; `nouns` where the plural is not made with s."""
    return f"{number_of:,} {noun if number_of == 1 else nouns or noun + 's'}"
