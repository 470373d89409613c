"""An expression of the user's that takes long can be cancelled, although it runs in the script's own thread.

While it is evaluated at a stop, and only then, a thread of ours waits for what the screen says. A Cancel makes it raise
an exception in the evaluating thread, between two instructions of Python's: a call into C that does not return is
waited for. The thread is gone, and no exception pending, before anything else of ours or of the script's runs. Costs
some 200 µs an expression; nothing anywhere else.
"""

from __future__ import annotations

import _thread
import ctypes
import fcntl
import os
import select
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import TypeVar

from stepdbg.agent.channel import Channel, ChannelClosedError
from stepdbg.agent.work import GivenUpError
from stepdbg.protocol import messages as m
from stepdbg.protocol.states import State
from stepdbg.protocol.words import EVALUATING, STUCK

FIRST_DESCRIPTOR = 200
"""Ours are up here: a file that the expression opens gets the number that it would have got."""

TOLD_AFTER, TOLD_EVERY = 0.3, 1.0
"""Seconds after which the screen is told that it takes a while, and between two such words."""

AGAIN = 0.5
"""Seconds after which the exception is raised anew: the first may have been swallowed."""

GRACE = 0.5
"""Seconds that it may still take once the script is to go on."""

Result = TypeVar("Result")


class CancelledExpression(BaseException):
    """Raised in the middle of the user's expression."""


class Cancelling:
    """Which query is being answered, so which Cancel is meant. One per session."""

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.number: int | None = None
        """Of the query that is answered now; None: none is, and nothing can be cancelled."""
        self._busy = False

    def run(self, function: Callable[[], Result]) -> Result:
        """What `function` returns: it runs the user's own code. Raises GivenUpError where that was cancelled, also by a
        Ctrl-C that came meanwhile.
        """
        if self.channel is None or self.number is None or self._busy:
            return function()
        cancelled = False
        self._busy = True
        guard = _Guard(self.channel, self.number)
        try:
            try:
                guard.begin()
                return function()
            finally:
                guard.end()
        except (CancelledExpression, KeyboardInterrupt):
            guard.end()
            cancelled = True
        finally:
            self._busy = False
        assert cancelled
        raise GivenUpError("cancelled")  # outside of `except`: with no exception in its context, and so no frames


class _Guard:
    """The thread that waits beside one expression."""

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel, self._number = channel, number
        self._evaluating = _thread.get_ident()
        self._over = False
        self._finished = True
        self._raised = False
        """Whether an exception may be pending in the evaluating thread."""
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._pipe = -1, -1

    def begin(self) -> None:
        """Start it. Where the system has no room for it the expression cannot be cancelled, and runs all the same."""
        with suppress(OSError, RuntimeError):
            low = os.pipe()
            try:
                reading, writing = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR) for fd in low)
            finally:
                for fd in low:
                    os.close(fd)
            self._pipe = reading, writing
            self._finished = False
            try:
                _thread.start_new_thread(self._watch, ())
            except BaseException:
                self._finished = True
                raise

    def end(self) -> None:
        """Have it gone, and nothing pending. An exception that still comes in here is the last, and goes no further."""
        while True:
            try:
                self._end()
                return
            except CancelledExpression:
                continue

    def _end(self) -> None:
        self._over = True
        if self._pipe[1] >= 0 and not self._finished:
            os.write(self._pipe[1], b".")
        while not self._finished:
            self._done.acquire(True, 0.01)
        if self._raised:
            # One more takes the place of one that is pending, and comes right here. To clear it instead (with NULL)
            # leaves Python 3.11 thinking that one is pending for ever: under a tracer it then never enters a function.
            self._raised = False
            self._set()
            for _ in range(1_000):
                pass
        pipe, self._pipe = self._pipe, (-1, -1)
        for fd in pipe:
            if fd >= 0:
                os.close(fd)

    def _raise(self) -> None:
        if not self._over:
            self._raised = True
            self._set()

    def _set(self) -> None:
        error = ctypes.py_object(CancelledExpression)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._evaluating), error)

    # ── in the thread ───────────────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        with suppress(Exception):  # whatever fails in here, the expression goes on
            self._wait()
        self._finished = True
        with suppress(RuntimeError):
            self._done.release()

    def _wait(self) -> None:
        began = perf_counter()
        told, raised, stops_at = began + TOLD_AFTER - TOLD_EVERY, 0.0, 0.0
        wakes = select.poll()
        wakes.register(self._pipe[0], select.POLLIN)
        self._channel.listen(wakes)
        while not self._over:
            now = perf_counter()
            why = self._wanted()
            if why and not stops_at:
                stops_at = now + (GRACE if why == "goes on" else 0.0)
            if stops_at and now >= stops_at and now - raised >= AGAIN:
                raised = now
                self._raise()
            if now - told >= TOLD_EVERY and self._channel.state is State.STOPPED:
                told = now
                waits = bool(stops_at) and now - stops_at >= 2.0
                self._channel.send(m.Working(self._number, int(now - began), 0, STUCK if waits else EVALUATING))
            pause = 0.1 if stops_at else max(told + TOLD_EVERY - now, 0.0)
            if self._channel.state is not State.STOPPED:
                wakes = select.poll()  # no more is read: it would be ready all the time
                wakes.register(self._pipe[0], select.POLLIN)
            wakes.poll(max(pause, 0.005) * 1000)

    def _wanted(self) -> str:
        """What has come that ends the expression: "cancel" at once, "goes on" soon; empty: nothing."""
        try:
            inbox = list(self._channel.arrived())
        except ChannelClosedError:
            return "cancel"
        if any(isinstance(message, m.Cancel) and message.id == self._number for message in inbox):
            return "cancel"
        return "goes on" if any(isinstance(message, (m.Resume, m.Detach)) for message in inbox) else ""
