"""Sees each torch operation of a module while operations are stepped: a dispatch mode, put in for that alone.

The file has its name for the same reason as `wrap_importlib_bootstrap.py`. Autograd has done its part before an
operation comes here, so the graph is the bare run's; the operation is then run as it would have been. What
`torch.compile` has compiled runs as one, and is not seen. What a script could still notice while its operations are
stepped: one more mode on torch's stack of modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stepdbg.agent.breakpoints.ops import Ops
from stepdbg.agent.dynamo import step_over

if TYPE_CHECKING:
    from stepdbg.agent.inside.forward import Forward


class SeesOps(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What modes that only look on have in common. One brings its own `__torch_dispatch__`."""

    supports_higher_order_operators = True

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Compiled code is to run as compiled."""
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import dynamo for it, which takes a second; it is stepped over anyway


class OpMode(SeesOps):
    """Tells `forward` of each operation, before and after."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._forward = forward

    def put_in(self, below: int) -> None:
        """Be the mode on top of the `below` lowest ones, under all others.

        The script leaves a mode that it has entered meanwhile by taking off the topmost one: that must be its own.
        """
        above = []
        while modes_below() > below:
            above.append(torch._C._pop_torch_dispatch_stack(None))
        torch._C._push_on_torch_dispatch_stack(self)
        while above:
            torch._C._push_on_torch_dispatch_stack(above.pop())

    def take_out(self) -> None:
        """Be no mode of this thread's any more, wherever in the stack."""
        above = []
        while torch._C._len_torch_dispatch_stack():
            mode = torch._C._pop_torch_dispatch_stack(None)
            if mode is self:
                break
            above.append(mode)
        while above:
            torch._C._push_on_torch_dispatch_stack(above.pop())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run it as it is."""
        del types
        given: Mapping[str, Any] = kwargs or {}
        try:
            told = self._forward.op_before(func, args, given)
            result = func(*args, **given)
            if told:
                self._forward.op_after(func, args, given, result)
        except BaseException as error:
            forget_these_frames(error)
            raise
        return result


def modes_below() -> int:
    """How many modes this thread has. One of `watch nan`, which comes and goes, is the lowest and not counted."""
    depth = int(torch._C._len_torch_dispatch_stack())
    lowest = torch._C._get_dispatch_stack_at(0) if depth else None
    return depth - isinstance(lowest, Ops)


step_over(OpMode.__torch_dispatch__, and_what_it_calls=False)


def forget_these_frames(error: BaseException) -> None:
    """Of a traceback that begins in here, leave what comes after torch's own call of the operation."""
    trace = error.__traceback__
    trace = trace.tb_next if trace is not None else None
    if trace is not None and trace.tb_frame.f_code.co_filename.endswith("_ops.py"):
        trace = trace.tb_next
    error.__traceback__ = trace
