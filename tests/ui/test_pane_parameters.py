from dataclasses import replace

import pytest
from pane_host import STEPS, Host, full, graph, listing, parameter, stop, texts, two_nets, view
from textual.widgets import Static

from stepdbg.client.store import Recorded, Status
from stepdbg.commands.parameters import COLUMNS, read_columns
from stepdbg.protocol.messages import GetParameters
from stepdbg.ui import format as fmt
from stepdbg.ui.messages import ParameterSelected
from stepdbg.ui.panes.parameters import ParametersPane, cells, changed, reached, shared_kinds
from stepdbg.ui.panes.parameters.columns import DEFAULT
from stepdbg.ui.panes.parameters.past import Past


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
        assert words[4] == "net.2.bias 1 float32 0.1180 – grad SGD[0] ● yes 1 in g"
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


# ── what the step did ───────────────────────────────────────────────────────────────────────────────────────


async def test_what_the_step_did_has_columns_once_it_is_known():
    rows = (
        parameter("usual", value_norm=2.0, delta_norm=0.002),
        parameter("large", value_norm=2.0, delta_norm=0.5),
        parameter("small", value_norm=2.0, delta_norm=2e-6),
        parameter("still", value_norm=2.0, delta_norm=0.0),
        parameter("not", delta_note="over the limit of 256 MiB"),
        parameter("zero", value_norm=0.0, delta_norm=0.1),
        parameter("net.mean", kind="buffer", grad="none", grad_norm=None),
    )
    app = Host(ParametersPane(), view(full(parameters=listing(rows))))
    async with app.run_test(size=(100, 12)):
        assert {"|Δw|", "Δw/w"} <= set(app.pane.table.shown_columns)
        header, *lines = [line.replace("▌", " ") for line in texts(app.pane.table)[:8]]
        first, last = header.index("|g|") + 3, header.index("changed")
        found = {line.split()[0]: line[first:last].split() for line in lines}
        assert found == {
            "usual": ["0.00200", "0.00100"],
            "large": ["0.5000", "high", "0.2500"],
            "small": ["2.00e−6", "low", "1.00e−6"],
            "still": ["0", "0"],
            "not": ["–", "–"],
            "zero": ["0.1000", "–"],
            "net.mean": [],
        }
        ends = {len(line[:last].rstrip()) for line in lines[:4]}
        assert ends == {len(header[:last].rstrip())}  # numbers are right-aligned under their title


async def test_why_it_is_not_known_what_the_step_did():
    limit = "over the limit of 256 MiB"
    some = (parameter("w", delta_norm=0.1), parameter("v", delta_note=limit), parameter("u", owner="", delta_note="x"))
    app = Host(ParametersPane(), view(full(parameters=listing(some), graph=None)))
    async with app.run_test(size=(140, 12)) as pilot:
        lines = texts(app.pane.table)
        assert [limit in line for line in lines[1:4]] == [False, True, False]
        assert not app.pane.border_subtitle
        app.view = view(
            full(parameters=listing(tuple(replace(row, delta_norm=None, delta_note=limit) for row in some)))
        )
        await pilot.pause()
        assert (app.pane.border_subtitle or "").endswith(f"no |Δw|: {limit}")
        assert limit not in "".join(texts(app.pane.table))


@pytest.mark.parametrize(("norm", "sign"), [(1.5, "value ▲ grad"), (1.3, "value ▼ grad"), (1.412, "value grad")])
async def test_the_direction_is_told_against_the_stop_before(norm, sign):
    then = full(stop=stop(4), parameters=listing((parameter("w"),)))
    now = full(parameters=listing((parameter("w", value_norm=norm, value_changed=True),)))
    app = Host(ParametersPane(), view(then, now))
    async with app.run_test(size=(76, 12)):
        assert sign in texts(app.pane.table)[1]


def test_the_trend_has_one_block_for_each_gradient_that_was_seen():
    past = Past()
    seen = [(1.0, True), (1.0, False), (3.0, True), (None, True), (2.0, None)]
    past.look(
        [Recorded(stop(n), parameters=listing((parameter("w", grad_norm=g, grad_changed=c),))) for n, (g, c) in
         enumerate(seen)]
    )  # fmt: skip
    assert past.trend("w") == fmt.sparkline([1.0, 3.0, 2.0], 8)
    assert past.trend("v") == ""
    past.look([Recorded(stop(1), parameters=listing((parameter("w"),))), Recorded(stop(2))])
    assert past.trend("w") == ""


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 8, "0 %"),
        (8, 8, "100 %"),
        (1, 8, "12.5 %"),
        (1, 10**6, "<0.1 %"),
        (10**6 - 1, 10**6, ">99.9 %"),
        (0, 0, "–"),
    ],
)
def test_a_percentage_is_not_rounded_to_nothing_or_all(part, whole, text):
    assert cells.percentage(part, whole) == text


@pytest.mark.parametrize(
    ("row", "passes"),
    [
        (parameter("w", passes=2), "2"),
        (parameter("w", passes=3, passes_of_loop=True), "loop 3"),
        (parameter("w"), ""),
        (parameter("net.0", kind="module", passes=2), ""),
    ],
)
def test_passes_say_whose_they_are(row, passes):
    assert cells.passes(row)[0] == passes


def test_of_what_has_no_finite_element_no_norm_is_told():
    lost = parameter("w", numel=12, value_norm=0.0, nonfinite=12, grad_norm=0.0, grad="dense", grad_nonfinite=12)
    assert (cells.value_norm(lost)[0], cells.grad_norm(lost)[0]) == ("–", "–")
    some = replace(lost, value_norm=1.5, nonfinite=11, grad_norm=2.5, grad_nonfinite=11)
    assert (cells.value_norm(some)[0], cells.grad_norm(some)[0]) == ("1.500", "2.500")
    empty = replace(lost, numel=0, nonfinite=0, grad_nonfinite=0)
    assert cells.value_norm(empty)[0] == "0"


async def test_no_arrow_compares_norms_of_other_elements():
    past = Past()
    lists = [
        full(stop=stop(4 + at), parameters=listing((parameter("w", value_norm=norm, nonfinite=count),)))
        for at, (norm, count) in enumerate([(2.0, 0), (1.0, 3), (3.0, 0)])
    ]
    past.look(lists[:2])
    assert past.direction(parameter("w", value_norm=1.0, nonfinite=3, value_changed=True)) == ""
    past.look(lists)
    assert past.direction(parameter("w", value_norm=3.0, value_changed=True)) == ""
    past.look([lists[0], lists[2]])
    assert past.direction(parameter("w", value_norm=3.0, value_changed=True)) == "▲"


async def test_a_module_and_a_section_have_totals():
    rows = (
        parameter("net", kind="module", module="Net", parameters=3, trainable=2, numel=1234, nbytes=4936, rows_below=2),
        parameter("net.weight", depth=1, above=0, index=1),
        parameter("buffers", kind="section", rows_below=12, numel=96, nbytes=384, index=3),
    )
    tree = replace(STEPS, tree=True)
    app = Host(ParametersPane(), view(full(parameters=listing(rows, arrangement=tree)), status=Status.RUNNING))
    async with app.run_test(size=(140, 12)):
        lines = [line.replace("▌", " ") for line in texts(app.pane.table)[1:4]]
        assert lines[0].startswith(" ▸ net Net")
        assert "Σ 1,234" in lines[0]
        assert lines[0].endswith("3 parameters (2 trainable), 4.8 KiB")
        assert "nobody" not in lines[0]
        assert lines[2].startswith(" ▸ buffers (12)")
        assert lines[2].endswith("384 B")


async def test_in_a_tree_names_that_end_alike_can_be_told_apart():
    state = ("exp_avg_sq", "max_exp_avg_sq", "num_batches_tracked")
    rows = (
        parameter("net", kind="module", module="Net", parameters=1, rows_below=4),
        parameter("net.weight", depth=1, above=0, index=1, rows_below=3),
        *(parameter(f"[net.weight].{n}", kind="state", depth=2, above=1, index=2 + at) for at, n in enumerate(state)),
    )
    app = Host(ParametersPane(), view(full(parameters=listing(rows, arrangement=replace(STEPS, tree=True)))))
    async with app.run_test(size=(78, 14)):
        lines = [line.split() for line in texts(app.pane.table)[3:6]]
        assert all(name in line for name, line in zip(state, lines, strict=True))


async def test_a_section_begins_with_what_it_is_where_there_is_no_room():
    section = parameter("optimizer state", kind="section", rows_below=40, index=1)
    app = Host(ParametersPane(), view(full(parameters=listing((parameter("net.weight"), section)))))
    async with app.run_test(size=(58, 8)):
        (line,) = (line for line in texts(app.pane.table) if "▸" in line)
        assert line.strip().startswith("▸ optimizer state")


async def test_what_a_column_costs_is_told_where_it_is_chosen():
    app = Host(ParametersPane(), view(full()))
    async with app.run_test(size=(110, 40)) as pilot:
        app.pane.focus_content()
        await pilot.press("f")
        table = app.screen.table
        costs = {table.rows[at]: line for at, line in enumerate(texts(table)[1 : table.total + 1])}
        assert costs["mean"].endswith("w many times")
        assert costs["|Δw|"].endswith("w, w before")
        assert costs["changed"].endswith("w, g")
        assert costs["numel"].endswith("number of elements")
        assert "[×] |w|" in costs["|w|"]
        assert "[ ] std" in costs["std"]


async def test_an_earlier_stop_is_not_arranged_anew():
    earlier = full(stop=stop(4))
    app = Host(ParametersPane(), view(earlier, full(), shown=0))
    async with app.run_test(size=(100, 12)) as pilot:
        app.pane.focus_content()
        await pilot.press("m", "full_stop")
        assert app.wanted() == []
        assert app.pane.border_subtitle == "sorting needs the present stop"
        assert app.pane.table.total == 8


@pytest.mark.parametrize("title", COLUMNS)
def test_every_column_is_in_the_help_and_can_be_chosen(title):
    assert f"**{title}**".replace("|", "\\|") in ParametersPane.HELP or title.startswith("g.")
    assert read_columns(title) == tuple(dict.fromkeys(("name", title)))
    assert title in ParametersPane().specs
