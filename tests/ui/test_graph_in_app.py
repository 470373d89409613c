"""The graph pane in the whole app, against a scripted agent: what it is told comes first."""

from __future__ import annotations

import pytest
from test_shell import Driver, running

from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import GraphPath, GraphView
from stepdbg.ui.graphs import path_text
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.parameters import ParametersPane

WITH_GRAPH = 4


async def shown(driver: Driver) -> GraphPane:
    """The pane with its tree, once the first selection is known to it."""
    pane = driver.app.main.query_one(GraphPane)
    await driver.until(
        lambda: pane.lens.selected and pane._tree is not None and pane._tree.lens == pane.lens, "the tree is there"
    )
    await driver.pilot.pause()
    return pane


def name_at_cursor(pane: GraphPane) -> str:
    row = pane.tree_list.row_at_cursor
    assert row is not None
    return row.name


async def test_y_puts_the_path_into_the_clipboard() -> None:
    async with running(stop=WITH_GRAPH) as driver:
        await shown(driver)
        await driver.press("L", "y")
        await driver.session.agent.told(m.GetGraphPath)
        await driver.until(lambda: driver.app.clipboard, "it is copied")
        assert driver.app.clipboard == "loss ← net ← net.2 ← net.2.bias"
        assert driver.notices()[-1] == "copied: the path of 4 names, the root first"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (GraphPath(("loss",), 0), "loss"),
        (GraphPath(("loss", "a", "b", "w"), 0), "loss ← a ← b ← w"),
        (GraphPath(("loss", "a", "b", "w"), 49_000), "loss ← a ← … 49,000 more … ← b ← w"),
    ],
)
def test_a_path_reads_from_the_root(path: GraphPath, text: str) -> None:
    assert path_text(path) == text


async def test_a_switches_the_watching_of_gradients_and_the_border_says_so() -> None:
    async with running(stop=WITH_GRAPH, size=(160, 50)) as driver:
        pane = await shown(driver)
        await driver.press("a")
        asked = await driver.session.agent.told(m.SetWatching)
        assert (asked.gradients, asked.stacks) == (True, None)
        await driver.until(lambda: driver.view.watching is not None, "it is known")
        await driver.pilot.pause()
        assert str(pane.border_subtitle).endswith("from next backward")
        await driver.press("a")
        assert (await driver.session.agent.told(m.SetWatching, 2)).gradients is False


async def test_a_parameter_chosen_in_its_pane_brings_the_graph_there_and_back() -> None:
    async with running(stop=WITH_GRAPH) as driver:
        pane = await shown(driver)
        assert name_at_cursor(pane) == "loss"
        await driver.press("2")
        await driver.pilot.pause()
        await driver.press("j", "j")
        await driver.until(lambda: driver.app.selected == "net.2.weight", "it is selected")
        await driver.until(lambda: name_at_cursor(pane) == "net.2.weight", "the cursor of the graph is there")
        await driver.press("1")
        await driver.pilot.pause()
        await driver.press("up")
        await driver.until(lambda: driver.app.selected == "net.2.bias", "the other one is selected")
        table = driver.app.main.query_one(ParametersPane).table
        await driver.until(lambda: table.row_at_cursor.name == "net.2.bias", "the table follows")
        await driver.pilot.pause()
        assert name_at_cursor(pane) == "net.2.bias"
        seeks = [query.seek for query in driver.session.agent.received if isinstance(query, m.GetGraph) and query.seek]
        assert seeks[-1] == "parameter:net.2.weight"


async def test_a_held_key_asks_only_for_what_it_comes_to() -> None:
    async with running(stop=WITH_GRAPH) as driver:
        pane = await shown(driver)
        driver.session.agent.slow = (m.GetGraph,)
        before = len(driver.session.agent.received)
        await driver.press(*["j"] * 8)
        driver.session.agent.release()
        await driver.until(lambda: pane._tree is not None and pane._tree.lens == pane.lens, "all is answered")
        asked = [query for query in driver.session.agent.received[before:] if isinstance(query, m.GetGraph)]
        assert len(asked) <= 2
        assert asked[-1].lens.selected == driver.app.selected == "net.2.weight"


async def test_a_node_marks_what_it_leads_to_in_the_parameter_pane() -> None:
    async with running(stop=WITH_GRAPH) as driver:
        await shown(driver)
        await driver.press("j", "j", "j", "j")
        await driver.until(lambda: driver.app.marked == {"net.2.bias", "net.2.weight"}, "they are marked")
        await driver.press("j")
        await driver.until(lambda: not driver.app.marked, "a parameter takes the marks away")


async def test_the_view_stays_from_stop_to_stop_and_is_asked_for_with_the_stop() -> None:
    async with running(stop=WITH_GRAPH) as driver:
        pane = await shown(driver)
        await driver.press("v")
        await driver.until(lambda: pane._tree is not None and pane._tree.lens.view is GraphView.RAW, "it is raw")
        await driver.press("n")
        await driver.stopped_at(WITH_GRAPH + 1)
        asked = [query for query in driver.session.agent.received if isinstance(query, m.GetGraph)]
        assert asked[-1].lens == pane.lens
        assert pane.lens.view is GraphView.RAW
