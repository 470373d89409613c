"""Pictures of the whole app on real runs, at the moments that matter. How to renew them: README.md beside this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import RAISES, SIZES, TWO_NETS, Compare, still
from real_runs import NARROW, WIDE, Driver, Run, ToldSession, brisk_pilot, running
from textual.pilot import Pilot

from stepdbg.protocol.leaks import GetLeaks, Leak, LeakKind, LeakReport
from stepdbg.protocol.records import Phase, StopReason, StopRecord
from stepdbg.ui import StepdbgApp, UiConfig
from stepdbg.ui.answers import AnswerBox
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.prompt import PromptBar
from stepdbg.ui.screens.leaks import LeaksScreen
from stepdbg.ui.screens.memory import MemoryScreen
from stepdbg.ui.screens.whatif import WhatIfScreen

Reach = Callable[[Driver], Awaitable[object]]


def before(phase: Phase, iteration: int = 1) -> Reach:
    """Steps to the stop before that phase of that iteration."""

    def there(stop: StopRecord) -> bool:
        return stop.next is not None and (stop.next.phase, stop.iteration) == (phase, iteration)

    return lambda driver: driver.step_until(there, f"before {phase.value}")


async def raised(driver: Driver) -> None:
    """Steps until the script has raised."""
    await driver.step_until(lambda stop: stop.reason is StopReason.EXCEPTION, "post-mortem")


MOMENTS: dict[str, tuple[Path, Reach]] = {
    "before_first_forward": (TWO_NETS, before(Phase.FORWARD)),
    "before_backward": (TWO_NETS, before(Phase.BACKWARD)),
    "before_step": (TWO_NETS, before(Phase.STEP)),
    "after_step": (TWO_NETS, before(Phase.ZERO_GRAD, iteration=2)),
    "post_mortem": (RAISES, raised),
}


def picture(
    snap_compare: Compare,
    reach: Reach,
    size: tuple[int, int],
    script: Path = TWO_NETS,
    config: UiConfig | None = None,
) -> bool:
    """Whether the app, once `reach` has led it somewhere and everything has been answered, looks as it did."""
    run = Run(script)
    app = StepdbgApp(ToldSession(run, script.name), config)
    app.animation_level = "none"

    async def run_before(pilot: Pilot[Any]) -> None:
        with brisk_pilot():
            driver = Driver(app, pilot, run)
            await driver.stopped_at(1)
            await reach(driver)
            await driver.settled()
            await still(driver)

    return snap_compare(app, terminal_size=size, run_before=run_before)


def into(phase: Phase, *keys: str) -> Reach:
    """Steps to the first run of that phase and into it; then these keys, each to a stop of its own."""

    async def reach(driver: Driver) -> None:
        await before(phase)(driver)
        for key in ("s", *keys):
            await driver.step(key)

    return reach


INSIDE: dict[str, Reach] = {
    "forward_after_a_module": into(Phase.FORWARD, "n"),
    "backward_before_a_node": into(Phase.BACKWARD, "n", "n", "n", "n"),
}


@SIZES
@pytest.mark.parametrize("place", INSIDE)
def test_inside(snap_compare: Compare, place: str, size: tuple[int, int]) -> None:
    async def reach(driver: Driver) -> None:
        await INSIDE[place](driver)
        if size == NARROW:  # one pane at a time: the one that shows what is held
            await driver.press("3")
            pane = driver.app.main.pane("3")
            await driver.until(lambda: pane.has_focus_within, "the pane has the keys, which its look tells")
            await driver.settled()

    assert picture(snap_compare, reach, size)


@SIZES
@pytest.mark.parametrize("moment", MOMENTS)
def test_moment(snap_compare: Compare, moment: str, size: tuple[int, int]) -> None:
    script, reach = MOMENTS[moment]
    assert picture(snap_compare, reach, size, script)


@pytest.mark.parametrize("number", ["2", "3", "4"])
def test_pane_of_a_small_terminal(snap_compare: Compare, number: str) -> None:
    async def reach(driver: Driver) -> None:
        await before(Phase.STEP)(driver)
        await driver.press(number)
        pane = driver.app.main.pane(number)
        await driver.until(lambda: pane.has_focus_within, "the pane has the keys, which its look tells")
        await driver.settled()

    assert picture(snap_compare, reach, NARROW)


GRAPH_KEYS = {
    "node_by_node": ("z", "v"),
    "unfolded_whole": ("z", "plus"),
    "who_is_reached": ("z", "G"),
    "paths_to_a_parameter": ("z", "v", "L", "L"),
}
"""Keys in the graph pane before the backward, and what they show."""


@SIZES
@pytest.mark.parametrize("shows", GRAPH_KEYS)
def test_graph(snap_compare: Compare, shows: str, size: tuple[int, int]) -> None:
    async def reach(driver: Driver) -> None:
        await before(Phase.BACKWARD)(driver)
        for key in GRAPH_KEYS[shows]:
            await driver.press(key)
            await driver.settled()

    assert picture(snap_compare, reach, size)


@SIZES
def test_watched_gradients(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def reach(driver: Driver) -> None:
        await before(Phase.BACKWARD)(driver)
        await driver.press("z")
        await driver.press("a")
        await driver.settled()
        await before(Phase.STEP)(driver)
        driver.app.clear_notifications()

    assert picture(snap_compare, reach, size)


@SIZES
def test_answers_in_words(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def reach(driver: Driver) -> None:
        await before(Phase.BACKWARD)(driver)
        box = driver.app.main.query_one(AnswerBox)
        prompt = driver.app.main.query_one(PromptBar)
        for line, answer in (("display loss", "1  loss = "), ("p net[0].weight", "Parameter float32")):
            await driver.press("colon")
            prompt.input.value = line
            await driver.press("enter")
            await driver.until(lambda answer=answer: answer in box.render().plain, answer)
        await driver.settled()

    assert picture(snap_compare, reach, size)


@SIZES
def test_light_theme(snap_compare: Compare, size: tuple[int, int]) -> None:
    config = UiConfig(theme="stepdbg-light")
    assert picture(snap_compare, before(Phase.STEP), size, config=config)


def test_no_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(snap_compare, before(Phase.STEP), WIDE)


async def test_the_line_that_raised_is_on_screen() -> None:
    async with running(RAISES) as driver:
        await raised(driver)
        stop = driver.stop
        assert stop.here is not None
        first, last = driver.app.main.query_one(SourcePane).text.window
        assert first <= stop.stack[stop.here].line - 1 < last


@SIZES
@pytest.mark.parametrize("shows", ["pane", "modules", "gradients"])
def test_memory(snap_compare: Compare, shows: str, size: tuple[int, int]) -> None:
    async def reach(driver: Driver) -> None:
        await before(Phase.STEP)(driver)
        await driver.step("n")
        await driver.step("k")
        await before(Phase.BACKWARD if shows == "modules" else Phase.STEP, iteration=2)(driver)
        for key in {"pane": ("4", "z"), "modules": ("4", "M"), "gradients": ("4", "M", "tab")}[shows]:
            await driver.press(key)
            await driver.settled()
        await driver.until(lambda: driver.now.others is not None, "what else is alive is counted")
        screen = driver.app.screen
        if isinstance(screen, MemoryScreen):
            await driver.until(lambda: screen.table.total > 0, "the table is there")

    assert picture(snap_compare, reach, size)


def _found(stop: int) -> LeakReport:
    """As `GetLeaks` is answered in a process of the script's own: here the tensors of other tests are alive as well."""
    leaks = (
        Leak(
            LeakKind.GRAPH, "total_loss", "one number", "/home/me/train.py", 31, "total_loss += loss",
            first=1, last=12, iterations=12, nodes=133, nbytes=4, saved=100_352, growing=True,
        ),
        Leak(
            LeakKind.LIST, "self.history['out']", "list of 12", "/home/me/trainer.py", 48,
            "self.history['out'].append(output)", count=12, first=1, last=12, iterations=12, nodes=72, nbytes=3072,
            saved=0, growing=True,
        ),
        Leak(
            LeakKind.TENSORS, "recent", "deque of 8", "/home/me/trainer.py", 52, "recent.append(output.detach())",
            count=8, first=5, last=12, iterations=8, nbytes=2048, note="it holds 8 at most",
        ),
    )  # fmt: skip
    return LeakReport(stop, 13, leaks, since=6, samples=7, tensors=61, counts=((11, 58), (12, 59), (13, 61)))


@SIZES
def test_leaks(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def reach(driver: Driver) -> None:
        async def answer(_query: object, _progress: object = None) -> LeakReport:
            return _found(driver.stop.number)

        await driver.step()
        await still(driver)  # what lies behind it is laid out
        driver.app.push_screen(LeaksScreen(answer, GetLeaks(0)))
        await driver.until(lambda: isinstance(driver.app.screen, LeaksScreen), "the screen is there")
        await driver.settled()

    assert picture(snap_compare, reach, size)


@SIZES
def test_what_if(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def reach(driver: Driver) -> None:
        await before(Phase.BACKWARD)(driver)
        await driver.press("colon")
        driver.app.main.prompt.input.value = "what-if optimizer adamw amsgrad"
        await driver.press("enter")
        await driver.until(lambda: isinstance(driver.app.screen, WhatIfScreen), "the estimate is there")

    assert picture(snap_compare, reach, size)
