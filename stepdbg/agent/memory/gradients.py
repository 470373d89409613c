"""What gradients are sums of, and how they were cleared: noted around each BACKWARD and ZERO_GRAD while stepping.

Only once somebody has looked at the memory. Parameters and gradients are held weakly. Beside identity and version, as
`parameters.passes` looks at, this reads the norm of a gradient after its first pass: one pass over data.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.memory.account import bytes_of
from stepdbg.agent.naming import Named
from stepdbg.agent.parameters.passes import Passes
from stepdbg.protocol.memory import Clearing, GradientPage, GradientRow, Summed
from stepdbg.protocol.records import Phase

UNASKED = 32 << 20
"""Bytes of gradients whose norms are read although nobody has looked at gradients one by one."""


@dataclass
class _Watched:
    parameter: weakref.ref[Tensor]
    grad: weakref.ref[Tensor] | None = None
    """The gradient as it was last looked at; None: there was none."""
    nbytes: int = 0
    version: int = -1
    cleared: str = ""
    first_nbytes: int | None = None
    """Of the gradient after its first pass; None: not seen since it was cleared."""
    first_norm: float | None = None


class Gradients:
    """One for the session."""

    def __init__(self) -> None:
        self.closely = False
        """Whether norms are read however large gradients are."""
        self.clearing: Clearing | None = None
        self._watched: dict[int, _Watched] = {}

    def watch(self, parameters: Iterable[Tensor], iteration: int) -> None:
        """Watch these; what is known of them stays. Called at a stop, inside `quiet()`."""
        self._by_hand(iteration)
        before, self._watched = self._watched, {}
        for parameter in parameters:
            known = before.get(id(parameter))
            if known is None or known.parameter() is not parameter:
                known = _Watched(weakref.ref(parameter))
                _look(known, parameter.grad)
            self._watched[id(parameter)] = known

    def stop(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        self.clearing = None

    def ran_free(self) -> None:
        """What happens to gradients will not be seen."""
        self.clearing = None
        for watched in self._watched.values():
            watched.grad, watched.cleared, watched.first_nbytes = None, "", None

    def begins(self, iteration: int) -> None:
        """A BACKWARD or ZERO_GRAD is about to run. Call inside `quiet()`."""
        self._by_hand(iteration)
        for watched in self._watched.values():
            parameter = watched.parameter()
            _look(watched, parameter.grad if parameter is not None else None)

    def ended(self, phase: Phase, passes: Passes, iteration: int) -> None:
        """It has run, and `passes` has counted it. Call inside `quiet()`."""
        if phase is Phase.ZERO_GRAD:
            self._cleared(iteration)
            return
        first: list[tuple[_Watched, Tensor]] = []
        for watched in self._watched.values():
            parameter = watched.parameter()
            grad = parameter.grad if parameter is not None else None
            _look(watched, grad)
            new = grad is not None and watched.first_nbytes is None
            if new and parameter is not None and grad is not None and passes.count(parameter) == 1:
                first.append((watched, grad))
        values = self._norms([grad for _, grad in first])
        for (watched, _), norm in zip(first, values, strict=True):
            watched.first_nbytes, watched.first_norm = watched.nbytes, norm

    # ── answers: call inside `quiet()` ──────────────────────────────────────────────────────────────────────

    def summed(self, passes: Passes, label: str) -> Summed | None:
        """What the gradients with the most passes are the sum of; None where a count is not known.

        `label`: what a phase since backward has made of the gradients; their norms are not compared then.
        """
        found: list[tuple[_Watched, Tensor, int]] = []
        for watched in self._watched.values():
            parameter = watched.parameter()
            grad = parameter.grad if parameter is not None else None
            if parameter is None or grad is None:
                continue
            count = passes.count(parameter)
            if count is None:
                return None
            if count:
                found.append((watched, grad, count))
        if not found:
            return None
        most = max(count for _, _, count in found)
        chosen = [(watched, grad) for watched, grad, count in found if count == most]
        firsts = [watched.first_nbytes for watched, _ in chosen]
        known = [number for number in firsts if number is not None]
        if len(known) < len(firsts):
            return None
        first_norm = norm = None
        if label not in ("clipped", "unscaled"):
            first_norm = _together([watched.first_norm for watched, _ in chosen])
            norm = _together(self._norms([grad for _, grad in chosen])) if first_norm is not None else None
        return Summed(
            passes=most,
            parameters=len(chosen),
            fewest=min(count for _, _, count in found),
            first_nbytes=sum(known),
            nbytes=bytes_of(grad for _, grad in chosen),
            first_norm=first_norm,
            norm=norm,
        )

    def page(
        self,
        parameters: Sequence[Named],
        passes: Passes,
        backwards: int | None,
        stop: int,
        offset: int,
        count: int,
    ) -> GradientPage:
        """Some of these parameters. `backwards`: of the loop, since gradients were cleared."""
        start = max(0, offset)
        rows = []
        for named in parameters[start : start + max(0, count)]:
            parameter = named.tensor
            grad = parameter.grad
            watched = self._watched.get(id(parameter))
            seen = passes.count(parameter)
            state = "none" if grad is None else "dense" if grad.layout is torch.strided else "sparse"
            rows.append(
                GradientRow(
                    name=named.name,
                    nbytes=bytes_of([grad]) if grad is not None else 0,
                    state=state,
                    passes=backwards if seen is None else seen,
                    cleared=watched.cleared if watched is not None else "",
                    passes_of_loop=seen is None and backwards is not None,
                    shown=named.other,
                )
            )
        return GradientPage(stop, start, len(parameters), tuple(rows))

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _norms(self, grads: list[Tensor]) -> list[float | None]:
        if not self.closely and sum(tensors.nbytes(grad) for grad in grads) > UNASKED:
            return [None] * len(grads)
        return [None if norm.nonfinite else norm.value for norm in tensors.norms(grads)]

    def _by_hand(self, iteration: int) -> None:
        """Gradients that are None now and were not: the script has set them so, outside of any zero_grad."""
        count = freed = 0
        for watched in self._watched.values():
            parameter = watched.parameter()
            if parameter is None or watched.grad is None or parameter.grad is not None:
                continue
            count += 1
            freed += watched.nbytes if watched.grad() is None else 0
            watched.cleared, watched.first_nbytes = "none", None
            _look(watched, None)
        if count:
            self.clearing = Clearing(iteration, count, 0, freed, 0, by_hand=True)

    def _cleared(self, iteration: int) -> None:
        to_none = to_zeros = freed = kept = 0
        for watched in self._watched.values():
            parameter = watched.parameter()
            if parameter is None or watched.grad is None:
                continue
            grad, before = parameter.grad, watched.grad()
            if grad is None:
                to_none += 1
                freed += watched.nbytes if before is None else 0
                watched.cleared = "none"
            elif grad is not before or tensors_version(grad) != watched.version:
                to_zeros += 1
                kept += watched.nbytes
                watched.cleared = "zeros"
            else:
                continue
            watched.first_nbytes = None
            del before
            _look(watched, grad)
        self.clearing = Clearing(iteration, to_none, to_zeros, freed, kept)


def _look(watched: _Watched, grad: Tensor | None) -> None:
    if grad is None:
        watched.grad, watched.nbytes, watched.version = None, 0, -1
    else:
        watched.grad, watched.nbytes, watched.version = weakref.ref(grad), bytes_of([grad]), tensors_version(grad)


def tensors_version(tensor: Tensor) -> int:
    """How often it was written in place; -1 where torch does not count."""
    try:
        return tensor._version
    except RuntimeError:
        return -1


def _together(norms: Iterable[float | None]) -> float | None:
    total = 0.0
    for norm in norms:
        if norm is None:
            return None
        total = math.hypot(total, norm)
    return total
