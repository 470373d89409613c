"""The edges of a graph, between the rows that are visible."""

from __future__ import annotations

from collections.abc import Sequence

from stepdbg.agent.graph.layout import REFERENCE, Layout
from stepdbg.agent.graph.record import GraphRecord
from stepdbg.agent.work import Work

Edge = tuple[int, int, int]


def between(record: GraphRecord, layout: Layout, shown: Sequence[int], work: Work | None) -> list[Edge]:
    """(row, row, how many edges of the graph) in the order of rows. Edges inside one visible row are left out.

    A node that is not visible stands in the nearest visible row above it. The first row has one to each root.
    """
    total = len(layout.kind)
    stands = [-1] * total
    for index in shown:
        if index < total and layout.kind[index] != REFERENCE:
            stands[index] = index
    for index in range(1, total):
        if stands[index] < 0:
            stands[index] = stands[layout.parent[index]]
    counts: dict[tuple[int, int], int] = {}
    row_of = layout.row_of
    for root in record.roots:
        if row_of[root] >= 0 and stands[row_of[root]] != 0:
            counts[0, stands[row_of[root]]] = 1
    for node in record.order:
        if work is not None and not node % 4096:
            work.step(node, record.count, "nodes")
        above = stands[row_of[node]]
        for end in record.next_of(node):
            below = stands[row_of[end]]
            if above != below:
                counts[above, below] = counts.get((above, below), 0) + 1
    return [(above, below, count) for (above, below), count in sorted(counts.items())]
