"""Records of the rows on a page, from what has been read of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

import torch
from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.graph.record import GraphRecord
from stepdbg.agent.naming import Names
from stepdbg.agent.parameters.entries import PARAMETER, Entry
from stepdbg.agent.parameters.entries import shown as shown_name
from stepdbg.agent.parameters.facts import Facts, grad_of
from stepdbg.agent.parameters.marks import Marks, mark
from stepdbg.agent.parameters.plan import MODULE, Plan, Shown
from stepdbg.agent.parameters.readings import total_norm
from stepdbg.protocol import quantities as q
from stepdbg.protocol.records import ParameterRow


def marks_of(entry: Entry, recorded: GraphRecord | None) -> tuple[str, ...]:
    """What is special about a parameter, of `protocol.graph.MARKS`."""
    standing = recorded.standing if recorded is not None else None
    if standing is not None:
        marks = standing.marks.get(id(entry.tensor), ())
        # Freezing and thawing show at once, not only in the next graph.
        marks = tuple(mark for mark in marks if mark != "frozen")
        return (*marks, "frozen") if not entry.tensor.requires_grad else marks
    # What does not take a graph to know.
    known = (("shared", bool(entry.aliases)), ("frozen", not entry.tensor.requires_grad))
    return tuple(mark for mark, is_so in known if is_so)


class Maker:
    """Makes rows, and leaves the marks of what they show to the next stop."""

    def __init__(self, names: Names, facts: Facts, before: Marks | None, after: Marks, grad_label: str) -> None:
        self._facts = facts
        self._readings = facts.readings
        self._before = before
        self._after = after
        self._grad_label = grad_label
        self._classes = dict(names.paths.values())
        self._names = names

    def row(self, shown: Shown, plan: Plan, recorded: GraphRecord | None, needs: frozenset[str]) -> ParameterRow:
        """The row of a line of the plan; of what `needs` asks for, all has been read."""
        line = shown.line
        if line.entry is not None:
            return self._of_tensor(shown, line.entry, recorded, needs)
        if line.kind != MODULE:
            return self._of_section(shown)
        if needs not in line.totals:
            line.totals[needs] = self._of_module(shown, plan.below(line), needs)
        return replace(line.totals[needs], level=shown.level, above=shown.above)

    def _of_tensor(
        self, shown: Shown, entry: Entry, recorded: GraphRecord | None, needs: frozenset[str]
    ) -> ParameterRow:
        tensor, grad, facts, readings = entry.tensor, grad_of(entry), self._facts, self._readings
        shape = tensors.shape_of(tensor)
        norm = readings.norm(tensor)
        grad_norm = readings.norm(grad) if grad is not None else None
        is_parameter = entry.kind == PARAMETER
        now = mark(tensor, norm.value if norm is not None else None)
        grad_now = mark(grad, grad_norm.value if grad_norm is not None else None) if grad is not None else None
        before = self._before if not entry.number else None
        if not entry.number:
            self._after.note(entry.name, now, grad_now)
        delta = readings.delta(tensor) if is_parameter else None
        passes, of_loop = facts.passes(entry)
        owner, owner_kind = facts.owner(entry)
        standing = recorded.standing if recorded is not None and is_parameter else None
        note = (norm.note if norm is not None else "") or (grad_norm.note if grad_norm is not None else "")
        return ParameterRow(
            name=entry.name,
            aliases=entry.aliases,
            shape=shape,
            dtype="number" if entry.number else tensors.dtype_name(tensor),
            device=str(tensor.device),
            numel=0 if shape is None else tensor.numel(),
            nbytes=0 if shape is None else tensors.nbytes(tensor),
            requires_grad=tensor.requires_grad,
            owner=owner,
            owner_kind=owner_kind,
            value_norm=norm.value if norm is not None else None,
            grad_norm=grad_norm.value if grad_norm is not None else None,
            grad=_grad_state(grad, unread=q.GRAD_NORM not in needs, norm=facts.norm(grad)),
            value_changed=before.value_changed(entry.name, now) if before is not None else None,
            grad_changed=before.grad_changed(entry.name, grad_now) if before is not None and is_parameter else None,
            nonfinite=norm.nonfinite if norm is not None else 0,
            grad_nonfinite=grad_norm.nonfinite if grad_norm is not None else 0,
            grad_label=self._grad_label if grad is not None else "",
            reached=None if recorded is None or not is_parameter else id(tensor) in recorded.leaves,
            note=note or (readings.stats_note(tensor) if q.STATS in needs else ""),
            marks=marks_of(entry, recorded) if is_parameter else (),
            cause=standing.causes.get(id(tensor), "") if standing is not None else "",
            kind=entry.kind,
            module=facts.module(entry),
            lr=facts.of_group(entry, "lr"),
            weight_decay=facts.of_group(entry, "weight_decay"),
            delta_norm=delta,
            delta_note=readings.why_no_delta(tensor) if is_parameter and q.DELTA in needs and delta is None else "",
            stats=readings.stats(tensor) if q.STATS in needs else None,
            grad_stats=readings.stats(grad) if q.GRAD_STATS in needs and grad is not None else None,
            passes=passes,
            passes_of_loop=of_loop,
            **self._shown(entry),
            **_place(shown),
        )

    def _shown(self, entry: Entry) -> _Shown:
        """Its names as the user reads them, where they are others."""
        name, aliases = shown_name(self._names, entry), tuple(map(self._names.shown, entry.aliases))
        return {
            "shown": name if name != entry.name else "",
            "shown_aliases": aliases if aliases != entry.aliases else (),
        }

    def _of_module(self, shown: Shown, below: list[Entry], needs: frozenset[str]) -> ParameterRow:
        """Totals of the parameters below it: norms are the roots of the sums of squares."""
        line = shown.line
        values = [p.tensor for p in below]
        grads = [g for v in values if (g := v.grad) is not None]
        norms = [n for v in values if (n := self._readings.norm(v)) is not None]
        grad_norms = [n for g in grads if (n := self._readings.norm(g)) is not None]
        owners = {self._facts.owner(p) for p in below}
        owner, kind = owners.pop() if len(owners) == 1 else ("", "")
        deltas = [self._readings.delta(v) for v in values]
        sizes = [v for v in values if tensors.shape_of(v) is not None]
        return ParameterRow(
            name=line.name,
            aliases=(),
            shape=None,
            dtype=_common([tensors.dtype_name(v) for v in values]),
            device=_common([str(v.device) for v in values]),
            numel=sum(v.numel() for v in sizes),
            nbytes=sum(tensors.nbytes(v) for v in sizes),
            requires_grad=any(v.requires_grad for v in values),
            owner=owner,
            owner_kind=kind,
            value_norm=total_norm([n.value for n in norms]),
            grad_norm=total_norm([n.value for n in grad_norms]),
            grad="none" if not grads else "dense",
            value_changed=None,
            grad_changed=None,
            nonfinite=sum(n.nonfinite for n in norms),
            grad_nonfinite=sum(n.nonfinite for n in grad_norms),
            grad_label=self._grad_label if grads else "",
            kind=MODULE,
            module=self._classes.get(line.name, ""),
            delta_norm=total_norm(deltas) if q.DELTA in needs else None,
            note="" if None not in deltas or q.DELTA not in needs or not any(deltas) else "|Δw| of some only",
            parameters=len(below),
            trainable=sum(v.requires_grad for v in values),
            **_place(shown),
        )

    def _of_section(self, shown: Shown) -> ParameterRow:
        found = [entry.tensor for entry in shown.line.extra]
        sizes = [t for t in found if tensors.shape_of(t) is not None]
        return ParameterRow(
            name=shown.line.name,
            aliases=(),
            shape=None,
            dtype="",
            device="",
            numel=sum(t.numel() for t in sizes),
            nbytes=sum(tensors.nbytes(t) for t in sizes),
            requires_grad=False,
            owner="",
            owner_kind="",
            value_norm=None,
            grad_norm=None,
            grad="none",
            value_changed=None,
            grad_changed=None,
            kind=shown.line.kind,
            **_place(shown),
        )


class _Shown(TypedDict):
    shown: str
    shown_aliases: tuple[str, ...]


class _Place(TypedDict):
    index: int
    depth: int
    rows_below: int
    level: int
    unfolds: bool
    above: int | None


def _place(shown: Shown) -> _Place:
    line = shown.line
    return {
        "index": line.index,
        "depth": line.depth,
        "rows_below": line.below or len(line.extra),
        "level": shown.level,
        "unfolds": line.kind == MODULE and bool(line.extra),
        "above": shown.above,
    }


def _grad_state(grad: Tensor | None, *, unread: bool, norm: float | None) -> str:
    if grad is None:
        return "none"
    if norm is None and not unread:
        return "unreadable"
    return "sparse" if grad.layout is not torch.strided else "dense"


def _common(words: list[str]) -> str:
    different = set(words)
    return different.pop() if len(different) == 1 else ""
