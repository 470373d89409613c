"""Places inside a FORWARD or LOSS: before and after each module's call and each operation that a module does."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import Module

from stepdbg.agent.inside import held
from stepdbg.agent.inside.ops_importlib_bootstrap import OpMode, modes_below
from stepdbg.protocol.inside import Grain, Place

if TYPE_CHECKING:
    from types import FrameType

    from stepdbg.agent.inside.inside import Inside

AS_ONE = "compiled: runs as one"


class Call:
    """One module call under way. It does not hold the module."""

    __slots__ = ("compiled",)

    def __init__(self, compiled: bool) -> None:
        self.compiled = compiled
        """Whether nothing inside of it is told of."""


class Forward:
    """The calls under way in the one thread whose forward this is. There is one for each phase that is gone into.

    What a module does itself, between the calls of its modules, is as deep as these calls. The dispatch mode that sees
    it is in while such operations may be stopped at, and out again while a module inside runs that was not gone into.
    """

    def __init__(self, inside: Inside, phase_module: Any) -> None:
        self._inside = inside
        self._thread = get_ident()
        self._modules = [id(phase_module) if isinstance(phase_module, Module) else 0]
        """Ids of the modules under way, the innermost last; 0: the phase is the call of a function."""
        self._compiled = 0
        """Calls under way whose inside is compiled."""
        self._mode: OpMode | None = None
        self._below = modes_below()
        self._adjust()

    def ends(self) -> None:
        """The phase has been left, however."""
        mode, self._mode = self._mode, None
        if mode is not None:
            mode.take_out()

    # ── modules ─────────────────────────────────────────────────────────────────────────────────────────────

    def before(self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], frame: FrameType) -> Call | None:
        """A module inside is about to be called from `frame`. None: it is none of this forward's."""
        if get_ident() != self._thread or self._compiled:
            return None
        inside, depth, as_one = self._inside, len(self._modules), runs_as_one(module)
        if inside.may_stop(Grain.MODULE, depth):
            path, kind = inside.module_called(module)
            place = Place(Grain.MODULE, "before", path, kind, depth, detail=AS_ONE if as_one else "")
            inside.reached(place, frame, lambda: held.of_call(args, kwargs))
        self._modules.append(id(module))
        self._compiled += as_one
        self._adjust()
        return Call(as_one)

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
        del self._modules[-1]
        self._compiled -= call.compiled
        inside, depth = self._inside, len(self._modules)
        try:
            if results and inside.may_stop(Grain.MODULE, depth):
                path, kind = inside.module_called(module)
                place = Place(Grain.MODULE, "after", path, kind, depth, detail=AS_ONE if call.compiled else "")
                inside.reached(place, frame, lambda: held.of_call(args, kwargs, results))
        finally:
            self._adjust()

    # ── operations ──────────────────────────────────────────────────────────────────────────────────────────

    def op_before(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """An operation is about to run. Returns whether to tell of its end."""
        if get_ident() != self._thread or not (self._steps() or self._inside.waits_for(Grain.OP)):
            return False
        self._tell("before", func, lambda: held.of_call(args, kwargs))
        return True

    def op_after(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """It has returned."""
        if self._steps() or self._inside.waits_for(Grain.OP):
            self._tell("after", func, lambda: held.of_call(args, kwargs, (result,)))

    def _tell(self, when: str, func: Any, holding: held.Holding) -> None:
        inside = self._inside
        try:
            place = Place(Grain.OP, when, str(func), inside.path_of(self._modules[-1]), len(self._modules))
            inside.reached(place, sys._getframe(2), holding, steps=self._steps())
        except Exception as error:
            inside.broken(error)

    def _steps(self) -> bool:
        """Whether the user steps at the operations of the innermost module; those of a backward in it are none."""
        deep_enough = self._inside.level >= len(self._modules) and not self._compiled
        return deep_enough and torch._C._current_graph_task_id() == -1

    def _adjust(self) -> None:
        """Have the mode in where operations may be stopped at from here on, and else out.

        A torch.func transform has operations of its own: in there all stays as it is.
        """
        inside = self._inside
        wanted = inside.waits_for(Grain.OP) or (inside.level >= len(self._modules) and not self._compiled)
        if wanted == (self._mode is not None) or in_a_transform():
            return
        if self._mode is not None:
            self.ends()
        else:
            self._mode = OpMode(self)
            self._mode.put_in(self._below)


def in_a_transform() -> bool:
    """Whether a torch.func transform is under way."""
    functorch: Any = getattr(torch._C, "_functorch", None)
    return functorch is not None and functorch.peek_interpreter_stack() is not None


def runs_as_one(module: Any) -> bool:
    """Whether what is inside is compiled, so that nothing of Python's is called there."""
    if not isinstance(module, Module):
        return False
    if module.__dict__.get("_compiled_call_impl") is not None:
        return True
    return any(base.__name__ in ("OptimizedModule", "ScriptModule") for base in type(module).__mro__)
