"""`watch change net2.*`: who writes to a parameter outside an optimizer step.

An operation that writes in place is seen as it runs (`ops.py`), so its line is exact. What is no operation
(`p.data = …`) is found at the next boundary by comparing version and storage: then only the two boundaries are known
that it happened between.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from torch import Tensor

from stepdbg.agent.breakpoints.ops import place_of, tensors_in, user_frame
from stepdbg.agent.naming import Named
from stepdbg.protocol.inside import Grain, Place


@dataclass(eq=False)
class _Watched:
    ref: weakref.ref[Tensor]
    name: str
    shown: str
    version: int
    storage: int
    seen: int = 0
    """Writes that were seen as they ran: each may count the version up, once it has run."""


class ChangeWatch:
    """The parameters that one `watch change` is on."""

    def __init__(self, parameters: list[Named]) -> None:
        self._watched = [
            _Watched(weakref.ref(p.tensor), p.name, p.shown, p.tensor._version, _storage(p.tensor)) for p in parameters
        ]
        self.storages: dict[int, _Watched] = {w.storage: w for w in self._watched}
        self._left: tuple[CodeType, int] | None = None
        """Where the last boundary was called from."""

    def after_op(self, func: Any, args: Any, kwargs: Any) -> tuple[Place, FrameType | None, str] | None:
        """An operation has run outside of steps and backwards: what it wrote to, if that is watched."""
        schema = func._schema
        if not schema.is_mutable:
            return None
        written = []
        for position, argument in enumerate(schema.arguments):
            alias = argument.alias_info
            if alias is not None and alias.is_write:
                value = args[position] if position < len(args) else (kwargs or {}).get(argument.name)
                written += tensors_in(value if isinstance(value, (list, tuple)) else (value,))
        for tensor in written:
            watched = self.storages.get(_storage(tensor))
            if watched is not None:
                watched.seen += 1
                frame = user_frame()
                text = f"{watched.shown} was written to by {func} outside an optimizer step; {place_of(frame)}"
                return Place(Grain.OP, "after", str(func), parameter=watched.name, shown=watched.shown), frame, text
        return None

    def at_boundary(self, frame: FrameType, *, stepped: bool) -> str | None:
        """A phase is about to run, called from `frame`. `stepped`: an optimizer has stepped since the last boundary,
        and what was written after it cannot be told from what it wrote.
        """
        changed = [w.shown for w in self._watched if (t := w.ref()) is not None and _differs(w, t)]
        before, self._left = self._left, (frame.f_code, frame.f_lineno)
        self.settle()
        if not changed or stepped:
            return None
        names = changed[0] if len(changed) == 1 else f"{changed[0]} and {len(changed) - 1} more"
        return f"{names} changed outside an optimizer step; {_between(before, frame)}"

    def settle(self) -> None:
        """What it is now is what later is compared with."""
        for watched in self._watched:
            tensor = watched.ref()
            if tensor is not None:
                watched.version, watched.storage, watched.seen = tensor._version, _storage(tensor), 0
        self.storages = {w.storage: w for w in self._watched if w.ref() is not None}


def _storage(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0  # of a sparse or functional tensor there is none


def _differs(watched: _Watched, tensor: Tensor) -> bool:
    return (
        not watched.version <= tensor._version <= watched.version + watched.seen or _storage(tensor) != watched.storage
    )


def _between(before: tuple[CodeType, int] | None, frame: FrameType) -> str:
    """The lines that it can have happened in, as exact as the two boundaries tell."""
    here = place_of(frame)
    if before is None:
        return f"before {here}"
    code, line = before
    name = code.co_filename.rpartition("/")[2]
    if code is not frame.f_code or line >= frame.f_lineno:
        return f"after the phase called at {name}:{line} began, and before {here}"
    lines = sorted({n for *_, n in code.co_lines() if n is not None and line < n < frame.f_lineno})
    if len(lines) == 1:
        return f"between {name}:{line} and {here}, most likely {name}:{lines[0]}"
    return f"between {name}:{line} and {here}"
