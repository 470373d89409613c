from dataclasses import replace

import pytest
from pane_host import STEPS, Host, full, graph, listing, parameter, stop, texts, two_nets, view
from textual.widgets import Static

from stepdbg.client.store import Recorded
from stepdbg.protocol.messages import GetParameters
from stepdbg.ui.messages import ParameterSelected
from stepdbg.ui.panes.parameters import ParametersPane, changed, reached, shared_kinds
from stepdbg.ui.panes.parameters.columns import DEFAULT


def sentence(app) -> str:
    return str(app.query_one(".pane--sentence", Static).content)


async def test_every_column_when_there_is_room():
    odd = parameter("net2.2.bias", (1,), reached=False, grad="sparse", note="hooked")
    app = Host(ParametersPane(), view(full(parameters=listing((*two_nets()[:-1], odd)))))
    async with app.run_test(size=(140, 12)):
        table = app.pane.table
        optional = ("g is", "reached", "nan/inf", "remark")
        assert table.shown_columns == tuple(t for t in DEFAULT if t not in ("|Δw|", "Δw/w", "trend"))
        assert set(optional) <= set(table.shown_columns)
        rows = texts(table)
        words = [" ".join(row.split()) for row in rows]
        assert words[3] == "net.2.weight 1×6 float32 0.7330 0.2101 clipped grad SGD[0] ● yes"
        assert words[4] == "net.2.bias 1 float32 0.1180 0 grad SGD[0] ● yes 1 in g"
        assert words[6] == "net2.0.bias 6 float32 1.412 none – nobody – frozen"
        assert words[8].endswith("○ no sparse grad, hooked")
        assert app.pane.border_title.endswith("8 of 8")


@pytest.mark.parametrize("width", [60, 76])
async def test_narrow_panes_keep_what_matters(width):
    app = Host(ParametersPane(), view(full()))
    async with app.run_test(size=(width, 12)):
        shown = app.pane.table.shown_columns
        assert {"name", "|w|", "|g|", "changed", "nan/inf"} <= set(shown)
        assert "dtype" not in shown


@pytest.mark.parametrize(
    ("value", "grad", "words"),
    [(True, True, "value grad"), (True, None, "value"), (False, True, "grad"), (False, False, "–"), (None, None, "?")],
)  # fmt: skip
def test_changed_in_words(value, grad, words):
    assert changed(parameter("w", value_changed=value, grad_changed=grad))[0] == words


async def test_two_optimizers_of_a_class_are_told_apart_by_name():
    rows = (
        parameter("netD.w", owner="optD[0]", owner_kind="Adam"),
        parameter("netG.w", owner="optG[1]", owner_kind="Adam"),
        parameter("net.w", owner="opt[1]", owner_kind="SGD"),
    )
    assert shared_kinds(rows) == {"Adam"}
    app = Host(ParametersPane(), view(full(parameters=listing(rows))))
    async with app.run_test(size=(100, 12)):
        owners = texts(app.pane.table)[1:4]
        assert ["optD[0]" in owners[0], "optG[1]" in owners[1], "SGD[1]" in owners[2]] == [True] * 3


async def test_asking_filtering_and_paging():
    app = Host(ParametersPane(), view(Recorded(stop())))
    async with app.run_test(size=(76, 12)) as pilot:
        app.pane.search("bias")
        await pilot.pause()
        page = app.pane.table.page
        count = max(2 * page, 20)
        asked = [GetParameters(0, 0, count, "", STEPS), GetParameters(0, 0, count, "bias", STEPS)]
        assert app.wanted()[-2:] == asked
        rows = tuple(parameter(f"l{i}.bias") for i in range(10))
        known = replace(listing(rows, "bias"), total=500, everything=900)
        app.view = view(full(parameters=known))
        await pilot.pause()
        assert "10 of" not in app.pane.border_title
        assert "500 of 900 · filter: bias" in app.pane.border_title
        app.pane.focus_content()
        await pilot.press("G")
        offset = 500 - 2 * app.pane.table.page
        assert app.wanted()[-1] == GetParameters(0, offset, 500 - offset, "bias", STEPS)


async def test_the_cursor_selects_and_follows_the_selection():
    app = Host(ParametersPane(), view(full()))
    async with app.run_test(size=(76, 12)) as pilot:
        app.pane.focus_content()
        await pilot.press("down")
        assert [m.name for m in app.said if isinstance(m, ParameterSelected)] == ["net.0.bias"]
        app.selected = "net2.0.weight"
        await pilot.pause()
        assert app.pane.table.row_at_cursor.name == "net2.0.weight"


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (listing((), gone="the script's variables have been freed"), "variables have been freed."),
        (listing((), "bias"), "No parameter matches “bias”."),
        (listing((), "is:unowned"), "No parameter is unowned, as far as a graph has been recorded."),
        (listing(()), "No parameters"),
    ],
)
async def test_an_empty_list_says_why(known, words):
    app = Host(ParametersPane(), view(full(parameters=known), shown=0))
    async with app.run_test(size=(76, 12)):
        assert words in sentence(app)


async def test_unknown_norms_are_question_marks():
    rows = (parameter("w", value_norm=None, grad_norm=None, grad="unreadable", note="meta tensor"),)
    app = Host(ParametersPane(), view(full(parameters=listing(rows))))
    async with app.run_test(size=(122, 12)):
        row = texts(app.pane.table)[1]
        assert row.split().count("?") == 2
        assert "unreadable grad, meta tensor" in row


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"reached": None}, ""),
        ({"reached": None, "marks": ("shared",)}, "shared"),
        ({"reached": True, "marks": ("reached",)}, "● yes"),
        ({"reached": True, "marks": ("reached", "shared")}, "● yes, shared"),
        ({"reached": True, "marks": ("reached", "unowned")}, "● unowned"),
        ({"reached": False, "marks": ("unreached",)}, "○ no"),
        ({"reached": False, "marks": ("unreached", "unused", "shared")}, "○ unused, shared"),
        ({"reached": False, "requires_grad": False, "marks": ("frozen",)}, "– frozen"),
        ({"reached": False, "requires_grad": False, "marks": ("frozen", "unused")}, "– frozen"),
    ],
)
def test_each_mark_has_a_word(facts, words):
    assert reached(parameter("w", **facts))[0] == words


def test_what_matters_is_told_apart_by_colour_as_well():
    marked = [{"marks": ("reached",)}, {"marks": ("reached", "unowned")}, {"reached": False, "marks": ("unreached",)}]
    assert [reached(parameter("w", **facts))[1] for facts in marked] == ["good", "name", "muted"]


CAUSE = "net2 was never called in this iteration"


@pytest.mark.parametrize(("width", "shown"), [(140, CAUSE), (108, "net2 was nev")])
async def test_the_cause_takes_the_room_that_is_left(width, shown):
    rows = (parameter("net.0.weight"), parameter("net2.0.weight", reached=False, cause=CAUSE))
    app = Host(ParametersPane(), view(full(parameters=listing(rows))))
    async with app.run_test(size=(width, 12)):
        row = texts(app.pane.table)[2]
        assert shown in row
        assert (CAUSE in row) == (width == 140)
        assert "○ no" in row


async def test_the_cause_goes_first_where_there_is_no_room():
    rows = (parameter("net2.0.weight", reached=False, cause=CAUSE),)
    app = Host(ParametersPane(), view(full(parameters=listing(rows))))
    async with app.run_test(size=(70, 12)):
        assert "remark" not in app.pane.table.shown_columns
        assert {"name", "|w|", "|g|", "changed"} <= set(app.pane.table.shown_columns)


async def test_the_lower_border_counts_marks_where_a_graph_is_known():
    counts = (("frozen", 1), ("reached", 4), ("unreached", 1204), ("shared", 0))
    app = Host(ParametersPane(), view(full(graph=graph(marks=counts))))
    async with app.run_test(size=(76, 12)) as pilot:
        assert app.pane.border_subtitle == "4 reached · 1,204 unreached · 1 frozen"
        app.view = view(full(graph=None))
        await pilot.pause()
        assert not app.pane.border_subtitle


@pytest.mark.parametrize(
    ("typed", "asked"), [("is:unowned", "is:unowned"), ("is:fro", "is:frozen"), (" IS:Shared ", "is:shared")]
)
async def test_a_mark_is_asked_for_by_its_name_or_its_beginning(typed, asked):
    app = Host(ParametersPane(), view(Recorded(stop())))
    async with app.run_test(size=(76, 12)) as pilot:
        app.pane.search(typed)
        await pilot.pause()
        assert app.wanted()[-1].pattern == asked


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("is:lost", "No mark “lost”: is:reached, is:unreached, is:unowned, is:unused, is:shared or is:frozen."),
        ("is:un", "is:unreached, is:unowned or is:unused?"),
        ("is:", "is:reached, is:unreached, is:unowned, is:unused, is:shared or is:frozen?"),
        ("is:view", "No mark “view”: "),
    ],
)
async def test_an_unknown_mark_is_not_asked_for(typed, words):
    app = Host(ParametersPane(), view(full()))
    async with app.run_test(size=(120, 12)) as pilot:
        before = app.wanted()
        app.pane.search(typed)
        await pilot.pause()
        assert words in sentence(app)
        assert app.wanted() == before
        assert app.pane.table.total == 8
        app.pane.search("")
        await pilot.pause()
        assert sentence(app) == ""
        assert app.pane.table.total == 8


async def test_what_the_graph_marks_has_a_sign_and_the_cursor():
    app = Host(ParametersPane(), view(full()))
    async with app.run_test(size=(76, 12)) as pilot:
        app.marked = frozenset({"net2.0.bias", "net.2.bias"})
        await pilot.pause()
        signed = [row.split()[0].lstrip("▌") for row in texts(app.pane.table) if "◂" in row]
        assert signed == ["net.2.bias", "net2.0.bias"]
        assert app.pane.table.row_at_cursor.name == "net.2.bias"
        assert not [m for m in app.said if isinstance(m, ParameterSelected)]
        app.marked = frozenset()
        await pilot.pause()
        assert not [row for row in texts(app.pane.table) if "◂" in row]


async def test_the_cursor_goes_to_a_marked_row_that_comes_later():
    rows = two_nets()
    app = Host(ParametersPane(), view(full(parameters=listing(rows[:2]))), "net.0.bias")
    async with app.run_test(size=(76, 12)) as pilot:
        assert app.pane.table.row_at_cursor.name == "net.0.bias"
        app.marked = frozenset({"net2.0.weight"})
        await pilot.pause()
        assert app.pane.table.row_at_cursor.name == "net.0.bias"
        app.view = view(full(parameters=listing(rows)))
        await pilot.pause()
        assert app.pane.table.row_at_cursor.name == "net2.0.weight"


async def test_the_user_and_the_selection_take_the_cursor_back():
    app = Host(ParametersPane(), view(full()))
    async with app.run_test(size=(76, 12)) as pilot:
        app.marked = frozenset({"net.2.bias"})
        await pilot.pause()
        app.pane.focus_content()
        await pilot.press("down")
        app.view = view(full(parameters=listing(two_nets())))
        await pilot.pause()
        assert app.pane.table.row_at_cursor.name == "net2.0.weight"
        app.selected = "net.0.bias"
        await pilot.pause()
        assert app.pane.table.row_at_cursor.name == "net.0.bias"


async def test_rows_that_came_before_the_graph_of_this_stop_are_asked_for_anew_once():
    rows = replace(listing(two_nets()), graph_at=3)
    app = Host(ParametersPane(), view(full(parameters=rows, graph=graph(recorded_at=5))))
    async with app.run_test(size=(76, 12)) as pilot:
        assert [type(query) for query in app.wanted()] == [GetParameters]
        app.view = replace(app.view, notices=("another",))
        await pilot.pause()
        assert len(app.wanted()) == 1


async def test_rows_about_the_graph_of_this_stop_are_not_asked_for_anew():
    rows = replace(listing(two_nets()), graph_at=5)
    app = Host(ParametersPane(), view(full(parameters=rows, graph=graph(recorded_at=5))))
    async with app.run_test(size=(76, 12)):
        assert app.wanted() == []
