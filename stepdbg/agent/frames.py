"""Which frames are the user's own, and what their variables are called."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from types import FrameType, TracebackType
from typing import Any

from stepdbg.protocol.records import Frame

MAX_FRAMES = 64

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120
_CO_OPTIMIZED = 0x1


def _library_folders() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(site.getsitepackages() if hasattr(site, "getsitepackages") else ())
    folders.add(site.getusersitepackages() if hasattr(site, "getusersitepackages") else "")
    both = {f for f in folders if f} | {os.path.realpath(f) for f in folders if f}  # noqa: PTH (speed)
    return tuple(sorted(f.rstrip(os.sep) + os.sep for f in both))


_LIBRARIES = _library_folders()

_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
"""Of another environment too, which is there through PYTHONPATH or a `.pth` file."""


def is_ours(file: str) -> bool:
    """Whether the file belongs to stepdbg."""
    return file.startswith(_OURS)


@lru_cache(maxsize=4096)
def _in_library(file: str) -> bool:
    return file.startswith((*_LIBRARIES, "<frozen ")) or any(folder in file for folder in _PACKAGES)


def is_user(file: str) -> bool:
    """Whether code of this file is the user's: not ours, not torch's, not site-packages', not the standard
    library's. The folder of the script itself always is, wherever it lies.
    """
    if is_ours(file):
        return False
    home = _script_folder()
    if home and file.startswith(home):
        return True
    return not _in_library(file)


def _script_folder() -> str:
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.origin and spec.parent:
        file = spec.origin
    # Only for a script inside a library folder does this decide anything; `python -m torch.distributed.run` and its
    # like are libraries all the same.
    if not isinstance(file, str) or (spec is not None and str(spec.name).split(".")[0] == "torch"):
        return ""
    return os.path.dirname(os.path.abspath(file)) + os.sep  # noqa: PTH100, PTH120


def walk(frame: FrameType | None) -> Iterator[FrameType]:
    """`frame` and its callers, innermost first, without our own."""
    while frame is not None:
        if not is_ours(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back


def describe(frames: list[tuple[FrameType, int]]) -> tuple[tuple[Frame, ...], int | None]:
    """Plain records of (frame, line) pairs, and the index of the innermost one of the user's code."""
    records = []
    here = None
    for index, (frame, line) in enumerate(frames[:MAX_FRAMES]):
        file = frame.f_code.co_filename
        user = is_user(file)
        if user and here is None:
            here = index
        name = frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name
        shown = file if file.startswith("<") else os.path.abspath(file)  # noqa: PTH100
        records.append(Frame(shown, line, name, user))
    if here is None and records:
        here = 0
    return tuple(records), here


def of_call(frame: FrameType | None) -> list[tuple[FrameType, int]]:
    """The stack above a running frame, with the lines being run."""
    return [(f, f.f_lineno or 0) for f in walk(frame)]


def of_traceback(trace: TracebackType | None) -> list[tuple[FrameType, int]]:
    """The stack at which an exception was raised, innermost first."""
    pairs = []
    while trace is not None:
        if not is_ours(trace.tb_frame.f_code.co_filename):
            pairs.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return pairs[::-1]


def clean_traceback(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without our own frames; the remaining entries are relinked in place."""
    first: TracebackType | None = None
    last: TracebackType | None = None
    while trace is not None:
        following = trace.tb_next
        if not is_ours(trace.tb_frame.f_code.co_filename):
            if last is None:
                first = trace
            else:
                last.tb_next = trace
            last = trace
        trace = following
    if last is not None:
        last.tb_next = None
    return first


def variables(frame: FrameType) -> dict[str, Any]:
    """The names visible in one frame that belong to it: its locals (its globals at module level).

    Up to Python 3.12 reading `f_locals` leaves a dictionary on the frame that would keep every value alive until the
    frame ends: later than in a bare run. It is emptied again, unless the script itself holds it (`d = locals()`).
    """
    if not frame.f_code.co_flags & _CO_OPTIMIZED:
        return dict(frame.f_locals)
    snapshot = frame.f_locals
    copy = dict(snapshot)
    if sys.version_info < (3, 13) and sys.getrefcount(snapshot) <= 3:
        snapshot.clear()
    return copy


def write(frame: FrameType, changes: dict[str, Any]) -> None:
    """Set variables of a function that is being run: names of its own, or of the functions around it that it uses."""
    if not changes:
        return
    snapshot = frame.f_locals
    if sys.version_info >= (3, 13):
        for name, value in changes.items():
            snapshot[name] = value
        return
    snapshot.update(changes)
    import ctypes

    ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
    del snapshot
    variables(frame).clear()  # which empties the dictionary on the frame again
