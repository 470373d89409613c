"""Breakpoints and watches in the whole app, on a real run."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_runs import NARROW, WIDE, Driver, running
from test_edit_app import enter, notices

from stepdbg.client.saved import SavedBreakpoints
from stepdbg.client.store import Seen
from stepdbg.plain.breakpoints import bars
from stepdbg.protocol.breakpoints import Book, Breakpoint, GetBreakpoints, Kind, Spec
from stepdbg.protocol.records import Phase, StopReason
from stepdbg.ui import UiConfig
from stepdbg.ui.answers import AnswerBox, AnswerScreen
from stepdbg.ui.header import StatusLine
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.parameters import ParametersPane
from stepdbg.ui.panes.rail import RailPane
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.progress import ProgressLine
from stepdbg.ui.screens.breakpoints import BreakpointsScreen


def rows(driver: Driver) -> list[Breakpoint]:
    return list(driver.view.book.rows) if driver.view.book is not None else []


async def listed(driver: Driver) -> tuple[BreakpointsScreen, list[str]]:
    await driver.press("B")
    await driver.until(lambda: isinstance(driver.app.screen, BreakpointsScreen), "the list is there")
    await driver.settled()
    screen = driver.app.screen
    assert isinstance(screen, BreakpointsScreen)
    table = screen.table
    return screen, [table.render_line(y).text.rstrip() for y in range(table.size.height)]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_a_condition_stops_the_run_and_the_screen_says_why(size: tuple[int, int]) -> None:
    async with running("two_nets", size=size) as driver:
        await enter(driver, "break backward if iteration % 3 == 0")
        assert notices(driver)[-1] == "breakpoint 1: backward if iteration % 3 == 0"
        await driver.step("c")
        assert (driver.stop.reason, driver.stop.iteration) == (StopReason.BREAKPOINT, 3)
        assert driver.stop.next is not None
        assert driver.stop.next.phase is Phase.BACKWARD
        assert "● breakpoint 1: iteration % 3 == 0" in driver.text(StatusLine)
        assert [row.hits for row in rows(driver)] == [1]
        await driver.step("c")
        assert driver.stop.iteration == 6
        assert [row.hits for row in rows(driver)] == [2]


async def test_b_toggles_at_the_line_the_phase_and_the_parameter() -> None:
    async with running("two_nets") as driver:
        await driver.press("7", "b")
        await driver.settled()
        assert [row.spec for row in rows(driver)] == [Spec(Kind.PHASE, "zero_grad")]
        assert "●" in driver.text(RailPane)
        await driver.press("b")
        await driver.settled()
        assert rows(driver) == []
        assert "●" not in driver.text(RailPane)
        await driver.press("5", "b")
        await driver.settled()
        source = driver.app.main.query_one(SourcePane)
        (row,) = rows(driver)
        assert (row.spec.kind, row.spec.line) == (Kind.LINE, driver.stop.stack[driver.stop.here or 0].line)
        assert source.text.marked == {row.spec.line - 1: "●"}
        await driver.press("2", "b")
        await driver.settled()
        assert rows(driver)[-1].spec == Spec(Kind.GRADIENT, driver.app.selected)
        await driver.press("b")
        await driver.settled()
        assert len(rows(driver)) == 1


async def test_b_in_the_parameter_pane_is_for_the_row_under_its_cursor() -> None:
    async with running("two_nets") as driver:
        await driver.step_until(lambda s: s.next is not None and s.next.phase is Phase.BACKWARD, "before backward")
        graph, table = driver.app.main.query_one(GraphPane), driver.app.main.query_one(ParametersPane).table
        await driver.press("1")
        while (row := graph.tree_list.row_at_cursor) is None or row.name != "net.2":
            await driver.press("j")
        await driver.settled()
        led = table.row_at_cursor
        assert led is not None
        assert led.name == "net.2.weight" != driver.app.selected
        await driver.press("2")
        await driver.until(lambda: driver.app.selected == "net.2.weight", "the keys are for what the cursor is on")
        await driver.press("b")
        await driver.settled()
        await driver.press("m")
        await driver.settled()
        await driver.press("g", "b")
        await driver.settled()
        assert [row.spec for row in rows(driver)] == [
            Spec(Kind.GRADIENT, "net.2.weight"),
            Spec(Kind.MODULE, "net", direction="forward"),
        ]
    async with running("tiny_gan") as driver:
        await driver.step_until(lambda s: s.iteration == 2, "the second iteration")
        await driver.press("2", "G")
        await driver.settled()
        last = driver.app.main.query_one(ParametersPane).table.row_at_cursor
        assert last is not None
        assert last.kind == "section"
        await driver.press("b")
        await driver.until(lambda: "nothing here can be stopped at" in notices(driver)[-1], "it is said")
        await driver.press("u")
        await driver.until(lambda: notices(driver)[-1].startswith("until what?"), "nor can be run until")


async def test_b_and_u_at_a_line_that_calls_no_phase() -> None:
    async with running("two_nets") as driver:
        await driver.press("5")
        await driver.settled()
        source = driver.app.main.query_one(SourcePane)
        source.text.cursor = 23  # line 24: if iteration % 10 == 9
        await driver.press("b")
        await driver.settled()
        (row,) = rows(driver)
        assert (row.spec.kind, row.spec.line, row.note) == (Kind.LINE, 24, "")
        assert source.text.marked == {23: "●"}
        await driver.step("c")
        assert (driver.stop.reason, driver.stop.iteration) == (StopReason.BREAKPOINT, 1)
        assert driver.stop.stack[driver.stop.here or 0].line == 24
        assert "● breakpoint 1: two_nets.py:24" in driver.text(StatusLine)
        assert source.text.cursor == 23
        await enter(driver, "condition 1 iteration == 10")
        await driver.step("c")
        assert driver.stop.iteration == 10
        source.text.cursor = 24  # line 25: print
        await driver.step("u")
        assert (driver.stop.reason, driver.stop.stack[driver.stop.here or 0].line) == (StopReason.STEP, 25)
        assert "● line 25 of two_nets.py" in driver.text(StatusLine)


async def test_the_list_switches_edits_and_deletes() -> None:
    async with running("two_nets") as driver:
        screen, lines = await listed(driver)
        assert "break backward if loss > 2" in str(screen._nothing.render())
        await driver.press("escape")
        await enter(driver, "break step if iteration == 2")
        await enter(driver, "watch net[0].weight.norm()")
        screen, lines = await listed(driver)
        assert "● " in lines[1]
        assert "step" in lines[1]
        assert "iteration == 2" in lines[1]
        assert "watch net[0].weight.norm()" in lines[2]
        await driver.press("home", "space")
        await driver.until(lambda: not rows(driver)[0].spec.enabled, "it is off")
        await driver.settled()
        assert "○" in screen.table.render_line(1).text
        await driver.press("space", "e")
        screen._input.value = "iteration == 4"
        await driver.press("enter")
        await driver.until(lambda: rows(driver)[0].spec.condition == "iteration == 4", "the condition is edited")
        await driver.settled()
        await driver.press("escape")
        await driver.step("c")
        assert driver.stop.iteration == 4
        history = driver.view.watched[2]
        assert [seen.stop for seen in history] == [1, 2]
        assert history[0].text != history[1].text
        screen, lines = await listed(driver)
        await driver.press("home", "d")
        await driver.until(lambda: len(rows(driver)) == 1, "it is gone")


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_a_condition_that_never_ends_is_cancelled(key: str) -> None:
    async with running("two_nets", size=NARROW) as driver:
        await enter(driver, "break step if sum(1 for _ in iter(int, 1))")
        await enter(driver, "commands 1 continue")
        await driver.press("c")
        said = "breakpoint 1: its condition takes a while · escape cancels it"
        await driver.until(lambda: said in driver.text(StatusLine), "it is said that it takes a while")
        await driver.press(key)
        await driver.stopped_at(2)
        assert "● breakpoint 1: its condition was cancelled after " in driver.text(StatusLine)
        assert "; it is off now" in driver.text(StatusLine)
        assert [row.spec.enabled for row in rows(driver)] == [False]
        await driver.step()
        assert driver.stop.iteration == 2


async def test_a_watched_expression_that_never_ends_is_cancelled() -> None:
    async with running("two_nets") as driver:
        line = driver.app.main.query_one(ProgressLine)
        await driver.press("colon", *"watch sum(1 for _ in iter(int, 1))", "enter")
        await driver.until(lambda: line.progress is not None, "it is said that it takes a while")
        await driver.press("escape")
        await driver.until(lambda: line.progress is None, "it is over")
        await driver.settled()
        assert notices(driver)[-1].endswith("(cancelled; it is off now)")
        assert [row.spec.enabled for row in rows(driver)] == [False]
        await driver.step()


async def test_commands_run_on_a_hit_and_logpoints_write() -> None:
    async with running("two_nets") as driver:
        await enter(driver, 'logpoint step "loss {loss:.3f} at {iteration}"')
        await enter(driver, "break step if iteration == 3")
        await enter(driver, "commands 2 focus values")
        await driver.step("c")
        await driver.until(lambda: driver.app.main.current == "3", "the command has run")
        assert [event.iteration for event in driver.view.logged] == [1, 2, 3]
        loss = driver.stop.loss
        assert loss is not None
        assert driver.view.logged[-1].text == f"loss {loss.value:.3f} at 3"


async def test_commands_of_a_hit_have_their_answers_before_the_script_goes_on() -> None:
    async with running("two_nets") as driver:
        box = driver.app.main.query_one(AnswerBox)
        await enter(driver, "break step if iteration == 2")
        await enter(driver, "commands 1 p 100 + iteration; info lr; next; p 200 + iteration")
        told = len(notices(driver))
        await driver.press("c")
        await driver.until(lambda: "p 200 + iteration\n202" in box.render().plain, "the last answer")
        assert (driver.stop.number, driver.stop.iteration) == (3, 3)
        assert notices(driver)[told:] == []  # nothing was asked of a script that had gone on
        await enter(driver, "answers")
        screen = driver.app.screen
        assert isinstance(screen, AnswerScreen)
        lines = screen._lines
        assert lines[:4] == ("stop 3 · iteration 3", "  p 200 + iteration", "    202", "")
        assert lines[4:6] == ("stop 2 · iteration 2", "  info lr")
        assert lines[-2:] == ("  p 100 + iteration", "    101")


async def test_what_cannot_be_is_said_and_changes_nothing() -> None:
    async with running("two_nets") as driver:
        for line, words in (
            ("break nett.0", "break: there is no module or parameter nett.0: did you mean net.0?"),
            ("break step if loss = 2", "did you mean loss == 2?"),
            ("delete 7", "breakpoints: there is no breakpoint 7: there are none"),
            ("unwatch nan", "unwatch: nan is not watched: nothing is"),
        ):
            await enter(driver, line)
            said = [*notices(driver), str(driver.app.main.prompt.render())]
            where = " ".join([*said, *(str(w.render()) for w in driver.app.main.prompt.query("Static"))])
            assert words in where
        assert rows(driver) == []


async def test_they_are_kept_for_a_restart_and_for_the_next_start(tmp_path: Path) -> None:
    saved = SavedBreakpoints("two_nets.py", folder=tmp_path)
    config = UiConfig(save_breakpoints=saved.save)
    async with running("two_nets", config=config) as driver:
        await enter(driver, "break loss if iteration > 1")
        await enter(driver, "disable 1")
        await driver.until(lambda: saved.load(), "they are saved")
        (spec,) = saved.load()
        assert spec == Spec(Kind.PHASE, "loss", condition="iteration > 1", enabled=False)
        assert driver.session.breakpoints == (spec,)
        await enter(driver, "delete all")
        await driver.until(lambda: not saved.path.exists(), "the file is gone")
    saved.path.write_text("[broken")
    assert saved.load() == ()
    saved.path.write_text('{"breakpoints": [{"kind": "x"}, 3]}')
    assert saved.load() == ()


async def test_nothing_is_asked_where_there_are_none() -> None:
    async with running("two_nets") as driver:
        await driver.step()
        assert driver.told(GetBreakpoints) == []


def test_bars() -> None:
    assert bars([]) == ""
    assert bars([None, float("nan")]) == ""
    assert bars([0.0, None, 7.0, float("inf")]) == "▁ █ "
    assert bars([1.0, 1.0]) == "▁▁"
    assert Book().rows == ()
    assert Seen(1, 1, "x").number is None


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_a_watched_expression_is_on_the_screen_at_every_stop_with_its_history(size: tuple[int, int]) -> None:
    async with running("two_nets", size=size) as driver:
        await enter(driver, "watch iteration * 10")
        assert notices(driver)[-1] == "watch 1: iteration * 10 = 0"
        told = []
        for _ in range(2):
            await driver.step("i")
            await driver.settled()
            told.append(driver.text(AnswerBox).split())
        assert [words[:7] for words in told] == [["watch", "1", "iteration", "*", "10", "=", n] for n in ("10", "20")]
        assert told[1][-1] == "▁▄█"
        await driver.press("left_square_bracket")
        await driver.settled()
        assert driver.text(AnswerBox).split()[6:] == ["10", "▁█"]
        await driver.press("right_curly_bracket")
        await enter(driver, "watch iteration * 10")
        assert notices(driver)[-1] == "watch: iteration * 10 is watched already: watch 1"
        await enter(driver, "unwatch 1")
        assert not driver.app.main.query_one(AnswerBox).display


async def test_what_was_told_before_lies_neither_over_the_prompt_nor_over_the_list() -> None:
    async with running("two_nets", size=NARROW) as driver:
        await enter(driver, "break backward")
        assert notices(driver) == ["breakpoint 1: backward"]
        await driver.press("colon")
        await driver.until(lambda: not notices(driver), "the prompt is free")
        await driver.press("escape")
        await enter(driver, "break step")
        assert notices(driver) == ["breakpoint 2: step"]
        await listed(driver)
        assert notices(driver) == []
