"""Ctrl-C while the script is held: it is for what is answered just then, else for the script once that goes on.

A batch shares its terminal with the script, so both get the signal. In the middle of an answer a KeyboardInterrupt
would go through our own code into the script, with a message half sent. So a handler of ours stands in for the script's
as long as it is held, in the main thread (in no other is a handler run), and what was there is put back exactly.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_ROOM = 512
"""Bytes that a `struct sigaction` takes at most."""


class Interrupts:
    """Takes Ctrl-C while ours. One per session."""

    def __init__(self) -> None:
        self.evaluating: Callable[[], None] | None = None
        """Called where the user's own code runs for an answer: raises what ends that."""
        self.answering = False
        """Whether a question is answered now."""
        self.came = False
        """Whether one came for the question that is answered now."""
        self._waiting = 0
        """Those that the script gets once it goes on."""

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """In here none reaches the script; what came for it does at the end. Does nothing where it stands in already,
        in other threads than the main one, and where the script ignores the signal or leaves it to the system.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: Any = signal.getsignal(signal.SIGINT)
        if not callable(before) or before == self._handle:  # one method is another object each time
            yield
            return
        exact, put_back = ctypes.create_string_buffer(_ROOM), False
        system = ctypes.CDLL(None)
        system.sigaction(int(signal.SIGINT), None, exact)
        signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGINT) == self._handle:  # else the user has set another one
                signal.signal(signal.SIGINT, before)
                system.sigaction(int(signal.SIGINT), exact, None)  # flags, and handlers that Python knows nothing of
                put_back = True
            waiting, self._waiting = self._waiting, 0
        if waiting and put_back:
            signal.raise_signal(signal.SIGINT)

    def send(self) -> bool:
        """From another thread: have `evaluating` called in the main one, also where that waits in a call into C that
        heeds signals. False: nobody stands in for the script's handler now.
        """
        if signal.getsignal(signal.SIGINT) != self._handle:
            return False
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return True

    def _handle(self, _number: int, _frame: Any) -> None:
        if self.evaluating is not None:
            self.came = True
            self.evaluating()
        elif self.answering:
            self.came = True
        else:
            self._waiting += 1
