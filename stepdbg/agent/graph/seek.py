"""Finds the row of a graph that `GetGraph.seek` names."""

from __future__ import annotations

from collections.abc import Sequence

from stepdbg.agent.graph import rows, sections
from stepdbg.agent.graph.layout import MODULE, REFERENCE, Layout
from stepdbg.agent.graph.record import GraphRecord
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.graph import GraphRow


def seek(place: str, record: GraphRecord, layout: Layout, after: list[GraphRow], shown: Sequence[int]) -> int | None:
    """Position among the visible rows; None where there is no such row. Raises NotThereError for no such word."""
    what, _, of = place.partition(":")
    if what == "parameter":
        number = next((n for n, leaf in record.leaf_of.items() if leaf.name == of), None)
        if number is not None:
            return rows.find(layout, shown, layout.row_of[number])
        index = next((r.index for r in after if r.kind == "unreached" and r.name == of), -1)
        return sections.find(shown, index)
    if what == "module":
        return _module(of, layout, shown)
    if not of.lstrip("-").isdigit():
        words = "parent:I, leaf:I, target:I, row:I, node:SEQ, module:PATH or parameter:NAME"
        raise NotThereError(f"cannot seek {place!r}: {words}")
    index = int(of)
    if what == "node":
        return _node(index, record, layout, shown)
    if what == "leaf":
        return rows.next_leaf(layout, shown, index)
    if index >= len(layout.kind):
        if what == "parent":
            index = sections.parent(after, index)
        return sections.find(shown, index)
    if what == "parent":
        index = layout.parent[index]
    elif what == "target":
        if layout.kind[index] != REFERENCE:
            return None
        index = layout.row_of[layout.of[index]]
    return rows.find(layout, shown, index) if index >= 0 else None


def _node(seq: int, record: GraphRecord, layout: Layout, shown: Sequence[int]) -> int | None:
    """The row of the node with that sequence number, or of what it is folded away in."""
    numbers = (n for n, number in enumerate(record.seq_of) if number == seq and n not in record.leaf_of)
    number = next(numbers, None)
    return rows.find(layout, shown, layout.row_of[number]) if number is not None else None


def _module(path: str, layout: Layout, shown: Sequence[int]) -> int | None:
    """The row of the last call of the module with that path."""
    calls = (i for i, kind in enumerate(layout.kind) if kind == MODULE and layout.calls[layout.of[i]][0] == path)
    index = next(calls, None)
    return rows.find(layout, shown, index) if index is not None else None
