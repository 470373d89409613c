"""Going into phases in the whole app, on a real run: keys, words, and what every pane shows there."""

from __future__ import annotations

import pytest
import torch
from real_runs import NARROW, Driver, running
from textual.widgets import Static
from torch import nn

from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase, StopRecord
from stepdbg.ui.header import StatusLine
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.rail import RailPane
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.panes.values import ValuesPane

ROOMY = (130, 40)


async def to(driver: Driver, phase: Phase) -> StopRecord:
    return await driver.step_until(lambda s: s.next is not None and s.next.phase is phase, f"before {phase.value}")


async def enter(driver: Driver, line: str) -> None:
    await driver.press("colon")
    await driver.until(lambda: driver.app.main.prompt.is_open, "the prompt is open")
    driver.app.main.prompt.input.value = line
    await driver.press("enter")
    await driver.settled()


def said(driver: Driver) -> str:
    return [notice.message for notice in driver.app._notifications][-1]


def values(driver: Driver) -> ValuesPane:
    return driver.app.main.query_one(ValuesPane)


async def shows(driver: Driver, name: str) -> None:
    pane = values(driver)
    await driver.until(
        lambda: pane.record is not None and pane.record.name == name and pane.record.stop == driver.stop.number,
        f"{name} of this stop is shown",
    )


async def test_every_pane_shows_where_inside_a_forward_it_is() -> None:
    torch.manual_seed(0)
    made = [nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid()) for _ in range(2)]
    x = torch.randn(32, 4)
    out = made[0][0](x).detach()  # not later: in this process torch is the debugged one's
    async with running("two_nets", size=ROOMY) as driver:
        await to(driver, Phase.FORWARD)
        await driver.step("s")
        assert "inside forward net ▸ ▶ before net.0 Linear" in driver.text(StatusLine)
        assert "▶ forward net ▸ net.0" in driver.text(RailPane)
        await shows(driver, "@")
        record = values(driver).record
        assert record is not None
        assert record.note == "@input[0]"
        assert record.value is not None
        assert float(record.value.cells[0][0]) == float(x[0, 0])
        await driver.step("n")
        await shows(driver, "@")
        assert "✓ after net.0 Linear" in driver.text(StatusLine)
        record = values(driver).record
        assert record is not None
        assert record.value is not None
        assert float(record.value.cells[0][0]) == float(out[0, 0])
        assert driver.app.main.query_one(SourcePane).frame.line == 20  # type: ignore[union-attr]
        stop = await driver.step("o")
        assert stop.next is not None
        assert stop.next.phase is Phase.LOSS
        assert "inside" not in driver.text(StatusLine)
        assert values(driver).subject == driver.app.selected


@pytest.mark.slow
async def test_the_graph_follows_the_nodes_of_a_backward() -> None:
    async with running("two_nets", size=ROOMY) as driver:
        await to(driver, Phase.BACKWARD)
        graph = driver.app.main.query_one(GraphPane)
        followed = []
        stop = await driver.step("s")
        while stop.at is not None and len(followed) < 16:
            row = graph.tree_list.row_at_cursor
            assert row is not None
            followed.append((stop.at.parameter or stop.at.kind, row.name))
            stop = await driver.step("n")
        assert followed[0][1] in ("criterion", "loss")
        assert {(place, row) for place, row in followed if place.startswith("net.")} >= {
            ("net.3", "net.3"),
            ("net.2", "net.2"),
            ("net.2.bias", "net.2.bias"),
            ("net.2.weight", "net.2.weight"),
        }
        assert all(place == row for place, row in followed if place.startswith("net."))


async def test_until_the_selected_row_parameter_and_line() -> None:
    async with running("two_nets", size=ROOMY) as driver:
        await to(driver, Phase.BACKWARD)
        graph = driver.app.main.query_one(GraphPane)
        await driver.press("1")
        while (row := graph.tree_list.row_at_cursor) is None or row.name != "net.2":
            await driver.press("j")
        stop = await driver.step("u")
        assert stop.at is not None
        assert (stop.at.kind, stop.at.when) == ("net.2", "before")
        await driver.press("2")
        await driver.settled()
        stop = await driver.step("u")
        assert stop.at is not None
        assert stop.at.parameter == driver.app.selected == "net.2.weight"  # where the row of the graph had led to
        await driver.press("5")
        source = driver.app.main.query_one(SourcePane)
        source.text.cursor = 18  # line 19: zero_grad, of the next iteration
        stop = await driver.step("u")
        assert stop.at is None
        assert stop.here is not None
        assert (stop.iteration, stop.stack[stop.here].line) == (2, 19)
        await enter(driver, "until net")
        await driver.until(lambda: driver.stop.number == stop.number + 1, "it has gone on")
        stop = driver.stop
        assert stop.next is not None
        assert (stop.next.phase, stop.iteration) == (Phase.FORWARD, 2)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("until net.9", "until: nothing here is called 'net.9': did you mean net.3?"),
        ("until aten.adddmm", "until: there is no operation aten.adddmm: did you mean aten.addmm?"),
        ("until backwards", "until: nothing here is called 'backwards': did you mean backward?"),
        ("until", "until what? until step, until net.2, or u on a row of the graph, a parameter or a source line"),
        ("until nowhere.py:7", "until: there is no line 7 in nowhere.py"),
    ],
)
async def test_what_is_no_place_is_told_and_nothing_changes(line: str, problem: str) -> None:
    async with running("two_nets", size=NARROW) as driver:
        await driver.press("7")
        told = len(driver.told(m.Resume))
        await enter(driver, line)
        assert said(driver) == problem
        assert len(driver.told(m.Resume)) == told


@pytest.mark.slow
async def test_the_held_tensors_are_gone_through_and_a_parameter_can_be_had_instead() -> None:
    async with running("two_nets", size=ROOMY) as driver:
        await to(driver, Phase.FORWARD)
        await driver.step("s")
        await driver.step("n")
        await driver.press("3")
        await shows(driver, "@")
        await driver.press("at")
        await shows(driver, "=@input[0]")
        await driver.press("at")
        await shows(driver, "=@output")
        await enter(driver, "show -")
        await shows(driver, "net.0.weight")
        await driver.step("n")
        await shows(driver, "@")
        await driver.press("left_square_bracket")
        await driver.settled()
        assert "1 stop ago" in driver.text(StatusLine)
        assert "after net.0 Linear" in driver.text(StatusLine)


@pytest.mark.slow
async def test_a_step_is_shown_parameter_by_parameter() -> None:
    async with running("two_nets", size=ROOMY) as driver:
        await to(driver, Phase.STEP)
        await driver.step("s")
        assert "▶ before net.0.weight · held: still its old value" in driver.text(StatusLine)
        assert "▶ step SGD ▸ net.0.weight" in driver.text(RailPane)
        await shows(driver, "@")
        record = values(driver).record
        assert record is not None
        assert record.note.startswith("@value · the parameter, not updated yet · @ shows @grad")
        assert record.value is not None
        was = record.value.cells
        await driver.step("n")
        assert "✓ after net.0.weight · held: its new value" in driver.text(StatusLine)
        await shows(driver, "@")
        record = values(driver).record
        assert record is not None
        assert record.note.startswith("@after · the parameter now · @ shows @before, @change, @grad")
        assert record.value is not None
        assert record.value.cells != was
        await enter(driver, "show @before")
        await shows(driver, "=@before")
        record = values(driver).record
        assert record is not None
        assert record.value is not None
        assert record.value.cells == was
        await driver.step("n")  # before the next parameter there is no @before: what is there is shown
        await shows(driver, "@")
        await enter(driver, "show @before")
        said = values(driver).query_one(".pane--sentence", Static)
        await driver.until(lambda: "nothing at this place is called @before" in str(said.render()), "it is said")
        await driver.step("n")
        await shows(driver, "=@before")
        await driver.press("2")
        await driver.until(lambda: driver.app.selected == "net.0.weight", "the parameter pane has the keys")
        await driver.press("j")
        await driver.settled()
        assert driver.app.selected == "net.0.bias"
        stop = await driver.step("u")
        assert stop.at is not None
        assert (stop.at.when, stop.at.parameter) == ("before", "net.0.bias")
