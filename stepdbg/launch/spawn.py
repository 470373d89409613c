"""Starting processes without `preexec_fn`: the screen has threads, so code after fork could hang."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

# Python ignores these in itself, Textual handles the others; what is ignored would stay so after exec.
_DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)

SOCKET_FD = 200
"""Number of the agent's socket in the script: far above those it opens itself, which stay as they are."""

Attributes = list[int | list[bytes | int]]
"""What `termios.tcgetattr` returns."""


def open_pty(columns: int, rows: int, attributes: Attributes | None) -> tuple[int, int]:
    """A new pseudo-terminal as (master, slave), of that size and attributes; the master is non-blocking."""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    set_size(master, columns, rows)
    if attributes is not None:
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
    return master, slave


def set_size(fd: int, columns: int, rows: int) -> None:
    """Tell the terminal its size in characters; its foreground processes get SIGWINCH if it changed."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", max(rows, 1), max(columns, 1), 0, 0))


def hides_input(fd: int) -> bool:
    """Whether the terminal reads lines without echo, as `getpass` sets it."""
    try:
        mode = termios.tcgetattr(fd)[3]
    except termios.error:
        return False
    return bool(mode & termios.ICANON) and not mode & termios.ECHO


def user_attributes() -> Attributes | None:
    """The attributes of the user's terminal, for the script's; None where there is none, or a raw one."""
    try:
        attributes: Attributes = termios.tcgetattr(sys.stdin.fileno())
    except (OSError, ValueError, termios.error):
        return None
    flags = attributes[3]
    return attributes if isinstance(flags, int) and flags & termios.ICANON else None


def on_terminal(command: Sequence[str], env: Mapping[str, str], slave: int, socket: int) -> int:
    """Start `command` as the leader of a new session whose controlling terminal is `slave`; returns its pid.

    `socket` becomes its file descriptor SOCKET_FD. Raises OSError where the program cannot be started.
    """
    # A session leader without a terminal gets the first one that it opens: so it opens its own by name.
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
        (os.POSIX_SPAWN_DUP2, socket, SOCKET_FD),
    ]
    return os.posix_spawnp(
        command[0], list(command), dict(env), file_actions=actions, setsid=True, setsigdef=_DEFAULT_SIGNALS
    )


def keeper(master: int, pipe: int, log: Path) -> int:
    """Start `keeper.py` over the pty's master and the reading end of `pipe`, in a new session; its pid."""
    program = str(Path(__file__).with_name("keeper.py"))
    # Sources first, at numbers that none of the targets overwrites.
    actions = [
        (os.POSIX_SPAWN_DUP2, master, 210),
        (os.POSIX_SPAWN_DUP2, pipe, 211),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]
    command = [sys.executable, "-I", "-S", program, "210", "211", str(log)]
    return os.posix_spawn(sys.executable, command, dict(os.environ), file_actions=actions, setsid=True)


def inheriting(command: Sequence[str], env: Mapping[str, str], socket: int, output: int | None = None) -> int:
    """Start `command` with our own standard input, output (or `output` in its place) and error; returns its pid.

    `socket` becomes its file descriptor SOCKET_FD. Raises OSError where the program cannot be started.
    """
    actions: list[tuple[int, int, int]] = [(os.POSIX_SPAWN_DUP2, socket, SOCKET_FD)]
    if output is not None:
        actions.append((os.POSIX_SPAWN_DUP2, output, 1))
    return os.posix_spawnp(command[0], list(command), dict(env), file_actions=actions, setsigdef=_DEFAULT_SIGNALS)
