"""How many backward passes were added into each gradient since it was cleared last.

Noted while stepping, once somebody has asked: before and after a BACKWARD or ZERO_GRAD, which gradients are new or were
written to. Nothing is read of them, only looked at: identity and version. Half a microsecond a parameter each time.

What is not seen: a gradient that the script itself sets to zero in place (`p.grad.zero_()`), outside of a `zero_grad`.
One that it sets to None is seen. After a free run nothing is known until gradients are cleared again.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from stepdbg.agent.quiet import quiet
from stepdbg.protocol.records import Phase


@dataclass
class _Watched:
    parameter: weakref.ref[Tensor]
    count: int | None = None
    """None: not known since when."""
    grad: weakref.ref[Tensor] | None = None
    version: int = 0


class Passes:
    """Counts, by parameter. Holds tensors weakly."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}

    def watch(self, parameters: Iterable[Tensor]) -> None:
        """Count these from here on, those that are counted already go on. Called at a stop."""
        before, self._watched = self._watched, {}
        for parameter in parameters:
            known = before.get(id(parameter))
            if known is None or known.parameter() is not parameter:
                known = _Watched(weakref.ref(parameter), 0 if parameter.grad is None else None)
            self._watched[id(parameter)] = known

    def stop(self) -> None:
        """Count no more."""
        self._watched.clear()

    def ran_free(self) -> None:
        """Backwards will not be seen: no count is known any more."""
        for watched in self._watched.values():
            watched.count = None

    def count(self, parameter: Tensor) -> int | None:
        """Passes in its gradient; None where that is not known."""
        if parameter.grad is None:
            return 0
        watched = self._watched.get(id(parameter))
        return watched.count if watched is not None and watched.parameter() is parameter else None

    def begins(self) -> None:
        """A BACKWARD or ZERO_GRAD is about to run."""
        if not self._watched:
            return
        with quiet():
            for watched in self._watched.values():
                parameter = watched.parameter()
                grad = parameter.grad if parameter is not None else None
                if grad is None:
                    watched.count, watched.grad = 0, None
                else:
                    watched.grad, watched.version = weakref.ref(grad), _version(grad)

    def ended(self, phase: Phase) -> None:
        """It has run."""
        if not self._watched:
            return
        with quiet():
            for watched in self._watched.values():
                parameter = watched.parameter()
                grad = parameter.grad if parameter is not None else None
                if grad is None:
                    watched.count = 0
                    continue
                same = watched.grad is not None and watched.grad() is grad and watched.version == _version(grad)
                if same:
                    continue
                if phase is Phase.ZERO_GRAD:
                    watched.count = 0
                elif watched.count is not None:
                    watched.count += 1


def _version(grad: Tensor) -> int:
    try:
        return grad._version
    except RuntimeError:
        return -1
