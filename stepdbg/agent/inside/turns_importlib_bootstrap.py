"""Sees each torch operation of an optimizer's step while the step is gone into: a dispatch mode, pushed for that alone.

The file has its name for the same reason as `wrap_importlib_bootstrap.py`. The mode runs each operation as it would
have been run; which parameter it works on, and whether to hold the script before it, is decided in `turns.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stepdbg.agent.dynamo import step_over
from stepdbg.agent.inside.ops_importlib_bootstrap import SeesOps, forget_these_frames

if TYPE_CHECKING:
    from stepdbg.agent.inside.turns import Turns


class TurnMode(SeesOps):
    """Tells `turns` of each operation, before it runs."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._turns = turns

    def push(self) -> None:  # type: ignore[override]
        """Put it on top of all modes."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def pop(self) -> None:
        """Take it off."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

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
            forget_these_frames(error)
            raise


step_over(TurnMode.__torch_dispatch__, and_what_it_calls=False)
