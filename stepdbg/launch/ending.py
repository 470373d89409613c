"""Ending a script with everything it started, so that nothing of it is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress

import psutil

GRACE = 2.0
"""Seconds between asking (SIGTERM) and forcing (SIGKILL)."""


def family(leader: int) -> list[psutil.Process]:
    """The processes of the session that `leader` leads, and its descendants in other sessions."""
    found: dict[int, psutil.Process] = {}
    with suppress(psutil.Error):  # where it has ended, only its session can still be told
        for process in psutil.Process(leader).children(recursive=True):
            found[process.pid] = process
    for pid in psutil.pids():
        if pid in found or pid == leader:
            continue
        with suppress(OSError, psutil.Error):
            if os.getsid(pid) == leader:
                found[pid] = psutil.Process(pid)
    return list(found.values())


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each that is still there; psutil knows a reused pid from the old process."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that have neither ended nor wait to be reaped."""
    result = []
    for process in processes:
        with suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                result.append(process)
    return result


async def end_family(leader: int, ended: asyncio.Event) -> None:
    """End `leader` (whose end sets `ended`) and its family.

    SIGTERM to its group, as the user's Ctrl-C would go to all of it; after GRACE, SIGKILL to what is left.
    """
    members = family(leader)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGTERM)
    if not ended.is_set():
        try:
            await asyncio.wait_for(ended.wait(), GRACE)
        except TimeoutError:
            members = [*members, *family(leader)]
            with suppress(ProcessLookupError):
                os.kill(leader, signal.SIGKILL)
            with suppress(TimeoutError):  # held in the kernel: it ends when it comes out of there
                await asyncio.wait_for(ended.wait(), GRACE)
    # Workers may have been started, or left, since the first look.
    left = alive({p.pid: p for p in [*members, *family(leader)]}.values())
    send(left, signal.SIGKILL)
    if left:
        await asyncio.to_thread(psutil.wait_procs, left, GRACE)
