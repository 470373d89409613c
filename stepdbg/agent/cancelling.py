"""An expression of the user's that takes long can be cancelled, although it runs in the script's own thread.

While it is evaluated, and only then, a thread of ours listens to what the screen says. A Cancel makes it raise an
exception in the evaluating thread, between two instructions of Python's: a call into C that does not return is waited
for, unless it heeds signals (`sleep`) and runs in the main thread. Ours is gone, and no exception pending, before
anything else of ours or of the script's runs. Costs some 100 µs an expression; nothing anywhere else.

At a stop that is an expression of a query. While the script runs it is the condition of a breakpoint, or the text of a
logpoint: a Pause cancels these too if they do not end soon.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any, TypeVar

from stepdbg.agent.channel import Channel, ChannelClosedError
from stepdbg.agent.interrupts import Interrupts
from stepdbg.agent.work import GivenUpError
from stepdbg.errors import LocalProtocolError
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Evaluating
from stepdbg.protocol.states import State
from stepdbg.protocol.words import EVALUATING, STUCK

LOOKS_EVERY = 0.05
"""Seconds between two looks at what has come: what ends sooner costs the thread's start."""

TOLD_AFTER, TOLD_EVERY = 0.3, 1.0
"""Seconds after which the screen is told that it takes a while, and between two such words."""

AGAIN = 0.5
"""Seconds after which the exception is raised anew: the first may have been swallowed."""

GRACE = 0.5
"""Seconds that it may still take once the script is to go on, or to pause."""

Result = TypeVar("Result")


class CancelledExpression(BaseException):
    """Raised in the middle of the user's expression."""


class Cancelling:
    """Which query is being answered, so which Cancel is meant. One per session."""

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.interrupts = Interrupts()
        self.lock: Any = None
        """Who holds it may use the channel while the script runs."""
        self.number: int | None = None
        """Of the query that is answered now; None: none is."""
        self.what = ""
        """What is evaluated while the script runs, in words; empty: nothing of the user's is."""
        self._busy = False

    @contextlib.contextmanager
    def running(self, what: str) -> Iterator[None]:
        """While the script runs: in here `run` can be cancelled as well, and tells the screen that it is `what`."""
        self.what = what
        try:
            yield
        finally:
            self.what = ""

    def run(self, function: Callable[[], Result]) -> Result:
        """What `function` returns: it runs the user's own code. Raises GivenUpError where that was cancelled, also by a
        Ctrl-C that came meanwhile.
        """
        if self.channel is None or (self.number is None and not self.what) or self._busy:
            return function()
        cancelled = False
        self._busy = True
        began = perf_counter()
        guard = _Guard(self, self.channel)
        try:
            with self.interrupts.ours():
                try:
                    try:
                        guard.begin()
                        self.interrupts.evaluating = guard.interrupted
                        return function()
                    finally:
                        guard.end()
                except (CancelledExpression, KeyboardInterrupt):
                    guard.end()
                    cancelled = True
                finally:
                    self.interrupts.evaluating = None
        finally:
            self._busy = False
            guard.tell_end()
        assert cancelled
        # Outside of `except`: with no exception in its context, and so no frames.
        raise GivenUpError("cancelled" if not self.what else f"cancelled after {perf_counter() - began:.1f} s")


class _Guard:
    """The thread that listens beside one expression."""

    def __init__(self, cancelling: Cancelling, channel: Channel) -> None:
        self._channel, self._interrupts = channel, cancelling.interrupts
        self._number, self._what = cancelling.number, cancelling.what
        at_stop = self._number is not None
        self._state = State.STOPPED if at_stop else State.RUNNING
        self._lock = None if at_stop else cancelling.lock
        """At a stop the evaluating thread holds it."""
        self._evaluating = _thread.get_ident()
        self._over = False
        self._finished = True
        self._raised = False
        """Whether an exception may be pending in the evaluating thread."""
        self._interrupted = self._told = False
        self._ended, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._ended.acquire()
        self._done.acquire()

    def begin(self) -> None:
        """Start it. Where the system has no room for it the expression cannot be cancelled, and runs all the same."""
        self._finished = False
        try:
            _thread.start_new_thread(self._watch, ())
        except RuntimeError:
            self._finished = True

    def interrupted(self) -> None:
        """A Ctrl-C has come, in the evaluating thread."""
        if not self._over:
            self._interrupted = True  # raised again by the thread, where this one is swallowed
            raise CancelledExpression

    def end(self) -> None:
        """Have it gone, and nothing pending. An exception that still comes in here is the last, and goes no further."""
        while True:
            try:
                self._end()
                return
            except CancelledExpression:
                continue

    def tell_end(self) -> None:
        """Say that it is over, where it was said that it takes a while, or where it was interrupted."""
        if self._number is None and (self._told or self._interrupted):
            self._tell(Evaluating("", 0))

    def _end(self) -> None:
        self._over = True
        with suppress(RuntimeError):
            self._ended.release()
        while not self._finished:
            self._done.acquire(True, 0.01)
        if self._raised:  # before `Interrupts` takes a signal for one that is meant for the script
            # One more takes the place of one that is pending, and comes right here. To clear it instead (with NULL)
            # leaves Python 3.11 thinking that one is pending for ever: under a tracer it then never enters a function.
            self._raised = False
            self._set()
            for _ in range(1_000):
                pass

    def _raise(self) -> None:
        if not self._over:
            self._raised = True
            if self._evaluating != threading.main_thread().ident or not self._interrupts.send():
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
        told, raised, stops_at, why = began + TOLD_AFTER - TOLD_EVERY, 0.0, 0.0, ""
        while not self._ended.acquire(True, LOOKS_EVERY):
            now = perf_counter()
            if why != "cancel":
                why = "cancel" if self._interrupted else self._wanted()
            if why and not stops_at:
                stops_at = now + (GRACE if why == "soon" else 0.0)
            elif why == "cancel":
                stops_at = min(stops_at, now)
            if stops_at and now >= stops_at and now - raised >= AGAIN:
                raised = now
                self._raise()
            if now - told >= TOLD_EVERY:
                told = now
                stuck = bool(stops_at) and now - stops_at >= 2.0
                if self._number is not None:
                    self._tell(m.Working(self._number, int(now - began), 0, STUCK if stuck else EVALUATING))
                else:
                    self._told = True
                    self._tell(Evaluating(self._what, int(now - began), stuck))

    def _tell(self, message: Any) -> None:
        with self._allowed() as allowed:
            if allowed and self._channel.state is self._state:
                with suppress(ChannelClosedError, LocalProtocolError):
                    self._channel.send(message)

    @contextlib.contextmanager
    def _allowed(self) -> Iterator[bool]:
        """Whether the channel may be used: while the script runs, other threads of it may be using it."""
        if self._lock is None:
            yield True
        elif self._lock.acquire(False):
            try:
                yield True
            finally:
                self._lock.release()
        else:
            yield False

    def _wanted(self) -> str:
        """What has come that ends it: "cancel" at once, "soon" where it has a little time left; empty: nothing."""
        with self._allowed() as allowed:
            if not allowed:
                return ""
            try:
                inbox = self._channel.arrived(self._state)
            except ChannelClosedError:
                return "cancel"
            return self._heed(inbox)

    def _heed(self, inbox: deque[Any]) -> str:
        number = self._number or 0
        for message in list(inbox):
            if isinstance(message, m.Cancel) and message.id == number:
                inbox.remove(message)  # heeded: what is evaluated next for the same answer is not meant
                return "cancel"
        ends = (m.Resume, m.Detach) if self._number is not None else (m.Pause, m.Detach)
        return "soon" if any(isinstance(message, ends) for message in inbox) else ""
