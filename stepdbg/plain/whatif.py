"""An estimate as lines: what it would be, each number with its remark, and what it is estimated from."""

from __future__ import annotations

import textwrap

from stepdbg.plain.sizes import byte_count
from stepdbg.protocol.whatif import Estimate, EstimateRow

LABEL = 30
NUMBER = 10


def number(row: EstimateRow) -> str:
    """The bytes of a row, with a unit."""
    if row.nbytes is None:
        return "unknown"
    return byte_count(row.nbytes).replace("-", "−")


def rows(estimate: Estimate) -> list[tuple[str, str, str]]:
    """Label, number and remark of each row; labels and numbers filled up to equal width."""
    label = max([LABEL, *(len(row.label) for row in estimate.rows)])
    return [(row.label.ljust(label), number(row).rjust(NUMBER), row.remark) for row in estimate.rows]


def lines(estimate: Estimate, width: int = 100) -> list[str]:
    """All of it. Every line but a row's fits into `width`."""
    found = [f"what if: {estimate.title} (an estimate)"]
    found += [f"  {label} {value}  {remark}".rstrip() for label, value, remark in rows(estimate)]
    for text in (estimate.answer, estimate.basis, estimate.note):
        found += textwrap.wrap(text, width)
    return found
