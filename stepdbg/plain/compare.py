"""What differs between two sides, and what was set by hand."""

from __future__ import annotations

from collections.abc import Sequence

from stepdbg.plain import text
from stepdbg.protocol.compare import DiffPage, DiffRow
from stepdbg.protocol.edits import Edit


def lines(page: DiffPage, width: int = 100) -> list[str]:
    """The rows that differ most first."""
    made = [
        f"A {page.title}, B {page.other_title}: {page.differ:,} differ, {page.equal:,} equal"
        + (f", {page.unpaired:,} only on one side" if page.unpaired else "")
        + (f", {page.unlike:,} cannot be compared" if page.unlike else "")
    ]
    rows = [
        (
            row.title,
            row.state,
            " : ".join(text.shape(one) for one in _shapes(row)),
            text.number(row.norm),
            text.number(row.other_norm),
            text.number(row.delta),
            text.number(row.ratio),
            row.note,
        )
        for row in page.rows
    ]
    if rows:
        header = ("name", "", "shape", "|A|", "|B|", "|Δ|", "|Δ|/|A|", "remark")
        made += text.table(header, rows, right=(3, 4, 5, 6), width=width)
    if page.total > len(page.rows):
        made.append(f"… {page.total - len(page.rows):,} more")
    return [*made, page.note] if page.note else made


def edits(every: Sequence[Edit], cut_short: str = "") -> list[str]:
    """One edit a line."""
    made = []
    for edit in every:
        what = "" if edit.what == "value" else f"{edit.what} "
        count = f" ({edit.changed:,} of {edit.numel:,} elements)" if edit.changed is not None and edit.numel else ""
        made.append(f"{edit.title}: {what}{edit.before} → {edit.after}{count}")
        if edit.note:
            made.append(f"  {edit.note}")
    made = made or ["nothing has been set by hand"]
    return [*made, cut_short] if cut_short else made


def _shapes(row: DiffRow) -> list[tuple[int, ...] | None]:
    """That of A, and that of B where it is another one."""
    return [row.shape] if row.other_shape is None else [row.shape, row.other_shape]
