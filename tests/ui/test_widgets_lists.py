from dataclasses import dataclass

import pytest
from textual.app import App

from stepdbg.ui.widgets.line_list import LineList
from stepdbg.ui.widgets.line_table import Column, LineTable
from stepdbg.ui.widgets.line_tree import LineTree


@dataclass(frozen=True)
class Item:
    name: str
    index: int = 0
    depth: int = 0
    rows_below: int = 0


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

    def on_line_tree_folds_wanted(self, event):
        self.said.append(("folded", sorted(event.folded)))


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


async def shown_tree(pilot, widget, rows=None, total=6, folded=()):
    widget.show_tree(dict(enumerate(TREE)) if rows is None else rows, total, frozenset(folded))
    widget.focus()
    await pilot.pause()


async def test_guides():
    widget = tree()
    async with ListApp(widget).run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget)
        assert drawn(widget)[1:] == ["▌▾ a", " ├ ▾ b", " │ ├ c", " │ └ d", " └ ▾ e", "   └ f"]


async def test_guides_at_the_end_of_what_was_received_come_from_the_extents():
    widget = tree()
    async with ListApp(widget).run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget, dict(enumerate(TREE[:3])))
        assert drawn(widget)[1:5] == ["▌▾ a", " ├ ▾ b", " │ ├ c", " …"]


async def test_folded_rows_are_marked():
    widget = tree()
    async with ListApp(widget).run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget, dict(enumerate((TREE[0], TREE[1], TREE[4], TREE[5]))), 4, [1])
        assert drawn(widget)[1:5] == ["▌▾ a", " ├ ▸ b", " └ ▾ e", "   └ f"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [("enter", ("folded", [0])), ("j h", ("folded", [1])), ("j left", ("folded", [1])), ("j j h", ("cursor", 1)),
     ("l", ("cursor", 1)), ("minus", ("folded", [1, 4])), ("plus", ("folded", [])), ("G enter", ("chosen", 5))],
)  # fmt: skip
async def test_folding_keys(keys, said):
    widget = tree()
    app = ListApp(widget)
    async with app.run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget)
        await pilot.press(*keys.split())
        assert app.said[-1] == said


async def test_unfolding_what_is_folded():
    widget = tree()
    app = ListApp(widget)
    async with app.run_test(size=(30, 7)) as pilot:
        await shown_tree(pilot, widget, {0: TREE[0]}, 1, [0])
        await pilot.press("right")
        assert app.said == [("folded", [])]


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
