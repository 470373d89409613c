"""What is printed when the screen has gone: the script's last lines, and how it ended."""

from __future__ import annotations

import re
import signal

from stepdbg.client.session import Exited

LINES = 20
"""Lines of the script's output that are shown again, at most (a traceback at the end: all of it)."""

_TRACEBACK = "Traceback (most recent call last):"
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences (ECMA-48, 5.4)
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\)"  # strings up to their terminator (5.6)
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]",
    re.DOTALL,
)


def plain_lines(raw: bytes) -> list[str]:
    """The lines of `raw` without control sequences; of an overwritten line, its last text."""
    text = _ESCAPES.sub("", raw.decode("utf-8", "replace"))
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def last_lines(raw: bytes) -> list[str]:
    """The last LINES lines, or more where the last traceback began before them."""
    lines = plain_lines(raw)
    start = max(len(lines) - LINES, 0)
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith(_TRACEBACK):
            start = min(start, number)
            break
    return lines[start:]


def how_it_ended(title: str, exited: Exited) -> str:
    """One line: "train.py exited with code 3", "train.py was ended by signal 9 (SIGKILL)"."""
    if exited.signal is None:
        return f"{title} exited with code {exited.code}"
    try:
        name = f" ({signal.Signals(exited.signal).name})"
    except ValueError:
        name = ""
    return f"{title} was ended by signal {exited.signal}{name}"
