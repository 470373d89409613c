"""`stepdbg.phase("augment")`: a script names a phase of its own. Does nothing outside the debugger."""

from __future__ import annotations

import sys
from contextlib import ContextDecorator
from types import FrameType, TracebackType
from typing import Any, Protocol

__all__ = ["phase"]


class PhaseObserver(Protocol):
    """What the agent puts into `observer` while it watches this process."""

    def enter_custom(self, name: str, frame: FrameType) -> Any:
        """A custom phase begins in the user's `frame`; what is returned is handed to `leave_custom`."""

    def leave_custom(self, token: Any, error: BaseException | None) -> None:
        """The custom phase of `token` ends, by `error` if there is one."""


observer: PhaseObserver | None = None


class phase(ContextDecorator):  # noqa: N801  (used as a function: `with stepdbg.phase("augment"):`)
    """Mark the enclosed lines (or the decorated function) as one phase called `name`.

    Under stepdbg the script can be stopped before it, and it is timed; elsewhere entering and leaving it costs two
    attribute look-ups. Exceptions pass through unchanged.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name.strip():
            raise ValueError('a phase needs a name: stepdbg.phase("augment")')
        self.name = name.strip()
        self._tokens: list[Any] = []

    def _recreate_cm(self) -> phase:
        return phase(self.name)

    def __enter__(self) -> phase:  # noqa: PYI034  (typing.Self is Python 3.11's)
        token = None
        if observer is not None:
            token = observer.enter_custom(self.name, sys._getframe(1))
        self._tokens.append(token)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token = self._tokens.pop()
        if observer is not None and token is not None:
            observer.leave_custom(token, error)
