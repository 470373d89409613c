"""Opening the debugger on the process that is running, in its own terminal.

The screen is a child of this process on the terminal; it speaks with the agent over a socketpair. While it is up, this
process has a pseudo-terminal for its standard input, output and error where these were the terminal, and the screen
shows what is written there. When it goes, they are put back, and the screen prints what was written meanwhile.

Limits: children of the script that were started meanwhile keep that pseudo-terminal, which ends with the screen; what
opens `/dev/tty` itself meets the screen there.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
from typing import Any

from stepdbg.agent.bootstrap import Agent
from stepdbg.protocol import codec
from stepdbg.protocol import messages as m

PATIENCE = 20.0
"""Seconds in which the screen must have gone once the conversation is over."""

HIGH = 200
"""Our copies of descriptors have numbers from here on."""

_PROGRAM = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; sys.path.append({root!r}); "
    "from stepdbg.launch.attached import main; sys.exit(main(sys.argv[1:]))"
)


class NoTerminalError(Exception):
    """There is none to open the debugger in; the message is for the user as it is."""


_attached: Attached | None = None


def open_screen() -> Any:
    """Bring up the screen and the agent. Returns the `Control`; raises NoTerminalError, OSError."""
    global _attached
    tty = _terminal()
    try:
        _attached = Attached(tty)
    finally:
        os.close(tty)
    return _attached.begin()


def leave() -> None:
    """Close the screen if it was opened from here; the script runs on bare."""
    if _attached is not None:
        _attached.let_go()


def _terminal() -> int:
    """The controlling terminal, open. Raises NoTerminalError."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        raise NoTerminalError("this is a child process, whose terminal is its parent's")
    if not any(_is_terminal(fd) for fd in (0, 1, 2)):
        raise NoTerminalError("there is no terminal to open the debugger in")
    try:
        tty = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        raise NoTerminalError("there is no terminal to open the debugger in") from None
    try:
        foreground = os.tcgetpgrp(tty) == os.getpgrp()
    except OSError:
        foreground = False
    if not foreground:
        os.close(tty)
        raise NoTerminalError("it runs in the background of its terminal")
    return tty


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


class Attached(Agent):
    """The agent of a process that was started without it, and the screen that it has opened."""

    def __init__(self, tty: int) -> None:
        ours, theirs = socket.socketpair()
        master, self._slave = os.openpty()
        self._saved: dict[int, int] = {}
        try:
            termios.tcsetattr(self._slave, termios.TCSANOW, termios.tcgetattr(tty))
            size = fcntl.ioctl(tty, termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(self._slave, termios.TIOCSWINSZ, size)
            root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
            numbers = [str(theirs.fileno()), str(master), str(os.getpid())]
            self._screen = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(root=root), *numbers, *map(str, sys.argv)],
                stdin=tty,
                stdout=tty,
                stderr=tty,
                pass_fds=(theirs.fileno(), master),
            )
        except BaseException:
            os.close(self._slave)
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(master)
        settings = m.Settings(stop_at="never", on_detach="continue")
        super().__init__(ours.detach(), json.dumps(codec.to_plain(settings)))

    def begin(self) -> Any:
        """Take over the terminal and put the wrappers in."""
        import torch

        self._redirect()
        sys.excepthook = self._excepthook
        atexit.register(self._at_exit)
        os.register_at_fork(after_in_child=self._in_child)
        try:
            self.connect(str(getattr(torch, "__version__", "")))
            self.instrument()
            self._instruments.adopt()
        except BaseException:
            self.remove()
            raise
        return self._control

    def let_go(self) -> None:
        """The script runs on bare."""
        if not self._detached:
            self._control._let_go()

    def remove(self) -> None:
        """Take everything out; wait for the screen to have left the terminal, and put that back."""
        if self._detached:
            return
        super().remove()
        if self._channel is not None:
            self._channel.close()
        if os.getpid() == self._pid:
            self._restore()

    def _at_exit(self) -> None:
        super()._at_exit()
        if os.getpid() == self._pid:
            self.let_go()

    # ── the terminal ────────────────────────────────────────────────────────────────────────────────────────

    def _redirect(self) -> None:
        _flush()
        for fd in (0, 1, 2):
            if _is_terminal(fd):
                self._saved[fd] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH)
                os.dup2(self._slave, fd)

    def _restore(self) -> None:
        _flush()
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)
            os.close(saved)
        self._saved.clear()
        os.close(self._slave)
        try:
            self._screen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._screen.send_signal(signal.SIGKILL)
            self._screen.wait()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # it may be closed, or anything of the script's
            stream.flush()
