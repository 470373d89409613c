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
"""Lines that are kept. The file is cut to these once it has twice as many."""

LONGEST = 1_000
"""Characters of a line that is kept: what is longer was pasted by mistake."""


class History:
    """The file of lines, each behind the mark of its mode (`:` or `/`). Nothing of it matters enough to fail for.

    Whoever adds a line shares the file with others who do: appending is one call to the system, and none is lost.
    Whoever cuts it has it alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        base = folder or Path(os.environ.get("STEPDBG_STATE") or user_state_dir("stepdbg"))
        self.path = base / "history"
        self._late = b""
        """Lines for which the file was not to be had: they go in with the next one."""

    def load(self) -> list[tuple[str, str]]:
        """Mode and line, the newest last; none where there is no such file, or none that can be read."""
        try:
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
                _locked(file.fileno(), fcntl.LOCK_SH)  # not in the middle of a cut, if it can be helped
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        return [(line[0], line[1:]) for line in text.split("\n")[-MOST - 1 :] if line[:1] in (":", "/") and line[1:]]

    def add(self, mode: str, line: str) -> None:
        """Keep one more."""
        kept = " ".join(line.split("\n"))
        if not kept or len(kept) > LONGEST:
            return
        self._late += f"{mode}{kept}\n".encode("utf-8", "replace")
        with suppress(OSError):
            self._add()

    def _add(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never through a link, and never waiting for a pipe that somebody has put there.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        with os.fdopen(fd, "r+b"):
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return
            if stat.S_IMODE(found.st_mode) != 0o600:
                os.fchmod(fd, 0o600)
            if not _locked(fd, fcntl.LOCK_SH):
                return
            os.write(fd, self._late)
            self._late = b""
            if _text(fd).count(b"\n") >= 2 * MOST:
                self._cut(fd)

    def _cut(self, fd: int) -> None:
        """Leave the newest, unless somebody else is adding just now: then at the next line."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        # Read again: to change from a shared lock to the only one is to let go of it in between.
        lines = _text(fd).splitlines(keepends=True)
        if len(lines) >= 2 * MOST:
            os.ftruncate(fd, 0)
            os.write(fd, b"".join(lines[-MOST:]))


def _text(fd: int) -> bytes:
    """All of the file, wherever its end has been written to."""
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _locked(fd: int, how: int) -> bool:
    """Whether the file is ours now; waits a fifth of a second at most, where a cut takes a millisecond."""
    for _ in range(40):
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(0.005)
        else:
            return True
    return False
