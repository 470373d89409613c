"""Only cells that change are sent: after each update the terminal must look as it would after all of Textual's own."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from runs import HELD, environment, stepdbg
from terminal import COLUMNS, ROWS, Terminal, _without_unknown

SCRIPT = """
import torch
torch.manual_seed(0)
网络 = torch.nn.ModuleDict({"层": torch.nn.Linear(4, 3), "z😀": torch.nn.Linear(3, 2), "plain": torch.nn.Linear(2, 1)})
optimiser = torch.optim.SGD(网络.parameters(), lr=0.1, momentum=0.9)
x = torch.randn(8, 4)
for step in range(40):
    optimiser.zero_grad()
    y = x
    for name in 网络:
        y = 网络[name](y)
    loss = y.pow(2).mean()  # 损失 😀
    loss.backward()
    optimiser.step()
    print("步", step, "│", "世界" * (step % 5), "😀" if step % 3 else "e\u0301", f"{loss.item():.4f}")
"""

# Beside each update goes what Textual itself would have written, into a file, and its number to the terminal.
BESIDE = """
import json
from stepdbg.ui.sparing import Sparing
spare, kept, updates = Sparing._spare, open({path!r}, "a"), iter(range(1, 1 << 30))
def keep(update, text):
    number = next(updates)
    region = getattr(update, "region", None)
    kept.write(json.dumps([number, text, region and [region.height, region.width]]) + "\\n")
    kept.flush()
    return f"\\x1b]777;{{number}}\\x07"
def beside(self, update):
    if update is None:
        return spare(self, update)
    own = type(update).render_segments(update, self.console)
    rows = spare(self, update)
    if rows is not None and not rows:
        keep(update, own)
    written = update.render_segments
    update.render_segments = lambda console: written(console) + keep(update, own)
    return rows
Sparing._spare = beside
"""

UP, DOWN, PAGE, TAB, ESCAPE, CTRL_L = "\x1b[A", "\x1b[B", "\x1b[6~", "\t", "\x1b", "\x0c"
LITTER = "▚"
_NUMBER = re.compile(rb"\x1b\]777;(\d+)\x07")


class Beside(Terminal):
    """A terminal, and beside it one that is sent what Textual itself would write."""

    def __init__(self, folder: Path) -> None:
        script, self._path = folder / "训练.py", folder / "updates"
        script.write_text(SCRIPT)
        self._path.touch()
        command = stepdbg(folder, "--no-history", str(script))
        command[2] = BESIDE.format(path=str(self._path)) + command[2]
        self.whole = pyte.Screen(COLUMNS, ROWS)
        self._whole_stream = pyte.ByteStream(self.whole)
        self._updates = self._read()
        self._last, self._rest = 0, b""
        self._disturbed = False
        """Whether it was written on, or has another size than it was drawn for: until all is drawn, anything may stand
        there.
        """
        self.sizes = [0, 0]
        """Bytes that were written, and that Textual would have."""
        super().__init__(command, folder, environment(folder), timeout=150)

    def _read(self) -> Iterator[tuple[int, str, list[int] | None]]:
        with self._path.open() as lines:
            while True:
                yield json.loads(lines.readline())

    def pump(self, seconds: float = 0.1) -> None:
        before = len(self.raw)
        feed, self._stream.feed = self._stream.feed, lambda _data: None  # not before it is known what to compare with
        try:
            super().pump(seconds)
        finally:
            self._stream.feed = feed
        self._rest += bytes(self.raw[before:])
        while match := _NUMBER.search(self._rest):
            self._stream.feed(_without_unknown(self._rest[: match.start()]))
            self.sizes[0] += match.start()
            self._rest = self._rest[match.end() :]
            while self._last < int(match[1]):
                self._last, text, whole_of = next(self._updates)
                self._disturbed &= whole_of != [self.screen.lines, self.screen.columns]
                self.sizes[1] += len(text.encode())
                self._whole_stream.feed(text.encode())
            assert self._disturbed or cells(self.screen) == cells(self.whole), (
                f"after update {self._last}:\n{self.text()}"
            )

    def quiet(self, seconds: float = 0.1) -> None:
        """Until it is held and nothing has been written for so long: more keys now show more, nothing depends on it."""
        last, size = time.monotonic(), len(self.raw)
        while time.monotonic() - last < seconds or not HELD.search(self.screen.display[0]):
            self._check("a quiet screen")
            self.pump(0.05)
            if len(self.raw) != size:
                last, size = time.monotonic(), len(self.raw)

    def resize(self, columns: int, rows: int) -> None:
        for screen in (self.screen, self.whole):
            screen.resize(rows, columns)
        self._disturbed = True
        self.process.setwinsize(rows, columns)

    def wait_redrawn(self) -> None:
        """Until the whole has been drawn in the new size."""
        self.wait(lambda _text: not self._disturbed, "redrawn screen")

    def litter(self) -> None:
        """Another program writes all over it."""
        self._disturbed = True
        columns, rows = self.screen.columns, range(1, self.screen.lines + 1)
        litter = "".join(f"\x1b[{row};1H\x1b[31;44m{LITTER * columns}" for row in rows)
        for stream in (self._stream, self._whole_stream):
            stream.feed(f"{litter}\x1b[0m".encode())

    def wait_clean(self) -> None:
        """Until nothing of that is left."""
        self.wait(lambda text: LITTER not in text, "cleaned screen")


def cells(screen: pyte.Screen) -> list[list[tuple[object, ...]]]:
    return [[tuple(screen.buffer[y][x]) for x in range(screen.columns)] for y in range(screen.lines)]


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Callable[[], Beside]]:
    terminals: list[Beside] = []

    def start() -> Beside:
        terminals.append(Beside(tmp_path))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def press(terminal: Beside, *keys: str) -> None:
    for key in keys:
        before = terminal.text()
        terminal.press(key)
        if key == ESCAPE:  # it closes something; the next key too soon behind it would be one key with it
            terminal.wait(lambda text, before=before: text != before, "closed")
        terminal.quiet()


MOVES = [key for pane in "1234567" for key in (pane, DOWN, DOWN, UP)]
OPENED = (":", "e", "x", ESCAPE, "?", PAGE, ESCAPE, "2", "e", ESCAPE, "z", "z", "T", ESCAPE, "M", ESCAPE, "t", "t", TAB)


def test_the_terminal_looks_as_after_textuals_own_updates(beside: Callable[[], Beside]) -> None:
    terminal = beside()
    terminal.wait_for("stopped")
    press(terminal, *"nnnnnnn", "i", *MOVES, "[", "[", "]", "}", *OPENED, *"niii")
    terminal.wait_for("世界")
    written, whole = terminal.sizes
    assert written * 4 < whole, "what it is for"
    for size in ((80, 24), (COLUMNS, ROWS)):
        terminal.resize(*size)
        terminal.wait_redrawn()
        press(terminal, *"1n6in", DOWN, "?", ESCAPE)


def test_what_other_programs_write_is_written_over(beside: Callable[[], Beside]) -> None:
    terminal = beside()
    terminal.wait_for("stopped")
    press(terminal, *"nniii")
    for clean in (
        lambda: terminal.press(CTRL_L),
        lambda: os.kill(terminal.process.pid, signal.SIGWINCH),  # of the same size again: larger and back
    ):
        terminal.litter()
        clean()
        terminal.wait_clean()
        assert cells(terminal.screen) == cells(terminal.whole)


def test_back_from_the_background_all_is_written(beside: Callable[[], Beside]) -> None:
    terminal = beside()
    terminal.wait_for("stopped")
    press(terminal, *"nni")
    os.kill(terminal.process.pid, signal.SIGTSTP)
    os.waitpid(terminal.process.pid, os.WUNTRACED)
    terminal.pump()
    terminal.litter()
    os.kill(terminal.process.pid, signal.SIGCONT)
    while LITTER in terminal.text():
        terminal.pump()
        terminal._check("cleaned screen")
    assert cells(terminal.screen) == cells(terminal.whole)
