"""Lines of the prompt kept from one session to the next, of all of a user's sessions, in their own state folder."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from time import sleep

from platformdirs import user_state_dir

MOST = 1_000
"""Lines that are kept."""

LONGEST = 1_000
"""Characters of a line that is kept: what is longer was pasted by mistake."""


class History:
    """The file of lines, each behind the mark of its mode (`:` or `/`). Nothing of it matters enough to fail for."""

    def __init__(self, folder: Path | None = None) -> None:
        base = folder or Path(os.environ.get("STEPDBG_STATE") or user_state_dir("stepdbg"))
        self.path = base / "history"

    def load(self) -> list[tuple[str, str]]:
        """Mode and line, the newest last; none where there is no such file, or none that can be read."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return [(line[0], line[1:]) for line in text.split("\n")[-MOST - 1 :] if line[:1] in (":", "/") and line[1:]]

    def add(self, mode: str, line: str) -> None:
        """Keep one more. Sessions at once take turns, and where one waits too long only the file grows."""
        kept = " ".join(line.split("\n"))
        if not kept or len(kept) > LONGEST:
            return
        with suppress(OSError):
            self._add(f"{mode}{kept}\n".encode("utf-8", "replace"))

    def _add(self, line: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never through a link, and never waiting for a pipe that somebody has put there.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        with os.fdopen(fd, "r+b") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return
            if stat.S_IMODE(found.st_mode) != 0o600:
                os.fchmod(fd, 0o600)
            if not _locked(fd):  # whoever has it has hung: written at the end at one go, both stay
                os.write(fd, line)
                return
            lines = file.read().splitlines(keepends=True)
            if len(lines) < MOST:
                os.write(fd, line)
                return
            file.seek(0)
            file.truncate()
            os.write(fd, b"".join([*lines[1 - MOST :], line]))


def _locked(fd: int) -> bool:
    """Whether the file is ours now; waits a fifth of a second at most, where others need a millisecond."""
    for _ in range(40):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(0.005)
        else:
            return True
    return False
