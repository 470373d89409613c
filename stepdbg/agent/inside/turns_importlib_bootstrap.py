"""Sees each torch operation of an optimizer's step while the step is gone into: a dispatch mode, pushed for that alone.

The file has its name for the same reason as `wrap_importlib_bootstrap.py`. The mode runs each operation as it would
have been run; which parameter it works on, and whether to hold the script before it, is decided in `turns.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.utils._python_dispatch import TorchDispatchMode

from stepdbg.agent.dynamo import step_over

if TYPE_CHECKING:
    from stepdbg.agent.inside.turns import Turns


class TurnMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tells `turns` of each operation, before it runs."""

    supports_higher_order_operators = True

    def __init__(self, turns: Turns) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._turns = turns

    def push(self) -> None:  # type: ignore[override]
        """Put it on top of all modes."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def pop(self) -> None:
        """Take it off."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Compiled code is to run as compiled."""
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import dynamo for it, which takes a second; it is stepped over anyway

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run it as it is."""
        del types
        given: Mapping[str, Any] = kwargs or {}
        try:
            self._turns.op_before(func, args, given)
            return func(*args, **given)
        except BaseException as error:
            _forget_these_frames(error)
            raise


step_over(TurnMode.__torch_dispatch__, and_what_it_calls=False)


def _forget_these_frames(error: BaseException) -> None:
    """Of a traceback that begins in here, leave what comes after torch's own call of the operation."""
    trace = error.__traceback__
    trace = trace.tb_next if trace is not None else None
    if trace is not None and trace.tb_frame.f_code.co_filename.endswith("_ops.py"):
        trace = trace.tb_next
    error.__traceback__ = trace
