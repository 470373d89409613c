"""Keys that come faster than the script stops: each step that is asked for is made, in order, on the real script."""

from __future__ import annotations

from pathlib import Path

from real_runs import Driver, running

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
