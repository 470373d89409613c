"""Lines told of by `sys.settrace`: on Python 3.11 and older, and only while one is armed.

The function that is called for each call of a Python function (0.2 µs) looks its code object up by id, and has lines
told of only in frames whose code has an armed line. It is put into each thread that reaches a phase while a line is
armed, and into the frames that this thread is in.

Python makes a snapshot of a frame's variables for each event, which would keep what they hold until the frame's next
event, or its end: and it writes the snapshot back when our function returns. `forget` lets go of it at once, so that no
tensor lives longer, and nothing is written back over what another thread or the user has set. It takes 0.6 µs, so of
functions without an armed line only those get it whose snapshot could keep something that their variables do not.

A script that traces itself is left alone: see `Traced.sync`.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable
from threading import get_ident
from types import CodeType, FrameType, MethodType
from typing import Any

from stepdbg.agent.breakpoints import lines
from stepdbg.agent.dynamo import step_over

_OPTIMIZED, _RESUMED = 0x1, 0x20 | 0x80 | 0x200
"""Flags of code: variables in slots of the frame; a generator, coroutine or asynchronous generator."""

_STORE_FAST, _DELETE_FAST = 125, 126
"""In the bytecode of Python 3.10 and 3.11, the only ones that this is for."""

_F_LOCALS = 7 * ctypes.sizeof(ctypes.c_void_p)
"""Where a frame of Python 3.10 keeps its snapshot; looked at before it is relied on."""

# Functions of our own, since what the script sets on those of `ctypes.pythonapi` holds for everybody.
_to_slots = ctypes.PYFUNCTYPE(None, ctypes.py_object, ctypes.c_int)(("PyFrame_LocalsToFast", ctypes.pythonapi))
_let_go = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_DecRef", ctypes.pythonapi))

Trace = Callable[[FrameType, str, Any], Any]


def forget(frame: FrameType) -> None:
    """Let go of the snapshot of that frame's variables, in a trace function of it: they are as they are from then on.

    One that the script holds itself (`d = locals()`) is brought up to date, as any tracer does, and left to it.
    """
    if not frame.f_code.co_flags & _OPTIMIZED:
        return  # its variables are in a dictionary anyway
    snapshot = frame.f_locals
    if sys.version_info >= (3, 11):
        # Writes back what was read just now (no other thread runs between these two lines). After that Python thinks
        # that this has been done, and does not do it again.
        _to_slots(frame, 0)
        if sys.getrefcount(snapshot) <= 3:  # the frame's, ours and the call's
            snapshot.clear()
    elif sys.getrefcount(snapshot) <= 3:
        slot = ctypes.c_void_p.from_address(id(frame) + _F_LOCALS)
        if slot.value == id(snapshot):
            slot.value = None
            _let_go(snapshot)


def keeps_more(code: CodeType) -> bool:
    """Whether the snapshot made when such a function is called, or goes on, may keep what its variables do not: an
    argument that it sets or deletes, a variable that it shares with another function, anything of a generator.
    """
    if code.co_flags & _RESUMED or code.co_cellvars or code.co_freevars:
        return True
    starred = bool(code.co_flags & 0x4) + bool(code.co_flags & 0x8)
    arguments = code.co_argcount + code.co_kwonlyargcount + starred
    raw = code.co_code
    return any(op in (_STORE_FAST, _DELETE_FAST) and n < arguments for op, n in zip(raw[::2], raw[1::2], strict=True))


class _Armed:
    """A code object with armed lines: its `told` is the trace function of its frames."""

    __slots__ = ("_traced", "lines")

    def __init__(self, traced: Traced, numbers: frozenset[int]) -> None:
        self._traced = traced
        self.lines = numbers
        """Empty once it is armed no more: a frame of it may be left somewhere."""

    def told(self, frame: FrameType, event: str, _arg: Any) -> None:
        """Something has come to pass in a frame of it. Returns None, which leaves things as they are."""
        try:
            if not self.lines:
                frame.f_trace = None
            elif event == "line" and frame.f_lineno in self.lines:
                self._traced.arrived(frame)
        except BaseException as error:  # the user's Ctrl-C, or the end of an in-process session
            _forget_this_frame(error)
            raise
        finally:
            forget(frame)


_FORGOTTEN = "forgotten"
"""In the place of an `_Armed`: a code without armed lines, whose snapshots are let go of."""

_NEW = "new"
"""A code that was not looked at yet."""


class Traced:
    """The lines that are armed, on Python 3.11 and older."""

    remark = "the script has a tracer of its own: stops only where a phase or module is called from this line"
    """Said of a line while it has one."""

    def __init__(self, reached: lines.Reached) -> None:
        self._reached = reached
        self._wanted: dict[str, frozenset[int]] = {}
        self._codes: dict[int, _Armed | str | None] = {}
        self._alive: dict[int, weakref.ref[CodeType]] = {}
        self._threads: dict[int, int] = {}
        """Which state of `_version` each thread's frames are in."""
        self._version = 0
        for entry in (Traced._called, Traced._gone, _Armed.told):
            step_over(entry, and_what_it_calls=True)

    def arm(self, wanted: list[tuple[str, int]], stack: list[FrameType] | None) -> None:
        """Have exactly these lines told of, from the next `sync` of a thread on."""
        del stack
        files = {file: frozenset(line for f, line in wanted if f == file) for file, _ in wanted}
        if files != self._wanted:
            self._wanted = files
            self._version += 1
            self._forget_codes()

    def foreign(self) -> bool:
        """Whether this thread has a tracer that is not ours."""
        tracer = sys.gettrace()
        return tracer is not None and not self._is_ours(tracer)

    def sync(self, frame: FrameType | None) -> bool:
        """Have this thread, which is in `frame`, tell of what is armed, or take everything out of it. Call it outside
        `quiet()`.

        Returns whether it does: not where the script has put in a tracer of its own, here or since. That one is left
        alone; ours comes back at the next phase after it is gone. A script that puts back what it found puts back ours.
        """
        tracer = sys.gettrace()
        ours = self._is_ours(tracer)
        if tracer is not None and not ours:
            return False
        if not self._wanted:
            if ours:
                sys.settrace(None)
        elif not ours:
            sys.settrace(self._called)
        if not ours or self._threads.get(get_ident()) != self._version:
            self._threads[get_ident()] = self._version
            while frame is not None:
                look = self._look_at(frame.f_code)
                if isinstance(look, _Armed):
                    if frame.f_trace is None or self._is_ours(frame.f_trace):
                        frame.f_trace = look.told
                elif self._is_ours(frame.f_trace):
                    frame.f_trace = None
                frame = frame.f_back
        return True

    def stop(self) -> None:
        """Take everything out of this thread; others take it out at their next call."""
        self.arm([], None)
        self.sync(sys._getframe(1))

    def arrived(self, frame: FrameType) -> None:
        """An armed line is about to run."""
        if self.foreign():  # it has found our function in a frame
            frame.f_trace = None
        else:
            self._reached(frame, frame.f_lineno)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _called(self, frame: FrameType, _event: str, _arg: Any) -> Trace | None:
        """A Python function is called, or goes on after a `yield`."""
        try:
            look = self._codes.get(id(frame.f_code), _NEW)
            if look is None:
                return None
            if look is _NEW:
                look = self._look_at(frame.f_code)
                if not self._wanted:
                    sys.settrace(None)
            if look is not None:
                forget(frame)
                return look.told if isinstance(look, _Armed) else None
        except BaseException as error:  # a Ctrl-C: Python takes us out, and the next phase puts us back in
            _forget_this_frame(error)
            raise
        return None

    def _look_at(self, code: CodeType) -> _Armed | str | None:
        key = id(code)
        if key in self._codes:
            return self._codes[key]
        numbers: frozenset[int] = frozenset()
        for file, wanted in self._wanted.items():
            if lines.same(code.co_filename, file):
                numbers |= wanted & frozenset(lines.lines_of(code))
        look = _Armed(self, numbers) if numbers else _FORGOTTEN if keeps_more(code) else None
        self._alive[key] = weakref.KeyedRef(code, self._gone, key)
        self._codes[key] = look
        return look

    def _gone(self, ref: Any) -> None:
        """A code object is no more: another may get its id."""
        self._alive.pop(ref.key, None)
        self._codes.pop(ref.key, None)

    def _forget_codes(self) -> None:
        for look in list(self._codes.values()):
            if isinstance(look, _Armed):
                look.lines = frozenset()
        self._codes.clear()
        self._alive.clear()

    def _is_ours(self, tracer: Any) -> bool:
        if not isinstance(tracer, MethodType):
            return False
        owner = tracer.__self__
        return owner is self or isinstance(owner, _Armed)


def _forget_this_frame(error: BaseException) -> None:
    """Take the entry of our trace function off the front of the traceback; call it in an `except` clause."""
    trace = error.__traceback__
    if trace is not None:
        error.__traceback__ = trace.tb_next
