"""Breakpoints on a source line of the user's code.

Python 3.12 and later: `sys.monitoring`, with LINE events on the code objects of that line only; nothing else pays, and
the script's own tracers and profilers are not disturbed.

Earlier there is only `sys.settrace`, which a script can see, which keeps the values of its variables alive (each event
leaves a snapshot of them on the frame), and which makes every call pay. So there a line is stopped at only where a
phase or module is called from it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import CodeType, FrameType, FunctionType
from typing import Any

from stepdbg.agent import frames

EVERY_LINE = sys.version_info >= (3, 12)

NAME = "stepdbg"


def codes_of(file: str, stack: Iterable[FrameType]) -> list[CodeType]:
    """Every code object of that file which can be found: from the running frames, and from loaded modules."""
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

    def __init__(self, reached: Callable[[CodeType, int], None]) -> None:
        self._reached = reached
        self._tool: int | None = None
        self._codes: dict[int, tuple[CodeType, frozenset[int]]] = {}

    def arm(self, wanted: list[tuple[str, int]], stack: list[FrameType]) -> str:
        """Have exactly these lines told of. Returns why they cannot be, one line; empty where they can."""
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is None:
            return ""
        codes: dict[int, tuple[CodeType, frozenset[int]]] = {}
        for file in {file for file, _ in wanted}:
            numbers = frozenset(line for f, line in wanted if f == file)
            for code in codes_of(file, stack):
                own = numbers & set(lines_of(code))
                if own:
                    codes[id(code)] = code, own
        if codes and self._tool is None:
            free = [number for number in (4, 3) if monitoring.get_tool(number) is None]
            if not free:
                return "no id is free for a tool of sys.monitoring"
            self._tool = free[0]
            monitoring.use_tool_id(self._tool, NAME)
            monitoring.register_callback(self._tool, monitoring.events.LINE, self._line)
        for key, (code, _) in self._codes.items():
            if key not in codes:
                monitoring.set_local_events(self._tool, code, 0)
        self._codes = codes
        for code, _ in codes.values():
            monitoring.set_local_events(self._tool, code, monitoring.events.LINE)
        if not codes and self._tool is not None:
            monitoring.register_callback(self._tool, monitoring.events.LINE, None)
            monitoring.free_tool_id(self._tool)
            self._tool = None
        return ""

    def _line(self, code: CodeType, line: int) -> None:
        armed = self._codes.get(id(code))
        if armed is not None and line in armed[1]:
            self._reached(code, line)
