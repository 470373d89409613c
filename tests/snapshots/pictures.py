"""What pictures are taken of, when they are taken, and several of one run."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_textual_snapshot import PseudoApp, PseudoConsole, SVGImageExtension, node_to_report_path
from real_runs import DEADLINE, DEMOS, NARROW, WIDE, Driver
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

TWO_NETS = DEMOS / "two_nets.py"
RAISES = Path(__file__).parent / "scripts" / "two_nets_raises.py"
RESIDUAL = Path(__file__).parent / "scripts" / "residual.py"
SCRIPTS = (TWO_NETS, RAISES, RESIDUAL)

LARGE = (160, 50)
SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "120x40"])
Compare = Callable[..., bool]
SAME = 6
"""Shots in a row that must be the same: a layout may take some turns on a busy machine."""


async def still(driver: Driver) -> None:
    """Wait until something has the keys and the picture stays the same: focus and layout come in turns of their own."""
    shots: list[str] = []
    async with asyncio.timeout(DEADLINE):
        while len(shots) < SAME or len(set(shots[-SAME:])) > 1:
            await driver.pilot.pause()
            await asyncio.sleep(0.01)
            if driver.app.focused is not None or not driver.app.screen.focus_chain:
                shots.append(driver.app.export_screenshot())


class Album:
    """Pictures of one run, one after the other: an app and a script cost more than a picture.

    They are compared when all are taken, so that one that differs does not hide the next.
    """

    def __init__(self, snapshot: SnapshotAssertion, node: Any) -> None:
        self._snapshot = snapshot.use_extension(SVGImageExtension)
        self._node = node
        self._taken: dict[str, str] = {}

    async def take(self, driver: Driver, name: str) -> None:
        """Once everything has been answered and the picture stays the same."""
        await driver.settled()
        driver.app.clear_notifications()
        await still(driver)
        self._taken[name] = driver.app.export_screenshot()

    def compare(self) -> None:
        """Fail with the names of those that do not look as they did; the report has them side by side."""
        other = [name for name, svg in self._taken.items() if not self._same(name, svg)]
        assert self._taken
        assert not other, f"other than before: {', '.join(other)}"

    def _same(self, name: str, svg: str) -> bool:
        snapshot = self._snapshot(name=name)
        same = bool(snapshot == svg)
        console = Console(legacy_windows=False, force_terminal=True)
        path, line, test = self._node.reportinfo()
        data = (
            same,
            str(snapshot),
            svg,
            PseudoApp(PseudoConsole(console.legacy_windows, console.size)),
            path,
            line,
            f"{test} {name}",
            inspect.getdoc(self._node.function) or "",
            "",
            True,
        )
        report = node_to_report_path(self._node)
        report.with_name(f"{report.name}_{name}").write_bytes(pickle.dumps(data))
        return same
