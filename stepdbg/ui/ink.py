"""What a terminal must be told before it draws in another style: only what differs from the style it draws in.

An ink is all that Textual writes before a text in some style: one SGR sequence, or nothing; before it the start of a
link where the text is one.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

NONE = ""
"""The terminal's own colours, upright."""

RESET = "\x1b[0m"
END_LINK = "\x1b]8;;\x1b\\"

_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")

# What takes an attribute away again. Bold and dim have that in common, and so have both underlines.
_OFF = {"1": 22, "2": 22, "3": 23, "4": 24, "21": 24, "5": 25, "6": 25, "7": 27, "8": 28, "9": 29, "53": 55}

MOST_STYLES = 4096
"""Styles whose ink is kept; a heatmap has as many as it has values."""


class Inks:
    """The inks of Rich's styles on one console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        # By identity: comparing styles takes longer than all the rest. They are kept, so that no other gets the number.
        self.known: dict[int, tuple[Style | None, str]] = {}

    def of(self, style: Style | None) -> str:
        """The ink in which Textual writes text of that style."""
        known = self.known.get(id(style))
        if known is not None:
            return known[1]
        if len(self.known) >= MOST_STYLES:
            self.known.clear()
        ink, _, _ = Strip([Segment("x", style)]).render(self.console).rpartition("x")
        self.known[id(style)] = style, sys.intern(ink)
        return ink


@lru_cache(maxsize=8192)
def change(old: str, new: str) -> str:
    """What makes a terminal that draws in the ink `old` draw in `new`."""
    if old == new:
        return ""
    before, after = _codes(old), _codes(new)
    if before is None:
        return RESET + (END_LINK if "\x1b]8;" in old else "") + new
    if after is None:
        return (RESET if old else "") + new
    lost = before[2] - after[2]
    if not lost <= _OFF.keys():
        return RESET + new
    off = {_OFF[code] for code in lost}
    gained = [code for code in after[2] if code not in before[2] or _OFF.get(code) in off]
    codes = [str(code) for code in sorted(off)] + sorted(gained)
    codes += [
        now or default for was, now, default in zip(before[:2], after[:2], ("39", "49"), strict=True) if was != now
    ]
    if not codes:
        return ""  # the same in another order
    from_scratch = ["0", *sorted(after[2]), *(color for color in after[:2] if color)]
    return f"\x1b[{min(';'.join(codes), ';'.join(from_scratch), key=len)}m"


_Codes = tuple[str, str, frozenset[str]]


@lru_cache(maxsize=8192)
def _codes(ink: str) -> _Codes | None:
    """The codes for colour, background and attributes in it; None if it is more than that."""
    if not ink:
        return "", "", frozenset()
    match = _SEQUENCE.fullmatch(ink)
    if match is None:
        return None
    codes = match[1].split(";")
    front, back, attributes = "", "", set()
    at = 0
    while at < len(codes):
        code, length = codes[at], 1
        if code in ("38", "48"):
            length = {"5": 3, "2": 5}.get(codes[at + 1] if at + 1 < len(codes) else "", 0)
            if not length or at + length > len(codes):
                return None
        if code == "38" or _is_color(code, "3", "9"):
            front = ";".join(codes[at : at + length])
        elif code == "48" or _is_color(code, "4", "10"):
            back = ";".join(codes[at : at + length])
        elif code in ("", "0") or code in ("58", "59"):
            return None
        else:
            attributes.add(code)
        at += length
    return front, back, frozenset(attributes)


def _is_color(code: str, low: str, high: str) -> bool:
    """Whether it is one of the eight colours, or their brighter ones, or the default."""
    start, last = code[:-1], code[-1:]
    return (start == low and last in "012345679") or (start == high and last in "01234567")
