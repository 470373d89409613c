"""Names of parameters on screen, in every pane: as in `named_parameters()`, and in full where the user wants it."""

from __future__ import annotations

import pytest
from real_runs import NARROW, WIDE, Driver, running
from test_edit_app import at, enter, notices

from stepdbg.commands.breakpoints import suggest_place
from stepdbg.commands.edit import suggest as suggest_set
from stepdbg.protocol.records import Phase
from stepdbg.ui.panes.graph.tree import GraphTreeList
from stepdbg.ui.panes.parameters.table import ParameterTable
from stepdbg.ui.panes.values import ValuesPane
from stepdbg.ui.screens.breakpoints import BreakpointsScreen
from stepdbg.ui.screens.explain import ExplainScreen


async def sees(driver: Driver, pane: str, widget: type, text: str, not_text: str) -> None:
    """Wait until that widget has the text on screen, and not the other."""
    await driver.press(pane)

    def shown() -> bool:
        lines = driver.text(widget)
        return text in lines and not_text not in lines

    if driver.app.size.width > 100:
        await driver.press("z")
    await driver.until(shown, f"{text} is in pane {pane}, and no {not_text}")
    if driver.app.size.width > 100:
        await driver.press("z")


async def shown_everywhere(driver: Driver, first: str, never: str) -> None:
    await sees(driver, "2", ParameterTable, first, never)
    assert driver.app.selected == "net.0.weight"  # what identifies it stays
    await sees(driver, "1", GraphTreeList, f"● {first}", f"● {never}")
    await driver.press("3")
    title = str(driver.app.main.query_one(ValuesPane).border_title)
    assert f"3 Values ─ {first}" in title
    await driver.press("e")
    await driver.until(lambda: isinstance(driver.app.screen, ExplainScreen), "the step is explained")
    screen = driver.app.screen
    assert isinstance(screen, ExplainScreen)
    await driver.until(
        lambda: f"will do to {first}[0, 0]" in str(screen.query("Vertical").first().border_title), "told"
    )
    await driver.press("escape")
    await driver.press("B")
    screen = driver.app.screen
    assert isinstance(screen, BreakpointsScreen)
    await driver.until(lambda: f"grad {first}" in screen.table.render_line(1).text, "the breakpoint is listed so")
    await driver.press("escape")
    await driver.settled()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_the_root_is_left_out_until_the_user_wants_it(size: tuple[int, int]) -> None:
    async with running("leaky", size=size) as driver:
        await driver.step_until(at(Phase.STEP), "before a step")
        await enter(driver, "break 0.weight")
        assert "breakpoint 1: grad 0.weight" in notices(driver)
        await shown_everywhere(driver, "0.weight", "net.0.weight")
        await enter(driver, "names full")
        assert "names are shown in full, as net.0.weight" in notices(driver)
        await shown_everywhere(driver, "net.0.weight", " 0.weight")
        assert driver.app._session.full_names
        await enter(driver, "names short")
        assert "names are shown as in named_parameters(), without net" in notices(driver)
        await shown_everywhere(driver, "0.weight", "net.0.weight")


async def test_both_forms_are_offered_and_understood() -> None:
    async with running("leaky") as driver:
        await driver.step_until(at(Phase.STEP), "before a step")
        await driver.press("2")
        await driver.settled()
        assert "0.weight" in suggest_place("0.", driver.view)
        assert "net.0.weight" in suggest_place("net.0.w", driver.view)
        assert {"0.bias", "net.0.bias"} <= {*suggest_set("0", driver.view), *suggest_set("net", driver.view)}
        for name in ("0.bias", "net.0.bias", "net[0].bias"):
            await enter(driver, f"set {name} 0")
        told = [edit.title for edit in driver.view.edits]
        assert told == ["0.bias"] * 3
        assert {edit.target for edit in driver.view.edits} == {"net.0.bias"}


async def test_a_restart_keeps_what_the_user_wants() -> None:
    async with running("leaky") as driver:
        await enter(driver, "names full")
        before = driver.app._session
        await driver.press("r")
        await driver.until(lambda: driver.app._session is not before, "there is another run")
        await driver.stopped_at(1)
        assert driver.app._session.full_names
        await sees(driver, "2", ParameterTable, "net.0.weight", " 0.weight")


async def test_names_that_clash_are_in_full() -> None:
    async with running("two_nets") as driver:
        await sees(driver, "2", ParameterTable, "net2.0.weight", " 0.weight")
        await enter(driver, "names")
        assert "names are shown in full: without the root module they would clash" in notices(driver)


async def test_names_are_offered_before_any_pane_has_listed_them() -> None:
    async with running("leaky", size=NARROW) as driver:
        assert driver.now.parameters is None
        await driver.press("colon")
        await driver.until(lambda: driver.view.names is not None, "names are told")
        for begun, whole in (
            ("break net.2.b", "break net.2.bias "),
            ("set 2.b", "set 2.bias "),
            ("until net.", "until net.0"),
        ):
            prompt = driver.app.main.prompt
            prompt.input.value = begun
            await driver.press("tab")
            assert prompt.input.value == whole
        assert driver.now.parameters is None  # nothing of them has been read
        prompt.input.value = "names full"
        await driver.press("enter")
        await driver.until(lambda: driver.view.names.parameters[0] == "net.0.weight", "they are told anew")
