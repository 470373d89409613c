"""`:set` and `:edits` in the whole app, on a real run."""

from __future__ import annotations

import pytest
import torch
from real_runs import NARROW, WIDE, Driver, running

from stepdbg.client.store import Recorded
from stepdbg.protocol import messages as m
from stepdbg.protocol.edits import Edit, Edited, SetRequiresGrad, SetValue
from stepdbg.protocol.records import Phase, StopRecord
from stepdbg.ui.edited import change, extent, summary, told
from stepdbg.ui.editing import outcome
from stepdbg.ui.header import StatusLine
from stepdbg.ui.screens.edits import EditsScreen


async def enter(driver: Driver, line: str) -> None:
    await driver.press("colon")
    driver.app.main.prompt.input.value = line
    await driver.press("enter")
    await driver.settled()


def notices(driver: Driver) -> list[str]:
    return [notice.message for notice in driver.app._notifications]


def at(phase: Phase):
    def found(stop: StopRecord) -> bool:
        return stop.next is not None and stop.next.phase is phase

    return found


def row(recorded: Recorded, name: str):
    assert recorded.parameters is not None
    return next(row for row in recorded.parameters.rows.values() if row.name == name)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_a_parameter_is_set_and_the_panes_read_it_anew(size: tuple[int, int]) -> None:
    async with running("two_nets", size=size) as driver:
        await driver.press("2")
        await driver.step_until(at(Phase.FORWARD), "before forward")
        before = row(driver.now, "net.0.bias").value_norm
        await enter(driver, "set net[0].bias 2")
        asked = driver.told(SetValue)
        assert [(query.target, query.amount.numbers) for query in asked] == [("net[0].bias", (2.0,))]
        await driver.until(lambda: driver.now.edits, "the edit is known")
        await driver.settled()
        (edit,) = driver.now.edits
        assert (edit.stop, edit.target, edit.changed, edit.numel) == (driver.stop.number, "net.0.bias", 6, 6)
        now = row(driver.now, "net.0.bias")
        assert now.value_norm == pytest.approx(float(torch.full((6,), 2.0).norm()))
        assert now.value_norm != before
        assert now.value_changed is True
        assert notices(driver)[-1] == f"set net.0.bias: {change(edit)} (6 of 6 elements)"
        assert "✎ set by hand here: net.0.bias 2-norm" in driver.text(StatusLine)


async def test_a_pane_that_was_hidden_meanwhile_reads_anew_as_well() -> None:
    async with running("two_nets", size=NARROW) as driver:
        for pane in ("2", "3", "1"):
            await driver.press(pane)
            await driver.settled()
        before = row(driver.now, "net.0.bias").value_norm
        read = len(driver.told(m.GetParameters))
        await enter(driver, "set net.* 2")
        await driver.until(lambda: driver.now.edits, "the edit is known")
        await driver.settled()
        assert len(driver.told(m.GetParameters)) == read, "nobody looks at them"
        await driver.press("2")
        await driver.settled()
        assert before != row(driver.now, "net.0.bias").value_norm == pytest.approx(24**0.5)
        await driver.press("3")
        await driver.settled()
        (values,) = driver.now.values.values()
        assert values.value.stats.min == values.value.stats.max == 2


async def test_every_edit_is_listed_and_an_earlier_stop_shows_its_own() -> None:
    async with running("two_nets") as driver:
        await driver.step_until(at(Phase.STEP), "before step")
        first = driver.stop.number
        await enter(driver, "set lr 0.01")
        await enter(driver, "set requires_grad net2.* no")
        assert len(driver.told(SetRequiresGrad)) == 1
        await driver.step()
        assert not driver.now.edits
        assert "✎" not in driver.text(StatusLine)
        await enter(driver, "set net.0.weight[0, 1] 2.5")
        second = driver.stop.number
        assert [(edit.stop, edit.target) for edit in driver.view.edits] == [
            (first, "optimiser[0].lr"),
            *((first, f"net2.{name}.requires_grad") for name in ("0.weight", "0.bias", "2.weight", "2.bias")),
            (second, "net.0.weight[0, 1]"),
        ]
        await driver.press("left_square_bracket")
        assert "optimiser[0].lr" not in driver.text(StatusLine)
        assert "set by hand here: 5 edits, the last ones net2." in driver.text(StatusLine)
        await enter(driver, "set lr 3")
        assert notices(driver)[-1] == "set: an earlier stop is on screen: } returns to the present one"
        assert len(driver.told(SetValue)) == 2
        await enter(driver, "edits")
        screen = driver.app.screen
        assert isinstance(screen, EditsScreen)
        await driver.until(lambda: screen.table.size.height, "the list is there")
        lines = [screen.table.render_line(y).text.split() for y in range(screen.table.size.height)]
        assert lines[0] == ["what", "before", "→", "after", "stop", "iteration"]
        assert lines[1] == ["optimiser[0].lr", "0.5", "→", "0.01", str(first), "1"]
        assert lines[2] == ["net2.0.weight.requires_grad", "True", "→", "False", str(first), "1"]
        assert lines[-1][0] == "▌net.0.weight[0,"
        assert lines[-1][3:] == ["→", "2.5", str(second), "2"]
        await driver.press("escape")
        assert not isinstance(driver.app.screen, EditsScreen)


async def test_a_refusal_is_one_line_and_changes_nothing() -> None:
    async with running("two_nets") as driver:
        await driver.step_until(at(Phase.BACKWARD), "before backward")
        for line, words in (
            ("set net.2.weight 0", "set: net.2.weight cannot be set here: the graph has saved it for backward"),
            ("set net.0.wieght 0", "set: there is no parameter or setting net.0.wieght: did you mean net.0.weight?"),
            ("set lr -1", "set: optimiser[0].lr must not be negative, so not -1"),
        ):
            await enter(driver, line)
            await driver.until(lambda words=words: words in notices(driver)[-1], f"{words!r}, not {notices(driver)}")
            assert "\n" not in notices(driver)[-1]
        assert driver.view.edits == ()
        await enter(driver, "edits")
        assert isinstance(driver.app.screen, EditsScreen)


async def test_a_restart_forgets_what_was_set() -> None:
    async with running("two_nets") as driver:
        await enter(driver, "set lr 0.01")
        await driver.until(lambda: driver.view.edits, "the edit is known")
        await driver.press("r")
        await driver.stopped_at(1)
        assert driver.view.edits == ()
        assert driver.told(m.Resume) == []


EDIT = Edit(5, 1, "net.0.bias", "2-norm", "0.5", "0", 5, 6)


def test_edits_in_words() -> None:
    assert told(EDIT) == "net.0.bias: 2-norm 0.5 → 0 (5 of 6 elements)"
    lr = Edit(5, 1, "optimiser[0].lr", "value", "-0.5", "1e-08")
    assert (change(lr), extent(lr)) == ("−0.5 → 1e−08", "")
    same = Edit(5, 1, "optimiser[0].lr", "value", "0.5", "0.5", 0)
    assert told(same) == "optimiser[0].lr: 0.5, as it was"
    element = Edit(5, 1, "net.0.weight[0, 1]", "value", "1", "2", 1, 1)
    assert told(element) == "net.0.weight[0, 1]: 1 → 2"
    assert summary([EDIT] * 4).startswith("4 edits, the last ones net.0.bias 2-norm 0.5 → 0 · ")
    assert outcome(Edited(5, (EDIT, EDIT), "1 of 3 left as they were: …"))[1:] == ["1 of 3 left as they were: …"]


async def test_below_the_list_stands_the_remark_of_the_edit_under_the_cursor() -> None:
    async with running("two_nets", size=NARROW) as driver:
        await driver.step_until(at(Phase.STEP), "before the step")
        await enter(driver, "set net[0].bias 2")
        await enter(driver, "set requires_grad net[2].bias false")
        await enter(driver, "edits")
        screen = driver.app.screen
        assert isinstance(screen, EditsScreen)
        said = "its .grad stays: an optimizer that holds it goes on stepping it until that is cleared"
        assert screen._remark.content == said
        assert screen._remark.size.height == 2
        await driver.press("up")
        await driver.until(lambda: screen._remark.content == "", "there is nothing to say of this one")
        await driver.press("down")
        await driver.until(lambda: screen._remark.content == said, "the remark is back")
