"""Signals of the terminal's, and when they are heard."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from stepdbg.ui.background import heard_in_turn


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGCONT])
async def test_they_are_heard_once_what_runs_is_done(number: int) -> None:
    """A handler that ran at once would find the locks of what it interrupts taken."""
    heard: list[str] = []
    driver = SimpleNamespace(
        _sigtstp_application=lambda: heard.append("SIGTSTP"), _sigcont_application=lambda: heard.append("SIGCONT")
    )
    heard_in_turn(driver)
    try:
        os.kill(os.getpid(), number)
        assert sum(range(1000)) == 499_500  # time enough for Python to hear of it
        assert heard == []
        async with asyncio.timeout(10):
            while not heard:  # noqa: ASYNC110  (a signal sets no event)
                await asyncio.sleep(0.001)
        assert heard == [signal.Signals(number).name]
    finally:
        for each in (signal.SIGTSTP, signal.SIGCONT):
            asyncio.get_running_loop().remove_signal_handler(each)


async def test_a_driver_without_a_terminal_has_none_to_hear() -> None:
    before = signal.getsignal(signal.SIGTSTP)
    heard_in_turn(None)
    assert signal.getsignal(signal.SIGTSTP) is before
