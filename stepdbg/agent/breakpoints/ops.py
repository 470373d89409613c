"""Seeing every operation of the script's thread, while a watch is armed that needs it.

A dispatch mode at the very bottom of the thread's stack of modes: the script's own modes are entered and left above it
as in a bare run. It does nothing inside a backward or an optimizer step. What compiled code does inside is not seen.

What a script could notice while it is armed: each operation takes some 5 µs longer; a warning that torch's C++ code
gives is attributed to this file; `torch._C._len_torch_dispatch_stack()`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stepdbg.agent import frames
from stepdbg.agent.dynamo import step_over

Seen = Callable[[Any, Any, Any, Any], None]
"""Told of an operation that has run: the operation, its arguments, and what it returned."""


class Ops(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
    """One for the session; `before` and `after` are called around each operation while it is in."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.before: Callable[[Any, Any], Any] = lambda _func, _args: None
        self.after: Callable[[Any, Any, Any, Any, Any], None] = lambda _func, _args, _kwargs, _result, _before: None
        self.on = False
        """Whether to tell: else it only passes on."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch would import dynamo for the first operation

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        return True

    def put_in(self) -> None:
        """Be the lowest mode of this thread's stack. Call outside of any dispatch."""
        above = [torch._C._pop_torch_dispatch_stack(None) for _ in range(torch._C._len_torch_dispatch_stack())]
        if all(mode is not self for mode in above):
            above.append(self)
        while above:
            torch._C._push_on_torch_dispatch_stack(above.pop())

    def is_lowest(self) -> bool:
        """Whether it is in, in this thread."""
        return torch._C._len_torch_dispatch_stack() > 0 and torch._C._get_dispatch_stack_at(0) is self

    def take_out(self) -> None:
        """Be no mode of this thread's any more."""
        above = [torch._C._pop_torch_dispatch_stack(None) for _ in range(torch._C._len_torch_dispatch_stack())]
        while above:
            mode = above.pop()
            if mode is not self:
                torch._C._push_on_torch_dispatch_stack(mode)


def _dispatch(self: Ops, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
    # What we compute while `torch.jit.trace` records would be in its graph.
    told = self.on and torch._C._current_graph_task_id() == -1 and torch._C._get_tracing_state() is None
    before = self.before(func, args) if told else None
    try:
        with torch._C.DisableTorchFunctionSubclass():  # a subclass's `__torch_function__` has had its turn
            try:
                result = func(*args, **kwargs) if kwargs else func(*args)
            except RuntimeError as error:
                if not _is_about_numbers(error, func, args):
                    raise
                result = func(*_with_tensors(func, args), **(kwargs or {}))
    except BaseException as error:
        _forget_frames(error)
        raise
    if told:
        self.after(func, args, kwargs, result, before)
    return result


_NUMBERS = {bool: torch.bool, int: torch.int64, float: torch.float64, complex: torch.complex128}


def _is_about_numbers(error: RuntimeError, func: Any, args: Any) -> bool:
    """Whether it refuses a number in the place of a tensor.

    A tensor of one number that TorchScript keeps for a number of the code (`x + 1`, traced) comes to any mode as that
    number, which operations other than arithmetic do not take back: they have not run.
    """
    pairs = zip(args, _with_tensors(func, args), strict=False)
    return "Expected a value of type 'Tensor'" in str(error) and any(after is not before for before, after in pairs)


def _with_tensors(func: Any, args: Any) -> list[Any]:
    made = list(args)
    for number, argument in enumerate(func._schema.arguments[: len(made)]):
        dtype = _NUMBERS.get(type(made[number]))
        if dtype is not None and str(argument.type) == "Tensor":
            made[number] = torch.scalar_tensor(made[number], dtype=dtype, device="cpu")
    return made


def _forget_frames(error: BaseException) -> None:
    """Take this file's entry, and that of torch's `OpOverload.__call__` below it, off the front of the traceback."""
    trace = error.__traceback__
    if trace is not None:
        trace = trace.tb_next
    while trace is not None and trace.tb_frame.f_code.co_filename.endswith("_ops.py"):
        trace = trace.tb_next
    error.__traceback__ = trace


# Assigned afterwards: the class would wrap a method of its own in what imports dynamo, before torch 2.8 always.
Ops.__torch_dispatch__ = _dispatch  # type: ignore[method-assign, assignment]
step_over(_dispatch, and_what_it_calls=True)


def user_frame() -> FrameType | None:
    """The innermost frame of the user's code; that of the caller where there is none. Some 0.2 µs a frame."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        users = _users.get(code)
        if users is None:
            if len(_users) > 50_000:
                _users.clear()
            users = _users[code] = frames.is_user(code.co_filename)
        if users:
            return frame
        frame = frame.f_back
    return None


_users: dict[Any, bool] = {}
"""By code object: whether it is the user's."""


def place_of(frame: FrameType | None) -> str:
    """As in "train.py:12"."""
    if frame is None:
        return "no line of yours"
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


def tensors_in(values: Any) -> list[torch.Tensor]:
    """Plain tensors among the arguments of an operation, also in its lists."""
    found: list[torch.Tensor] = []
    for value in values:
        if type(value) in PLAIN:
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(tensors_in(value))
    return found


PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})
