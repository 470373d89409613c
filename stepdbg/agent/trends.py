"""What optimizer steps did, noted as plain numbers while the user looks at plots: off until first asked for.

A STEP phase that is stepped through is measured just before and just after it runs; a free run pays for nothing. No
tensor is held: an optimizer weakly, for its name.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.optim.before import Before
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.records import MOST_RATES
from stepdbg.protocol.trends import StepTrend, Trends

if TYPE_CHECKING:
    from stepdbg.agent.active import Active
    from stepdbg.agent.control import Control
    from stepdbg.agent.tracker import Tracker

MOST_STEPS = 2_000
"""Steps kept until they are asked for, at most; older ones are forgotten first."""

NO_STEP = "no optimizer step has been stepped through since this was first looked at"
NO_PARAMETERS = "this optimizer does not tell its parameters"
NO_GRADIENT = "the last step's parameters had no gradient"
UNREADABLE = "cannot be read"


@dataclass(frozen=True)
class Noted:
    """One step, before it has a name."""

    optimizer: weakref.ref[Any]
    kind: str
    name: str
    """The user's name for it as known then; empty: none was."""
    trend: StepTrend
    why_no_gradient: str
    why_no_ratio: str = ""


class TrendNotes:
    """The notes of one session."""

    def __init__(self) -> None:
        self.on = False
        self.since = 0
        self._steps: deque[Noted] = deque(maxlen=MOST_STEPS)
        self._number = 0
        self._names: dict[int, tuple[weakref.ref[Any], str]] = {}
        """The user's names for optimizers, by id, as they were last known."""

    def begin(self, iteration: int) -> None:
        """Note every step from now on."""
        if not self.on:
            self.on, self.since = True, iteration

    def step_begins(self, tracker: Tracker, control: Control, active: Active) -> None:
        """A STEP is about to run. The time that this takes is none of the script's."""
        optimizer = active.station.what()
        if active.skipped or tracker.light or not tracker.armed or optimizer is None:
            return
        began, loop = perf_counter(), tracker.loop
        try:
            with quiet():
                label = label_of(control.watch.grad_label, loop.backwards)
                active.first_node = tracker.sequence_number()
                active.noted = self.before_step(optimizer, loop.iteration, max(loop.partly_free, control.passed), label)
        except Exception as error:
            control.broken(error)
        control.held += perf_counter() - began

    def step_ended(self, tracker: Tracker, control: Control, active: Active, error: BaseException | None) -> None:
        """It has run, or raised `error`."""
        noted, optimizer = active.noted, active.station.what()
        active.noted = None
        if noted is None or error is not None or optimizer is None:
            return
        began = perf_counter()
        with quiet():
            closure = tracker.sequence_number() != active.first_node
            self.after_step(noted, optimizer, tracker.before, closure=closure, label=control.watch.grad_label)
        control.held += perf_counter() - began

    def before_step(self, optimizer: Any, iteration: int, segment: int, label: str) -> Noted:
        """The step is about to run: its gradients and values as they are. Two passes. Call inside `quiet()`."""
        parameters = parameters_of(optimizer)
        grad, nonfinite, why = gradient_norm(parameters)
        value, _, _ = _together(tensors.norms(parameters))
        why = why if parameters else NO_PARAMETERS
        value = value if parameters else None
        trend = StepTrend(self._number, segment, iteration, "", grad, nonfinite, label if grad is not None else "")
        name, kind = self._name_of(optimizer), type(optimizer).__name__
        return Noted(weakref.ref(optimizer), kind, name, replace(trend, value_norm=value), why)

    def after_step(self, noted: Noted, optimizer: Any, before: Before, *, closure: bool, label: str) -> None:
        """It has run. `before`: the values it started from.

        `closure`: backwards ran inside it, so its gradients are those that are there now. Call inside `quiet()`.
        """
        trend, parameters = noted.trend, parameters_of(optimizer)
        why = noted.why_no_gradient
        if closure:
            grad, nonfinite, why = gradient_norm(parameters)
            label = ", ".join(part for part in (label, "of the last backward inside the step") if part)
            trend = replace(trend, grad_norm=grad, grad_nonfinite=nonfinite, grad_label=label)
        update, why_no_ratio = _update(parameters, before)
        if update is not None and not trend.value_norm:
            why_no_ratio = "the parameters were all zero" if trend.value_norm == 0 else f"values {UNREADABLE}"
        self._steps.append(
            replace(
                noted,
                trend=replace(trend, number=self._number, update_norm=update),
                why_no_gradient=why,
                why_no_ratio=why_no_ratio,
            )
        )
        self._number += 1

    def known_as(self, named: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """Optimizers with their names at this stop. One that no variable here holds keeps the name it had: a curve
        must not go on as another one where a function has returned.
        """
        result: list[tuple[str, Any]] = []
        for title, optimizer in named:
            by_class = title.partition("#")[0] == type(optimizer).__name__  # no variable's name
            result.append(((self._name_of(optimizer) if by_class else "") or title, optimizer))
        self._names = {id(optimizer): (weakref.ref(optimizer), name) for name, optimizer in result}
        return result

    def _name_of(self, optimizer: Any) -> str:
        ref, name = self._names.get(id(optimizer), (None, ""))
        return name if ref is not None and ref() is optimizer else ""

    def _name(self, noted: Noted) -> str:
        optimizer = noted.optimizer()
        return (self._name_of(optimizer) if optimizer is not None else "") or noted.name or noted.kind

    def answer(self, stop: int, since: int, upcoming: tuple[Any, int, int, str] | None) -> Trends:
        """What was noted from number `since` on. `upcoming`: the arguments of `before_step` for the step that is next.

        Optimizers are called as `known_as` was told last.
        """

        def named(noted: Noted) -> StepTrend:
            return replace(noted.trend, optimizer=self._name(noted))

        steps = tuple(named(noted) for noted in self._steps if noted.trend.number >= since)
        last = self._steps[-1] if self._steps else None
        now = self.before_step(*upcoming) if upcoming is not None else None
        newest = now or last
        return Trends(
            stop,
            steps,
            upcoming=named(now) if now is not None else None,
            since=self.since,
            note=newest.why_no_gradient if newest is not None else NO_STEP,
            why_no_ratio=last.why_no_ratio if last is not None else NO_STEP,
        )


def label_of(grad_label: str, backwards: int) -> str:
    """What the gradients are, in words."""
    added = f"sum of {backwards} backwards" if backwards > 1 else ""
    return ", ".join(part for part in (grad_label, added) if part)


def parameters_of(optimizer: Any) -> list[Tensor]:
    """What an optimizer updates; nothing for one that does not say so in torch's way."""
    groups = getattr(optimizer, "param_groups", ())
    found = [p for group in groups for p in group.get("params", ()) if isinstance(p, Tensor)]
    return list({id(p): p for p in found}.values())


def gradient_norm(parameters: Iterable[Tensor]) -> tuple[float | None, int, str]:
    """2-norm of all their gradients together, how many elements are not finite, and why there is no norm."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return None, 0, NO_GRADIENT
    return _together(tensors.norms(grads))


def _together(norms: Iterable[tensors.Norm]) -> tuple[float | None, int, str]:
    total, nonfinite = 0.0, 0
    for norm in norms:
        if norm.value is None:
            return None, 0, norm.note or UNREADABLE
        total = math.hypot(total, norm.value)
        nonfinite += norm.nonfinite
    return total, nonfinite, ""


def _update(parameters: Iterable[Tensor], before: Before) -> tuple[float | None, str]:
    """2-norm of what a step added to all of them, and why that is not known."""
    total = 0.0
    for parameter in parameters:
        delta = before.delta_norm(parameter)
        if delta is None:
            return None, before.why_not(parameter)
        total = math.hypot(total, delta)
    return total, ""


def learning_rates(optimizers: Iterable[tuple[str, Any]]) -> tuple[tuple[str, float], ...]:
    """(name, rate) of each optimizer, or of each of its param groups where they differ. Call inside `quiet()`."""
    found: list[tuple[str, float]] = []
    for name, optimizer in optimizers:
        rates = [_number(group.get("lr")) for group in getattr(optimizer, "param_groups", ())]
        if len(set(rates)) == 1:
            found.append((name, rates[0]))
        else:
            found.extend((f"{name}[{index}]", rate) for index, rate in enumerate(rates))
    return tuple((name, rate) for name, rate in found if not math.isnan(rate))[:MOST_RATES]


def _number(rate: Any) -> float:
    """A learning rate as a number; NaN for what is none."""
    try:
        return float(rate.detach().item()) if isinstance(rate, Tensor) else float(rate)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return math.nan
