"""What the script prints, on its way to the console pane: in slices that leave time for keys and painting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SLICE = 16 * 1024
"""Bytes fed at once: a few milliseconds of terminal emulation."""
PAUSE = 1 / 60
"""Seconds between slices: one frame."""
BACKLOG = 4 * 1024 * 1024
"""Bytes waiting, at most; of a script that prints faster than can be shown, the oldest are left out."""


class OutputPump:
    """Takes bytes as they come and feeds them on, in order."""

    def __init__(self, feed: Callable[[bytes], None]) -> None:
        self._feed = feed
        self._waiting = bytearray()
        self._left_out = 0
        self._some = asyncio.Event()

    def push(self, data: bytes) -> None:
        """Take `data`; never blocks."""
        self._waiting += data
        if len(self._waiting) > BACKLOG:
            cut = self._waiting.find(b"\n", len(self._waiting) - BACKLOG // 2) + 1
            cut = cut or len(self._waiting) - BACKLOG // 2
            del self._waiting[:cut]
            self._left_out += cut
        self._some.set()

    async def run(self) -> None:
        """Feed until cancelled."""
        while True:
            await self._some.wait()
            if self._left_out:
                self._feed(f"\r\n[{self._left_out} bytes not shown: printed too fast]\r\n".encode())
                self._left_out = 0
            self._feed(bytes(self._waiting[:SLICE]))
            del self._waiting[:SLICE]
            if not self._waiting:
                self._some.clear()
            await asyncio.sleep(PAUSE)
