"""Keeps a detached script's terminal alive: a program of its own, run as `python -I -S keeper.py`.

Started beside the script when it is to outlive the screen. Without it the script's terminal would go with the
screen, and the script with its terminal (SIGHUP, or EIO at the next print). Holds the pty's master and a pipe
from the screen: a byte on the pipe means that the script has ended and there is nothing to keep; its end
means that the screen is gone, and from then on everything the script prints is appended to a file.

    keeper.py MASTER_FD PIPE_FD LOG_FILE
"""

from __future__ import annotations

import os
import select
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

CHUNK = 65536


def main(arguments: list[str]) -> int:
    """Wait for the screen to go, then keep the output until the script ends. Standard library only."""
    master, pipe, log = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    if os.read(pipe, 1):
        return 0
    target = _open(log)
    while True:
        select.select([master], [], [])
        try:
            data = os.read(master, CHUNK)
        except BlockingIOError:
            continue
        except OSError:
            return 0
        if not data:
            return 0
        if target is not None:
            target = _write(target, data)


def _open(log: Path) -> int | None:
    """The log, or one of the same name in the folder for temporary files, or nothing at all."""
    for path in (log, Path(tempfile.gettempdir()) / log.name):
        with suppress(OSError):
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    return None


def _write(target: int, data: bytes) -> int | None:
    """Append; None from then on if that fails (disk full): the script must never wait for us."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(target, view) :]
    except OSError:
        return None
    return target


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
