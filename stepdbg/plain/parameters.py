"""A page of parameters as a table."""

from __future__ import annotations

from stepdbg.plain import text
from stepdbg.protocol.records import ParameterPage, ParameterRow
from stepdbg.protocol.shown import NamesShown


def lines(page: ParameterPage, width: int = 100) -> list[str]:
    """Name, shape, norms and owner of each; then how many there are."""
    if page.gone:
        return [page.gone]
    if not page.rows:
        return ["no parameter matches" if page.everything else "no parameter is known at this stop"]
    rows = [
        (
            "  " * row.depth + row.title,
            text.shape(row.shape),
            "" if row.dtype == "float32" else row.dtype,
            text.number(row.value_norm),
            _gradient(row),
            row.owner,
            "; ".join(part for part in (*row.marks, row.cause, row.note) if part),
        )
        for row in page.rows
    ]
    made = text.table(("name", "shape", "dtype", "|w|", "|g|", "owner", "remark"), rows, right=(3, 4), width=width)
    total = page.total if page.matching is None else page.matching
    more = f", {len(page.rows):,} shown" if len(page.rows) < page.total else ""
    of = f" of {page.everything:,}" if total != page.everything else ""
    return [*made, f"{total:,}{of} {'parameter' if total == page.everything == 1 else 'parameters'}{more}"]


def _gradient(row: ParameterRow) -> str:
    if row.grad == "none":
        return "none"
    bad = f" ({row.grad_nonfinite:,} not finite)" if row.grad_nonfinite else ""
    return f"{text.number(row.grad_norm) or row.grad}{bad}" + (f" {row.grad_label}" if row.grad_label else "")


def names(record: NamesShown) -> str:
    """How names are shown, in one line."""
    if record.full:
        return "names are shown in full, as net.0.weight"
    if not record.left_out:
        return "names are shown in full: without the root module they would clash"
    return f"names are shown as in named_parameters(), without {' and '.join(record.left_out)}"
