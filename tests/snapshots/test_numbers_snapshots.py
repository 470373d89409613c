"""Pictures of the numbers: what the step did, chains, comparisons, edits, plots, the parameter tree and displays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pictures import LARGE, RESIDUAL, TWO_NETS, Album
from real_runs import NARROW, WIDE, Driver, running
from syrupy.assertion import SnapshotAssertion

from stepdbg.protocol.records import Phase
from stepdbg.ui.screens.chain import ChainScreen
from stepdbg.ui.screens.diff import DiffScreen
from stepdbg.ui.screens.explain import ExplainScreen

SIZES = pytest.mark.parametrize(
    "size",
    [NARROW, *(pytest.param(size, marks=pytest.mark.slow) for size in (WIDE, LARGE))],
    ids=["80x24", "120x40", "160x50"],
)


@pytest.fixture
def album(snapshot: SnapshotAssertion, request: pytest.FixtureRequest) -> Iterator[Album]:
    return Album(snapshot, request.node)


async def enter(driver: Driver, line: str) -> None:
    """Type a command."""
    await driver.press("colon")
    driver.app.main.prompt.input.value = line
    await driver.press("enter")
    await driver.settled()


async def before(driver: Driver, phase: Phase, iteration: int = 1) -> None:
    await driver.step_until(
        lambda stop: stop.next is not None and (stop.next.phase, stop.iteration) == (phase, iteration), phase.value
    )


@SIZES
async def test_what_steps_and_backwards_do(album: Album, size: tuple[int, int]) -> None:
    async with running(TWO_NETS, size=size) as driver:
        await driver.press("T", "escape")
        await before(driver, Phase.BACKWARD)
        await enter(driver, "backward net.0.weight")
        await driver.until(lambda: isinstance(driver.app.screen, ChainScreen), "the chain is open")
        await driver.press("a")
        await driver.settled()
        await driver.step()
        await album.take(driver, "chain")
        await driver.press("escape", "e")
        await driver.until(lambda: isinstance(driver.app.screen, ExplainScreen), "it is explained")
        await album.take(driver, "explain_will")
        await driver.step()
        await album.take(driver, "explain_did")
        await driver.press("escape")
        await enter(driver, "diff -3")
        await driver.until(lambda: isinstance(driver.app.screen, DiffScreen), "they are compared")
        await album.take(driver, "diff")
        await driver.press("escape")
        for line in (
            "set lr 0.1",
            "set net2.*.weight *0.5",
            "set requires_grad net[2].* false",
            "set net[0].bias[0] 0",
        ):
            await enter(driver, line)
        await enter(driver, "edits")
        await album.take(driver, "edits")
        await driver.press("escape")
        for _ in range(2):
            await driver.step("i")
        await driver.press("T")
        await album.take(driver, "plots")
    album.compare()


@SIZES
async def test_tree_and_displays(album: Album, size: tuple[int, int]) -> None:
    async with running(RESIDUAL, size=size) as driver:
        await driver.step("i")
        await driver.step("i")
        await driver.press("2", "m", "plus")
        await album.take(driver, "tree")
        await driver.press("z")
        await album.take(driver, "tree_zoomed")
        await driver.press("f")
        await album.take(driver, "columns")
        await driver.press("escape", "e")
        await driver.until(lambda: isinstance(driver.app.screen, ExplainScreen), "it is explained")
        await album.take(driver, "explain_adamw")
        await driver.press("escape", "z")
        await enter(driver, "show net.head.weight")
        await driver.press("3")
        await driver.press("d")
        await album.take(driver, "previous")
        for form in ("heatmap", "histogram", "log-histogram", "summary"):
            await enter(driver, f"form {form}")
            await album.take(driver, form)
    album.compare()
