"""Breakpoints on a source line of the user's code: which code has it, and how Python tells that it is about to run.

Python 3.12 and later: `sys.monitoring` (`Lines`), with LINE events on the code objects of that line only; nothing else
pays, the script's own tracers and profilers are not disturbed, and every thread is seen.

Earlier there is only `sys.settrace` (`tracing.Traced`). It makes every Python call pay a little, a script can see it,
and there is one for each thread; so it is in only while a line is armed, in the threads that reach a phase, and not
where the script has a tracer of its own.

An arrival is what Python tells as one: a statement over several lines comes back to its first line before its call is
made, as in pdb. Within one line, `settrace` tells of each round of a loop, `sys.monitoring` of the first.

Where neither can be, a line is stopped at where a phase or module is called from it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import CodeType, FrameType, FunctionType
from typing import Any, Protocol

from stepdbg.agent import frames
from stepdbg.agent.collected import alive
from stepdbg.agent.dynamo import step_over

EVERY_LINE = sys.version_info >= (3, 12)

NAME = "stepdbg"


Reached = Callable[[FrameType, int], None]
"""Told of the frame and the number of a line that is about to run."""


class Teller(Protocol):
    """What tells of lines."""

    remark: str
    """Said of an armed line while it cannot be told of."""

    def arm(self, wanted: list[tuple[str, int]], stack: list[FrameType] | None) -> None:
        """Have exactly these lines told of. `stack`: frames to find their code from; None: there is nothing new."""

    def foreign(self) -> bool:
        """Whether lines cannot be told of in this thread, because of something that the script did."""

    def sync(self, frame: FrameType | None) -> bool:
        """Put in, or take out, what this thread needs. It is in `frame`. Returns whether lines are told of in it."""

    def stop(self) -> None:
        """Take everything out."""


def codes_of(file: str, stack: Iterable[FrameType], line: int = 0) -> list[CodeType]:
    """Every code object of that file which can be found: from the running frames, and from loaded modules; where none
    of them has `line`, from all functions alive (a pass over what the collector knows, 10-30 ms).
    """
    found: dict[int, CodeType] = {}
    for frame in stack:
        _collect(frame.f_code, file, found)
        main = frame.f_globals
        if main.get("__file__") and same(str(main["__file__"]), file):
            for value in list(main.values()):
                _collect_from(value, file, found)
    for module in list(sys.modules.values()):
        if isinstance(path := getattr(module, "__file__", None), str) and same(path, file):
            for value in list(vars(module).values()):
                _collect_from(value, file, found)
    if line and not any(line in lines_of(code) for code in found.values()):
        for function in alive({FunctionType}):
            _collect(function.__code__, file, found)
    return list(found.values())


def _collect_from(value: Any, file: str, found: dict[int, CodeType]) -> None:
    if isinstance(value, FunctionType):
        _collect(value.__code__, file, found)
    elif isinstance(value, type):
        for member in list(vars(value).values()):
            function = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if isinstance(function, FunctionType):
                _collect(function.__code__, file, found)


def _collect(code: CodeType, file: str, found: dict[int, CodeType]) -> None:
    if id(code) in found or not same(code.co_filename, file):
        return
    found[id(code)] = code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _collect(constant, file, found)


@lru_cache(maxsize=4096)
def same(path: str, file: str) -> bool:
    """Whether a code object's file is that one."""
    if path == file or os.path.abspath(path) == file:  # noqa: PTH100
        return True
    return os.path.realpath(path) == os.path.realpath(file)


def lines_of(code: CodeType) -> Iterator[int]:
    """The lines that have code of their own in it."""
    for *_, line in code.co_lines():
        if line is not None and line > 0:
            yield line


def nearest_line(codes: list[CodeType], line: int) -> int | None:
    """The first line at or after `line` that is run; None where there is none."""
    return min((n for code in codes for n in lines_of(code) if n >= line), default=None)


def is_at(frame: FrameType | None, file: str, line: int) -> bool:
    """Whether the innermost frame of the user's in that stack is at that line."""
    while frame is not None and not frames.is_user(frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and frame.f_lineno == line and same(frame.f_code.co_filename, file)


class Lines:
    """The lines that are armed, on Python 3.12 and later."""

    remark = "no id is free for a tool of sys.monitoring: stops only where a phase or module is called from this line"

    def __init__(self, reached: Reached) -> None:
        self._reached = reached
        self._tool: int | None = None
        self._codes: dict[int, tuple[CodeType, frozenset[int]]] = {}
        self._missing: set[tuple[str, int]] = set()
        """Armed lines whose code is not loaded yet."""
        for entry in (Lines._line, Lines._started):
            step_over(entry, and_what_it_calls=True)

    def arm(self, wanted: list[tuple[str, int]], stack: list[FrameType] | None) -> None:
        """Have exactly these lines told of."""
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
        codes: dict[int, tuple[CodeType, frozenset[int]]] = {}
        self._missing = set()
        for file in {file for file, _ in wanted}:
            numbers = frozenset(line for f, line in wanted if f == file)
            known = [code for code, _ in self._codes.values() if same(code.co_filename, file)]
            found = known if stack is None else [*known, *(c for n in numbers for c in codes_of(file, stack, n))]
            for code in found:
                own = numbers & set(lines_of(code))
                if own:
                    codes[id(code)] = code, own
            there = {line for code, own in codes.values() if same(code.co_filename, file) for line in own}
            self._missing |= {(file, line) for line in numbers - there}
        if wanted and self._tool is None:
            free = [number for number in (4, 3) if monitoring.get_tool(number) is None]
            if not free:
                return
            self._tool = free[0]
            monitoring.use_tool_id(self._tool, NAME)
            monitoring.register_callback(self._tool, monitoring.events.LINE, self._line)
            monitoring.register_callback(self._tool, monitoring.events.PY_START, self._started)
        if self._tool is None:
            return
        for key, (code, _) in self._codes.items():
            if key not in codes:
                monitoring.set_local_events(self._tool, code, 0)
        self._codes = codes
        for code, _ in codes.values():
            monitoring.set_local_events(self._tool, code, monitoring.events.LINE)
        # Each code object tells once that it runs for the first time, as long as a line is missing.
        monitoring.set_events(self._tool, monitoring.events.PY_START if self._missing else 0)
        if not wanted:
            for event in (monitoring.events.LINE, monitoring.events.PY_START):
                monitoring.register_callback(self._tool, event, None)
            monitoring.free_tool_id(self._tool)
            self._tool = None

    def foreign(self) -> bool:
        """Whether other tools have taken all ids."""
        return self._tool is None

    def sync(self, frame: FrameType | None) -> bool:
        """All threads are told of alike."""
        del frame
        return self._tool is not None

    def stop(self) -> None:
        """Take everything out."""
        self.arm([], None)

    def _line(self, code: CodeType, line: int) -> None:
        armed = self._codes.get(id(code))
        if armed is None or line not in armed[1]:
            return
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not code:
            frame = frame.f_back
        if frame is not None:
            self._reached(frame, line)

    def _started(self, code: CodeType, _offset: int) -> Any:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
        found = {(file, line) for file, line in self._missing if same(code.co_filename, file)}
        own = frozenset(line for _, line in found) & set(lines_of(code)) if found else None
        if own and self._tool is not None:
            self._codes[id(code)] = code, own
            self._missing -= {(file, line) for file, line in found if line in own}
            monitoring.set_local_events(self._tool, code, monitoring.events.LINE)
            if not self._missing:
                monitoring.set_events(self._tool, 0)
        return monitoring.DISABLE
