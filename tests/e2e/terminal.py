"""A real terminal for the tests: a program on a pty, an emulated screen, conditions waited for."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pexpect
import pyte

COLUMNS, ROWS = 120, 40


class Terminal:
    """One program on a terminal of 120×40."""

    def __init__(self, command: Sequence[str], cwd: Path, env: dict[str, str], timeout: float = 60.0) -> None:
        self.deadline = time.monotonic() + timeout
        self.raw = bytearray()
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        self.process = pexpect.spawn(
            command[0], list(command[1:]), cwd=str(cwd), env=env, dimensions=(ROWS, COLUMNS), timeout=None
        )
        self.process.delaybeforesend = None
        self.ended = False

    def press(self, keys: str | bytes) -> None:
        self.process.send(keys)

    def pump(self, seconds: float = 0.1) -> None:
        """Take in what the program has written, waiting at most `seconds` for the first byte."""
        try:
            data = self.process.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            self.ended = True
            return
        self.raw += data
        self._stream.feed(_without_unknown(data))

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, condition: Callable[[str], bool], what: str) -> str:
        """Until the screen's text fulfils `condition`; returns it. Fails at the deadline, or if it ended."""
        while True:
            text = self.text()
            if condition(text):
                return text
            self._check(what)
            if self.ended:
                raise AssertionError(f"ended while waiting for {what}:\n{text}")
            self.pump()

    def wait_for(self, pattern: str) -> str:
        return self.wait(lambda text: re.search(pattern, text) is not None, f"/{pattern}/ on the screen")

    def look(self, text: str) -> tuple[object, ...]:
        """Colours and style of the first letter of `text` on the screen: the focus shows in them."""
        for row, line in enumerate(self.screen.display):
            if (column := line.find(text)) >= 0:
                cell = self.screen.buffer[row][column]
                return (cell.fg, cell.bg, cell.bold, cell.reverse)
        return ()

    def press_until_changed(self, key: str, text: str) -> None:
        """Press a key that changes how `text` looks, and wait until it does."""
        before = self.look(text)
        self.press(key)
        self.wait(lambda _text: self.look(text) != before, f"change of {text!r} after {key!r}")

    def wait_end(self) -> int:
        """Until the program has ended; its status as a shell shows it."""
        while not self.ended:
            self._check("the end")
            self.pump()
        self.process.wait()
        if self.process.signalstatus is not None:
            return 128 + int(self.process.signalstatus)
        return int(self.process.exitstatus)

    def hang_up(self) -> None:
        """Close the terminal itself, as closing its window does."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, self.process.child_fd)
        os.close(nowhere)

    def close(self) -> None:
        """End the program if it is still there."""
        self.process.close(force=True)

    def _check(self, what: str) -> None:
        if time.monotonic() > self.deadline:
            raise AssertionError(f"no {what} in time; the screen:\n{self.text()}")


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition outside the terminal (a process, a file)."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time: {what}")
        os.sched_yield()
        time.sleep(0.02)  # the interval of the poll; the condition decides


# pyte takes private sequences with an intermediate `>`, `<` or `=` (keyboard and mouse modes) for plain ones.
_PRIVATE = re.compile(rb"\x1b\[[<=>][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\", re.DOTALL)


def _without_unknown(data: bytes) -> bytes:
    return _PRIVATE.sub(b"", data)
