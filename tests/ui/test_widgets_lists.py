from dataclasses import dataclass, replace

import pytest
from textual.app import App

from stepdbg.ui.widgets.guides import Guides
from stepdbg.ui.widgets.line_list import LineList
from stepdbg.ui.widgets.line_table import Column, LineTable
from stepdbg.ui.widgets.line_tree import LineTree


@dataclass(frozen=True)
class Item:
    name: str
    index: int = 0
    depth: int = 0
    rows_below: int = 0
    level: int = 1
    unfolds: bool = False


class ListApp(App):
    def __init__(self, widget):
        super().__init__()
        self.widget = widget
        self.said = []

    def compose(self):
        yield self.widget

    def on_line_list_rows_wanted(self, event):
        self.said.append((event.offset, event.count))

    def on_line_list_cursor_moved(self, event):
        self.said.append(("cursor", event.index))

    def on_line_list_row_chosen(self, event):
        self.said.append(("chosen", event.index))

    def on_line_tree_level_wanted(self, event):
        self.said.append(("level", event.row.name if event.row else "all", event.level))

    def on_line_tree_parent_wanted(self, event):
        self.said.append(("parent of", event.row.name))


def drawn(widget) -> list[str]:
    return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]


def table(**options) -> LineTable:
    return LineTable(
        (
            Column("name", lambda item: (item.name, "")),
            Column("index", lambda item: (str(item.index), ""), priority=1, right=True),
            Column("note", lambda item: ("seven" if item.index == 7 else "", "bad"), priority=2, optional=True),
        ),
        **options,
    )


def items(*indices) -> dict[int, Item]:
    return {i: Item(f"layer.{i}.weight", i) for i in indices}


async def test_columns_are_aligned_and_the_cursor_is_a_glyph():
    widget = table()
    async with ListApp(widget).run_test(size=(40, 4)):
        widget.show(items(*range(3)), 3)
        assert drawn(widget) == [
            " name            index",
            "▌layer.0.weight      0",
            " layer.1.weight      1",
            " layer.2.weight      2",
        ]


async def test_a_column_appears_when_it_has_something_to_say():
    widget = table()
    async with ListApp(widget).run_test(size=(40, 10)):
        widget.show(items(1, 2), 2)
        assert widget.shown_columns == ("name", "index")
        widget.show({0: items(7)[7]}, 1)
        assert widget.shown_columns == ("name", "index", "note")


async def test_narrow_tables_drop_columns_then_cut_names_at_the_left():
    widget = table()
    name = "transformer.h.11.attn.weight"
    async with ListApp(widget).run_test(size=(23, 3)):
        widget.show({0: Item(name, 7)}, 1)
        assert widget.shown_columns == ("name",)
        assert drawn(widget)[1] == "▌…" + name[-21:]


async def test_rows_not_received_are_drawn_as_such_and_wanted_once():
    widget = table()
    app = ListApp(widget)
    async with app.run_test(size=(40, 11)) as pilot:
        widget.show(items(*range(10)), 100_000)
        await pilot.pause()
        assert app.said == []
        widget.scroll_to(y=50_000, animate=False)
        await pilot.pause()
        widget.redraw()
        await pilot.pause()
        assert drawn(widget)[1:] == [" …"] * 10
        assert app.said == [(49_990, 30)]


@pytest.mark.parametrize(
    ("keys", "cursor"),
    [("j j", 2), ("j ctrl+k", 0), ("down down up", 1), ("G", 99), ("end home", 0), ("G g", 0), ("pagedown", 9),
     ("ctrl+d ctrl+d ctrl+u", 9)],
)  # fmt: skip
async def test_keys_move_the_cursor_and_keep_it_in_sight(keys, cursor):
    widget = table()
    app = ListApp(widget)
    async with app.run_test(size=(40, 11)) as pilot:
        widget.show(items(*range(100)), 100)
        widget.focus()
        await pilot.press(*keys.split())
        assert widget.cursor == cursor
        assert app.said[-1] == ("cursor", cursor)
        first, last = widget.window
        assert first <= cursor < last
        assert f"▌layer.{cursor}.weight" in "\n".join(drawn(widget))


async def test_a_click_moves_and_a_second_one_chooses():
    widget = table()
    app = ListApp(widget)
    async with app.run_test(size=(40, 11)) as pilot:
        widget.show(items(*range(5)), 5)
        await pilot.click(widget, offset=(3, 3))
        await pilot.click(widget, offset=(3, 3))
        await pilot.click(widget, offset=(3, 9))
        assert app.said == [("cursor", 2), ("chosen", 2)]


async def test_the_cursor_stays_inside_a_shorter_list():
    widget = table()
    async with ListApp(widget).run_test(size=(40, 11)):
        widget.show(items(*range(9)), 9)
        widget.go_to(8)
        widget.show(items(0, 1), 2)
        assert widget.cursor == 1


# a ─┬ b ─┬ c
#    │    └ d
#    └ e ── f
TREE = (
    Item("a", 0, 0, 5),
    Item("b", 1, 1, 2),
    Item("c", 2, 2),
    Item("d", 3, 2),
    Item("e", 4, 1, 1),
    Item("f", 5, 2),
)


def tree() -> LineTree:
    return LineTree((Column("tree", lambda item: (item.name, "")),), lambda item, _width: [(item.name, "")])


async def shown_tree(pilot, widget, rows=None, total=None, chains=False):
    rows = dict(enumerate(TREE)) if rows is None else rows
    widget.show_tree(rows, len(rows) if total is None else total, chains=chains)
    widget.focus()
    await pilot.pause()


def with_levels(**levels) -> tuple[Item, ...]:
    """TREE with some rows at other levels: what is under a folded one is not there."""
    return tuple(replace(item, level=levels.get(item.name, 1)) for item in TREE)


async def test_guides():
    widget = tree()
    async with ListApp(widget).run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget)
        assert drawn(widget)[1:] == ["▌▾ a", " ├ ▾ b", " │ ├ c", " │ └ d", " └ ▾ e", "   └ f"]


async def test_guides_at_the_end_of_what_was_received_come_from_the_extents():
    widget = tree()
    async with ListApp(widget).run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget, dict(enumerate(TREE[:3])), 6)
        assert drawn(widget)[1:5] == ["▌▾ a", " ├ ▾ b", " │ ├ c", " …"]


@pytest.mark.parametrize("first", [1, 2, 3, 4])
async def test_guides_do_not_depend_on_the_order_in_which_pages_come(first):
    widget = tree()
    rows = dict(enumerate(TREE))
    async with ListApp(widget).run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget, {at: row for at, row in rows.items() if at >= first}, 6)
        assert drawn(widget)[1] == "▌…"
        await shown_tree(pilot, widget)
        assert drawn(widget)[1:] == ["▌▾ a", " ├ ▾ b", " │ ├ c", " │ └ d", " └ ▾ e", "   └ f"]


async def test_marks_say_how_far_a_row_is_unfolded():
    a, b, _c, _d, e, f = TREE
    rows = (
        a,
        replace(b, level=0),
        replace(e, rows_below=2, unfolds=True),
        replace(f, rows_below=1, unfolds=True),
    )
    widget = tree()
    async with ListApp(widget).run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget, dict(enumerate(rows)))
        assert drawn(widget)[1:5] == ["▌▾ a", " ├ ▸ b", " └ ▿ e", "   └ ▹ f"]


# A chain a → b → e → f with side branches: b has c and d ── d2, which continue each other; e has none; f is the end.
CHAIN = (
    Item("a", 0, 0, 6),
    Item("b", 1, 0, 5),
    Item("c", 2, 1),
    Item("d", 3, 1, 1),
    Item("d2", 4, 1),
    Item("e", 5, 0, 1),
    Item("f", 6, 0),
)
DRAWN_CHAIN = [" ▾ a", " │ b", " ├ c", " ├ ▾ d", " │ └ d2", " │ e", " └ f"]


async def test_what_continues_a_chain_stands_on_its_line():
    widget = tree()
    async with ListApp(widget).run_test(size=(30, 9)) as pilot:
        await shown_tree(pilot, widget, dict(enumerate(CHAIN)), chains=True)
        assert [line.replace("▌", " ") for line in drawn(widget)[1:8]] == DRAWN_CHAIN


@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("last", range(7))
async def test_the_lines_of_a_chain_are_right_from_any_page(first, last):
    """Rows that are here in part are drawn as they are once all are here, but for what nothing tells of: whether a row
    continues the one above the page.
    """
    guides = Guides({at: row for at, row in enumerate(CHAIN) if first <= at <= last}, 7, chains=True)
    guides.work_out(0, 7, 7)
    for at in range(first, last + 1):
        name, (lines, mark) = CHAIN[at].name, guides.of(at)
        if at > first or at == 0:
            expected = DRAWN_CHAIN[at][1:]
            # Lines of rows above that are not here cannot be known, so they may be blank.
            known = min((row.depth for row in CHAIN[first : at + 1]), default=0)
            assert (lines + mark + name)[2 * known :] == expected[2 * known :], (first, last)


async def test_a_chain_ends_where_it_is_folded():
    widget = tree()
    rows = (CHAIN[0], replace(CHAIN[1], level=0))
    async with ListApp(widget).run_test(size=(30, 9)) as pilot:
        await shown_tree(pilot, widget, dict(enumerate(rows)), chains=True)
        assert drawn(widget)[1:3] == ["▌▾ a", " ▸ b"]


async def test_a_chain_of_50000_rows_stays_at_the_left_edge():
    widget = tree()
    rows = {i: Item(f"node{i}", i, 0, 49_999 - i) for i in range(50_000)}
    async with ListApp(widget).run_test(size=(30, 6)) as pilot:
        await shown_tree(pilot, widget, rows, chains=True)
        await pilot.press("G")
        assert drawn(widget)[-2:] == [" │ node49998", "▌└ node49999"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [("enter", ("level", "a", 0)), ("j h", ("level", "b", 0)), ("j left", ("level", "b", 0)),
     ("j j h", ("cursor", 1)), ("j j j h", ("cursor", 1)), ("G h", ("cursor", 4)), ("j l", ("cursor", 2)),
     ("l", ("cursor", 1)), ("minus", ("level", "all", 0)), ("equals_sign", ("level", "all", 1)),
     ("plus", ("level", "all", 2)), ("G enter", ("chosen", 5))],
)  # fmt: skip
async def test_folding_keys(keys, said):
    widget = tree()
    app = ListApp(widget)
    async with app.run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget)
        await pilot.press(*keys.split())
        assert app.said[-1] == said


@pytest.mark.parametrize(
    ("level", "unfolds", "key", "said"),
    [(0, True, "right", 1), (1, True, "right", 2), (0, True, "enter", 1), (1, True, "enter", 2), (0, False, "l", 1)],
)
async def test_a_row_without_any_below_it_unfolds_level_by_level(level, unfolds, key, said):
    widget = tree()
    app = ListApp(widget)
    async with app.run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget, {0: replace(TREE[0], level=level, unfolds=unfolds)})
        await pilot.press(key)
        assert app.said == [("level", "a", said)]


async def test_folding_goes_back_level_by_level():
    widget = tree()
    app = ListApp(widget)
    async with app.run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget, dict(enumerate(with_levels(a=2))))
        await pilot.press("left")
        assert app.said == [("level", "a", 1)]


async def test_along_a_chain_folding_is_all_or_nothing():
    widget = tree()
    app = ListApp(widget)
    async with app.run_test(size=(30, 7)) as pilot:
        rows = (replace(item, level=2) for item in CHAIN)
        await shown_tree(pilot, widget, dict(enumerate(rows)), chains=True)
        await pilot.press("j", "left")
        assert app.said[-1] == ("level", "b", 0)


async def test_a_parent_that_is_not_here_is_asked_for():
    widget = tree()
    app = ListApp(widget)
    async with app.run_test(size=(30, 3)) as pilot:
        await shown_tree(pilot, widget, {4: TREE[4], 5: TREE[5]}, 6)
        await pilot.press("G", "left", "left")
        assert app.said[-2:] == [("cursor", 4), ("level", "e", 0)]
        await shown_tree(pilot, widget, {3: TREE[3], 4: TREE[4], 5: replace(TREE[5])}, 6)
        widget.go_to(3)
        await pilot.press("left")
        assert app.said[-1] == ("parent of", "d")


async def test_a_deep_tree_keeps_its_names_in_sight():
    widget = tree()
    deep = {i: Item(f"node{i}", i, i, 2399 - i) for i in range(2400)}
    async with ListApp(widget).run_test(size=(30, 6)) as pilot:
        await shown_tree(pilot, widget, deep, 2400)
        await pilot.press("G")
        assert drawn(widget)[-1].startswith("▌⋯2399 ")
        assert drawn(widget)[-1].endswith("node2399")


async def test_an_empty_list_draws_no_header():
    widget = table()
    async with ListApp(widget).run_test(size=(30, 3)):
        widget.show({}, 0)
        assert drawn(widget) == ["", "", ""]


def test_the_base_has_no_row_format():
    with pytest.raises(NotImplementedError):
        LineList().format_row(0, None)
