"""Places inside a FORWARD or LOSS: before and after each module's call, and each operation of a module."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import Module

from stepdbg.agent.inside import held
from stepdbg.agent.inside.ops_importlib_bootstrap import OpMode
from stepdbg.protocol.inside import Grain, Place

if TYPE_CHECKING:
    from types import FrameType

    from stepdbg.agent.inside.inside import Inside

AS_ONE = "compiled: runs as one"


class Call:
    """One module call under way. It does not hold the module."""

    __slots__ = ("compiled", "opened", "pushed")

    def __init__(self) -> None:
        self.compiled = False
        self.opened = False
        """Whether its operations are shown because it was gone into."""
        self.pushed = False
        """Whether the dispatch mode was pushed for it."""


class Forward:
    """The calls under way in the one thread whose forward this is. There is one for each phase that is gone into."""

    def __init__(self, inside: Inside, phase_module: Any) -> None:
        self._inside = inside
        self._thread = get_ident()
        self._depth = 0
        self._compiled = 0
        """Calls under way whose inside is compiled."""
        self._leaf = False
        """Whether operations are shown because a module was gone into, not because something waits for one."""
        self._mode: OpMode | None = None
        if inside.waits_for(Grain.OP) or (inside.level > 0 and is_leaf(phase_module)):
            self._leaf = inside.level > 0 and is_leaf(phase_module)
            self._mode = self._pushed()

    def ends(self) -> None:
        """The phase has been left, however."""
        mode, self._mode = self._mode, None
        if mode is not None:
            mode.pop()

    # ── modules ─────────────────────────────────────────────────────────────────────────────────────────────

    def before(self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], frame: FrameType) -> Call | None:
        """A module inside is about to be called from `frame`. None: it is none of this forward's."""
        if get_ident() != self._thread or self._compiled:
            return None
        inside = self._inside
        self._depth += 1
        if inside.may_stop(Grain.MODULE, self._depth):
            path, kind = inside.module_called(module)
            place = Place(Grain.MODULE, "before", path, kind, self._depth, detail=AS_ONE if runs_as_one(module) else "")
            try:
                inside.reached(place, frame, lambda: held.of_call(args, kwargs))
            except BaseException:
                self._depth -= 1
                raise
        call = Call()
        if runs_as_one(module):
            call.compiled = True
            self._compiled += 1
        elif inside.level > self._depth and is_leaf(module):
            call.opened = self._leaf = True
            if self._mode is None:
                self._mode = self._pushed()
                call.pushed = self._mode is not None
        return call

    def after(
        self,
        call: Call,
        module: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        frame: FrameType | None,
        *results: Any,
    ) -> None:
        """It has returned one result, or none: it has raised."""
        depth = self._depth
        self._depth -= 1
        if call.compiled:
            self._compiled -= 1
        if call.opened:
            self._leaf = False
            if call.pushed and self._mode is not None:
                self._mode.pop()
                self._mode = None
        inside = self._inside
        if not results or not inside.may_stop(Grain.MODULE, depth):
            return
        path, kind = inside.module_called(module)
        place = Place(Grain.MODULE, "after", path, kind, depth, detail=AS_ONE if runs_as_one(module) else "")
        inside.reached(place, frame, lambda: held.of_call(args, kwargs, results))

    # ── operations ──────────────────────────────────────────────────────────────────────────────────────────

    def op_before(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """An operation is about to run. Returns whether to tell of its end."""
        depth = self._depth + 1
        if get_ident() != self._thread or not self._shows(depth):
            return False
        place = Place(Grain.OP, "before", str(func), "", depth)
        self._tell(place, lambda: held.of_call(args, kwargs))
        return True

    def op_after(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """It has returned."""
        depth = self._depth + 1
        if self._shows(depth):
            place = Place(Grain.OP, "after", str(func), "", depth)
            self._tell(place, lambda: held.of_call(args, kwargs, (result,)))

    def _tell(self, place: Place, holding: held.Holding) -> None:
        try:
            self._inside.reached(place, sys._getframe(2), holding, steps=self._leaf)
        except Exception as error:
            self._inside.broken(error)

    def _shows(self, depth: int) -> bool:
        inside = self._inside
        return inside.waits_for(Grain.OP) or (self._leaf and inside.level >= depth)

    def _pushed(self) -> OpMode | None:
        """A new mode, on top of all others. None inside a torch.func transform, which has operations of its own."""
        if in_a_transform():
            return None
        mode = OpMode(self)
        mode.push()
        return mode


def in_a_transform() -> bool:
    """Whether a torch.func transform is under way."""
    functorch: Any = getattr(torch._C, "_functorch", None)
    return functorch is not None and functorch.peek_interpreter_stack() is not None


def is_leaf(module: Any) -> bool:
    """Whether what runs inside are operations: a module without others in it, or a function."""
    if not isinstance(module, Module):
        return True
    return not runs_as_one(module) and not any(
        isinstance(child, Module) for child in module.__dict__.get("_modules", {}).values()
    )


def runs_as_one(module: Any) -> bool:
    """Whether what is inside is compiled, so that nothing of Python's is called there."""
    if not isinstance(module, Module):
        return False
    if module.__dict__.get("_compiled_call_impl") is not None:
        return True
    return any(base.__name__ in ("OptimizedModule", "ScriptModule") for base in type(module).__mro__)
