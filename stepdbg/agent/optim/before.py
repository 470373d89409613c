"""What parameters were before the last step of each optimizer: copies in CPU memory, made just before it runs.

Only while stepping, and bounded: the values of all parameters first, then their gradients, then the optimizer's state.
Of a value that does not fit only the norm is kept. Copies are held by nothing but this, and go with their parameter,
with their optimizer, when the script runs free, and when it is let go.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.optim.copies import distance, plain_of
from stepdbg.agent.optim.families import completed, family_of
from stepdbg.agent.optim.holdings import groups_of, state_of
from stepdbg.agent.optim.kept import (
    Kept,
    Room,
    is_as_kept,
    keep_grad,
    keep_state,
    keep_value,
    norms_of,
    note_done,
    version_of,
)
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.messages import Settings

if TYPE_CHECKING:
    from stepdbg.agent.compare.snapshots import Snapshots
    from stepdbg.agent.control import Control

NO_STEP = "no step yet"
RAN_FREE = "the script ran free"
NOT_STEPPED = "no optimizer that holds it has stepped yet"


@dataclass(eq=False)
class Step:
    """The last step of one optimizer."""

    optimizer: weakref.ref[Any]
    iteration: int
    hyper: list[dict[str, Any]]
    """Of each group."""
    closure: bool = False
    """It makes its gradients itself."""
    grad_label: str = ""
    grad_scale: float | None = None
    """What a GradScaler leaves to the step to divide gradients by."""
    found_inf: bool = False
    kept: dict[int, Kept] = field(default_factory=dict)
    """By id of the parameter."""
    over: bool = False
    failed: bool = False


class Before:
    """One for the session."""

    def __init__(self, limit: int = Settings.previous_bytes) -> None:
        self.limit = limit
        """Bytes of all copies together, at most."""
        self.upcoming: tuple[weakref.ref[Any], bool] | None = None
        """The optimizer whose step is about to run while the script is held there, and whether it has a closure."""
        self.in_turns = False
        """Whether the script is held in a step that goes parameter by parameter."""
        self.left_out = 0
        """The iteration in which a GradScaler left out a step last; 0: never."""
        self._steps: dict[int, Step] = {}
        """By id of the optimizer, that of the last step last."""
        self._last: dict[int, tuple[Step, Kept]] = {}
        """By id of a parameter: the last step of any optimizer that holds it."""
        self._why = NO_STEP
        self.nbytes = 0
        """Of all copies now, the shared ones too: they may soon be held by nobody else."""
        self._shares_with: weakref.ref[Snapshots] | None = None

    # ── what others ask ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def iteration(self) -> int | None:
        """That of the last step which was stepped through; None: there was none, or it is forgotten."""
        return next(reversed(self._steps.values())).iteration if self._steps else None

    def value_of(self, tensor: Tensor) -> Tensor | None:
        """The parameter before the last step: a copy, in CPU memory. None: see `why_not`.

        It is overwritten by the next step: use it while the script is held. Never write to it.
        """
        found = self.step_of(tensor)
        return found[1].value if found is not None else None

    def norm_of(self, tensor: Tensor) -> float | None:
        """2-norm of the value before the last step. A pass over it where the value was kept."""
        found = self.step_of(tensor)
        if found is None:
            return None
        return found[1].norm if found[1].value is None else tensors.norms([found[1].value])[0].value

    def delta_norm(self, tensor: Tensor) -> float | None:
        """2-norm of value now - value before, over the differences that are finite, in float64. None: see
        `why_no_delta`.

        A pass over both; a tensor on a device is copied from it chunk by chunk. Call inside `quiet()`.
        """
        value = self.value_of(tensor)
        now = plain_of(tensor)[0] if value is not None else None
        return None if value is None or now is None or now.shape != value.shape else distance(now, value)

    def moved(self, parameters: Iterable[Tensor]) -> list[float | None]:
        """`delta_norm` of each."""
        return [self.delta_norm(parameter) for parameter in parameters]

    def why_not(self, tensor: Tensor) -> str:
        """Why there is no value before the last step, one line; empty where there is one."""
        found = self.step_of(tensor)
        if found is not None:
            return found[1].why
        return NOT_STEPPED if self._steps else self._why

    def tensors(self) -> Iterator[Tensor]:
        """Every copy."""
        for step in self._steps.values():
            for kept in step.kept.values():
                copies = (kept.value, kept.grad, *(kept.state or {}).values())
                yield from (t for t in copies if isinstance(t, Tensor))

    def shared_bytes(self, snapshots: Snapshots) -> int:
        """Bytes of the copies that are these snapshots' as well."""
        if self._shares_with is None or self._shares_with() is not snapshots:
            return 0
        every = (kept.shared for step in self._steps.values() for kept in step.kept.values())
        return sum(copy.nbytes for copy in every if copy is not None and copy.stops)

    def why_no_delta(self, tensor: Tensor) -> str:
        """Why `delta_norm` is None, one line."""
        why, value = self.why_not(tensor), self.value_of(tensor)
        if why or value is None:
            return why
        now, cannot = plain_of(tensor)
        if now is not None and now.shape != value.shape:
            return "its shape is another since"
        return cannot if now is None else "nothing of the change is finite"

    def step_of(self, tensor: Tensor) -> tuple[Step, Kept] | None:
        """The last step of any optimizer that holds this parameter, and what was kept of it then."""
        found = self._last.get(id(tensor))
        return found if found is not None and found[1].ref() is tensor else None

    # ── what the tracker tells ──────────────────────────────────────────────────────────────────────────────

    def about_to_stop(self, optimizer: Any, args: Sequence[Any], kwargs: Any) -> None:
        """The script may be held before this step."""
        ref = _weak(optimizer)
        self.upcoming = (ref, _has_closure(args, kwargs)) if ref is not None else None

    def keep(
        self, control: Control, optimizer: Any, iteration: int, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """As `step_begins`. Never raises; the time that it takes is none of the script's."""
        if control.capturing():
            return  # a copy would become part of the CUDA graph, or break its recording
        began = perf_counter()
        try:
            self.step_begins(optimizer, iteration, args, kwargs, control.watch.grad_label, control.snapshots)
        except Exception as error:
            control.broken(error)
        control.held += perf_counter() - began

    def step_begins(
        self,
        optimizer: Any,
        iteration: int,
        args: Sequence[Any] = (),
        kwargs: Any = None,
        grad_label: str = "",
        snapshots: Snapshots | None = None,
    ) -> None:
        """Its step is about to run, with these arguments (itself first): keep what there is now.

        `snapshots`: copies of earlier stops, of which those that are the same are shared.
        """
        self.upcoming = None
        ref = _weak(optimizer, partial(self._optimizer_gone, id(optimizer)))
        if ref is None:
            return  # nobody could tell later whether it is still the same one
        with quiet(), torch.inference_mode(False), torch.no_grad():  # the copies are written again outside of it
            old = self._forget(id(optimizer))
            step = Step(ref, iteration, [])
            step.closure, step.grad_label = _has_closure(args, kwargs), grad_label
            step.grad_scale, step.found_inf = scaling_of(optimizer)
            room = Room(self.limit, self.nbytes)
            known = snapshots.last() if snapshots is not None else {}
            self._shares_with = weakref.ref(snapshots) if snapshots is not None else None
            groups = groups_of(optimizer)
            step.hyper = [completed(optimizer, group.hyper) for group in groups]
            held = [(number, p) for number, group in enumerate(groups) for p in group.params]
            for number, parameter in held:
                gone = partial(self._parameter_gone, id(optimizer), id(parameter))
                step.kept[id(parameter)] = Kept(weakref.ref(parameter, gone), number)
            pairs = [(p, step.kept[id(p)], old.get(id(p))) for _, p in held]
            for parameter, kept, earlier in pairs:
                keep_value(parameter, kept, earlier, room, known)
            norms_of([(p, kept) for p, kept, _ in pairs if kept.why and kept.value is None])
            for parameter, kept, earlier in pairs:
                keep_grad(parameter, kept, earlier, room, closure=step.closure)
            if family_of(optimizer) is not None:
                for parameter, kept, earlier in pairs:
                    keep_state(state_of(optimizer, parameter), kept, earlier, room)
            self._steps[id(optimizer)] = step
            self.nbytes += sum(kept.nbytes for kept in step.kept.values())
            self._last.update({key: (step, kept) for key, kept in step.kept.items()})

    def turn_begins(self, optimizer: Any, parameter: Tensor, *, held: bool) -> None:
        """Its update begins, in a step that is under way and goes parameter by parameter. What was kept of it is kept
        anew if it has been written since: at a stop (`held`: just now), or by a closure. Call inside `quiet()`.
        """
        step = self._steps.get(id(optimizer))
        kept = step.kept.get(id(parameter)) if step is not None else None
        if step is None or kept is None or step.over or kept.done or (not held and is_as_kept(parameter, kept)):
            return
        with torch.inference_mode(False), torch.no_grad():
            earlier = replace(kept)
            self.nbytes -= kept.nbytes
            kept.value = kept.norm = kept.grad = kept.state = kept.shared = None
            kept.why, kept.nbytes = "", 0
            room = Room(self.limit, self.nbytes)
            keep_value(parameter, kept, earlier, room, {})
            if kept.value is None:
                norms_of([(parameter, kept)])
            keep_grad(parameter, kept, earlier, room, closure=False)
            if family_of(optimizer) is not None:
                keep_state(state_of(optimizer, parameter), kept, earlier, room)
            self.nbytes += kept.nbytes

    def turn_ended(self, optimizer: Any, parameter: Tensor) -> None:
        """It has been updated; the step goes on."""
        step = self._steps.get(id(optimizer))
        kept = step.kept.get(id(parameter)) if step is not None else None
        if kept is not None:
            note_done(parameter, kept)

    def upcoming_of(self, tensor: Tensor) -> tuple[Any, bool] | None:
        """The optimizer that is about to update this parameter, held before its step or in it before that parameter's
        turn, and whether a closure makes the gradient only then. None: no optimizer is, or it is gone.
        """
        if self.upcoming is not None:
            optimizer = self.upcoming[0]()
            return (optimizer, self.upcoming[1]) if optimizer is not None else None
        found = self.step_of(tensor) if self.in_turns else None
        if found is None or found[0].over or found[1].done:
            return None
        optimizer = found[0].optimizer()
        return (optimizer, False) if optimizer is not None else None

    def step_ended(self, key: int, *, failed: bool = False) -> None:
        """The step of the optimizer with this id has run, or raised, if it began here."""
        step = self._steps.get(key)
        if step is None or step.over:
            return
        step.over, step.failed = True, failed
        room: Room | None = None
        for kept in list(step.kept.values()):
            parameter = kept.ref()
            if parameter is None:
                continue
            fresh = step.closure and not kept.done
            note_done(parameter, kept)
            if fresh:
                room, before = room or Room(self.limit, self.nbytes), kept.nbytes
                with quiet(), torch.inference_mode(False), torch.no_grad():
                    keep_grad(parameter, kept, None, room, closure=False)
                self.nbytes += kept.nbytes - before

    def grad_of(self, parameter: Tensor, kept: Kept) -> tuple[Tensor | None, str]:
        """The gradient that a step had, and why there is none."""
        if kept.grad is not None or not kept.had_grad:
            return kept.grad, ""
        grad = parameter.grad
        if grad is not None and kept.grad_ref is not None and kept.grad_ref() is grad:
            version = version_of(grad)
            if version is not None and version == kept.grad_version:
                return grad.detach(), ""
        return None, kept.why_no_grad or "its gradient is gone"

    def runs_free(self) -> None:
        """A free run begins: it is not looked at, and what was kept describes no last step any more."""
        self.clear()
        self._why = RAN_FREE

    def clear(self) -> None:
        """Let everything go."""
        self._steps.clear()
        self._last.clear()
        self.nbytes = 0
        self.upcoming = None

    def entry_points(self) -> tuple[Callable[..., Any], ...]:
        """The functions that run whenever a parameter or an optimizer goes, so perhaps inside a compiled region."""
        return Before._parameter_gone, Before._optimizer_gone

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _parameter_gone(self, key: int, parameter: int, ref: weakref.ref[Tensor]) -> None:
        step = self._steps.get(key)
        kept = step.kept.get(parameter) if step is not None else None
        if step is not None and kept is not None and kept.ref is ref:
            del step.kept[parameter]
            self.nbytes -= kept.nbytes
            self._no_last(parameter, kept)

    def _optimizer_gone(self, key: int, ref: weakref.ref[Any]) -> None:
        step = self._steps.get(key)
        if step is not None and step.optimizer is ref:
            self._forget(key)

    def _forget(self, key: int) -> dict[int, Kept]:
        """Let go of the last step of the optimizer with this id; returns what was kept."""
        step = self._steps.pop(key, None)
        if step is None:
            return {}
        for parameter, kept in list(step.kept.items()):
            self.nbytes -= kept.nbytes
            self._no_last(parameter, kept)
        return step.kept

    def _no_last(self, parameter: int, kept: Kept) -> None:
        if self._last.get(parameter, (None, None))[1] is kept:
            self._last.pop(parameter, None)


def scaling_of(optimizer: Any) -> tuple[float | None, bool]:
    """What a GradScaler leaves to the step to divide gradients by, and whether it has found inf or NaN in them."""
    scale, found = getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None)
    return (
        float(scale) if isinstance(scale, Tensor) and scale.numel() == 1 else None,
        isinstance(found, Tensor) and found.numel() == 1 and bool(found),
    )


def _has_closure(args: Sequence[Any], kwargs: Any) -> bool:
    return (len(args) > 1 and args[1] is not None) or (bool(kwargs) and kwargs.get("closure") is not None)


def _weak(thing: Any, gone: Any = None) -> weakref.ref[Any] | None:
    try:
        return weakref.ref(thing, gone)
    except TypeError:
        return None
