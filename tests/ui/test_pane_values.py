from dataclasses import replace

from pane_host import Host, full, stop, tensor, texts, values, view
from textual.widgets import Static

from stepdbg.client.store import Recorded
from stepdbg.protocol.messages import GetParameters, GetValues
from stepdbg.protocol.records import TensorStats
from stepdbg.ui.panes.values import SOME, ValuesPane
from stepdbg.ui.panes.values.look import Origin
from stepdbg.ui.panes.values.pane import COLUMNS, ROWS

NAME = "net.0.weight"


def sentence(app) -> str:
    return str(app.query_one(".pane--sentence", Static).content)


async def test_value_and_gradient_side_by_side():
    app = Host(ValuesPane(), view(full()), NAME)
    async with app.run_test(size=(76, 18)):
        lines = texts(app.pane.body)
        assert lines[0].split("│")[0].split() == ["value", "6×4", "float32", "·", "96", "B"]
        assert "│ gradient" in lines[0]
        assert "zeros 3 (12%)" in lines[3]
        assert lines[7].split("│")[0].split() == ["0", "−0.04", "−0.03", "−0.02", "−0.01"]
        assert len({line.index("│") for line in lines[:13]}) == 1
        assert app.wanted() == []
        assert NAME in app.pane.border_title


async def test_stacked_when_narrow():
    app = Host(ValuesPane(), view(full()), NAME)
    async with app.run_test(size=(50, 40)):
        lines = texts(app.pane.body)
        starts = [line.split()[0] for line in lines if line]
        assert starts.index("value") < starts.index("gradient")
        assert "│" not in "".join(lines)


async def test_what_is_missing_leaves_its_room_to_the_numbers():
    bare = values(grad=None, grad_label="none")
    app = Host(ValuesPane(), view(full(values={NAME: bare})), NAME)
    async with app.run_test(size=(50, 14)):  # stacked
        lines = texts(app.pane.body)
        assert [line.split()[0] for line in lines if line[:2].strip().isdigit()] == ["0", "1", "2", "3"]
        assert "no gradient: .grad is None" in "\n".join(lines)
    app = Host(ValuesPane(), view(full(values={NAME: bare})), NAME)
    async with app.run_test(size=(76, 18)):
        assert texts(app.pane.body)[0].index("│") > 40


async def test_no_gradient_and_labels():
    bare = values(grad=None, grad_label="none")
    app = Host(ValuesPane(), view(full(values={NAME: bare})), NAME)
    async with app.run_test(size=(76, 18)) as pilot:
        assert "no gradient: .grad is None" in "\n".join(texts(app.pane.body))
        app.view = view(full(values={NAME: values(grad_label="scaled")}))
        await pilot.pause()
        assert "gradient (scaled)" in texts(app.pane.body)[0]


async def test_not_a_number_and_samples_are_told():
    stats = TensorStats(2_000_000, None, None, None, None, None, 0, 7, 1, 2, (1, 2), 0.0, 1.0, 65536)
    cells = (("nan", "inf"), ("-inf", "0"))
    bad = replace(tensor(2, 2), stats=stats, cells=cells)
    app = Host(ValuesPane(), view(full(values={NAME: values(value=bad)})), NAME)
    async with app.run_test(size=(110, 18)):
        shown = "\n".join(texts(app.pane.body))
        for words in ("7 nan", "1 +inf", "2 −inf", "min  –", "sampled 65.5k of 2.0M", "−inf"):
            assert words in shown


async def test_big_tensors_scroll_with_the_cursor_and_further_pages_are_asked_for():
    big = values(value=tensor(1000, 300), grad=None, grad_label="none")
    app = Host(ValuesPane(), view(full(values={NAME: big})), NAME)
    async with app.run_test(size=(76, 18)) as pilot:
        app.pane.focus_content()
        body = app.pane.body
        await pilot.press("j", "l", "l")
        assert app.wanted() == []
        assert (body.cell, body.origin) == (Origin(1, 2), Origin())
        assert app.pane.border_subtitle.startswith("[1, 2] = 0.05 · ")
        assert "rows 0–" in app.pane.border_subtitle
        await pilot.press(*["l"] * body.across)
        assert body.cell.column == body.across + 2
        assert body.origin == Origin(0, 3)
        assert "columns 3–" in app.pane.border_subtitle
        await pilot.press("G")
        origin = body.origin
        assert body.cell.row == 999
        assert origin.row + body.grid_height - 1 == 1000
        assert app.wanted() == [GetValues(0, NAME, origin.row - ROWS // 4, 0, ROWS, COLUMNS)]
        assert "…" in "\n".join(texts(body))
        page = values(value=tensor(1000, 300, origin.row - ROWS // 4), grad=None, grad_label="none")
        app.view = view(full(values={NAME: page}))
        await pilot.pause()
        assert (body.origin, body.cell.row) == (origin, 999)
        assert any(line.split()[0] == "999" for line in texts(body) if line)
        assert len(app.wanted()) == 1


async def test_the_rows_that_are_told_are_those_on_screen_when_a_sentence_takes_a_line():
    big = values(value=tensor(1000, 3), grad=None, grad_label="none")
    app = Host(ValuesPane(), view(full(values={NAME: big})), NAME)

    def last() -> str:
        return [line.split()[0] for line in texts(app.pane.body) if line][-1]

    async with app.run_test(size=(76, 18)) as pilot:
        await pilot.pause()
        without = last()
        assert f"rows 0–{without} of 1,000" in app.pane.border_subtitle
        app.pane.say("a sentence")
        await pilot.pause()
        assert int(last()) == int(without) - 1
        assert f"rows 0–{last()} of 1,000" in app.pane.border_subtitle


async def test_asking_and_saying_why_not():
    app = Host(ValuesPane(), view(Recorded(stop())))
    async with app.run_test(size=(76, 18)) as pilot:
        assert sentence(app).startswith("No parameter selected")
        app.selected = NAME
        await pilot.pause()
        first, then = GetParameters(0, 0, SOME, ""), GetValues(0, NAME, 0, 0, ROWS, COLUMNS)
        assert app.wanted() == [first, then]
        app.view = view(Recorded(stop(4)), Recorded(stop()), shown=0)
        await pilot.pause()
        assert sentence(app) == "Not recorded at stop 4: this was not looked at then."
