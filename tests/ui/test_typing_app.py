"""What is typed in the whole app: bursts of keys, lines of earlier sessions, expressions that never end."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key
from textual.keys import _character_to_key

from stepdbg.client.history import History
from stepdbg.protocol.words import EVALUATING, Evaluate
from stepdbg.ui import UiConfig
from stepdbg.ui.answers import AnswerBox
from stepdbg.ui.panes.console import ConsolePane
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.parameters import ParametersPane
from stepdbg.ui.progress import ProgressLine
from stepdbg.ui.prompt import PromptBar
from tests.ui.every_command import enter
from tests.ui.real_runs import NARROW, WIDE, Driver, running


def burst(driver: Driver, text: str) -> None:
    """All of it before the app has a turn."""
    for letter in text:
        driver.app.post_message(Key({"\r": "enter"}.get(letter) or _character_to_key(letter), letter))


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_keys_after_the_digit_of_a_pane_are_for_that_pane(size: tuple[int, int]) -> None:
    async with running("two_nets", size=size) as driver:
        pane = driver.app.main.query_one(ParametersPane)
        assert not pane.look.arrangement.tree
        burst(driver, "2m")
        await driver.until(lambda: pane.look.arrangement.tree, "its tree is shown")
        burst(driver, "1/Addmm\r")
        await driver.until(lambda: driver.app.main.query_one(GraphPane).lens.pattern == "Addmm", "a searched graph")
        await driver.settled()
        burst(driver, "2/net2.0\r")
        await driver.until(lambda: pane._pattern == "net2.0", "and so are the parameters")
        await driver.settled()
        assert driver.app.main.current == "2"
        assert pane.has_focus_within
        assert not driver.app.main.query_one(PromptBar).is_open


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_keys_behind_an_enter_are_for_whom_it_leaves_the_keys(size: tuple[int, int]) -> None:
    async with running("two_nets", size=size) as driver:
        main, prompt = driver.app.main, driver.app.main.query_one(PromptBar)
        parameters = main.query_one(ParametersPane)
        await driver.press("1")
        burst(driver, "/net\r2m")
        await driver.until(lambda: parameters.look.arrangement.tree, "the tree of the parameters")
        burst(driver, "/weight\r1")
        await driver.until(lambda: parameters._pattern == "weight", "the second search")
        await driver.until(lambda: main.current == "1", "and the way back")
        await driver.settled()
        assert main.query_one(GraphPane).lens.pattern == "net"
        assert not prompt.is_open
        burst(driver, ":focus values\r:focus memory\rz")
        await driver.until(lambda: main.maximised, "the room")
        assert main.current == "4"
        burst(driver, ":nosuch\r!")
        await driver.until(lambda: prompt.input.value == "nosuch!", "what was refused is there to be corrected")


async def test_keys_before_one_that_moves_the_focus_are_for_the_pane_that_had_it() -> None:
    async with running("two_nets") as driver:
        main, pane = driver.app.main, driver.app.main.query_one(ParametersPane)
        await driver.press("2")
        burst(driver, "m/net2\r")
        await driver.until(lambda: pane._pattern == "net2", "the search")
        assert pane.look.arrangement.tree
        await driver.settled()
        burst(driver, "jjb1")
        await driver.until(lambda: main.current == "1", "the other pane")
        await driver.settled()
        assert pane.table.cursor == 2
        book = driver.view.book
        row = pane.table.row_at_cursor
        assert book is not None
        assert row is not None
        assert [one.spec.target for one in book.rows] == [row.name]


async def test_a_digit_is_a_letter_in_the_line_for_the_script() -> None:
    async with running("two_nets") as driver:
        await driver.press("6")
        console = driver.app.main.query_one(ConsolePane)
        driver.app.main.set_focus(console.input)
        burst(driver, "12/2:x")
        await driver.until(lambda: console.input.value == "12/2:x", "it is typed")
        assert driver.app.main.current == "6"


async def test_lines_of_an_earlier_session_come_back(tmp_path: Path) -> None:
    async with running("two_nets", config=UiConfig(history=History(tmp_path))) as driver:
        await enter(driver, "p 40 + 2")
        await driver.press("slash", *"net2", "enter")
        await driver.settled()
    async with running("two_nets", config=UiConfig(history=History(tmp_path))) as driver:
        prompt = driver.app.main.query_one(PromptBar)
        await driver.press("colon", "up")
        assert prompt.input.value == "p 40 + 2"
        await driver.press("escape", "slash", "up")
        assert prompt.input.value == "net2"
    async with running("two_nets") as driver:
        await driver.press("colon", "up")
        assert not driver.app.main.query_one(PromptBar).input.value


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_an_expression_that_never_ends_is_cancelled(key: str) -> None:
    async with running("two_nets") as driver:
        line, box = driver.app.main.query_one(ProgressLine), driver.app.main.query_one(AnswerBox)
        await enter(driver, "p sum(1 for _ in iter(int, 1))")
        await driver.until(lambda: line.progress is not None, "it is said that it takes a while")
        assert line.render().plain == f"{EVALUATING}: 0 · escape stops it"
        await driver.press(key)
        await driver.until(lambda: box.lines == ("cancelled",), "it is cancelled")
        await driver.until(lambda: line.progress is None, "the line is gone")
        await enter(driver, "p 40 + 2")
        await driver.until(lambda: box.lines == ("42",), "the next one is answered")
        assert len(driver.told(Evaluate)) == 2
        await driver.step()
