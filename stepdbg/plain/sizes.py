"""Sizes as text."""

from __future__ import annotations


def byte_count(count: int | None) -> str:
    """`count` bytes with a binary unit: "0 B", "148 B", "1.9 KiB". None is the empty string."""
    if count is None:
        return ""
    if abs(count) < 1024:
        return f"{count} B"
    value = float(count)
    units = ["TiB", "GiB", "MiB", "KiB"]
    value /= 1024
    while abs(value) >= 999.95 and len(units) > 1:
        value /= 1024
        units.pop()
    unit = units[-1]
    return f"{value:.1f} {unit}" if abs(value) < 99.95 else f"{value:.0f} {unit}"
