from pane_host import full, graph, view

from stepdbg.protocol.messages import GetGraph, GetMemory, GetParameters, GetValues
from stepdbg.ui.order import LARGE, in_order

ASKED = [GetMemory(0), GetParameters(0), GetGraph(0), GetValues(0, "w")]


def kinds(nodes: int | None) -> list[type]:
    seen = view(full(graph=None if nodes is None else graph(nodes=nodes)))
    return [type(query) for query in in_order(ASKED, seen)]


def test_the_graph_comes_first_and_the_memory_last():
    for nodes in (None, 12, LARGE):
        assert kinds(nodes) == [GetGraph, GetParameters, GetValues, GetMemory]


def test_a_large_graph_keeps_nobody_waiting():
    assert kinds(LARGE + 1) == [GetParameters, GetValues, GetGraph, GetMemory]
