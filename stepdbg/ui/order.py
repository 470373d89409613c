"""In which order a stop is asked: the agent answers in turn."""

from __future__ import annotations

from collections.abc import Iterable

from stepdbg.client.store import View
from stepdbg.protocol import messages as m

LARGE = 20_000
"""Nodes of a graph whose walk would keep the other panes waiting."""


def in_order(queries: Iterable[m.Query], view: View) -> list[m.Query]:
    """The graph first, since what is told of the parameters is about it; but late where the last one was large. The
    memory goes through the graph as well, and comes last.
    """
    graphs = (recorded.graph for recorded in reversed(view.history) if recorded.graph is not None)
    last = next(graphs, None)
    large = last is not None and last.page.nodes > LARGE
    places: dict[type[m.Query], int] = {m.GetGraph: 1 if large else -1, m.GetMemory: 2}
    return sorted(queries, key=lambda query: places.get(type(query), 0))
