"""`watch nan` inside compiled code, where operations are fused and not seen: each call of a compiled module as a whole.

The wrapper of module calls tells of each call while the watch is armed. What comes out is looked at, and only where it
is not finite what went in. A compiled function that is no module is not told of: only its node can be named.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stepdbg.agent import frames
from stepdbg.agent.breakpoints.ops import user_frame
from stepdbg.agent.calls import tensors_in
from stepdbg.agent.inside.forward import runs_as_one

MOST_REGIONS = 10_000
"""Calls of compiled modules that are remembered for their backward, at most."""

NOT_TOLD_APART = "inside compiled code: not told apart"

BACKWARD = "CompiledFunctionBackward"
"""The node of what `torch.compile` has compiled."""

NODES = frozenset({BACKWARD, "CppFunction"})
"""Classes of nodes that stand for many operations; the second one is `torch.jit`'s, and that of C++ extensions."""

_CALLS = frozenset({torch.nn.Module._call_impl.__code__, torch.nn.Module._wrapped_call_impl.__code__})


class Region(NamedTuple):
    """One call of a compiled module: it made the nodes from `first` to before `last`."""

    first: int
    last: int
    module: weakref.ref[Any]
    code: CodeType | None
    line: int

    @property
    def place(self) -> str:
        """As in "train.py:12"."""
        if self.code is None:
            return "no line of yours"
        return f"{self.code.co_filename.rpartition('/')[2]}:{self.line}"


class Regions:
    """The calls of compiled modules, in order."""

    def __init__(self) -> None:
        self._calls: deque[Region] = deque(maxlen=MOST_REGIONS)
        self._told: set[int] = set()
        """Ids of the compiled modules under way in which an operation has been told of already."""

    def clear(self) -> None:
        """Forget all of them."""
        self._calls.clear()
        self._told.clear()

    def found_inside(self, frame: FrameType | None) -> None:
        """An operation that is seen has been told of: the compiled modules around it made nothing of their own."""
        self._told.update(id(module) for module in modules_around(frame) if runs_as_one(module))

    def returned(self, module: Any, first: int, last: int) -> Region | None:
        """The call of that compiled module is over; None: what it puts out need not be looked at."""
        frame = user_frame()
        code = frame.f_code if frame is not None else None
        region = Region(first, last, weakref.ref(module), code, frame.f_lineno if frame is not None else 0)
        self._calls.append(region)
        if id(module) in self._told:
            self._told.discard(id(module))
            return None
        return region

    def that_made(self, seq: int) -> Region | None:
        """The innermost call that made the node of that number."""
        return next((region for region in self._calls if region.first <= seq < region.last), None)


def inputs_of(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """What it computes from, as far as that is not written to in the call: no buffers."""
    for value in (*args, *kwargs.values()):
        yield from tensors_in(value)
    for _, parameter in torch.nn.Module.named_parameters(module):
        yield parameter


def modules_around(frame: FrameType | None) -> Iterator[Any]:
    """The modules whose calls are under way in `frame` and its callers, the innermost first."""
    last: Any = None
    while frame is not None:
        if frame.f_code in _CALLS:
            module = frames.variables(frame).get("self")
            if isinstance(module, torch.nn.Module) and module is not last:
                last = module
                yield module
        frame = frame.f_back


def class_of(module: Any) -> str:
    """Of a module that `torch.compile` has wrapped, that of the module inside."""
    inner = module.__dict__.get("_modules", {}).get("_orig_mod") if type(module).__name__ == "OptimizedModule" else None
    return type(inner if inner is not None else module).__name__
