"""Pictures of the list of breakpoints and of a stop at one. How to renew them: README.md beside this."""

from __future__ import annotations

import pytest
from pictures import still
from real_runs import Driver
from test_app_snapshots import SIZES, Compare, picture
from test_edit_app import enter

LINES = (
    "break backward if loss > 0 and iteration % 3 == 0",
    "break step if grad.norm > 1000",
    "tbreak iteration 50",
    'logpoint zero_grad "loss {loss:.3f}"',
    "break net.2 backward",
    "watch nan",
    "watch net[0].weight.norm()",
    "disable 2",
    "commands 1 present",
)


async def at_a_breakpoint(driver: Driver) -> None:
    for line in LINES:
        await enter(driver, line)
    await driver.step("c")
    driver.app.clear_notifications()
    await driver.settled()
    await still(driver)


async def the_list(driver: Driver) -> None:
    await at_a_breakpoint(driver)
    await driver.press("B")
    await driver.settled()


async def none(driver: Driver) -> None:
    await driver.step()
    await still(driver)  # what lies behind it is laid out
    await driver.press("B")
    await driver.settled()


@SIZES
@pytest.mark.parametrize("reach", [at_a_breakpoint, the_list, none], ids=["hit", "list", "none"])
def test_breakpoints(snap_compare: Compare, reach: object, size: tuple[int, int]) -> None:
    assert picture(snap_compare, reach, size)  # type: ignore[arg-type]
