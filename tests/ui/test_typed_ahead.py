"""Keys that come faster than the script stops: each step that is asked for is made, in order, on the real script."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_runs import Driver, running
from test_edit_app import enter

from stepdbg.client.store import Status
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import StopReason

SCRIPT = """
import torch
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(6):
    optimizer.zero_grad()
    loss = net(torch.ones(3, 2)).mean()
    print("before backward")  # waits until the test lets it go on
    loss.backward()
    optimizer.step()
"""


def actions(driver: Driver) -> list[m.Action]:
    return [message.action for message in driver.told(m.Resume)]


async def burst(driver: Driver, keys: str) -> None:
    """All at once: none of them has been handled when the next one comes."""
    for key in keys:
        driver.app.simulate_key(key)
    await driver.pilot.pause()


async def test_every_step_of_a_burst_is_made() -> None:
    async with running("two_nets") as driver:
        await burst(driver, "nnnnnn")
        await driver.stopped_at(7)
        await burst(driver, "iii")
        await driver.stopped_at(10)
        assert driver.stop.iteration == 5
        assert actions(driver) == [m.Action.NEXT] * 6 + [m.Action.ITERATION] * 3


async def test_a_burst_goes_on_after_a_phase_that_took_its_time(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    async with running(path) as driver:
        driver.run.gate.clear()
        await burst(driver, "nnnn")
        await driver.until(lambda: driver.view.status.name == "RUNNING", "the screen says that it runs")
        driver.run.gate.set()
        await driver.stopped_at(5)
        assert len(actions(driver)) == 4


async def test_what_was_typed_ahead_is_dropped_at_a_breakpoint(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    async with running(path) as driver:
        await driver.press("colon")
        driver.app.main.prompt.input.value = "break backward"
        await driver.press("enter")
        await driver.settled()
        await burst(driver, "iiii")
        await driver.stopped_at(2)
        assert driver.stop.reason is StopReason.BREAKPOINT
        assert actions(driver) == [m.Action.ITERATION]


async def test_a_count_makes_as_many_steps() -> None:
    async with running("two_nets") as driver:
        await enter(driver, "next 4")
        await driver.stopped_at(5)
        await enter(driver, "i 2")
        await driver.stopped_at(7)
        assert actions(driver) == [m.Action.NEXT] * 4 + [m.Action.ITERATION] * 2
        await burst(driver, "nn")
        await driver.stopped_at(9)
        await enter(driver, "next 0")
        message = str(driver.app.main.prompt.query_one("#prompt-message").render())
        assert message == "'0' is no count: a number from 1 to 10,000, as in next 3"


@pytest.mark.parametrize("key", ["escape", "p"])
async def test_steps_that_were_to_come_are_given_up(key: str) -> None:
    async with running("two_nets") as driver:
        await driver.press("colon")
        driver.app.main.prompt.input.value = "next 10000"
        await driver.press("enter")
        await driver.until(lambda: driver.stop.number > 5, "some are made")
        await driver.press(key)
        await driver.until(lambda: not driver.app._ahead, "no more are to come")
        await driver.settled()
        await driver.until(lambda: driver.view.status is Status.STOPPED, "it is held")
        assert driver.stop.number < 10_000


async def test_a_count_ends_at_a_breakpoint() -> None:
    async with running("two_nets") as driver:
        await enter(driver, "break step")
        await enter(driver, "next 100")
        await driver.until(lambda: driver.view.live and driver.stop.reason is StopReason.BREAKPOINT, "the breakpoint")
        await driver.settled()
        assert not driver.app._ahead
        assert driver.stop.iteration == 1
