"""Comparisons at one stop: made when they are first asked for, then sorted, filtered and handed out page by page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from stepdbg.agent import pointing, tensors
from stepdbg.agent.compare import files
from stepdbg.agent.compare.differ import difference
from stepdbg.agent.compare.files import Source
from stepdbg.agent.compare.sides import Known, pairs
from stepdbg.agent.compare.snapshots import FREED, is_freed
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol.compare import DiffOrder, DiffPage, DiffRow, GetDiff, Side, SideKind

MAX_ROWS = 1000
"""Rows of one page, at most."""

RANK = {"differs": 0, "other shape": 1, "unreadable": 1, "only in A": 2, "only in B": 2, "equal": 3}
"""What comes first, whatever the order."""


class Diffs:
    """Those of one stop: rows of plain data, no tensors."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._made: dict[object, DiffPage] = {}

    def page(self, query: GetDiff, work: Work) -> DiffPage:
        """The rows asked for. Raises NotThereError, GivenUpError."""
        key = (_identity(query.a), _identity(query.b))
        whole = self._made.get(key)
        if whole is None:
            whole = self._made[key] = self._make(query.a, query.b, work)
        fits = pointing.finder(self._known.names, query.pattern)
        rows = [row for row in whole.rows if fits(row.name) or (row.other_name and fits(row.other_name))]
        order = sorted(rows, key=_KEYS[query.order])
        if query.reverse:
            order.reverse()
        start = max(0, query.offset)
        chosen = order[start : start + min(max(0, query.count), MAX_ROWS)]
        return replace(whole, offset=start, total=len(order), rows=tuple(chosen))

    def forget(self) -> None:
        """Something was set: what was compared is not what is there."""
        self._made.clear()

    def _shown(self, row: DiffRow) -> DiffRow:
        """With its names as the user reads them."""
        how = self._known.names.shown
        return replace(row, shown=how.other(row.name), other_shown=how.other(row.other_name))

    def _make(self, a: Side, b: Side, work: Work) -> DiffPage:
        matched = pairs(a, b, self._known)
        total = sum(_numel(x if x is not None else y) for _, _, x, y in matched.pairs)
        done = 0

        def step(elements: int) -> None:
            nonlocal done
            done += elements
            work.step(done, total, "elements")

        left_out = {**matched.a.left_out, **matched.b.left_out}
        rows = []
        for name, other_name, x, y in matched.pairs:
            row = _row(name, other_name, x, y, step)
            if row.state.startswith("only") and row.name in left_out:  # it was there, its values were not
                row = replace(row, state="unreadable", note=left_out[row.name])
            rows.append(self._shown(row))
            step(0)
        states = [row.state for row in rows]
        unpaired = sum(state.startswith("only") for state in states)
        equal, differ = states.count("equal"), states.count("differs")
        return DiffPage(
            stop=self._known.stop,
            offset=0,
            total=len(rows),
            rows=tuple(rows),
            title=matched.a.title,
            other_title=matched.b.title,
            equal=equal,
            differ=differ,
            unpaired=unpaired,
            unlike=len(rows) - equal - differ - unpaired,
            note=matched.note,
        )


def _identity(side: Side) -> object:
    """The side, and of a file what tells that it was written anew."""
    return (side, files.stamp(side.name)) if side.kind is SideKind.FILE else side


def _numel(source: Source | None) -> int:
    return math.prod(source.shape) if source is not None and _shape(source) is not None else 0


def _shape(source: Source) -> tuple[int, ...] | None:
    return tensors.shape_of(source) if isinstance(source, Tensor) else source.shape


def _row(name: str, other_name: str, a: Source | None, b: Source | None, step: Callable[[int], None]) -> DiffRow:
    first = a if a is not None else b
    assert first is not None
    row = DiffRow(name if a is not None else other_name, "equal", _shape(first), dtype=_dtype(first))
    if a is None or b is None:
        (plain, why), numel = _plain(first), _numel(first)
        norm = tensors.norms([plain])[0].value if plain is not None else None
        step(numel)
        if a is None:
            return replace(row, state="only in B", other_norm=norm, numel=numel, note=why)
        return replace(row, state="only in A", norm=norm, numel=numel, note=why)
    row = replace(
        row,
        other_name=other_name if other_name != name else "",
        other_shape=_shape(b) if _shape(b) != _shape(a) else None,
        other_dtype=_dtype(b) if _dtype(b) != _dtype(a) else "",
        numel=_numel(a),
    )
    (x, why), (y, other_why) = _plain(a), _plain(b)
    if x is None or y is None:
        return replace(row, state="unreadable", note=why if x is None else other_why)
    if x.shape != y.shape:
        norm, other_norm = (tensors.norms([t])[0].value for t in (x, y))
        return replace(row, state="other shape", norm=norm, other_norm=other_norm)
    try:
        found = difference(x, y, step)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        return replace(row, state="unreadable", note=f"cannot be compared: {str(error).splitlines()[0]}")
    return replace(
        row,
        state="differs" if found.differing else "equal",
        norm=found.norm,
        other_norm=found.other_norm,
        delta=found.delta,
        ratio=found.ratio,
        most=found.most,
        at=found.at,
        differing=found.differing,
        nonfinite=found.nonfinite,
        note=why or other_why,
    )


def _dtype(source: Source) -> str:
    return str(source.dtype).removeprefix("torch.")


def _plain(source: Source) -> tuple[Tensor | None, str]:
    if isinstance(source, Tensor):
        return (None, FREED) if is_freed(source) else tensors.readable(source)
    try:
        return source.read(), ""
    except NotThereError as error:
        return None, str(error)
    except Exception as error:
        return None, f"cannot be read: {(str(error).splitlines() or [type(error).__name__])[0]}"


def _down(value: float | None) -> float:
    """For sorting the largest first, and what is unknown last."""
    return math.inf if value is None else -value


_KEYS: dict[DiffOrder, Callable[[DiffRow], tuple[float, ...]]] = {
    DiffOrder.RATIO: lambda row: (RANK[row.state], _down(row.ratio), _down(row.delta)),
    DiffOrder.DELTA: lambda row: (RANK[row.state], _down(row.delta)),
    DiffOrder.MOST: lambda row: (RANK[row.state], _down(row.most)),
    DiffOrder.DIFFERING: lambda row: (RANK[row.state], -row.differing),
    DiffOrder.NAME: lambda _row: (),
}
"""Sorting keeps what is alike in the order of A."""
