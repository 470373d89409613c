"""A page of the graph as an indented tree; what is recorded about graphs; the chain to one parameter."""

from __future__ import annotations

from stepdbg.plain import text
from stepdbg.protocol.chain import ChainPage
from stepdbg.protocol.graph import Flow, GraphPage, GraphRow, Watching


def lines(page: GraphPage, width: int = 100) -> list[str]:
    """One row a line, as deep as it lies."""
    if not page.rows:
        return [page.note or "there is no graph yet"]
    rows = [
        (
            "  " * row.depth + row.title,
            row.detail,
            text.shape(row.shape) if row.shape is not None else "",
            f"{row.nodes:,}" if row.nodes else "",
            text.byte_count(row.nbytes) if row.nbytes is not None else "",
            _remark(row),
        )
        for row in page.rows
    ]
    made = text.table(("graph", "", "shape", "nodes", "keeps", "remark"), rows, right=(3, 4), width=width)
    if page.total > len(page.rows):
        made.append(f"… {page.total - len(page.rows):,} more rows")
    return [*made, page.note] if page.note else made


def _remark(row: GraphRow) -> str:
    parts = [*row.marks, row.cause]
    if row.flow is not None:
        parts.append(f"|g| {_flow(row.flow)}")
    return "; ".join(part for part in parts if part)


def _flow(flow: Flow | None) -> str:
    if flow is None:
        return ""
    bad = f", {flow.nonfinite:,} not finite" if flow.nonfinite else ""
    return f"{text.number(flow.norm) or '?'}{bad}"


def watching(record: Watching) -> list[str]:
    """What is recorded from here on."""
    on = [name for name, yes in (("grads", record.gradients), ("stacks", record.stacks)) if yes]
    said = f"recorded: {' and '.join(on)}" if on else "neither grads nor stacks are recorded"
    return [said, record.note] if record.note else [said]


def chain(page: ChainPage, width: int = 100) -> list[str]:
    """The nodes from the root to the parameter, with the gradient in and out of each where it was watched."""
    if not page.steps:
        return [page.note or f"there is no path to {page.title}"]
    rows = [
        (
            step.op,
            step.module,
            text.shape(step.shape) if step.shape is not None else "",
            _flow(step.entering),
            _flow(step.leaving),
        )
        for step in page.steps
    ]
    made = [f"from {page.root} to {page.title}: {page.paths} ways, the {page.way.value} has {page.total:,} nodes"]
    made += text.table(("node", "module", "shape", "|g| in", "|g| out"), rows, right=(3, 4), width=width)
    return [*made, page.why_no_flows] if page.why_no_flows else made
