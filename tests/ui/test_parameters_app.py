"""The parameter pane in the whole app: columns, order, filters, the tree. On a real run, and on a scripted one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import test_shell
from real_runs import Driver, running
from textual.events import Key
from textual.keys import _character_to_key
from textual.widgets import Static

from stepdbg.protocol import messages as m
from stepdbg.protocol.records import ParameterRow, Phase, StopRecord
from stepdbg.ui import format as fmt
from stepdbg.ui.panes.parameters import ParametersPane
from stepdbg.ui.panes.parameters.columns import DEFAULT
from stepdbg.ui.panes.parameters.picker import ColumnPicker
from stepdbg.ui.panes.parameters.table import ParameterTable
from stepdbg.ui.panes.values import ValuesPane

SCRIPT = Path(__file__).parent / "scripts" / "tied_net.py"
SIZES = [(80, 24), (160, 50)]
BLOCK = ["fc.weight", "fc.bias", "norm.weight", "norm.bias"]
NAMES = ["net.frozen", "net.lost", "net.embed.weight", *(f"net.blocks.{i}.{n}" for i in range(3) for n in BLOCK)]
FLAT = [*NAMES, "buffers", "optimizer state"]


def before_a_step(stop: StopRecord) -> bool:
    return stop.next is not None and stop.next.phase is Phase.STEP


@asynccontextmanager
async def looking(size: tuple[int, int], *, maximised: bool = True) -> AsyncIterator[Driver]:
    """Held before the second step, the parameter pane has the keys and all the room."""
    async with running(SCRIPT, size=size) as driver:
        await driver.press("2")
        if maximised and size[0] > 100:
            await driver.press("z")
        await driver.settled()

        await driver.step("i")
        await driver.step_until(before_a_step, "before the second step")
        yield driver


def pane(driver: Driver) -> ParametersPane:
    return driver.app.main.query_one(ParametersPane)


def table(driver: Driver) -> ParameterTable:
    return pane(driver).table


def rows(driver: Driver) -> list[ParameterRow]:
    held = table(driver).rows
    return [held[at] for at in sorted(held)]


def names(driver: Driver) -> list[str]:
    return [row.name for row in rows(driver)]


def header(driver: Driver) -> list[str]:
    return table(driver).render_line(0).text.split()


def lines(driver: Driver) -> list[str]:
    found = table(driver)
    return [found.render_line(y).text.rstrip() for y in range(1, min(found.total, found.page) + 1)]


def sentence(driver: Driver) -> str:
    return str(pane(driver).query_one(".pane--sentence", Static).content)


async def type_command(driver: Driver, line: str) -> None:
    await driver.press("colon")
    driver.app.main.prompt.input.value = line
    await driver.press("enter")
    await driver.settled()


async def search(driver: Driver, pattern: str) -> None:
    await driver.press("slash")
    driver.app.main.prompt.input.value = pattern
    await driver.press("enter")
    await driver.settled()


def matches(cell: str, value: float | None) -> bool:
    return cell == (fmt.number(value) if value is not None else "–")


# ── columns ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", SIZES)
async def test_columns_are_picked_from_a_list(size: tuple[int, int]) -> None:
    async with looking(size) as driver:
        asked = len(driver.told(m.GetParameters))
        await driver.press("f")
        picker = driver.app.screen
        assert isinstance(picker, ColumnPicker)
        assert picker.ticked == set(DEFAULT)
        titles = picker._titles
        for title in (
            "shape",
            "dtype",
            "owner",
            "trend",
            "reached",
            "remark",
            "changed",
            "|Δw|",
            "Δw/w",
            "mean",
            "zeros",
        ):
            picker.table.go_to(titles.index(title))
            await driver.press("space")
        picker.table.go_to(0)
        await driver.press("x")  # the name stays
        assert len(driver.told(m.GetParameters)) == asked
        await driver.press("enter")
        await driver.settled()
        assert table(driver).shown_columns == ("name", "|w|", "|g|", "mean", "zeros")
        assert header(driver) == ["name", "|w|", "|g|", "mean", "zeros"]
        assert {"norm", "g.norm", "mean"} <= set(driver.told(m.GetParameters)[-1].arrangement.columns)
        for row, line in zip(rows(driver), lines(driver), strict=False):
            if row.kind == "parameter":
                assert row.stats is not None
                assert matches(line.replace("▌", " ").split()[3], row.stats.mean)
        await driver.press("f", "escape")
        assert table(driver).shown_columns[-1] == "zeros"
        await driver.press("f", "d", "enter")
        await driver.settled()
        assert {"|w|", "|g|", "changed"} <= set(table(driver).shown_columns)
        assert pane(driver).look.columns == ()


async def test_columns_are_named_at_the_prompt() -> None:
    async with looking((160, 50)) as driver:
        await type_command(driver, "columns |g|, module, lr, passes, g.max")
        assert table(driver).shown_columns == ("name", "|g|", "module", "lr", "passes", "g.max")
        line = next(line for line in lines(driver) if "blocks.1.norm.weight" in line)
        row = next(row for row in rows(driver) if row.name == "net.blocks.1.norm.weight")
        assert row.grad_stats is not None
        cells = line.split()
        assert cells[2:5] == ["BatchNorm1d", "0.0100", "1"]
        assert matches(cells[5], row.grad_stats.max)
        await driver.step("i")
        assert header(driver) == ["name", "|g|", "module", "lr", "passes", "g.max"]
        await driver.step_until(before_a_step, "before a step")
        counts = {line.split()[0]: line.split()[4] for line in lines(driver) if "blocks" in line}
        assert set(counts.values()) == {"1"}
        await type_command(driver, "columns default")
        assert pane(driver).look.columns == ()
        await type_command(driver, "columns")
        assert isinstance(driver.app.screen, ColumnPicker)


async def test_a_wrong_column_is_named_and_nothing_changes() -> None:
    async with looking((160, 50)) as driver:
        before = table(driver).shown_columns
        await type_command(driver, "columns name, maen")
        assert "no column “maen”: did you mean mean?" in str(
            driver.app.main.query_one("#prompt-message", Static).content
        )
        await driver.press("escape")
        assert table(driver).shown_columns == before


async def test_what_has_no_room_is_not_asked_for() -> None:
    async with looking((80, 24)) as driver:
        await type_command(driver, "columns |w|, |g|, owner, shape, dtype, changed, g.mean, mean")
        shown = table(driver).shown_columns
        assert "g.mean" not in shown
        missing = [t for t in ("shape", "dtype", "changed", "g.mean", "mean") if t not in shown]
        assert (pane(driver).border_subtitle or "").endswith(f"no room for {', '.join(missing)}")
        assert not {"mean", "g.mean"} & set(driver.told(m.GetParameters)[-1].arrangement.columns)
        await driver.pilot.resize_terminal(160, 24)
        await driver.settled()
        await driver.until(lambda: "mean" in table(driver).shown_columns, "there is room")
        await driver.settled()
        assert "no room" not in (pane(driver).border_subtitle or "")
        assert {"mean", "g.mean"} <= set(driver.told(m.GetParameters)[-1].arrangement.columns)
        first = rows(driver)[0]
        assert first.stats is not None


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", SIZES)
async def test_keys_sort_by_the_columns_on_screen(size: tuple[int, int]) -> None:
    async with looking(size) as driver:
        assert names(driver) == FLAT
        await type_command(driver, "columns |w|, |g|")
        await driver.press("full_stop")
        await driver.settled()
        assert names(driver) == [*sorted(NAMES), *FLAT[-2:]]
        assert header(driver)[0] == "name▲"
        await driver.press("full_stop", "full_stop")
        await driver.settled()
        assert header(driver) == ["name", "|w|", "|g|▼"]
        norms = [row.grad_norm for row in rows(driver) if row.kind == "parameter"]
        assert norms[-2:] == [None, None]
        assert norms[:-2] == sorted((n for n in norms if n is not None), reverse=True)
        assert table(driver).cursor == 0
        assert driver.app.selected == names(driver)[0]
        await driver.press("R")
        await driver.settled()
        assert header(driver)[2] == "|g|▲"
        assert [row.grad_norm for row in rows(driver) if row.kind == "parameter"][:-2] == norms[:-2][::-1]
        await driver.press("comma", "comma", "comma")
        await driver.settled()
        assert names(driver) == FLAT
        assert header(driver) == ["name", "|w|", "|g|"]


async def test_any_quantity_is_sorted_by_at_the_prompt_and_stays_from_stop_to_stop() -> None:
    async with looking((160, 50)) as driver:
        await type_command(driver, "sort -numel")
        sizes = [row.numel for row in rows(driver) if row.kind == "parameter"]
        assert sizes == sorted(sizes, reverse=True)
        await driver.step()
        assert [row.numel for row in rows(driver) if row.kind == "parameter"] == sizes
        assert driver.told(m.GetParameters)[-1].arrangement.sort == "numel"
        await type_command(driver, "sort")
        assert names(driver) == FLAT


# ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", SIZES)
async def test_a_predicate_filters_and_a_wrong_one_leaves_the_table(size: tuple[int, int]) -> None:
    async with looking(size) as driver:
        await search(driver, "name = *.bias and g.norm > 0.01")
        found = [row for row in rows(driver) if row.kind == "parameter"]
        assert [row.name for row in found] == [f"net.blocks.{i}.norm.bias" for i in range(3)]
        assert "3 of 15 · filter: name = *.bias and g.norm > 0.01" in pane(driver).border_title
        await search(driver, "g.nrom > 1")
        assert sentence(driver) == "nothing is called “g.nrom”: did you mean g.norm?"
        assert [row for row in rows(driver) if row.kind == "parameter"] == found
        await search(driver, "owner = none")
        assert (sentence(driver), names(driver)[0]) == ("", "net.lost")
        await driver.press("escape")
        await driver.settled()
        assert names(driver) == FLAT


async def test_nothing_that_matches_is_said() -> None:
    async with looking((80, 24)) as driver:
        await search(driver, "nan > 0")
        assert sentence(driver) == "No parameter matches “nan > 0”."
        await search(driver, "is:unused")
        assert "as far as a graph has been recorded" in sentence(driver)


# ── the tree ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", SIZES)
async def test_modules_group_parameters_and_are_folded(size: tuple[int, int]) -> None:
    async with looking(size) as driver:
        await driver.press("m")
        await driver.settled()
        assert names(driver)[:5] == ["net", "net.frozen", "net.lost", "net.embed", "net.embed.weight"]
        assert lines(driver)[0].replace("▌", " ").split()[:3] == ["▾", "net", "Net"]
        assert lines(driver)[4].split()[:4] == ["│", "└", "▸", "weight"]
        await driver.press("home", "h")
        await driver.settled()
        assert names(driver) == ["net"]
        assert table(driver).cursor == 0
        assert driver.app.selected == NAMES[0]
        await driver.press("l")
        await driver.settled()
        await driver.press("j", "j", "j", "j", "l")
        await driver.settled()
        assert names(driver)[4:8] == ["net.embed.weight", *(f"optimizer.state[net.embed.weight].{k}" for k in KEPT)]
        assert driver.app.selected == "net.embed.weight"
        await driver.press("plus")
        await driver.settled()
        assert table(driver).total == len(NAMES) + 12 + 9 + 3 * 13  # modules, buffers, state of those that have moved
        await driver.press("minus")
        await driver.settled()
        assert names(driver) == ["net"]
        await driver.press("equals_sign", "m")
        await driver.settled()
        assert names(driver) == FLAT


KEPT = ("step", "exp_avg", "exp_avg_sq")


@pytest.mark.parametrize("size", SIZES)
async def test_buffers_and_optimizer_state_are_unfolded_and_shown(size: tuple[int, int]) -> None:
    async with looking(size) as driver:
        await driver.press("G", "ctrl+k", "enter")
        await driver.settled()
        assert table(driver).rows[15].name == "buffers"
        assert table(driver).cursor == 15
        await driver.press("j")
        await driver.settled()
        assert driver.app.selected == "net.blocks.0.norm.running_mean"
        assert table(driver).row_at_cursor.name == driver.app.selected  # type: ignore[union-attr]
        await driver.press("3")
        await driver.settled()
        values = driver.app.main.query_one(ValuesPane)
        assert "3 Values ─ blocks.0.norm.running_mean" in (values.border_title or "")
        record = driver.now.values[driver.app.selected]
        assert record.value is not None
        assert record.value.shape == (8,)
        await driver.press("2", "h", "h")
        await driver.settled()
        assert table(driver).total == len(FLAT)


async def test_tied_parameters_have_one_row_with_their_other_name() -> None:
    async with looking((160, 50)) as driver:
        (line,) = [line for line in lines(driver) if "embed.weight" in line]
        assert "shared" in line
        assert line.endswith("also head.weight")


async def test_the_trend_is_of_what_was_seen() -> None:
    async with looking((160, 50)) as driver:
        past = [
            next(row for row in recorded.parameters.rows.values() if row.name == "net.embed.weight")
            for recorded in driver.view.history
            if recorded.parameters is not None
        ]
        seen = [row.grad_norm for row in past if row.grad_norm is not None and row.grad_changed is not False]
        assert len(seen) == 2
        (line,) = [line for line in lines(driver) if "embed.weight" in line]
        assert fmt.sparkline(seen, 8) in line.split()


# ── what takes long ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_sort_that_takes_long_is_told_cancelled_and_asked_for_again() -> None:
    async with test_shell.running(stop=3, size=(120, 40)) as driver:
        await driver.press("2")
        agent = driver.session.agent
        agent.slow = (m.GetParameters,)
        asked = len([q for q in agent.received if isinstance(q, m.GetParameters)])
        await driver.press("colon", *"sort mean", "enter")
        query = await agent.told(m.GetParameters, asked + 1)
        assert query.arrangement.sort == "mean"
        agent.work(3200, 10000, "parameters")
        pane = driver.app.main.query_one(ParametersPane)
        await driver.until(lambda: "3,200 of 10,000 parameters" in (pane.border_subtitle or ""), "it is told")
        assert pane.table.total == 8
        await driver.press("escape")
        await driver.until(lambda: "Enter tries again" in str(pane.query_one(Static).content), "it is said")
        assert pane.table.total == 8
        agent.slow = ()
        await driver.press("2", "enter")
        await driver.until(lambda: driver.view.history[-1].parameters.arrangement.sort == "mean", "it is there")
        assert not pane.has_class("-sentence")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (":sort -g.norm\r", ("g.norm", True, "")),
        (":sort bytes\r", ("bytes", False, "")),
        ("/bias\r", ("", False, "bias")),
    ],
)
async def test_a_line_that_comes_in_one_piece_is_typed_into_the_prompt(text: str, asked: tuple[str, bool, str]) -> None:
    """Its letters are not taken for keys: `r` restarts, `k` skips, `q` ends the script."""
    async with running("two_nets") as driver:
        await driver.press("2")
        await driver.settled()
        told = len(driver.session.told)
        for letter in text:
            driver.app.post_message(Key({"\r": "enter"}.get(letter) or _character_to_key(letter), letter))

        def last() -> tuple[str, bool, str]:
            query = driver.told(m.GetParameters)[-1]
            return query.arrangement.sort, query.arrangement.falling, query.pattern

        await driver.until(lambda: last() == asked, "it is asked for")
        await driver.settled()
        assert not driver.app.main.prompt.is_open
        assert not [message for message in driver.session.told[told:] if isinstance(message, m.Resume)]
        assert driver.session.closed is False
