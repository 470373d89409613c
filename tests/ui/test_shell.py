"""Every key and command of the app's shell, against a scripted agent: what it is told comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from fake_session import DEADLINE, FakeSession, Script, ends_with
from textual import events
from textual.pilot import Pilot

from stepdbg.client.session import Exited
from stepdbg.client.store import Status, View
from stepdbg.commands import BY_NAME, COMMANDS, PANES
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import ExceptionInfo, StopReason
from stepdbg.ui import StepdbgApp, UiConfig
from stepdbg.ui.header import HeaderLine, StatusLine
from stepdbg.ui.keyline import KeyLine
from stepdbg.ui.panes.rail import RailPane
from stepdbg.ui.screens.help import HelpScreen

WIDE = (120, 40)
NARROW = (80, 24)


class Driver:
    """The app under test with its session, and waiting for what is to be seen."""

    def __init__(self, app: StepdbgApp, pilot: Pilot[Exited | None], session: FakeSession) -> None:
        self.app, self.pilot, self.session = app, pilot, session

    @property
    def view(self) -> View:
        assert self.app.view is not None
        return self.app.view

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not condition():
                    await self.pilot.pause()
        except TimeoutError:
            pytest.fail(f"waited in vain until {what}")

    async def stopped_at(self, number: int) -> None:
        await self.until(
            lambda: self.view.status is Status.STOPPED and self.view.history[-1].stop.number == number,
            f"stop {number}",
        )
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    def notices(self) -> list[str]:
        return [notification.message for notification in self.app._notifications]

    def text(self, kind: type[Any]) -> str:
        return self.app.main.query_one(kind).render().plain


@asynccontextmanager
async def running(
    script: Script | None = None, size: tuple[int, int] = WIDE, config: UiConfig | None = None, stop: int = 1
) -> AsyncIterator[Driver]:
    session = FakeSession(script)
    app = StepdbgApp(session, config)
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        driver = Driver(app, pilot, session)
        if session.script.greets:
            await driver.stopped_at(1)
        for number in range(2, stop + 1):
            await driver.press("n")
            await driver.stopped_at(number)
        yield driver


@pytest.mark.parametrize(
    ("key", "action", "then"),
    [
        ("n", m.Action.NEXT, 2),
        ("space", m.Action.NEXT, 2),
        ("i", m.Action.ITERATION, 6),
        ("c", m.Action.CONTINUE, 13),
        ("k", m.Action.SKIP, 2),
    ],
)
async def test_keys_that_let_the_script_go_on(key: str, action: m.Action, then: int) -> None:
    async with running() as driver:
        await driver.press(key)
        assert await driver.session.agent.told(m.Resume) == m.Resume(action)
        await driver.stopped_at(then)


@pytest.mark.parametrize("number", [number for number, _name, _content in PANES])
@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_run_keys_work_whatever_pane_has_the_focus(number: str, size: tuple[int, int]) -> None:
    async with running(size=size) as driver:
        await driver.press(number)
        pane = driver.app.main.pane(number)
        await driver.until(lambda: pane.has_focus_within, f"pane {number} has the focus")
        assert pane.region.area > 0
        await driver.press("k")
        assert await driver.session.agent.told(m.Resume) == m.Resume(m.Action.SKIP)


async def test_pause_and_interrupt_while_running() -> None:
    async with running(Script(runs_on=True)) as driver:
        for count, key in ((1, "p"), (2, "ctrl+c")):
            await driver.press("c")
            await driver.until(lambda: driver.view.status is Status.RUNNING, "it runs")
            await driver.press(key)
            await driver.session.agent.told(m.Pause, count)
            await driver.until(lambda: driver.view.status is Status.STOPPED, "it is held again")


async def test_interrupt_while_stopped_says_how_to_quit() -> None:
    async with running() as driver:
        await driver.press("ctrl+c")
        assert driver.notices() == ["press q to quit"]
        assert not driver.session.closed


async def test_running_shows_progress_and_refuses_what_needs_a_stop() -> None:
    async with running(Script(runs_on=True)) as driver:
        await driver.press("c")
        await driver.session.agent.told(m.Resume)
        driver.session.agent.say(m.Progress(7, 1, "backward", 0.25, 400.0))
        await driver.until(lambda: driver.view.progress is not None, "progress arrived")
        assert "iteration 7 · loss 0.25 · 400 it/s · ◌ running…" in driver.text(HeaderLine)
        assert "now in backward" in driver.text(StatusLine)
        assert driver.app.check_action("command", ("next",)) is None
        assert driver.app.check_action("command", ("pause",)) is True
        await driver.press("n")
        assert [r for r in driver.session.agent.received if isinstance(r, m.Resume)] == [m.Resume(m.Action.CONTINUE)]


async def test_what_cannot_be_skipped_is_greyed_out_and_explained() -> None:
    async with running(stop=2) as driver:
        assert driver.app.check_action("command", ("skip",)) is None
        await driver.press("colon", *"skip", "enter")
        await driver.until(driver.notices, "it says why")
        assert "forward cannot be skipped" in driver.notices()[0]


async def test_earlier_later_present_and_leave() -> None:
    async with running(stop=4) as driver:
        asked = len(driver.session.agent.received)
        await driver.press("left_square_bracket", "left_square_bracket")
        assert driver.view.ago == 2
        assert "◀ 2 stops ago (stop 2): values as recorded then, ] to return" in driver.text(StatusLine)
        await driver.press("right_square_bracket")
        assert driver.view.ago == 1
        await driver.press("right_curly_bracket")
        assert driver.view.ago == 0
        await driver.press("left_square_bracket", "escape")
        assert driver.view.ago == 0
        later = driver.session.agent.received[asked:]
        assert all(isinstance(message, m.QUERIES) for message in later)


async def test_an_earlier_stop_is_never_asked_about() -> None:
    async with running(stop=3) as driver:
        await driver.press("left_square_bracket")
        await driver.pilot.pause()
        asked = len(driver.session.agent.received)
        await driver.press("1", "2", "3", "4", "5", "left_square_bracket")
        await driver.pilot.pause()
        assert len(driver.session.agent.received) == asked


async def test_restart_starts_anew_in_the_same_app() -> None:
    async with running(stop=3) as driver:
        graph = driver.app.main.pane("1")
        await driver.press("r")
        await driver.until(lambda: driver.session.successor is not None, "a new session is there")
        await driver.stopped_at(1)
        assert driver.session.closed
        assert len(driver.view.history) == 1
        assert driver.app.main.pane("1") is graph
        successor = driver.session.successor
        assert successor is not None
        await driver.press("n")
        assert await successor.agent.told(m.Resume) == m.Resume(m.Action.NEXT)


async def test_quit_ends_the_script_and_returns_how() -> None:
    async with running() as driver:
        await driver.press("q")
        await driver.until(lambda: not driver.app.is_running, "the app is gone")
    assert driver.session.closed
    assert driver.app.return_value == Exited(None, 15)


@pytest.mark.parametrize(
    ("exited", "words"),
    [
        (Exited(3), "✗ exited with code 3"),
        (Exited(None, 15), "✗ killed by SIGTERM"),
        (Exited(0), "■ exited with code 0"),
    ],
)
async def test_the_end_is_named(exited: Exited, words: str) -> None:
    async with running(Script(exit=exited)) as driver:
        await driver.press("c")
        await driver.stopped_at(13)
        assert "finished: held before teardown, c lets it end" in driver.text(StatusLine)
        assert driver.app.check_action("command", ("next",)) is None
        await driver.press("c")
        await driver.until(lambda: driver.view.status is Status.ENDED, "it ended")
        await driver.pilot.pause()
        assert words in driver.text(HeaderLine)
        await driver.press("left_square_bracket")
        assert driver.view.ago == 1


async def test_post_mortem_names_the_exception() -> None:
    async with running(Script(stops=ends_with(StopReason.EXCEPTION))) as driver:
        await driver.press("c")
        await driver.stopped_at(13)
        assert "✗ exception ValueError: Using a target size" in driver.text(StatusLine)
        assert "✗ exception" in driver.text(HeaderLine)
        assert "loss BCELoss ✗" in driver.text(RailPane)


async def test_a_long_exception_is_told_whole_on_a_narrow_screen() -> None:
    message = "mat1 and mat2 shapes cannot be multiplied (8x5 and 4x2)"
    stops = ends_with(StopReason.EXCEPTION)
    last = replace(stops[-1], exception=ExceptionInfo("RuntimeError", message, ""))
    async with running(Script(stops=[*stops[:-1], last]), size=(80, 24)) as driver:
        await driver.press("c")
        await driver.stopped_at(13)
        said = " ".join(driver.text(StatusLine).split())
        assert f"✗ exception RuntimeError: {message}" in said


async def test_a_lost_connection_is_said() -> None:
    async with running() as driver:
        driver.session.agent.hang_up()
        await driver.until(lambda: driver.view.lost is not None, "the loss is noticed")
        await driver.pilot.pause()
        assert "✗ connection lost" in driver.text(HeaderLine)
        assert driver.app.check_action("command", ("pause",)) is None
        await driver.press("ctrl+c")
        assert driver.notices() == ["press q to quit"]


async def test_starting_says_what_is_waited_for() -> None:
    async with running(Script(greets=False)) as driver:
        await driver.pilot.pause()
        assert "waiting for import torch" in driver.text(StatusLine)
        assert "◌ starting" in driver.text(HeaderLine)


async def test_what_cannot_be_started_ends_the_app_with_one_line() -> None:
    session = FakeSession(Script(cannot_start="no such interpreter"))
    app = StepdbgApp(session)
    async with app.run_test():
        pass
    assert app.return_code == 2


async def test_a_note_is_shown() -> None:
    note = "no phase of a training loop was seen"
    async with running(Script(stops=ends_with(StopReason.FINISHED, count=1, note=note))) as driver:
        assert note in driver.text(StatusLine)


async def test_resizing_keeps_panes_focus_and_selection() -> None:
    async with running(stop=2) as driver:
        panes = list(driver.app.main.query("Pane"))
        await driver.press("2")
        await driver.until(lambda: driver.app.main.pane("2").has_focus_within, "parameters have the focus")
        focused, selected = driver.app.focused, driver.app.selected
        for size in (NARROW, WIDE):
            await driver.pilot.resize_terminal(*size)
            await driver.pilot.pause()
            visible = {pane.NUMBER for pane in panes if pane.region.area and pane.is_on_screen}
            assert visible == ({"2", "7"} if size == NARROW else set("1234567"))
            assert (driver.app.focused, driver.app.selected) == (focused, selected)
        assert list(driver.app.main.query("Pane")) == panes


async def test_maximize_and_back() -> None:
    async with running() as driver:
        await driver.press("4", "z")
        await driver.pilot.pause()
        main = driver.app.main
        assert main.pane("4").size.width > 110
        assert not main.pane("1").is_on_screen
        await driver.press("z")
        await driver.pilot.pause()
        assert main.pane("1").is_on_screen


async def test_prompt_runs_completes_remembers_and_explains() -> None:
    async with running() as driver:
        prompt = driver.app.main.prompt
        await driver.press("colon", *"nxt", "enter")
        message = driver.app.main.query_one("#prompt-message")
        assert "did you mean next?" in str(message.render())
        await driver.press("escape", "colon", *"ite", "tab")
        assert prompt.input.value == "iteration "
        await driver.press("enter")
        assert await driver.session.agent.told(m.Resume) == m.Resume(m.Action.ITERATION)
        await driver.stopped_at(6)
        assert not prompt.is_open
        await driver.press("colon", "up")
        assert prompt.input.value == "iteration"
        await driver.press("up")
        assert prompt.input.value == "nxt"
        await driver.press("down", "down")
        assert not prompt.input.value


async def test_search_asks_for_the_pattern_and_escape_takes_it_back() -> None:
    async with running() as driver:
        await driver.press("2")
        await driver.until(lambda: driver.app.main.pane("2").has_focus_within, "parameters have the focus")
        await driver.press("slash", *"net2", "enter")
        agent = driver.session.agent
        await driver.until(
            lambda: any(getattr(r, "pattern", "") == "net2" for r in agent.received),
            "the pattern is asked for",
        )
        await driver.press("escape")
        await driver.until(lambda: driver.app.main.searched is None, "the search is taken back")


async def test_nothing_to_search_is_said() -> None:
    async with running() as driver:
        await driver.press("7", "slash")
        await driver.until(driver.notices, "it is said")
        assert "nothing to search in the rail pane" in driver.notices()[0]


async def test_help_lists_every_command_and_pane() -> None:
    async with running() as driver:
        await driver.press("question_mark")
        await driver.until(lambda: isinstance(driver.app.screen, HelpScreen), "help is open")
        text = driver.app.screen._text
        assert all(command.help in text for command in COMMANDS)
        assert all(f"## {number} {name.capitalize()}" in text for number, name, _content in PANES)
        await driver.press("escape")
        assert driver.app.screen is driver.app.main


async def test_palette_finds_every_command() -> None:
    async with running() as driver:
        found = {command.title for command in driver.app.get_system_commands(driver.app.screen)}
        assert {command.name for command in COMMANDS} <= found
        await driver.press("ctrl+p")
        await driver.pilot.pause()
        assert driver.app.screen is not driver.app.main


async def test_theme_toggles_and_a_keymap_replaces_keys() -> None:
    config = UiConfig(theme="stepdbg-light", keymap={"next": "f8"})
    async with running(config=config) as driver:
        assert driver.app.theme == "stepdbg-light"
        await driver.press("t")
        assert driver.app.theme == "stepdbg-dark"
        await driver.press("n")
        assert not any(isinstance(r, m.Resume) for r in driver.session.agent.received)
        await driver.press("f8")
        assert await driver.session.agent.told(m.Resume) == m.Resume(m.Action.NEXT)


async def test_clicking_a_tab_goes_to_its_pane() -> None:
    async with running(size=NARROW) as driver:
        await driver.pilot.click("TabLine", offset=(12, 0))
        await driver.until(lambda: driver.app.main.current == "2", "parameters are current")
        assert driver.app.main.pane("2").is_on_screen


async def test_console_output_and_memory_of_the_process_arrive() -> None:
    async with running() as driver:
        await driver.until(lambda: driver.view.history[-1].rss, "resident bytes are read")
        await driver.until(
            lambda: "epoch 0" in "".join(s.text for line in _lines(driver) for s in line),
            "output is on screen",
        )


def _lines(driver: Driver) -> Any:
    return driver.app.screen._compositor.render_strips()


async def test_a_step_asked_for_before_the_stop_is_shown_is_done_once() -> None:
    async with running() as driver:
        for _ in range(3):  # the first goes on, the others wait for the stop before theirs
            driver.app.run_command(BY_NAME["next"])
        await driver.stopped_at(4)
        assert driver.session.agent.received.count(m.Resume(m.Action.NEXT)) == 3


async def test_a_step_asked_for_before_it_is_shown_to_run_is_not_kept_for_a_far_stop() -> None:
    async with running(Script(runs_on=True)) as driver:
        driver.app.run_command(BY_NAME["continue"])
        driver.app.run_command(BY_NAME["next"])
        await driver.until(lambda: driver.view.status is Status.RUNNING, "it runs")
        await driver.press("p")
        await driver.stopped_at(2)
        assert m.Resume(m.Action.NEXT) not in driver.session.agent.received


async def test_pause_is_heard_before_it_is_shown_to_run() -> None:
    async with running(Script(runs_on=True)) as driver:
        await driver.press("c", "p")
        await driver.session.agent.told(m.Pause)
        await driver.stopped_at(2)


async def test_the_first_parameter_is_selected_by_itself() -> None:
    async with running(size=(160, 50)) as driver:
        await driver.until(lambda: driver.app.selected, "a parameter is selected")
        rows = driver.view.history[-1].parameters
        assert rows is not None
        assert driver.app.selected == rows.rows[0].name
        await driver.until(lambda: driver.view.history[-1].values, "its numbers are here")


async def test_the_header_tells_which_python() -> None:
    async with running(size=(160, 50)) as driver:
        assert "python 3.11.7, torch 2.13.0 · /usr/bin/python3" in driver.text(HeaderLine)


async def test_clicking_a_key_gives_its_command() -> None:
    async with running() as driver:
        keys = driver.app.main.query_one(KeyLine)
        column = keys.render().plain.index("next")
        await driver.pilot.click(KeyLine, offset=(column, 0))
        assert await driver.session.agent.told(m.Resume) == m.Resume(m.Action.NEXT)
        await driver.stopped_at(2)


@pytest.mark.parametrize(
    ("width", "missing"),
    [(80, {"restart", "zoom", "search", "explain"}), (100, {"restart", "zoom", "search"}), (124, set()), (160, set())],
)
async def test_keys_give_way_where_there_is_no_room(width: int, missing: set[str]) -> None:
    async with running(size=(width, 40)) as driver:
        words = driver.app.main.query_one(KeyLine).render().plain
        assert len(words) <= width
        assert {word for word in ("restart", "zoom", "search", "explain") if f" {word}" not in words} == missing
        assert words.endswith("q quit")


async def test_clicking_the_rail_gives_it_the_keys() -> None:
    async with running() as driver:
        await driver.pilot.click(RailPane, offset=(12, 0))
        await driver.until(lambda: driver.app.main.current == RailPane.NUMBER, "the rail is current")


async def test_a_focus_that_is_told_late_does_not_bring_its_pane_back() -> None:
    async with running(size=NARROW) as driver:
        await driver.press("2")
        main = driver.app.main
        await driver.until(lambda: main.focused is not None and main.current == "2", "the parameters are on screen")
        late = events.DescendantFocus(main.focused)
        driver.app.focus_pane("1")
        main.on_descendant_focus(late)
        assert main.current == "1"
        await driver.until(lambda: main.focused in main.pane("1").walk_children(), "the graph has the keys")
        assert main.current == "1"
