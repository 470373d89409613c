"""Every key on every demo, on real runs: what the session was told and the records come first.

One app and one script a demo. The tour presses keys in the order in which a user might; its last check is that no
key of the registry, and none that a pane binds, was left out.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from real_runs import NARROW, Driver, running
from textual.binding import Binding

from stepdbg.client.session import Exited
from stepdbg.client.store import ParameterList, Status
from stepdbg.commands import COMMANDS, PANES, RESERVED_KEYS
from stepdbg.protocol import messages as m
from stepdbg.protocol.chain import Way
from stepdbg.protocol.graph import GraphView
from stepdbg.protocol.inside import Grain
from stepdbg.protocol.records import Phase, StopReason, StopRecord
from stepdbg.ui import StepdbgApp
from stepdbg.ui.answers import AnswerBox
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.graph.picker import GraphPicker
from stepdbg.ui.panes.graph.tree import GraphTreeList
from stepdbg.ui.panes.pane import Pane
from stepdbg.ui.panes.parameters import ParametersPane
from stepdbg.ui.panes.parameters.picker import ColumnPicker
from stepdbg.ui.panes.rail import RailPane
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.panes.values import ValuesBody, ValuesPane
from stepdbg.ui.panes.values.look import CHOICES, DISPLAYS, Origin
from stepdbg.ui.plots.look import cursor_iteration, extent, positions, window
from stepdbg.ui.plots.screen import PlotScreen
from stepdbg.ui.screens.breakpoints import BreakpointsScreen
from stepdbg.ui.screens.chain import ChainScreen
from stepdbg.ui.screens.explain import ExplainScreen
from stepdbg.ui.screens.help import HelpScreen
from stepdbg.ui.screens.main import MainScreen
from stepdbg.ui.widgets.line_list import LineList
from stepdbg.ui.widgets.line_tree import LineTree
from stepdbg.ui.widgets.source_view import SourceView
from stepdbg.ui.widgets.terminal_view import TerminalView

DEMOS = {
    "two_nets": (),
    "digits_cnn": ("--epochs", "2", "--batch-size", "256"),
    "char_gpt": ("--steps", "12", "--accumulate", "2"),
    "tiny_gan": (),
    "lstm_forecast": ("--epochs", "7", "--time", "12"),
    "no_zero_grad": (),
}
"""Few steps each, with a line printed in the middle: the script is caught there while it runs."""

SAMPLE = {"two_nets"}
"""Run by `make test`; the others are slow."""

ROOMY = (100, 30)
"""The least size at which the panes stand side by side: fewer cells to paint, for a tour of 300 keys."""

BINDERS: tuple[Any, ...] = (
    StepdbgApp,
    MainScreen,
    HelpScreen,
    LineList,
    LineTree,
    GraphPane,
    GraphPicker,
    GraphTreeList,
    ParametersPane,
    ColumnPicker,
    ValuesBody,
    ValuesPane,
    SourceView,
    RailPane,
    TerminalView,
    PlotScreen,
    ChainScreen,
)


def bound(binder: Any) -> set[str]:
    """The keys that a class of ours binds."""
    lists = [b.key if isinstance(b, Binding) else b[0] for b in binder.__dict__.get("BINDINGS", ())]
    return {key.strip() for keys in lists for key in keys.split(",")}


EVERY_KEY = {key for command in COMMANDS for key in command.keys}.union(*map(bound, BINDERS))


@pytest.mark.parametrize("demo", [d if d in SAMPLE else pytest.param(d, marks=pytest.mark.slow) for d in DEMOS])
async def test_every_key(demo: str) -> None:
    async with running(demo, *DEMOS[demo], size=ROOMY) as driver:
        await run_keys(driver)
        await inside_keys(driver)
        await skip_key(driver)
        await look_back_keys(driver)
        await pane_keys(driver)
        await graph_keys(driver)
        await parameter_keys(driver)
        await explain_key(driver)
        await values_keys(driver)
        await source_keys(driver)
        await rail_and_console_keys(driver)
        await search_keys(driver)
        await app_keys(driver)
        await words_key(driver)
        await plot_keys(driver)
        await chain_keys(driver)
        await breakpoint_keys(driver)
        await tab_keys(driver)
        await pause_keys(driver)
        await end_keys(driver)
        await quit_key(driver)
    assert sorted(EVERY_KEY - driver.pressed) == []


def test_the_keys_kept_free_are_bound_nowhere() -> None:
    assert EVERY_KEY.isdisjoint(RESERVED_KEYS)


async def test_the_cursor_stays_on_a_row_that_had_to_be_received() -> None:
    async with running("char_gpt", "--steps", "1", size=ROOMY) as driver:
        await driver.step()
        pane = await focus(driver, "2")
        assert isinstance(pane, ParametersPane)
        table = pane.table
        await driver.until(lambda: table.total > len(table.rows) > 0, "some rows are here, others are not")
        await driver.press("end")
        await driver.settled()
        assert len(table.rows) == table.total
        assert table.cursor == table.total - 1


# ── running ─────────────────────────────────────────────────────────────────────────────────────────────────


async def run_keys(driver: Driver) -> None:
    first = driver.stop
    assert (first.number, first.reason, first.just_ran) == (1, StopReason.ENTRY, ())
    for key in ("n", "space"):
        upcoming = driver.stop.next
        assert upcoming is not None
        stop = await driver.step(key)
        assert driver.told(m.Resume)[-1] == m.Resume(m.Action.NEXT)
        assert stop.reason is StopReason.STEP
        ran = stop.just_ran[0]
        assert (ran.phase, ran.subject, ran.skipped) == (upcoming.phase, upcoming.subject, False)
        assert ran.seconds is not None
        assert ran.seconds > 0
    for _ in range(2):
        iteration = driver.stop.iteration
        stop = await driver.step("i")
        assert driver.told(m.Resume)[-1] == m.Resume(m.Action.ITERATION)
        assert (stop.reason, stop.iteration) == (StopReason.STEP, iteration + 1)


async def inside_keys(driver: Driver) -> None:
    """Into the next backward, from node to node, and out of it; then until the step, as the rail selects nothing."""
    await driver.step_until(lambda stop: next_is(stop, Phase.BACKWARD), "before a backward")
    stop = await driver.step("s")
    assert (stop.inside[-1].phase, stop.next) == (Phase.BACKWARD, None)
    assert stop.at is not None
    assert (stop.at.grain, stop.at.when) == (Grain.NODE, "before")
    await focus(driver, "3")
    pane = driver.app.main.query_one(ValuesPane)
    await driver.until(lambda: pane.record is not None and pane.record.name == "@", "what is held is shown")
    await driver.step("n")
    await driver.press("at")
    await driver.until(lambda: pane.look.expression.startswith("@grad_"), "another gradient is shown")
    await focus(driver, "2")
    await driver.settled()
    stop = await driver.step("u")
    assert stop.at is not None
    assert stop.at.parameter == driver.app.selected
    stop = await driver.step("o")
    assert stop.at is None
    pane.show_parameter()


async def skip_key(driver: Driver) -> None:
    """Skipping the optimizer's step leaves every parameter as it is."""
    before = await driver.step_until(lambda stop: next_is(stop, Phase.STEP), "before a step")
    norms = value_norms(driver)
    assert norms
    stop = await driver.step("k")
    assert driver.told(m.Resume)[-1] == m.Resume(m.Action.SKIP)
    ran = stop.just_ran[0]
    assert (ran.phase, ran.skipped, ran.seconds) == (Phase.STEP, True, None)
    assert before.next is not None
    assert ran.subject == before.next.subject
    assert value_norms(driver) == norms
    assert driver.now.parameters is not None
    rows = driver.now.parameters.rows.values()
    assert {row.value_changed for row in rows if row.kind == "parameter"} == {False}


async def look_back_keys(driver: Driver) -> None:
    told = len(driver.session.told)
    last = driver.stop.number
    for key, ago in (
        ("left_square_bracket", 1),
        ("left_square_bracket", 2),
        ("right_square_bracket", 1),
        ("right_curly_bracket", 0),
        ("left_square_bracket", 1),
        ("escape", 0),
    ):
        await driver.press(key)
        await driver.settled()
        shown = driver.view.looking_at
        assert shown is not None
        assert (driver.view.ago, shown.stop.number) == (ago, last - ago)
    assert len(driver.session.told) == told, "an earlier stop is only looked at"


async def pause_keys(driver: Driver) -> None:
    """While the script waits in its own `print`, it runs: `p` is heard at the boundary after that."""
    driver.run.waits.clear()
    driver.run.gate.clear()
    number = driver.stop.number
    await driver.press("c")
    assert driver.told(m.Resume)[-1] == m.Resume(m.Action.CONTINUE)
    await driver.until(lambda: driver.run.waits.is_set(), "the script prints")
    await driver.until(lambda: driver.view.status is Status.RUNNING, "it runs")
    told = len(driver.told(m.Resume))
    await driver.press("n")
    assert len(driver.told(m.Resume)) == told, "what runs cannot be stepped"
    assert driver.app.check_action("command", ("next",)) is None
    await driver.press("p")
    assert driver.session.told[-1] == m.Pause()
    driver.run.gate.set()
    stop = await driver.stopped_at(number + 1)
    assert stop.reason is StopReason.PAUSE
    assert stop.next is not None


async def end_keys(driver: Driver) -> None:
    """`c` runs to the end, `c` again lets it end, `r` starts it anew in the same app."""
    number = driver.stop.number
    await driver.press("c")
    stop = await driver.stopped_at(number + 1)
    assert (stop.reason, stop.next) == (StopReason.FINISHED, None)
    assert "Nothing of a training loop" not in stop.note
    assert driver.app.check_action("command", ("next",)) is None
    await driver.press("c")
    await driver.until(lambda: driver.view.status is Status.ENDED, "the script has ended")
    assert driver.view.exited == Exited(0)
    assert driver.run.result, "the script ran to its last line"
    assert driver.run.printed
    before = driver.session
    await driver.press("r")
    await driver.until(lambda: driver.session is not before, "a new session is there")
    stop = await driver.stopped_at(1)
    assert before.closed
    assert (len(driver.view.history), stop.reason, stop.iteration) == (1, StopReason.ENTRY, 1)


async def quit_key(driver: Driver) -> None:
    await driver.press("q", "ctrl+q")  # asked a second time it does not wait for the script
    await driver.until(lambda: not driver.app.is_running, "the app is gone")
    assert driver.session.closed
    assert "train" not in {thread.name for thread in threading.enumerate()}


# ── panes ───────────────────────────────────────────────────────────────────────────────────────────────────


async def focus(driver: Driver, number: str) -> Pane:
    pane = driver.app.main.pane(number)
    await driver.press(number)
    await driver.until(
        lambda: pane.has_focus_within and driver.app.main.current == number, f"pane {number} has the focus"
    )
    return pane


async def pane_keys(driver: Driver) -> None:
    main = driver.app.main
    for number, _name, _content in PANES:
        pane = await focus(driver, number)
        before = pane.size
        await driver.press("z")
        await driver.until(lambda pane=pane, before=before: pane.size.height > before.height, "it is larger")
        visible = {p.NUMBER for p in main.query(Pane) if p.is_on_screen and p.region.area}
        assert visible <= {number, RailPane.NUMBER}
        await driver.press("z")
        await driver.until(lambda pane=pane, before=before: pane.size == before, "it has its place again")


async def move(driver: Driver, lines: LineList[Any]) -> None:
    """All keys that move the cursor of a list, with the row each leads to."""
    last = lines.total - 1
    assert last >= 0
    one, page = min(1, last), min(max(1, lines.page - 1), last)
    await driver.press("end")
    await driver.settled()  # all rows that the keys lead to have been received
    await driver.press("home")
    for key, row in (
        ("down", one),
        ("up", 0),
        ("j", one),
        ("ctrl+k", 0),
        ("end", last),
        ("home", 0),
        ("G", last),
        ("g", 0),
        ("pagedown", page),
        ("pageup", 0),
        ("ctrl+d", page),
        ("ctrl+u", 0),
    ):
        await driver.press(key)
        assert lines.cursor == row, key


async def graph_keys(driver: Driver) -> None:
    await driver.step_until(lambda stop: next_is(stop, Phase.BACKWARD), "before a backward")
    pane = await focus(driver, "1")
    assert isinstance(pane, GraphPane)
    tree = pane.tree_list
    await driver.until(lambda: tree.total > 1, "the graph is there")
    await move(driver, tree)
    await driver.press("home")
    total = tree.total
    for key, base, levels in (
        ("h", 1, ((0, 0),)),
        ("l", 1, ()),
        ("left", 1, ((0, 0),)),
        ("right", 1, ()),
        ("enter", 1, ((0, 0),)),
        ("enter", 1, ()),
        ("minus", 0, ()),
        ("plus", 2, ()),
        ("equals_sign", 1, ()),
    ):
        await driver.press(key)
        await shown(driver, pane)
        assert (pane.lens.base, pane.lens.levels) == (base, levels), key
        assert (tree.total < total) == (base == 0 or bool(levels)) or base == 2, key
    await driver.press("j", "right")  # to what hangs from it, or unfolded already
    await shown(driver, pane)
    assert tree.cursor >= 1
    await graph_jumps(driver, pane)
    await graph_views(driver, pane)


async def shown(driver: Driver, pane: GraphPane) -> None:
    """Wait until the tree shows what the pane's lens asks for."""
    await driver.until(
        lambda: driver.now.graph is not None and driver.now.graph.lens == pane.lens and pane._places.sought is None,
        f"the graph is shown as {pane.lens}",
    )
    await driver.settled()


async def graph_jumps(driver: Driver, pane: GraphPane) -> None:
    tree = pane.tree_list
    await driver.press("home")
    await driver.press("L")
    await shown(driver, pane)
    leaf = tree.row_at_cursor
    assert leaf is not None
    assert leaf.kind in ("parameter", "tensor")
    await driver.press("y")
    await driver.settled()
    assert driver.told(m.GetGraphPath)[-1].index == leaf.index
    await driver.press("P")
    await shown(driver, pane)
    parent = tree.row_at_cursor
    assert parent is not None
    assert parent.index < leaf.index <= parent.index + parent.rows_below
    for _ in range(2):
        await driver.press("m")
        await driver.settled()
        if parent.kind == "module":
            assert driver.told(m.MarkModule)[-1] == m.MarkModule(0, parent.name, None)
    await driver.press("backspace")
    await shown(driver, pane)
    assert tree.row_at_cursor is not None
    assert tree.row_at_cursor.index == leaf.index
    await driver.press("d")  # no demo keeps the graph of a gradient: the app says so
    assert pane.lens.graph == 0


async def graph_views(driver: Driver, pane: GraphPane) -> None:
    for view in (GraphView.RAW, GraphView.MODULES):
        await driver.press("v")
        await shown(driver, pane)
        assert driver.now.graph is not None
        assert driver.now.graph.lens.view is view
        assert driver.now.graph.page.total == pane.tree_list.total > 1
    for on in (True, False):
        await driver.press("a")
        await driver.settled()
        assert driver.told(m.SetWatching)[-1].gradients is on
        assert driver.view.watching is not None
        assert driver.view.watching.gradients is on
    await driver.press("w")
    choices = driver.now.graph.page.choices if driver.now.graph is not None else ()
    assert isinstance(driver.app.screen, GraphPicker) is (len(choices) > 1)
    if isinstance(driver.app.screen, GraphPicker):
        await driver.press("escape")


async def parameter_keys(driver: Driver) -> None:
    pane = await focus(driver, "2")
    assert isinstance(pane, ParametersPane)
    await driver.until(lambda: pane.table.total > 0, "the parameters are there")
    await move(driver, pane.table)
    listing = driver.now.parameters
    assert listing is not None
    tensors = [index for index, row in listing.rows.items() if row.kind == "parameter"]
    largest = max(tensors, key=lambda index: listing.rows[index].numel)
    await driver.press("home", *["j"] * largest)
    await driver.press("enter")
    assert driver.app.selected == listing.rows[largest].name
    await arranging_keys(driver, pane)


async def arranging_keys(driver: Driver, pane: ParametersPane) -> None:
    before = pane.table.total
    for key, is_tree in (("m", True), ("m", False)):
        await driver.press(key)
        await driver.settled()
        assert pane.table.is_tree is is_tree
    assert pane.table.total == before
    orders = []
    for key in ("full_stop", "R", "comma"):
        await driver.press(key)
        await driver.settled()
        orders.append(pane.table.sorted_by)
    assert orders == [("name", False), ("name", True), ("", False)]
    await driver.press("f", "down", "x", "space", "d")
    assert isinstance(driver.app.screen, ColumnPicker)
    await driver.press("enter")
    assert not isinstance(driver.app.screen, ColumnPicker)


async def explain_key(driver: Driver) -> None:
    await driver.press("e")
    await driver.until(lambda: isinstance(driver.app.screen, ExplainScreen), "the step is explained")
    await driver.settled()
    assert driver.told(m.GetExplanation)
    await driver.press("escape")
    assert not isinstance(driver.app.screen, ExplainScreen)


async def values_keys(driver: Driver) -> None:
    name = driver.app.selected
    pane = await focus(driver, "3")
    assert isinstance(pane, ValuesPane)
    body = pane.body
    await driver.until(lambda: body.record is not None and body.record.name == name, "its values are there")
    far = body.validate_cell(Origin(10**9, 10**9))
    for forth, back, can in (
        ("down", "up", far.row),
        ("j", "ctrl+k", far.row),
        ("right", "left", far.column),
        ("l", "h", far.column),
        ("pagedown", "pageup", far.row),
        ("ctrl+d", "ctrl+u", far.row),
        ("end", "home", far.row),
        ("G", "g", far.row),
    ):
        assert body.cell == Origin(0, 0)
        await driver.press(forth)
        assert (body.cell != Origin(0, 0)) == (can > 0), forth
        if can:
            assert driver.app.element == pane.element
        await driver.press(back)
        assert body.cell == Origin(0, 0), back
    for display in (*DISPLAYS[1:], DISPLAYS[0]):
        await driver.press("v")
        assert pane.look.display == display
    for choice in (1, 2, 0):
        await driver.press("d")
        await driver.settled()
        assert pane.look.choice == choice
        assert set(body.sides) <= set(CHOICES[choice])
    for key, digits in (("greater_than_sign", 5), ("less_than_sign", 4)):
        await driver.press(key)
        assert pane.look.precision == digits
    for key, what in (("M", "max"), ("m", "min"), ("x", "nan")):
        await driver.press(key)
        await driver.settled()
        assert driver.told(m.SeekElement)[-1] == m.SeekElement(0, name, what)
    await driver.press("y")
    await driver.settled()
    assert driver.app.clipboard.startswith("torch.tensor([")
    await driver.press("enter")  # evaluates an expression, of which there is none


async def source_keys(driver: Driver) -> None:
    pane = await focus(driver, "5")
    assert isinstance(pane, SourcePane)
    text = pane.text
    await driver.until(lambda: text.total > 1, "the source is there")
    here, stop = text.here, driver.stop
    assert stop.here is not None
    assert here == stop.stack[stop.here].line - 1
    await move(driver, text)
    assert text.here == here
    for key, columns in (("right", 8), ("left", 0), ("l", 8), ("h", 0)):
        await driver.press(key)
        assert text.shifted == columns
    await driver.press("tab")
    await driver.until(lambda: pane.stack.has_focus, "the stack has the focus")
    await driver.press("end")
    assert pane.frame == stop.stack[-1]
    await driver.press("home")
    assert pane.frame == stop.stack[0]


async def rail_and_console_keys(driver: Driver) -> None:
    rail = await focus(driver, "7")
    assert isinstance(rail, RailPane)
    for key, step in (("right", 12), ("left", -12), ("l", 12), ("h", -12)):
        before = rail.start
        await driver.press(key)
        assert rail.start is not None
        assert before is None or (rail.start - before) in {0, step} or rail.start == 0
    await focus(driver, "6")


# ── the rest ────────────────────────────────────────────────────────────────────────────────────────────────


async def search_keys(driver: Driver) -> None:
    await focus(driver, "2")
    await driver.press("end")
    await driver.settled()  # all of them have been received
    await driver.press("home")
    everything = driver.now.parameters
    assert everything is not None
    matching = [name for name in names(everything) if "bias" in name]
    assert 0 < len(matching) < everything.everything
    await driver.press("slash", *"bias", "enter")
    await driver.until(lambda: pattern(driver) == "bias", "the search is answered")
    await driver.settled()
    found = driver.now.parameters
    assert found is not None
    assert (found.matching, found.everything) == (len(matching), everything.everything)
    assert names(found) == matching[: len(names(found))]
    await driver.press("escape")
    await driver.until(lambda: pattern(driver) == "", "the search is taken back")
    assert driver.now.parameters is not None
    assert driver.now.parameters.total == everything.total


async def words_key(driver: Driver) -> None:
    box = driver.app.main.query_one(AnswerBox)
    await driver.press("exclamation_mark", *"1+1", "enter")
    await driver.until(lambda: box.lines == ("2",), "the answer")
    assert (box.title, box.wrong) == ("! 1+1", False)
    await driver.press("escape")
    assert not box.lines


async def app_keys(driver: Driver) -> None:
    number = driver.stop.number
    await driver.press("colon", *"next", "enter")
    assert driver.told(m.Resume)[-1] == m.Resume(m.Action.NEXT)
    await driver.stopped_at(number + 1)
    for closing in ("escape", "q", "question_mark"):
        await driver.press("question_mark")
        await driver.until(lambda: isinstance(driver.app.screen, HelpScreen), "help is open")
        await driver.press("j", "k", closing)
        await driver.until(lambda: driver.app.screen is driver.app.main, "help is closed")
    dark = driver.app.current_theme.dark
    for _ in range(2):
        await driver.press("t")
        assert driver.app.current_theme.dark is not dark
        dark = driver.app.current_theme.dark
    redraws = driver.app.redraws
    await driver.press("ctrl+l")
    assert driver.app.redraws == redraws + 1
    told = list(driver.session.told)
    await driver.press(*sorted(RESERVED_KEYS))
    await driver.press("ctrl+c")
    assert [n.message for n in driver.app._notifications][-1] == "press q to quit"
    assert driver.session.told == told
    await driver.press("ctrl+p")
    await driver.until(lambda: driver.app.screen is not driver.app.main, "the palette is open")
    await driver.press("escape")
    await driver.until(lambda: driver.app.screen is driver.app.main, "the palette is closed")


async def plot_keys(driver: Driver) -> None:
    for closing in ("escape", "q", "T"):
        await driver.press("T")
        await driver.until(lambda: isinstance(driver.app.screen, PlotScreen), "the plots are open")
        await driver.press(closing)
        await driver.until(lambda: driver.app.screen is driver.app.main, "the plots are closed")
    await driver.press("T")
    screen = driver.app.screen
    assert isinstance(screen, PlotScreen)
    await driver.until(lambda: screen.plots.now.curves, "something is recorded")
    metrics = [screen.look.metric]
    for key in ("tab", "tab", "shift+tab"):
        await driver.press(key)
        metrics.append(screen.look.metric)
    assert metrics == ["loss", "grad", "lr", "grad"]
    await driver.press("shift+tab")
    for key, changed in (("enter", "alone"), ("z", "alone"), ("l", "log"), ("l", "log")):
        before = getattr(screen.look, changed)
        await driver.press(key)
        assert getattr(screen.look, changed) is not before
    first, last = extent(screen.plots)
    await driver.press("home")
    at = positions(screen.look, screen.plots)
    assert cursor_iteration(screen.look, screen.plots) == at[0]
    await driver.press("right", "left", "end")
    assert cursor_iteration(screen.look, screen.plots) == at[-1]
    await driver.press("plus", "less_than_sign", "greater_than_sign", "shift+left", "shift+right")
    left, right = window(screen.look, screen.plots)
    assert first <= left <= right <= last
    await driver.press("minus", "0", "equals_sign")
    assert window(screen.look, screen.plots) == (first, last)
    await driver.press("escape")
    await driver.until(lambda: driver.app.screen is driver.app.main, "the plots are closed")


async def breakpoint_keys(driver: Driver) -> None:
    await driver.press("2", "b")
    await driver.until(lambda: driver.view.book is not None and driver.view.book.rows, "it is set")
    await driver.press("B")
    await driver.until(lambda: isinstance(driver.app.screen, BreakpointsScreen), "the list is open")
    await driver.press("d")
    await driver.until(lambda: not driver.view.book.rows, "it is deleted")
    await driver.press("escape")
    await driver.until(lambda: driver.app.screen is driver.app.main, "the list is closed")


async def chain_keys(driver: Driver) -> None:
    for closing in ("escape", "q", "E"):
        await driver.press("E")
        await driver.until(lambda: isinstance(driver.app.screen, ChainScreen), "the chain is open")
        await driver.press(closing)
        await driver.until(lambda: driver.app.screen is driver.app.main, "the chain is closed")
    await driver.press("E")
    screen = driver.app.screen
    assert isinstance(screen, ChainScreen)
    await driver.until(lambda: screen.page is not None, "the chain is here")
    assert screen.page is not None
    assert (screen.page.name, screen.page.way) == (driver.app.selected, Way.SHORTEST)
    await driver.press("tab")
    await driver.until(lambda: screen.page is not None and screen.page.way is Way.LONGEST, "the longest is here")
    await driver.press("y")
    if screen.page.steps:
        assert "AccumulateGrad" in driver.app.clipboard
        watched = screen.page.watched
        for _ in range(2):
            await driver.press("a")
            watched = not watched
            await driver.until(
                lambda on=watched: screen.page is not None and screen.page.watched is on, "it is switched"
            )
    await driver.press("escape")
    await driver.until(lambda: driver.app.screen is driver.app.main, "the chain is closed")


async def tab_keys(driver: Driver) -> None:
    """On a small terminal each number brings its pane, alone with the rail."""
    await driver.pilot.resize_terminal(*NARROW)
    await driver.until(lambda: driver.app.main.single, "one pane at a time")
    for number, _name, _content in PANES:
        pane = await focus(driver, number)
        await driver.until(lambda pane=pane: pane.is_on_screen and pane.region.area, "it is on screen")
        visible = {p.NUMBER for p in driver.app.main.query(Pane) if p.is_on_screen and p.region.area}
        assert visible <= {number, RailPane.NUMBER}
    stop = await driver.step("n")
    assert stop.reason is StopReason.STEP
    await driver.pilot.resize_terminal(*ROOMY)
    await driver.until(lambda: not driver.app.main.single, "the panes stand side by side")


def next_is(stop: StopRecord, phase: Phase) -> bool:
    return stop.next is not None and stop.next.phase is phase


def value_norms(driver: Driver) -> dict[str, float | None]:
    listing = driver.now.parameters
    assert listing is not None
    return {row.name: row.value_norm for row in listing.rows.values() if row.kind == "parameter"}


def names(listing: ParameterList) -> list[str]:
    return [listing.rows[index].name for index in sorted(listing.rows) if listing.rows[index].kind == "parameter"]


def pattern(driver: Driver) -> str | None:
    return driver.now.parameters.pattern if driver.now.parameters is not None else None
