"""The graph pane: what it asks and posts comes first, then what it shows."""

from dataclasses import replace

import fake_graph
import pytest
from pane_host import GraphHost, Host, full, graph, graph_rows, listing, stop, texts, two_nets, view
from textual.widgets import Static

from stepdbg.client.store import Recorded, Status
from stepdbg.protocol.graph import Flow, GraphChoice, GraphRow, GraphView, Lens, Watching
from stepdbg.protocol.messages import GetGraph, Working
from stepdbg.ui.messages import CopyPath, ParameterSelected, ParametersMarked, Wanted, WatchGradients
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.graph.detail import RowDetail, lines_for
from stepdbg.ui.panes.graph.picker import GraphPicker
from stepdbg.ui.panes.graph.rows import pack

SIZE = (72, 30)
FIRST = GetGraph(0, 0, 80)


def sentence(app) -> str:
    return str(app.query_one(".pane--sentence", Static).content)


def drawn(app) -> str:
    return "\n".join(texts(app.pane.tree_list))


def detail(app) -> str:
    return app.query_one(RowDetail).render().plain


def notices(app) -> list[str]:
    return [notification.message for notification in app._notifications]


def said(app, kind) -> list:
    return [message for message in app.said if isinstance(message, kind)]


def at_cursor(app) -> GraphRow:
    row = app.pane.tree_list.row_at_cursor
    assert row is not None
    return row


async def opened(app, pilot) -> None:
    """Settled, with the keys in the tree."""
    app.pane.focus_content()
    await pilot.pause()
    app.said.clear()


async def go_to(app, pilot, name, kind=None) -> None:
    """Put the cursor on the first row of that name, as `go_to` does: without a message."""
    rows = app.pane.tree_list.rows.items()
    app.pane.tree_list.go_to(next(at for at, row in rows if row.name == name and kind in (None, row.kind)))
    await pilot.pause()
    app.said.clear()


# ── what is there ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_tree_with_gradients_shapes_and_bytes():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=(62, 14)):
        assert app.wanted() == []
        assert texts(app.pane.tree_list)[:6] == [
            " by module                                |g|   shape   kept",
            "▌▾ loss 0.6712 BCELoss                         scalar  128 B",
            " └ ▾ net.3 Sigmoid                               32×1  128 B",
            "   └ ▾ net.2 Linear                              32×1  768 B",
            "     ├ ● net.2.bias                         0       1",
            "     ├ ● net.2.weight                  0.2101     1×6",
        ]
        assert "loss reaches net 4/4 · net2 0/4" in app.pane.border_title
        assert app.pane.border_subtitle == "12 nodes · 14 edges · recorded at stop 4"


async def test_a_live_stop_without_a_graph_is_asked_for_it_once():
    app = Host(GraphPane(), view(Recorded(stop())))
    async with app.run_test(size=(62, 14)) as pilot:
        app.view = replace(app.view, notices=("another",))
        await pilot.pause()
        assert app.wanted() == [FIRST]
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
        assert len(app.wanted()) == 1
        assert sentence(app) == "Could not be read: out of memory"


async def test_the_last_tree_stays_dimmed_until_the_next_one_comes():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=(72, 14)) as pilot:
        app.view = view(full(), status=Status.RUNNING)
        await pilot.pause()
        assert app.pane.border_subtitle == "running…"
        app.view = view(full(), Recorded(stop(6)))
        await pilot.pause()
        assert app.wanted() == [FIRST]
        assert app.pane.has_class("-stale")
        assert sentence(app) == ""
        assert "net.3 Sigmoid" in drawn(app)
        app.view = view(full(), full(stop=stop(6), graph=graph(freed=True)))
        await pilot.pause()
        assert not app.pane.has_class("-stale")
        assert app.pane.border_subtitle == "12 nodes · 14 edges · freed by backward · recorded at stop 4"


async def test_an_answer_that_comes_as_its_time_runs_out_is_not_dimmed():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=(72, 14)) as pilot:
        app.view = view(full(), Recorded(stop(6)))
        assert app.pane._late is not None
        app.view = view(full(), full(stop=stop(6)))
        await pilot.pause()
        app.pane._dim_late()  # the timer has queued its call a moment before it was stopped
        assert not app.pane.has_class("-stale")


async def test_an_earlier_stop_is_shown_as_it_was_and_not_asked():
    app = Host(GraphPane(), view(full(stop=stop(4)), full(), shown=0))
    async with app.run_test(size=(72, 14)) as pilot:
        await opened(app, pilot)
        for key, words in (("h", "folding"), ("v", "the other view"), ("minus", "folding"), ("L", "jumping")):
            await pilot.press(key)
            assert app.pane.border_subtitle == f"{words} needs the present stop"
        assert app.wanted() == []
        assert "net.3 Sigmoid" in drawn(app)


async def test_norms_come_with_the_parameters():
    app = Host(GraphPane(), view(full(parameters=None)))
    async with app.run_test(size=(72, 14)) as pilot:
        assert "0.2101" not in drawn(app)
        app.view = view(full(parameters=listing(two_nets())))
        await pilot.pause()
        assert "0.2101" in drawn(app)


# ── two views, and folding ──────────────────────────────────────────────────────────────────────────────────


async def test_v_changes_between_modules_and_nodes_and_the_cursor_stays_on_its_parameter():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await go_to(app, pilot, "net.2.weight")
        await pilot.press("v")
        assert app.wanted() == [GetGraph(0, 0, 81, Lens(view=GraphView.RAW), "parameter:net.2.weight")]
        assert at_cursor(app).name == "net.2.weight"
        assert [line.replace("▌", " ")[:32].rstrip() for line in texts(app.pane.tree_list)[1:13]] == [
            " ▾ loss 0.6712",
            " │ BinaryCrossEntropyBackward0",
            " │ SigmoidBackward0",
            " │ AddmmBackward0",
            " ├ ● net.2.bias",
            " ├ ▾ TBackward0",
            " │ └ ● net.2.weight",
            " │ ReluBackward0",
            " │ AddmmBackward0",
            " ├ ● net.0.bias",
            " │ TBackward0",
            " └ ● net.0.weight",
        ]
        assert texts(app.pane.tree_list)[0].startswith(" node by node")
        await pilot.press("v")
        assert app.pane.lens.view is GraphView.MODULES
        assert at_cursor(app).name == "net.2.weight"


async def test_each_view_keeps_what_was_folded_in_it():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("minus", "v")
        assert app.pane.lens == Lens(view=GraphView.RAW)
        await pilot.press("plus", "v")
        assert app.pane.lens == Lens(base=0)
        await pilot.press("v")
        assert app.pane.lens == Lens(view=GraphView.RAW, base=2)


async def test_rows_unfold_and_fold_level_by_level():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await go_to(app, pilot, "net.2")
        index = at_cursor(app).index
        assert "▿ net.2 Linear" in drawn(app)
        await pilot.press("l")
        assert app.wanted()[-1] == GetGraph(0, 0, 80, Lens(levels=((index, 2),)))
        assert "▾ net.2 Linear" in drawn(app)
        assert "├ AddmmBackward0" in drawn(app)
        await pilot.press("l")
        assert at_cursor(app).name == "AddmmBackward0"
        await pilot.press("h", "h")
        assert app.wanted()[-1] == GetGraph(0, 0, 80)
        await pilot.press("h")
        assert app.wanted()[-1] == GetGraph(0, 0, 80, Lens(levels=((index, 0),)))
        assert "▸ net.2 Linear" in drawn(app)
        assert "net.2.bias" not in drawn(app)
        await pilot.press("h")
        assert at_cursor(app).name == "net"
        await pilot.press("enter")
        assert app.pane.lens.levels == ((3, 0), (index, 0))


async def test_folding_all_unfolding_all_and_as_at_first_keep_the_cursor_on_its_row():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await go_to(app, pilot, "net.0.bias")
        index = at_cursor(app).index
        await pilot.press("plus")
        assert app.wanted()[-1] == GetGraph(0, 0, 81, Lens(base=2), f"row:{index}")
        assert at_cursor(app).name == "net.0.bias"
        assert "ReluBackward0" in drawn(app)
        await pilot.press("equals_sign")
        assert at_cursor(app).name == "net.0.bias"
        await pilot.press("minus")
        assert app.pane.lens == Lens(base=0)
        assert app.pane.tree_list.cursor == 0
        assert "▸ loss" in drawn(app)


async def test_levels_are_forgotten_with_the_graph_they_were_made_in():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("j", "l")
        assert app.pane.lens.levels
        app.page = lambda query, number: replace(fake_graph.page(query, number), nodes=99)
        app.arrive(9)
        await pilot.pause()
        assert app.wanted()[-1] == FIRST
        assert app.pane.lens == Lens()


async def test_levels_stay_when_the_same_graph_comes_again():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("j", "l")
        lens = app.pane.lens
        app.arrive(9)
        await pilot.pause()
        assert app.wanted()[-1] == GetGraph(0, 0, 80, lens)
        assert app.pane.lens.levels


# ── search ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pattern", ["bias", "(32, 1)", "32x1", "32×1", "is:unreached", "Addmm"])
async def test_a_search_goes_to_the_agent_as_it_is(pattern):
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.pane.search(pattern)
        await pilot.pause()
        assert app.wanted()[-1] == GetGraph(0, 0, 80, Lens(pattern=pattern))
        assert f"filter: {pattern}" in app.pane.border_title
        assert "loss" in drawn(app) or pattern == "is:unreached"


async def test_a_mark_is_completed_and_a_wrong_one_is_told():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.pane.search("is:unr")
        await pilot.pause()
        assert app.pane.lens.pattern == "is:unreached"
        app.pane.search("is:grey")
        await pilot.pause()
        assert app.pane.lens.pattern == "is:unreached"
        assert sentence(app).startswith("No mark “grey”: is:reached")
        app.pane.search("")
        await pilot.pause()
        assert sentence(app) == ""


async def test_after_a_search_the_cursor_is_still_on_the_row_that_was_found():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.pane.search("net.0.bias")
        await pilot.pause()
        await pilot.press("G")
        app.pane.search("")
        await pilot.pause()
        assert at_cursor(app).name == "net.0.bias"


async def test_nothing_found_is_said():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.pane.search("transformer")
        await pilot.pause()
        assert sentence(app) == "Nothing in the graph matches “transformer”."


# ── jumps ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_jumps_to_parent_and_leaf_and_back():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("L")
        assert app.wanted()[0] == GetGraph(0, 0, 81, seek="leaf:0")
        assert at_cursor(app).name == "net.2.bias"
        assert [message.name for message in said(app, ParameterSelected)] == ["net.2.bias"]
        await pilot.press("L", "P")
        assert app.wanted()[-1].seek == "parent:10"
        assert at_cursor(app).name == "net.2"
        await pilot.press("backspace", "backspace")
        assert at_cursor(app).name == "net.2.bias"
        await pilot.press("backspace")
        assert at_cursor(app).name == "loss"
        await pilot.press("backspace")
        assert notices(app) == ["there was no jump to come back from"]


async def test_the_same_jump_is_asked_again_after_coming_back():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("L", "g", "L")
        first, second = (query for query in app.wanted() if query.seek)
        assert first.seek == second.seek
        assert first != second
        assert at_cursor(app).name == "net.2.bias"


async def test_a_jump_that_leads_nowhere_says_so():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("P")
        await pilot.press("G", "L")
        assert notices(app) == ["this is the root: nothing is above it", "there is no leaf below"]


async def test_a_jump_goes_to_rows_that_are_not_here():
    app = GraphHost(GraphPane(), page=big_page)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.page = lambda query, number: big_page(query, number, found=70_000 if query.seek else None)
        await pilot.press("L")
        await pilot.pause()
        assert app.pane.tree_list.cursor == 70_000
        assert "op70000" in drawn(app)


async def test_enter_on_a_reference_goes_to_where_it_leads():
    rows = (
        GraphRow(0, 0, "loss", "loss", "", (), 3, 3, 9),
        GraphRow(1, 1, "reference", "net.0.weight", "shown below", (6, 4), 0, 0, None, refers_to=3),
        GraphRow(2, 1, "module", "net.0", "Linear", (6,), 2, 1, 8),
        GraphRow(3, 2, "parameter", "net.0.weight", "", (6, 4), 1, 0, None, marks=("shared",)),
    )
    asked = []

    def page(query, number):
        asked.append(query)
        return replace(graph(rows).page, stop=number, found=3 if query.seek == "target:1" else None)

    app = GraphHost(GraphPane(), page=page)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        assert "↓ net.0.weight shown below" in drawn(app)
        assert "● net.0.weight ·shared" in drawn(app)
        await pilot.press("j", "enter")
        assert asked[-1].seek == "target:1" or asked[-2].seek == "target:1"
        assert at_cursor(app).index == 3
        await pilot.press("backspace")
        assert app.wanted()[-1].seek == "row:1"


async def test_rows_are_not_asked_for_while_a_place_is_sought():
    app = GraphHost(GraphPane(), page=big_page)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.held = []
        await pilot.press("L", "pagedown", "pagedown", "pagedown", "pagedown", "pagedown")
        assert [query.seek for query in app.held] == ["leaf:0"]
        app.answer(app.held[0])
        await pilot.pause()
        assert len(app.held) == 1 or not app.held[-1].seek


# ── selection, both ways ────────────────────────────────────────────────────────────────────────────────────


async def test_the_cursor_on_a_parameter_selects_it_and_stays():
    app = GraphHost(GraphPane(), selected="net.0.weight")
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await go_to(app, pilot, "net.2")
        await pilot.press("j", "j")
        assert [message.name for message in said(app, ParameterSelected)] == ["net.2.bias", "net.2.weight"]
        assert [query.seek for query in app.wanted()] == ["", ""]
        assert [query.lens.selected for query in app.wanted()] == ["net.2.bias", "net.2.weight"]
        assert at_cursor(app).name == "net.2.weight"


async def test_a_parameter_selected_elsewhere_brings_the_cursor_to_it():
    app = GraphHost(GraphPane(), selected="net.2.bias")
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.selected = "net.0.weight"
        await pilot.pause()
        assert app.wanted() == [GetGraph(0, 0, 81, Lens(selected="net.0.weight"), "parameter:net.0.weight")]
        assert at_cursor(app).name == "net.0.weight"
        assert said(app, ParameterSelected) == []


async def test_what_is_selected_first_by_nobody_leaves_the_cursor_where_it_is():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.selected = "net.0.weight"
        await pilot.pause()
        assert app.wanted() == [GetGraph(0, 0, 80, Lens(selected="net.0.weight"))]
        assert app.pane.tree_list.cursor == 0


async def test_a_selection_made_while_the_pane_was_hidden_is_followed_once_it_is_seen():
    pane = GraphPane()
    app = GraphHost(pane, selected="net.2.bias")
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        pane.display = False
        await pilot.pause()
        app.selected = "net.0.weight"
        await pilot.pause()
        assert app.wanted() == []
        pane.display = True
        await pilot.pause()
        assert [query.seek for query in app.wanted()] == ["parameter:net.0.weight"]
        assert at_cursor(app).name == "net.0.weight"


async def test_paths_to_the_selected_parameter_are_lit():
    app = GraphHost(GraphPane(), selected="net.2.weight")
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        tree = app.pane.tree_list
        lit = {row.name for row in tree.rows.values() if row.lit}
        assert lit == {"loss", "criterion", "net", "net.3", "net.2", "net.2.weight"}
        accent = tree.get_component_rich_style("line-list--lit").color
        for y, line in enumerate(texts(tree)[1:], 1):
            row = tree.rows.get(y - 1)
            if row is not None:
                names = [s for s in tree.render_line(y) if row.name in s.text]
                assert all((s.style.color == accent) is row.lit for s in names), line


async def test_while_the_cursor_moves_quickly_only_the_newest_selection_is_asked_for():
    app = GraphHost(GraphPane(), selected="net.0.weight")
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await go_to(app, pilot, "net.2")
        app.held = []
        for _ in range(2):
            app.pane.tree_list.action_cursor(1)
        await pilot.pause()
        assert [message.name for message in said(app, ParameterSelected)] == ["net.2.weight"]
        assert app.held[-1].lens.selected == "net.2.weight"
        assert at_cursor(app).name == "net.2.weight"
        app.answer(app.held[-1])
        await pilot.pause()
        assert at_cursor(app).name == "net.2.weight"
        assert not any(query.seek for query in app.wanted())


async def test_a_node_marks_its_parameters_and_a_parameter_takes_the_marks_away():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await go_to(app, pilot, "net.3")
        await pilot.press("j", "j", "up", "up", "up")
        assert [message.names for message in said(app, ParametersMarked)] == [
            ("net.2.bias", "net.2.weight"),
            (),
            ("net.2.bias", "net.2.weight"),
            (),
        ]


async def test_a_row_that_had_to_be_received_is_told_of_once_it_is_here():
    app = GraphHost(GraphPane(), page=big_page)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.held = []
        await pilot.press("G")
        assert said(app, ParameterSelected) == []
        app.answer(app.held[-1])
        await pilot.pause()
        assert [message.name for message in said(app, ParameterSelected)] == ["net.last"]


# ── graphs to choose from ───────────────────────────────────────────────────────────────────────────────────

CHOICES = (
    GraphChoice(3, "loss", "loss BCELoss", 2, 9, freed=False, nodes=11, alive=True),
    GraphChoice(2, "output", "output of net", 2, 8, freed=False, nodes=8, alive=True),
    GraphChoice(1, "loss", "loss MSELoss", 1, 4, freed=True, nodes=24_000, alive=False),
    fake_graph.GRADIENT,
)


def several(query, number):
    page = fake_graph.page(query, number)
    return replace(page, graph=query.lens.graph or 3, choices=CHOICES)


async def test_w_chooses_another_graph():
    app = GraphHost(GraphPane(), page=several)
    async with app.run_test(size=(90, 30)) as pilot:
        await opened(app, pilot)
        await pilot.press("w")
        assert isinstance(app.screen, GraphPicker)
        assert [line[:78].rstrip() for line in texts(app.screen.table)] == [
            " graph                       iteration  nodes  recorded  state",
            "▌● loss BCELoss                      2     11  stop 9    alive",
            "   output of net                     2      8  stop 8    alive",
            "   loss MSELoss                      1  24.0k  stop 4    freed by backward",
            "   gradient of net.0.weight          1      ?  not yet   alive",
        ]
        await pilot.press("j", "j", "enter")
        await pilot.pause()
        assert not isinstance(app.screen, GraphPicker)
        assert app.wanted() == [GetGraph(0, 0, 81, Lens(graph=1), "row:0")]
        await pilot.press("w")
        assert app.screen.table.cursor == 2
        await pilot.press("escape")
        await pilot.pause()
        assert app.pane.lens.graph == 1
        await pilot.press("w", "G")
        assert texts(app.screen.table)[5].rstrip() == "▌  the newest, stop by stop"
        await pilot.press("enter")
        await pilot.pause()
        assert app.pane.lens.graph == 0


async def test_with_one_graph_there_is_nothing_to_choose():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("w")
        assert notices(app) == ["there is one graph only: loss BCELoss, iteration 1"]


async def test_without_a_graph_there_is_nothing_to_choose_either():
    app = Host(GraphPane(), view(full(graph=graph((), recorded_at=None))))
    async with app.run_test(size=SIZE) as pilot:
        app.pane.focus_content()
        await pilot.press("w")
        assert notices(app) == ["there is no graph to choose yet"]


async def test_the_next_stop_keeps_a_chosen_graph_as_long_as_it_is_there():
    app = GraphHost(GraphPane(), page=several)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        app.pane.choose(1)
        await pilot.pause()
        app.arrive(5)
        await pilot.pause()
        assert app.pane.lens.graph == 1
        app.page = fake_graph.page
        app.arrive(9)
        await pilot.pause()
        assert app.wanted()[-1] == FIRST
        assert app.pane.lens.graph == 0


async def test_d_enters_the_graph_of_a_gradient_if_there_is_one():
    app = GraphHost(GraphPane(), page=several)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("d")
        await go_to(app, pilot, "net.2.bias")
        await pilot.press("d")
        assert notices(app) == [
            "d enters the graph of a parameter's gradient: put the cursor on a parameter ●",
            "net.2.bias.grad has no graph: that needs backward(create_graph=True)",
        ]
        await go_to(app, pilot, "net.0.weight")
        await pilot.press("d")
        assert app.wanted() == [GetGraph(0, 0, 81, Lens(graph=7), "row:0")]


# ── gradients, bytes, paths ─────────────────────────────────────────────────────────────────────────────────


async def test_a_watches_gradients_and_the_border_says_when_they_come():
    app = GraphHost(GraphPane())
    async with app.run_test(size=(90, 30)) as pilot:
        await opened(app, pilot)
        assert app.pane.border_subtitle == "11 nodes · 10 edges · 4 unreached · gradients off (a)"
        await pilot.press("a")
        assert [message.on for message in said(app, WatchGradients)] == [True]
        app.view = replace(app.view, watching=Watching(gradients=True, stacks=False))
        await pilot.pause()
        assert app.pane.border_subtitle.endswith("gradients: from the next backward on")
        await pilot.press("a")
        assert [message.on for message in said(app, WatchGradients)] == [True, False]


async def test_while_gradients_are_watched_the_reason_why_there_are_none_is_told():
    why = "no backward has run through this graph yet"
    app = GraphHost(GraphPane(), page=lambda query, n: replace(fake_graph.page(query, n), flows=why))
    async with app.run_test(size=(120, 30)) as pilot:
        await opened(app, pilot)
        assert app.pane.border_subtitle.endswith(f"∂: {why}")
        assert f"∂: {why}" in detail(app)
        await pilot.press("a")
        assert [message.on for message in said(app, WatchGradients)] == [False]
        app.view = replace(app.view, watching=Watching(gradients=False, stacks=False))
        await pilot.pause()
        assert app.pane.border_subtitle.endswith("gradients off (a)")


async def test_gradients_that_flowed_have_a_column_and_bad_ones_stand_out():
    good = Flow(0.3125, -0.0121, 0.0187, 32, 0)
    rows = tuple(replace(row, flow=replace(good, nonfinite=3) if row.name == "net.3" else good) for row in graph_rows())
    app = Host(GraphPane(), view(full(graph=graph(rows))))
    async with app.run_test(size=(80, 16)) as pilot:
        app.pane.focus_content()
        assert texts(app.pane.tree_list)[0].split() == ["by", "module", "|g|", "∂", "shape", "kept"]
        bad = app.pane.tree_list.get_component_rich_style("line-list--bad").color
        segment = next(s for s in app.pane.tree_list.render_line(2) if "nan/inf" in s.text)
        assert segment.text.strip() == "3 nan/inf"
        assert segment.style.color == bad
        assert "0.3125" in texts(app.pane.tree_list)[3]
        await pilot.press("j")
        assert "∂ norm 0.3125, −0.0121 … 0.0187, 3 of 32 nan or inf" in detail(app)


async def test_bytes_are_measured_once_the_tree_is_painted():
    def page(query, number):
        answer = fake_graph.page(query, number)
        if query.measure:
            return answer
        return replace(answer, unmeasured=True, rows=tuple(replace(row, nbytes=None) for row in answer.rows))

    app = GraphHost(GraphPane(), page=page)
    app.held = []
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        app.said.clear()
        app.answer(FIRST)
        await pilot.pause()
        assert app.wanted() == [replace(FIRST, measure=True)]
        assert texts(app.pane.tree_list)[1].endswith("…")
        app.answer(app.wanted()[0])
        await pilot.pause()
        assert len(app.wanted()) == 1
        assert "1.4 KiB" in drawn(app)


async def test_a_measurement_that_failed_is_not_asked_for_again():
    app = GraphHost(GraphPane(), page=lambda query, n: replace(fake_graph.page(query, n), unmeasured=True))
    app.held = []
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        app.answer(FIRST)
        await pilot.pause()
        app.said.clear()
        last = replace(app.view.history[-1], failed={"GetGraph": "cancelled after 10 nodes"})
        app.view = replace(app.view, history=(last,))
        await pilot.pause()
        app.view = replace(app.view, notices=("another",))
        await pilot.pause()
        assert app.wanted() == []
        assert "net.3" in drawn(app)


async def test_freed_bytes_stand_in_brackets():
    app = GraphHost(GraphPane(), number=5)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        assert texts(app.pane.tree_list)[1].endswith("(1.4 KiB)")
        assert "kept 1.4 KiB, freed by backward" in detail(app)
        assert "freed" in app.pane.border_subtitle


async def test_y_copies_the_path():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await go_to(app, pilot, "net.0.weight")
        await pilot.press("y")
        assert [(message.index, message.lens) for message in said(app, CopyPath)] == [(17, Lens())]


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_detail_tells_all_that_is_known_of_the_row():
    row = GraphRow(
        0, 0, "op", "ViewBackward0", "", (32, 6), 1, 0, 41, 768, "float32", marks=("view", "custom"), freed=False,
        file="/home/ada/two_nets.py", line=31, function="forward",
    )  # fmt: skip
    app = Host(GraphPane(), view(full(graph=graph((row,)))))
    async with app.run_test(size=(110, 30)) as pilot:
        await pilot.pause()
        assert detail(app).split("\n") == [
            "ViewBackward0 · (32×6) float32 · keeps 768 B for backward · two_nets.py:31 in forward",
            "view: its output is a view of its input: no numbers are copied",
            "custom: an autograd.Function of the script's own, or of a library · sequence 41",
        ]
        assert "ViewBackward0 ·view ·custom" in drawn(app)


async def test_an_unreached_parameter_says_why_over_the_whole_line():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        assert "✕ net2.0.weight  net2 was never called in this iteration" in drawn(app)
        assert "○ net2 0 of 4  was never called" in drawn(app)
        assert "● net 4 of 4" in drawn(app)
        await pilot.press("G", "up")
        assert detail(app).startswith("net2.2.bias · net2 was never called in this iteration")


CAUSE = "net.0 was called and made no graph: its forward ran under no_grad, or uses no parameter"
IN_TWO = ("net2.0.weight · net.0 was called and made no graph:", "its forward ran under no_grad, or uses no parameter")


@pytest.mark.parametrize(
    ("width", "lines", "packed"),
    [
        (54, 3, [*IN_TWO, "6 nodes"]),
        (54, 2, [*IN_TWO]),
        (120, 2, [f"net2.0.weight · {CAUSE} · 6 nodes"]),
        (20, 1, ["net2.0.weight · …"]),
        (94, 2, ["net2.0.weight", f"{CAUSE} · …"]),
    ],
)  # fmt: skip
def test_facts_are_packed_between_words_and_a_long_one_has_all_the_room(width, lines, packed):
    made = pack([("net2.0.weight", ""), (CAUSE, ""), ("6 nodes", "muted")], width, lines)
    assert ["".join(text for text, _role in line) for line in made] == packed


@pytest.mark.parametrize(("height", "lines"), [(4, 0), (5, 1), (9, 2), (20, 3)])
async def test_the_detail_has_as_many_lines_as_the_pane_can_spare(height, lines):
    assert lines_for(height) == lines
    app = GraphHost(GraphPane())
    async with app.run_test(size=(60, height + 2)) as pilot:
        await pilot.pause()
        assert app.query_one(RowDetail).size.height == lines
        assert len(detail(app).split("\n")) <= max(lines, 1)


@pytest.mark.parametrize("width", [45, 52, 60, 76, 120])
async def test_the_counts_are_shortened_but_not_cut(width):
    app = GraphHost(GraphPane(), number=5)
    async with app.run_test(size=(width, 20)) as pilot:
        await pilot.pause()
        text = app.pane.border_subtitle
        assert "4 unreached" in text
        assert "∂ off (a)" in text or "gradients off (a)" in text
        assert len(text) <= width - 4


async def test_another_dtype_than_the_usual_one_is_shown():
    rows = tuple(
        replace(row, dtype="float16" if row.name == "net.3" else "float32" if row.kind == "module" else "")
        for row in graph_rows()
    )
    rows = (*rows, replace(rows[2], index=9, name="net.9", dtype="float32"))
    app = Host(GraphPane(), view(full(graph=graph(rows))))
    async with app.run_test(size=(90, 16)):
        assert "float16" in drawn(app)
        assert "float32" not in drawn(app)


@pytest.mark.parametrize(
    ("working", "words"),
    [
        (Working(1, 34_000, 0, "nodes"), "Walking the graph… 34,000 nodes · escape stops it"),
        (Working(1, 50, 100, "nodes"), "Walking the graph… ━━━━━━────── 50 of 100 nodes · escape stops it"),
    ],
)
async def test_a_long_walk_tells_how_far_it_is(working, words):
    app = Host(GraphPane(), view(full(), Recorded(stop(6))))
    async with app.run_test(size=SIZE) as pilot:
        app.view = view(full(), Recorded(stop(6), working={"GetGraph": working}))
        await pilot.pause()
        assert sentence(app) == words


async def test_while_bytes_are_measured_the_border_tells_how_far_that_is():
    app = Host(GraphPane(), view(full()))
    async with app.run_test(size=SIZE) as pilot:
        app.view = view(full(working={"GetGraph": Working(1, 50, 100, "nodes")}))
        await pilot.pause()
        assert sentence(app) == ""
        assert app.pane.border_subtitle.endswith("50 of 100 nodes · escape stops it")
        app.view = view(full())
        await pilot.pause()
        assert app.pane.border_subtitle == "12 nodes · 14 edges · recorded at stop 4"


async def test_after_a_cancelled_walk_enter_walks_again():
    app = Host(GraphPane(), view(Recorded(stop())))
    async with app.run_test(size=SIZE) as pilot:
        app.view = view(Recorded(stop(), failed={"GetGraph": "cancelled after 34,000 nodes"}))
        app.pane.focus_content()
        await pilot.pause()
        assert sentence(app) == "Cancelled after 34,000 nodes: enter walks it again."
        app.said.clear()
        await pilot.press("enter")
        assert [(message.query, message.again) for message in said(app, Wanted)] == [(FIRST, True)]


async def test_a_cancelled_other_view_is_offered_again_while_the_first_stays():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        tree = app.view.history[-1].graph
        app.held = []
        await pilot.press("v")
        await pilot.pause()
        recorded = replace(app.view.history[-1], graph=tree, failed={"GetGraph": "cancelled after 34,000 nodes"})
        app.view = replace(app.view, history=(recorded,))
        await pilot.pause()
        assert sentence(app) == "Cancelled after 34,000 nodes: enter walks it again."
        app.said.clear()
        await pilot.press("enter")
        (wanted,) = said(app, Wanted)
        assert wanted.again
        assert wanted.query.lens.view is GraphView.RAW


async def test_cancelled_measuring_is_offered_again():
    app = GraphHost(GraphPane())
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        recorded = app.view.history[-1]
        tree = replace(recorded.graph, page=replace(recorded.graph.page, unmeasured=True))
        recorded = replace(recorded, graph=tree, failed={"GetGraph": "cancelled after 9,000 nodes measured"})
        app.view = replace(app.view, history=(recorded,))
        await pilot.pause()
        assert sentence(app) == "Cancelled after 9,000 nodes measured: enter measures it again."
        app.said.clear()
        await pilot.press("enter")
        (wanted,) = said(app, Wanted)
        assert wanted.again
        assert wanted.query.measure


# ── 100,000 rows ────────────────────────────────────────────────────────────────────────────────────────────


def big_page(query, number, found=None):
    """A graph of 100,000 nodes in one chain, with a parameter at its end."""
    total = 100_000
    offset = query.offset if found is None else found - query.count // 2
    rows = tuple(
        GraphRow(i, 0, "op" if i < total - 1 else "parameter", f"op{i}" if i < total - 1 else "net.last", "",
                 (32, 6), 1, total - 1 - i, total - i, 768, "float32")
        for i in range(offset, min(offset + query.count, total))
    )  # fmt: skip
    return replace(fake_graph.page(query, number), offset=offset, rows=rows, total=total, nodes=total, found=found)


async def test_a_graph_of_100000_rows_asks_for_what_is_on_screen():
    app = GraphHost(GraphPane(), page=big_page)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        await pilot.press("G")
        await pilot.pause()
        assert "net.last" in drawn(app)
        assert len(app.pane.tree_list.rows) <= 400
        assert all(query.count <= 200 for query in app.wanted())
