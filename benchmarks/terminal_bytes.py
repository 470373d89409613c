"""How many bytes a key sends to the terminal: the real app on a pty, an emulated screen before and after each key.

usage: terminal_bytes.py [--size 80x24] [--whole] [--json FILE] [DEMO…]

A key's bytes are all that is written until nothing has come for `QUIET` seconds and the script is held. Of these are
told the codes for colours, the cells drawn, and the cells that do look different afterwards. Counts, no times: other
programs on the machine do not change them, except for how many of the screens in between (running, still waiting) are
drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pexpect
import pyte

ROOT = Path(__file__).parents[1]
DEMOS = ("two_nets", "digits_cnn", "char_gpt")
SIZES = ("80x24", "160x50")
QUIET = 0.5
FIRST = 1.5
"""Seconds after which a key that has sent nothing will send nothing."""
PATIENCE = 120.0

KEYS = (
    *(("n", "n"),) * 8,
    ("i", "i"),
    *((key, kind) for number in "123456" for key, kind in ((number, "pane"), ("down", "down"), ("up", "up"))),
    ("1", "pane"),
    ("tab", "tab"),
    ("tab", "tab"),
    ("[", "["),
    ("[", "["),
    ("]", "]"),
    ("}", "]"),
    (":", "open :"),
    ("escape", "close :"),
    ("?", "open ?"),
    ("escape", "close ?"),
    ("2", "pane"),
    ("e", "open e"),
    ("escape", "close e"),
    ("z", "z"),
    ("z", "z"),
)
"""What is pressed, and under which name it is counted."""

SENT = {"down": "\x1b[B", "up": "\x1b[A", "tab": "\t", "escape": "\x1b"}

_SGR = re.compile(rb"\x1b\[[0-9;:]*m")
_MOVE = re.compile(rb"\x1b\[[0-9;]*[A-HJKXdf]")
_OTHER = re.compile(rb"\x1b\[[?<=>]?[0-9;]*\$?[a-zA-Z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP.*?\x1b\\", re.DOTALL)
_PRIVATE = re.compile(rb"\x1b\[[<=>][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\", re.DOTALL)


@dataclass
class Key:
    """What one key sent."""

    kind: str
    total: int
    colours: int
    """Bytes of colour and style codes."""
    moves: int
    other: int
    drawn: int
    """Cells written."""
    changed: int
    """Cells that look different from before the key."""
    frames: int


class Screen:
    """The app on a pty of that size, and what its terminal shows."""

    def __init__(self, command: list[str], size: tuple[int, int], home: Path) -> None:
        columns, rows = size
        self.emulated = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.emulated)
        env = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "XDG_CONFIG_HOME": str(home),
            "XDG_STATE_HOME": str(home),
            "XDG_DATA_HOME": str(home),
            "PYTHONHASHSEED": "0",
        }
        self.process = pexpect.spawn(
            command[0], command[1:], env=env, dimensions=(rows, columns), timeout=None, cwd=str(ROOT / "demo_models")
        )
        self.process.delaybeforesend = None

    def cells(self) -> list[tuple[object, ...]]:
        rows, columns = range(self.emulated.lines), range(self.emulated.columns)
        return [tuple(self.emulated.buffer[y][x]) for y in rows for x in columns]

    def settle(self, first: float = PATIENCE) -> bytes:
        """All that is written until the screen is quiet and the script is held; nothing if it stays so for `first`
        seconds.
        """
        data, deadline, last = b"", time.monotonic() + PATIENCE, time.monotonic() + first
        while time.monotonic() < deadline:
            try:
                got = self.process.read_nonblocking(65536, 0.05)
            except pexpect.TIMEOUT:
                top = self.emulated.display[0]
                if time.monotonic() - last > QUIET and "running" not in top and "starting" not in top and top.strip():
                    return data
                continue
            if b"\x1b[?2026$p" in got:
                self.process.send("\x1b[?2026;2$y")  # as terminals of today answer: updates can be drawn at once
            data, last = data + got, time.monotonic()
            self.stream.feed(_PRIVATE.sub(b"", got))
        raise TimeoutError("\n".join(self.emulated.display))

    def press(self, key: str, kind: str) -> Key:
        before = self.cells()
        self.process.send(SENT.get(key, key))
        data = self.settle(FIRST)
        after = self.cells()
        bare = _OTHER.sub(b"", _MOVE.sub(b"", _SGR.sub(b"", data))).decode("utf-8", "replace")
        moves = sum(map(len, _MOVE.findall(data)))
        colours = sum(map(len, _SGR.findall(data)))
        other = sum(map(len, _OTHER.findall(_MOVE.sub(b"", _SGR.sub(b"", data)))))
        return Key(
            kind,
            len(data),
            colours,
            moves,
            other,
            len(bare.replace("\n", "").replace("\r", "")),
            sum(one != two for one, two in zip(before, after, strict=True)),
            data.count(b"\x1b[?2026h"),
        )


WHOLE = "from stepdbg.ui.sparing import Sparing; Sparing.sparing = False; from stepdbg.cli import main; main()"


def measure(demo: str, size: str, *, whole: bool) -> list[Key]:
    """Press all keys once. `whole`: cells that stand there already are written too."""
    columns, _, rows = size.partition("x")
    with TemporaryDirectory() as home:
        app = ["-c", WHOLE] if whole else ["-m", "stepdbg"]
        command = [sys.executable, *app, "--no-history", f"{demo}.py"]
        screen = Screen(command, (int(columns), int(rows)), Path(home))
        try:
            screen.settle()
            return [screen.press(key, kind) for key, kind in KEYS]
        finally:
            screen.process.close(force=True)


def table(keys: list[Key]) -> str:
    """One line for each kind of key: the mean of what it sent."""
    lines = [
        "| key | bytes | least | most | colours | cells drawn | cells changed | frames |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(key.kind for key in keys):
        some = [key for key in keys if key.kind == kind]

        def mean(name: str, some: list[Key] = some) -> str:
            return f"{sum(getattr(key, name) for key in some) / len(some):,.0f}"

        totals = [key.total for key in some]
        cells = " | ".join(mean(name) for name in ("colours", "drawn", "changed", "frames"))
        lines.append(f"| `{kind}` | {mean('total')} | {min(totals):,} | {max(totals):,} | {cells} |")
    lines.append(f"| all {len(keys)} | {sum(key.total for key in keys):,} | | | | | | |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("demos", nargs="*", default=DEMOS)
    parser.add_argument("--size", action="append")
    parser.add_argument("--whole", action="store_true", help="write cells that stand there already as well")
    parser.add_argument("--json", type=Path, help="also write every key's counts there")
    options = parser.parse_args()
    found: dict[str, list[dict[str, object]]] = {}
    for size in options.size or SIZES:
        for demo in options.demos:
            keys = measure(demo, size, whole=options.whole)
            found[f"{demo} {size}"] = [asdict(key) for key in keys]
            print(f"\n{demo} at {size}\n\n{table(keys)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
