"""`L`, `:leaks` and `:what-if` in the whole app, on a real run."""

from __future__ import annotations

import pytest
from real_runs import NARROW, WIDE, Driver, running
from test_edit_app import enter, notices
from test_memory_app import lines

from stepdbg.protocol.leaks import GetLeaks, LeakKind
from stepdbg.protocol.records import Phase, StopRecord
from stepdbg.ui.panes.memory import MemoryPane
from stepdbg.ui.screens.leaks import LeaksScreen
from stepdbg.ui.screens.whatif import WhatIfScreen

pytestmark = pytest.mark.usefixtures("nothing_kept_before")


def text(screen: LeaksScreen | WhatIfScreen) -> str:
    return str(screen.text.render())


async def leaks(driver: Driver) -> LeaksScreen:
    screen = driver.app.screen
    assert isinstance(screen, LeaksScreen), notices(driver)
    await driver.until(lambda: screen.report is not None, "it is known what is held")
    await driver.settled()
    return screen


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_a_running_sum_is_found_and_followed(size: tuple[int, int]) -> None:
    async with running("leaky", size=size) as driver:
        for _ in range(3):
            await driver.step("i")
        await driver.press("5", "L")
        screen = await leaks(driver)
        first = screen.report
        assert first is not None
        (leak,) = first.leaks
        source = driver.run.path.read_text(encoding="utf-8").splitlines()
        assert (leak.kind, leak.name, leak.growing) == (LeakKind.GRAPH, "total_loss", True)
        assert source[leak.line - 1].strip().startswith("total_loss += loss")
        assert "total_loss keeps the graphs of 3 iterations (1 to 3) alive" in text(screen)
        assert f"leaky.py:{leak.line}" in text(screen)
        await driver.press("i")
        await driver.until(lambda: screen.report is not None and screen.report.iteration == 5, "it is looked at anew")
        assert "of 4 iterations (1 to 4)" in text(screen)
        await driver.press("w")
        await driver.until(lambda: screen.report is not None and screen.report.free, "free runs are watched")
        assert "A free run is watched too." in " ".join(text(screen).split())
        assert driver.told(GetLeaks)[-1].free is True
        await driver.press("y")
        assert driver.app.clipboard.startswith("1 finding")
        await driver.press("escape")
        assert not isinstance(driver.app.screen, LeaksScreen)
        await enter(driver, "leaks off")
        assert "live tensors are not watched any more" in notices(driver)


async def test_the_memory_pane_tells_what_was_found_and_looks_again_once_an_iteration() -> None:
    async with running("leaky") as driver:
        for _ in range(3):
            await driver.step("i")
        assert driver.told(GetLeaks) == []
        await driver.press("5", "L")
        await leaks(driver)
        await driver.press("escape")
        pane = driver.app.main.query_one(MemoryPane)
        found = "total_loss keeps the graphs of 3 iterations (1 to 3) alive"
        await driver.until(lambda: found in " ".join(" ".join(lines(driver)).split()), "the pane tells it")
        asked = len(driver.told(GetLeaks))
        await driver.step("n")
        await driver.settled()
        assert len(driver.told(GetLeaks)) == asked
        await driver.step("i")
        again = "total_loss keeps the graphs of 4 iterations (1 to 4) alive"
        await driver.until(lambda: again in " ".join(" ".join(lines(driver)).split()), "it has looked again")
        assert len(driver.told(GetLeaks)) == asked + 1
        assert pane.display
        await enter(driver, "leaks off")
        await driver.until(lambda: driver.view.leaks is None, "they are watched no more")
        await driver.step("i")
        await driver.settled()
        assert len(driver.told(GetLeaks)) == asked + 2


async def test_nothing_to_find_is_said() -> None:
    async with running("two_nets") as driver:
        await enter(driver, "leaks watch")
        screen = await leaks(driver)
        assert "Nothing is kept from earlier iterations." in text(screen)
        assert "Watched since iteration 1: what grows without a graph" in text(screen)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_estimates(size: tuple[int, int]) -> None:
    async with running("two_nets", size=size) as driver:

        def before_backward(stop: StopRecord) -> bool:
            return stop.next is not None and stop.next.phase is Phase.BACKWARD

        await driver.step_until(before_backward, "before backward")
        for line, answer in {
            "zero_grad": "Estimated: nothing to free",
            "optimizer adamw": "AdamW would hold 312 bytes of state",  # two moments of 148 bytes, four step counts
            "batch 2x": "saves",
            "checkpoint net.0": "checkpointing net.0 would free 0 bytes",
        }.items():
            await enter(driver, f"what-if {line}")
            await driver.until(lambda: isinstance(driver.app.screen, WhatIfScreen), line)
            screen = driver.app.screen
            assert isinstance(screen, WhatIfScreen)
            await driver.until(lambda screen=screen: "stimated" in text(screen), "it is laid out")
            shown = " ".join(text(screen).split())
            assert answer in shown
            await driver.press("escape")
        await enter(driver, "what-if checkpoint nte.0")
        assert notices(driver)[-1] == "what-if: no module is called nte.0 at this stop: did you mean net.0?"
