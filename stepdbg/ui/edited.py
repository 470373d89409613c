"""Edits in words: pure functions from records to text."""

from __future__ import annotations

from collections.abc import Sequence

from stepdbg.protocol.edits import Edit
from stepdbg.ui import format as fmt

FEW = 3
"""Edits that are written out in a line."""


def change(edit: Edit) -> str:
    """From what to what: "0.5 → 0.01", "2-norm 0.5023 → 0"; nothing for a sum of several."""
    if not edit.what:
        return ""
    what = "" if edit.what == "value" else f"{edit.what} "
    arrow = f"{edit.before} → {edit.after}" if edit.before != edit.after else f"{edit.after}, as it was"
    return (what + arrow).replace("-", fmt.MINUS).replace(f"2{fmt.MINUS}norm", "2-norm")


def extent(edit: Edit) -> str:
    """How many of the written elements are other than before: "5 of 6"; nothing where there is one, or no tensor."""
    if edit.numel is None or edit.changed is None or edit.numel == 1:
        return ""
    return f"{edit.changed:,} of {edit.numel:,}"


def told(edit: Edit) -> str:
    """One edit in a line: "net.0.bias: 2-norm 0.5023 → 0 (6 of 6 elements)"."""
    elements = extent(edit)
    return f"{edit.title}: {change(edit)}" + (f" ({elements} elements)" if elements else "")


def summary(edits: Sequence[Edit]) -> str:
    """The newest ones in a line, after how many there are."""
    newest = " · ".join(f"{edit.title} {change(edit)}".rstrip() for edit in edits[-FEW:])
    return newest if len(edits) <= FEW else f"{len(edits):,} edits, the last ones {newest}"
