"""What has been read of tensors at one stop: each is read once, however many rows, sorts and predicates need it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.work import Work
from stepdbg.protocol import quantities as q
from stepdbg.protocol.records import TensorStats

BATCH = 1 << 22
"""Elements read between two looks at whether the answer is still wanted: some milliseconds."""

Key = tuple[int, int]


class Before(Protocol):
    """What is known of parameters before their optimizer's last step."""

    def delta_norm(self, tensor: Tensor) -> float | None:
        """2-norm of the value now less the one before; None where that one was not kept."""

    def why_no_delta(self, tensor: Tensor) -> str:
        """Why it is not known, one line."""


class Readings:
    """Norms, statistics and changes, by tensor. `forget` what was read once tensors are written to at the stop."""

    def __init__(self, before: Before | None) -> None:
        self._before = before
        self._norms: dict[Key, tensors.Norm] = {}
        self._stats: dict[Key, tuple[TensorStats | None, str]] = {}
        self._deltas: dict[Key, float | None] = {}

    def forget(self) -> None:
        """Read everything anew."""
        self._norms.clear()
        self._stats.clear()
        self._deltas.clear()

    # ── reading many ────────────────────────────────────────────────────────────────────────────────────────

    def read(self, values: Sequence[Tensor], needs: frozenset[str], work: Work, what: str = "parameters") -> None:
        """Read what `needs` asks for (`quantities.COSTS`) of these, and of their gradients."""
        grads = [g for v in values if (g := v.grad) is not None] if needs & {q.GRAD_NORM, q.GRAD_STATS} else []
        if q.NORM in needs or q.DELTA in needs:
            self._each(values, self._read_norms, self._norms, work, what)
        if q.GRAD_NORM in needs:
            self._each(grads, self._read_norms, self._norms, work, what)
        if q.DELTA in needs and self._before is not None:
            self._each(values, self._read_deltas, self._deltas, work, what)
        if q.STATS in needs:
            self._each(values, self._read_stats, self._stats, work, what)
        if q.GRAD_STATS in needs:
            self._each(grads, self._read_stats, self._stats, work, what)

    def read_odd(self, values: Sequence[Tensor], needs: frozenset[str], work: Work) -> None:
        """Read the statistics only of those whose norms say that elements are not finite."""
        found = []
        if q.STATS in needs:
            found += [v for v in values if self._is_odd(v)]
        if q.GRAD_STATS in needs:
            found += [g for v in values if (g := v.grad) is not None and self._is_odd(g)]
        self._each(found, self._read_stats, self._stats, work, "tensors")

    def nonfinite(self, tensor: Tensor) -> int | None:
        """NaN and Inf elements, as far as its norm or its statistics were read."""
        norm, stats = self.norm(tensor), self.stats(tensor)
        if stats is not None:
            return stats.nan + stats.posinf + stats.neginf
        return norm.nonfinite if norm is not None and norm.value is not None else None

    def _is_odd(self, tensor: Tensor) -> bool:
        norm = self.norm(tensor)
        return norm is not None and bool(norm.nonfinite)

    def _each(
        self,
        wanted: Sequence[Tensor],
        read: Callable[[list[Tensor]], None],
        known: dict[Key, Any],
        work: Work,
        what: str,
    ) -> None:
        batch: list[Tensor] = []
        size, done = 0, 0
        for done, tensor in enumerate(wanted):
            if _key(tensor) in known:
                continue
            if batch and size + _size(tensor) > BATCH:
                read(batch)
                work.step(done, len(wanted), what)
                batch, size = [], 0
            batch.append(tensor)
            size += _size(tensor)
        if batch:
            read(batch)
            work.step(done + 1, len(wanted), what)

    def _read_norms(self, batch: list[Tensor]) -> None:
        for tensor, norm in zip(batch, tensors.norms(batch), strict=True):
            self._norms[_key(tensor)] = norm

    def _read_stats(self, batch: list[Tensor]) -> None:
        for tensor, stats in zip(batch, tensors.statistics_of_many(batch), strict=True):
            self._stats[_key(tensor)] = None if stats.note else stats, stats.note

    def _read_deltas(self, batch: list[Tensor]) -> None:
        assert self._before is not None
        for tensor in batch:
            self._deltas[_key(tensor)] = self._before.delta_norm(tensor)

    # ── what was read ───────────────────────────────────────────────────────────────────────────────────────

    def norm(self, tensor: Tensor) -> tensors.Norm | None:
        """Its norm, as far as it was read."""
        return self._norms.get(_key(tensor))

    def stats(self, tensor: Tensor) -> TensorStats | None:
        """Its statistics, as far as they were read."""
        return self._stats.get(_key(tensor), (None, ""))[0]

    def stats_note(self, tensor: Tensor) -> str:
        """Why there are none although they were read for; else empty."""
        return self._stats.get(_key(tensor), (None, ""))[1]

    def delta(self, tensor: Tensor) -> float | None:
        """By how much the last step changed it, as far as it was read and is known."""
        return self._deltas.get(_key(tensor))

    def why_no_delta(self, tensor: Tensor) -> str:
        """Why it is not known."""
        return self._before.why_no_delta(tensor) if self._before is not None else ""


def total_norm(norms: Sequence[float | None]) -> float | None:
    """The 2-norm of all together, from those of each that are known; None where none is."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known else None


def _size(tensor: Tensor) -> int:
    try:
        return tensor.numel()
    except (RuntimeError, ValueError):
        return 0  # a lazy one has none yet


def _key(tensor: Tensor) -> Key:
    try:
        return id(tensor), tensor._version
    except RuntimeError:
        return id(tensor), -1  # inference tensors keep no version
