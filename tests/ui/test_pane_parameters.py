import pytest
from pane_host import Host, full, listing, parameter, stop, texts, view
from textual.widgets import Static

from stepdbg.client.store import Recorded
from stepdbg.protocol.messages import GetParameters
from stepdbg.ui.messages import ParameterSelected
from stepdbg.ui.panes.parameters import ParametersPane, changed, shared_kinds


def sentence(app) -> str:
    return str(app.query_one(".pane--sentence", Static).content)


async def test_every_column_when_there_is_room():
    app = Host(ParametersPane(), view(full()))
    async with app.run_test(size=(122, 12)):
        table = app.pane.table
        optional = ("g is", "reached", "nan/inf", "state")
        assert table.shown_columns == tuple(column.title for column in table.columns)
        assert set(optional) <= set(table.shown_columns)
        rows = texts(table)
        words = [" ".join(row.split()) for row in rows]
        assert words[3] == "net.2.weight 1×6 float32 0.7330 0.2101 clipped grad SGD[0] ● yes"
        assert words[4] == "net.2.bias 1 float32 0.1180 0 grad SGD[0] ● yes 1 in g"
        assert words[6] == "net2.0.bias 6 float32 1.412 none – nobody ○ no frozen"
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
        assert app.wanted() == [GetParameters(0, 0, count), GetParameters(0, 0, count, "bias")]
        rows = tuple(parameter(f"l{i}.bias") for i in range(10))
        known = listing(rows, "bias")
        app.view = view(full(parameters=type(known)("bias", 500, 900, known.rows)))
        await pilot.pause()
        assert "10 of" not in app.pane.border_title
        assert "500 of 900 · filter: bias" in app.pane.border_title
        app.pane.focus_content()
        await pilot.press("G")
        offset = 500 - 2 * app.pane.table.page
        assert app.wanted()[-1] == GetParameters(0, offset, 500 - offset, "bias")


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
