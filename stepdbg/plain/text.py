"""Numbers, shapes and tables as plain text: what all functions of this package share. Standard library only."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence


def number(value: float | None) -> str:
    """To four significant digits, "nan" and "inf" as such; nothing for None. Signs are ASCII."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return f"{value}"
    return f"{value:.4g}"


def shape(sizes: Sequence[int] | None) -> str:
    """As "4×2", "scalar" for no dimensions, "?" for a lazy one."""
    return "?" if sizes is None else "×".join(map(str, sizes)) or "scalar"


def byte_count(count: int | None) -> str:
    """With a binary unit: "148 B", "1.9 KiB"; "?" for None."""
    if count is None:
        return "?"
    value, units = float(count), ["TiB", "GiB", "MiB", "KiB"]
    if abs(count) < 1024:
        return f"{count} B"
    value /= 1024
    while abs(value) >= 1024 and len(units) > 1:
        value /= 1024
        units.pop()
    return f"{value:.1f} {units[-1]}"


def seconds(duration: float | None) -> str:
    """As "12 µs", "0.4 ms", "1.23 s"; nothing for None."""
    if duration is None:
        return ""
    if duration < 1e-4:
        return f"{duration * 1e6:.0f} µs"
    return f"{duration * 1e3:.1f} ms" if duration < 1 else f"{duration:.2f} s"


def plural(count: int, noun: str) -> str:
    """As "1 stop", "2 stops"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def columns(text: str) -> int:
    """Columns that it takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def cut(text: str, width: int) -> str:
    """At most `width` columns of it."""
    if columns(text) <= width:
        return text
    kept = text
    while kept and columns(kept) > width - 1:
        kept = kept[:-1]
    return f"{kept}…"


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), width: int = 100
) -> list[str]:
    """Aligned columns, those of index `right` to the right; what stays empty in all rows is left out. The last column
    is cut at `width`; the others never are.
    """
    used = [at for at in range(len(header)) if any(row[at] for row in rows)]
    widths = {at: max(columns(line[at]) for line in (header, *rows)) for at in used}
    lines = []
    for line in (header, *rows):
        cells = []
        for at in used:
            fill = " " * (widths[at] - columns(line[at]))
            cells.append(fill + line[at] if at in right else line[at] + fill)
        lines.append(cut("  ".join(cells).rstrip(), max(width, sum(widths.values()) - widths.get(used[-1], 0) + 20)))
    return lines
