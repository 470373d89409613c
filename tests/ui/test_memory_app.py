"""The memory pane and its screen in the whole app, on real runs."""

from __future__ import annotations

import pytest
import torch
from real_runs import DEMOS, NARROW, WIDE, Driver, running
from torch import nn

from stepdbg.protocol.memory import GetOtherMemory
from stepdbg.protocol.messages import GetMemory
from stepdbg.protocol.records import Phase
from stepdbg.ui.panes.memory import MemoryPane
from stepdbg.ui.panes.memory.chart import PEAK
from stepdbg.ui.screens.memory import MemoryScreen


def before(phase: Phase):
    return lambda stop: stop.next is not None and stop.next.phase is phase


def lines(driver: Driver) -> list[str]:
    pane = driver.app.main.query_one(MemoryPane)
    return [pane._table.render_line(y).text.rstrip() for y in range(pane._table.size.height)]


async def open_screen(driver: Driver) -> MemoryScreen:
    await driver.press("M")
    await driver.until(lambda: isinstance(driver.app.screen, MemoryScreen), "the screen is there")
    await driver.settled()
    screen = driver.app.screen
    assert isinstance(screen, MemoryScreen)
    return screen


def rows(screen: MemoryScreen) -> list[list[str]]:
    """The cells of the table, without the cursor."""
    shown = [screen.table.render_line(y).text.replace("▌", " ") for y in range(1, screen.table.total + 1)]
    return [row.split() for row in shown]


def why(screen: MemoryScreen) -> str:
    return str(screen._why.render()) if screen._why.display else ""


def norms_of_two_nets(passes: int) -> list[float]:
    """2-norms of the sum of the gradients of so many iterations of the demo, bare, without a zero_grad in between."""
    torch.manual_seed(0)
    namespace: dict[str, object] = {}
    source = (DEMOS / "two_nets.py").read_text().partition("\nfor iteration")[0]
    exec(compile(source, "two_nets.py", "exec"), namespace)
    net, optimiser, criterion = (namespace[name] for name in ("net", "optimiser", "criterion"))
    assert isinstance(net, nn.Module)
    found = []
    for _ in range(passes):
        criterion(net(namespace["x"]), namespace["y"]).backward()  # type: ignore[operator]
        found.append(float(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).norm()))
        optimiser.step()  # type: ignore[attr-defined]
    return found


async def test_skipping_zero_grad_shows_live_that_values_grow_and_memory_does_not() -> None:
    norms = norms_of_two_nets(4)
    async with running("two_nets") as driver:
        for passes in range(1, 5):
            if passes > 1:
                await driver.step_until(before(Phase.ZERO_GRAD), "before zero_grad")
                assert (await driver.step("k")).just_ran[0].skipped
            await driver.step_until(before(Phase.STEP), "before step")
            text = lines(driver)
            ratio = norms[passes - 1] / norms[0]
            if passes > 1:
                expected = f"gradients of {passes} backward passes are summed in place: memory constant, |g| grew"
                assert " ".join(text[:2]).startswith(expected)
                assert f"×{ratio:.1f}." in " ".join(text[:2])
            row = next(line for line in text if "gradients  " in line)
            assert row.split()[2:4] == ["148", "B"]


async def test_the_next_zero_grad_says_what_it_gave_back() -> None:
    async with running("two_nets") as driver:
        await driver.step("i")
        await driver.step("n")
        await driver.press("4", "z")
        await driver.settled()
        said = " ".join(lines(driver))
        assert "zero_grad set 4 .grad to None in iteration 2: 148 B given back" in said
        assert "gradients: none (.grad is None everywhere)." in said


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_modules_gradients_and_tensors_one_by_one(size: tuple[int, int]) -> None:
    async with running("two_nets", size=size) as driver:
        await driver.step_until(before(Phase.BACKWARD), "before backward")
        screen = await open_screen(driver)
        saved = driver.now.memory
        assert saved is not None
        # Inputs of 32×4; the result of ReLU, at the layer that took it; that of the sigmoid, at the loss, with targets.
        expected = [["net.0", "512"], ["net.2", "768"], ["criterion", "256"]]
        assert [[row.path, str(row.nbytes)] for row in saved.modules] == expected
        assert [[row[0], row[2]] for row in rows(screen)] == expected
        await driver.press("tab")
        await driver.until(lambda: len(rows(screen)) == 8, "the gradients are there")
        assert rows(screen)[0][:3] == ["net.0.weight", "0", "None"]
        await driver.press("n")  # the run goes on under the screen
        await driver.until(lambda: before(Phase.STEP)(driver.stop), "the step is next")
        await driver.settled()
        await driver.until(lambda: rows(screen)[:1] == [["net.0.weight", "1", "96", "B", "not", "seen"]], "new numbers")
        assert rows(screen)[4][:3] == ["net2.0.weight", "0", "None"]
        await driver.press("tab")
        await driver.until(lambda: driver.now.others is not None and rows(screen), "other tensors are there")
        assert ["x", "512", "B", "32×4", "float32", "cpu"] in rows(screen)
        await driver.press("escape")
        await driver.settled()
        assert not isinstance(driver.app.screen, MemoryScreen)


async def test_what_was_not_looked_at_says_so_on_the_screen() -> None:
    async with running("two_nets") as driver:
        screen = await open_screen(driver)
        assert why(screen) == "Nothing is saved for backward now: no forward has run since the last backward."
        await driver.press("tab")
        await driver.until(lambda: screen.table.total == 8, "the gradients are there")
        await driver.step("n")
        await driver.press("left_square_bracket")
        await driver.settled()
        assert why(screen) == "Not recorded at stop 1: gradients are listed at the present stop."


async def test_other_tensors_are_counted_only_while_the_pane_has_the_keys() -> None:
    async with running("two_nets") as driver:
        await driver.step("n")
        assert driver.told(GetMemory)
        assert not driver.told(GetOtherMemory)
        assert any(line.split() == ["other", "tensors", "press", "4"] for line in (x[:44] for x in lines(driver)))
        await driver.press("4")
        await driver.until(lambda: driver.now.others is not None, "they are counted")
        await driver.settled()
        others = driver.now.others
        assert others is not None
        assert others.nbytes >= 512 + 128  # x and y, and what other tests have left
        await driver.press("1")
        await driver.step("n")
        assert driver.now.others is None


async def test_the_peak_is_marked_with_the_phase_and_the_module_that_saved_last() -> None:
    async with running("two_nets") as driver:
        for _ in range(9):
            await driver.step("n")
        await driver.press("4", "z")
        await driver.settled()
        text = lines(driver)
        totals = [recorded.memory.held for recorded in driver.view.history if recorded.memory is not None]
        top = driver.view.history[totals.index(max(totals))].stop
        said = " ".join(text)
        assert f"in loss criterion, at criterion, iteration {top.iteration} (counted)." in said
        axis = next(line for line in text if PEAK in line and "▲ peak" not in line)
        assert axis.count(PEAK) == 1


async def test_an_iteration_that_was_not_stopped_in_is_in_the_bars() -> None:
    async with running("two_nets") as driver:
        await driver.step("i")
        await driver.step("i")
        memory = driver.now.memory
        assert memory is not None
        assert [note.ran for note in memory.passed][:3] == ["zero_grad optimiser", "forward net", "loss criterion"]
        # The first stop, then both iterations as they ran: the peak is behind the first loss.
        assert [line[45:].strip() for line in lines(driver) if PEAK in line[45:]] == ["·zf▲bszflbs"]
