from dataclasses import replace

import pytest
from pane_host import Host, full, graph, graph_rows, listing, stop, texts, two_nets, view
from textual.widgets import Static

from stepdbg.client.store import Recorded, Status
from stepdbg.protocol.messages import GetGraph
from stepdbg.ui.messages import ParameterSelected
from stepdbg.ui.panes.graph import GraphPane


def sentence(app) -> str:
    return str(app.query_one(".pane--sentence", Static).content)


async def test_the_tree_with_gradients_shapes_and_bytes():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=(62, 14)):
        assert texts(app.pane.tree_list)[:6] == [
            " loss                                     |g|   shape   kept",
            "▌▾ loss 0.6712 BCELoss                         scalar  128 B",
            " └ ▾ net.3 Sigmoid                               32×1  128 B",
            "   └ ▾ net.2 Linear                              32×1  768 B",
            "     ├ ● net.2.bias                         0       1",
            "     ├ ● net.2.weight                  0.2101     1×6",
        ]
        assert "loss reaches net 4/4 · net2 0/4" in app.pane.border_title
        assert app.pane.border_subtitle == "12 nodes · 14 edges · recorded at stop 4"
        assert app.wanted() == []


async def test_a_live_stop_without_a_graph_is_asked_for_it_once():
    app = Host(GraphPane(), view(Recorded(stop())))
    async with app.run_test(size=(62, 14)) as pilot:
        app.view = replace(app.view, notices=("another",))
        await pilot.pause()
        assert app.wanted() == [GetGraph(0, 0, 80)]
        assert sentence(app) == "Reading…"


async def test_a_hidden_pane_asks_nothing_until_it_is_seen():
    pane = GraphPane()
    pane.display = False
    app = Host(pane, view(Recorded(stop())))
    async with app.run_test(size=(62, 14)) as pilot:
        assert app.wanted() == []
        pane.display = True
        await pilot.pause()
        assert len(app.wanted()) == 1


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (None, "No script has been started yet."),
        (view(status=Status.STARTING), "The script is starting"),
        (view(status=Status.RUNNING), "has not stopped yet"),
        (view(status=Status.ENDED), "ended without a stop"),
        (view(Recorded(stop()), status=Status.ENDED), "ended before this was looked at"),
        (view(Recorded(stop(3)), Recorded(stop()), shown=0), "Not recorded at stop 3"),
        (view(full(graph=graph((), recorded_at=None, note="no forward yet"))), "No graph: no forward yet."),
        (view(full(graph=graph((), recorded_at=None))), "has not reached a forward yet"),
    ],
)
async def test_an_empty_pane_says_why(shown, words):
    app = Host(GraphPane(), shown)
    async with app.run_test(size=(72, 14)):
        assert words in sentence(app)
        assert app.query_one(".pane--sentence").display


async def test_a_failure_is_shown_with_its_reason_and_not_asked_again():
    app = Host(GraphPane(), view(Recorded(stop())))
    async with app.run_test(size=(72, 14)) as pilot:
        app.view = view(Recorded(stop(), failed={"GetGraph": "out of memory"}))
        await pilot.pause()
        assert sentence(app) == "Could not be read: out of memory"
        assert len(app.wanted()) == 1


async def test_the_last_tree_stays_dimmed_until_the_next_one_comes():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=(72, 14)) as pilot:
        app.view = view(full(), status=Status.RUNNING)
        await pilot.pause()
        assert app.pane.border_subtitle == "running…"
        app.view = view(full(), Recorded(stop(6)))
        await pilot.pause()
        assert app.pane.has_class("-stale")
        assert sentence(app) == ""
        assert "net.3 Sigmoid" in "\n".join(texts(app.pane.tree_list))
        assert app.wanted() == [GetGraph(0, 0, 80)]
        app.view = view(full(), full(stop=stop(6), graph=graph(freed=True)))
        await pilot.pause()
        assert not app.pane.has_class("-stale")
        assert app.pane.border_subtitle == "12 nodes · 14 edges · freed by backward · recorded at stop 4"


async def test_the_cursor_on_a_leaf_selects_the_parameter():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=(72, 14)) as pilot:
        app.pane.focus_content()
        await pilot.press("j", "j", "j")
        names = [message.name for message in app.said if isinstance(message, ParameterSelected)]
        assert names == ["net.2.bias"]


async def test_folding_and_searching_ask_for_other_rows():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=(72, 14)) as pilot:
        app.pane.focus_content()
        await pilot.press("j", "j", "h")
        app.pane.search("bias")
        await pilot.pause()
        assert app.wanted() == [GetGraph(0, 0, 80, (2,)), GetGraph(0, 0, 80, (2,), "bias")]
        folded = graph(graph_rows()[:3], (2,), "bias")
        app.view = view(full(graph=folded))
        await pilot.pause()
        assert texts(app.pane.tree_list)[3].startswith("▌  └ ▸ net.2 Linear")
        assert "filter: bias" in app.pane.border_title


async def test_folds_are_forgotten_with_the_graph_they_were_made_in():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=(72, 14)) as pilot:
        app.pane.focus_content()
        await pilot.press("j", "j", "h")
        app.view = view(full(), full(stop=stop(6), graph=graph(folded=(2,), nodes=99)))
        await pilot.pause()
        assert app.wanted()[-1] == GetGraph(0, 0, 80)


async def test_an_earlier_stop_is_not_asked():
    app = Host(GraphPane(), view(full(stop=stop(4)), full(), shown=0))
    async with app.run_test(size=(72, 14)) as pilot:
        app.pane.focus_content()
        await pilot.press("h")
        assert app.wanted() == []
        assert app.pane.border_subtitle == "folding needs the present stop"


async def test_norms_come_with_the_parameters():
    app = Host(GraphPane(), view(full(parameters=None)))
    async with app.run_test(size=(72, 14)) as pilot:
        assert "0.2101" not in "\n".join(texts(app.pane.tree_list))
        app.view = view(full(parameters=listing(two_nets())))
        await pilot.pause()
        assert "0.2101" in "\n".join(texts(app.pane.tree_list))
