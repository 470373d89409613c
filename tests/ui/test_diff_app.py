"""`:diff` in the whole app, on a real run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from real_runs import NARROW, WIDE, Driver, running
from test_edit_app import enter, notices

from stepdbg.protocol.compare import DiffOrder, DiffPage, DiffRow, GetDiff, Side, SideKind
from stepdbg.protocol.messages import Working
from stepdbg.ui.screens.diff import DiffScreen, counts


async def diff(driver: Driver, line: str) -> DiffScreen:
    await enter(driver, f"diff {line}")
    screen = driver.app.screen
    assert isinstance(screen, DiffScreen), notices(driver)
    await driver.until(lambda: screen.page is not None, "the rows are there")
    await driver.settled()
    return screen


def lines(screen: DiffScreen) -> list[str]:
    """The table as it is on screen, the header first."""
    table = screen.table
    return [text for y in range(table.size.height) if (text := table.render_line(y).text.rstrip())]


@pytest.mark.parametrize("size", [WIDE, NARROW, (160, 50)], ids=["wide", "narrow", "widest"])
async def test_what_a_step_changed(size: tuple[int, int]) -> None:
    async with running("two_nets", size=size) as driver:
        for _ in range(5):
            await driver.step()
        screen = await diff(driver, "-1")
        assert driver.told(GetDiff)[-1].a == Side(SideKind.STOP, -1)
        header, *rows = lines(screen)
        assert header.split()[:4] == ["name", "equal", "|Δ|/|A|", "▾"]
        assert len(rows) == 8
        assert [row.split()[1] for row in rows] == ["no"] * 4 + ["yes"] * 4
        assert {row.split()[0].lstrip("▌") for row in rows[:4]} == {
            "net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"
        }  # fmt: skip
        ratios = [float(row.split()[2]) for row in rows]
        assert ratios == sorted(ratios, reverse=True)
        assert all(len(row) <= screen.table.size.width for row in rows)
        about = str(screen._about.render())
        assert "A  stop 5 (iteration 1)" in about
        assert "B  stop 6, now" in about
        assert "4 differ · 4 equal" in about


async def test_sorting_filtering_and_leaving() -> None:
    async with running("two_nets") as driver:
        screen = await diff(driver, "net net2")
        first = [row.split()[0].lstrip("▌") for row in lines(screen)[1:]]
        await driver.press("R")
        await driver.settled()
        assert [row.split()[0].lstrip("▌") for row in lines(screen)[1:]] == first[::-1]
        assert "|Δ|/|A| ▴" in lines(screen)[0]
        await driver.press("R", "full_stop")
        await driver.settled()
        assert driver.told(GetDiff)[-1].order is DiffOrder.DELTA
        assert "|Δ| ▾" in lines(screen)[0]
        await driver.press("comma", "comma")
        await driver.settled()
        assert driver.told(GetDiff)[-1].order is DiffOrder.NAME
        assert [row.split()[0].lstrip("▌") for row in lines(screen)[1:]] == ["0.weight", "0.bias", "2.weight", "2.bias"]
        await driver.press("slash", *"bias", "enter")
        await driver.settled()
        assert [row.split()[0].lstrip("▌") for row in lines(screen)[1:]] == ["0.bias", "2.bias"]
        assert "2 match “bias”" in str(screen._about.render())
        await driver.press("escape")
        await driver.settled()
        assert len(lines(screen)) == 5
        await driver.press("escape")
        assert not isinstance(driver.app.screen, DiffScreen)
        assert notices(driver) == []


async def test_a_file(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    torch.save({"state_dict": net.state_dict()}, tmp_path / "a b.pt")
    async with running("two_nets") as driver:
        screen = await diff(driver, f"'{tmp_path}/a b.pt'")
        about = str(screen._about.render())
        assert "a b.pt (state_dict)" in about
        assert "compared with net; its names fit net2 as well" in about
        assert len(lines(screen)) == 5


async def test_what_cannot_be_compared_is_said_in_one_line() -> None:
    async with running("two_nets") as driver:
        for line, words in (
            ("-3", "diff: there is no stop 3 before this one: it is stop 1"),
            ("no_such.pt", f"diff: no_such.pt: No such file or directory in {Path.cwd()}"),
            ("net nett", "diff: there is no parameter or module nett: did you mean net?"),
        ):
            await enter(driver, f"diff {line}")
            await driver.until(lambda words=words: words in notices(driver), f"{words}, not {notices(driver)}")
            await driver.until(lambda: not isinstance(driver.app.screen, DiffScreen), "the panes are back")


async def test_leaving_ends_what_is_still_being_made() -> None:
    ended: list[str] = []

    async def answers(query: GetDiff, progress: Callable[[Working], None]) -> DiffPage:
        progress(Working(1, 250, 1000, "elements"))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        raise AssertionError

    async with running("two_nets") as driver:
        screen = DiffScreen(GetDiff(0, Side(SideKind.NOW), Side(SideKind.NOW)), answers)  # type: ignore[arg-type]
        driver.app.push_screen(screen)
        await driver.until(lambda: "25%" in str(screen._about.render()), "it says how far it is")
        assert str(screen._about.render()) == "comparing… 25%, escape stops it"
        await driver.pilot.press("escape")
        await driver.until(lambda: ended, "the question is taken back")
        assert not isinstance(driver.app.screen, DiffScreen)


def page(*rows: DiffRow) -> DiffPage:
    return DiffPage(1, 0, len(rows), rows, "a", "b", 1, 1, 2, 1)


async def test_every_state_is_shown_in_words() -> None:
    """A page made by hand, with what a real run seldom has."""
    rows = (
        DiffRow("new", "differs", (2,), None, "", "float32", "", 0.0, 2.0, 2.0, math.inf, 2.0, (1,), 1, 2),
        DiffRow("w", "other shape", (2, 3), (3, 2), "v", "float32", "float16", 1.0, 2.0, numel=6),
        DiffRow("gone", "only in A", (4,), norm=1.0, numel=4),
        DiffRow("odd", "unreadable", None, note="on the meta device: no values exist"),
        DiffRow("n", "equal", (), None, "", "float32", "", 1.0, 1.0, 0.0, 0.0, 0.0, (), 0, 1, 1),
    )

    async def answers(query: GetDiff, progress: object = None) -> DiffPage:
        return page(*rows)

    async with running("two_nets", size=(180, 40)) as driver:
        screen = DiffScreen(GetDiff(0, Side(SideKind.NOW), Side(SideKind.NOW)), answers)  # type: ignore[arg-type]
        driver.app.push_screen(screen)
        await driver.until(lambda: screen.page is not None, "the rows are there")
        await driver.settled()
        text = lines(screen)
        assert text[1].split()[:3] == ["▌new", "no", "∞"]
        assert "w : v" in text[2]
        assert "other shape" in text[2]
        assert "2×3 : 3×2" in text[2]
        assert "float32 : float16" in text[2]
        assert "only in A" in text[3]
        assert "on the meta device" in text[4]
        assert "1 nan/inf left out" in text[5]
        assert counts(screen.page) == "1 differs · 1 equal · 2 only on one side · 1 not comparable"
