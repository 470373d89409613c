"""Places after a STEP, for parameters that had no turn of their own in it (`turns.py`), and those of a CLIP.

STEP: one place for each such parameter, with its value before (the copy that `optim/before.py` has made) and after.
CLIP: one place before with the norm as it is, and one after with what was done; norms are computed at the stop alone.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stepdbg.agent.given import tensors_given
from stepdbg.agent.inside import held
from stepdbg.agent.inside.turns import Ran, Turns
from stepdbg.agent.optim.holdings import groups_of
from stepdbg.protocol.inside import Grain, Place

if TYPE_CHECKING:
    from stepdbg.agent.active import Active
    from stepdbg.agent.inside.inside import Inside
    from stepdbg.agent.tracker import Tracker

AFTER_THE_FACT = "the step has run for all parameters at once: before is a copy"
ITERATOR = "norms are not known: its parameters come from an iterator, which can be read only once"
AS_ONE = "the step has run as one, and no operation of it was seen: before is a copy"
UNSEEN = "changed by the step where no operation was seen: before is a copy"
LEFT_ALONE = "the step has left it as it was"


def step_ran(inside: Inside, tracker: Tracker, active: Active, turns: Turns | None, frame: FrameType) -> None:
    """An optimizer has stepped: the end of the last turn, and a place for each parameter that had none."""
    optimizer = active.station.what()
    tracker.before.step_ended(id(optimizer))
    if turns is not None:
        turns.pauses(frame)
    groups = groups_of(optimizer)
    for number, group in enumerate(groups):
        for position, parameter in enumerate(group.params):
            if not inside.may_stop(Grain.PARAMETER, 1):
                return
            detail = _how(turns, parameter)
            if not detail:
                continue
            name = inside.parameter_called(parameter) or f"param_groups[{number}].params[{position}]"
            kind = f"group {number}" if len(groups) > 1 else ""
            place = Place(
                Grain.PARAMETER,
                "after",
                name,
                kind,
                1,
                name,
                detail=detail,
                after_the_fact=not detail.startswith(LEFT_ALONE),
                shown=inside.parameter_shown(parameter),
            )
            inside.reached(place, frame, Ran(tracker, optimizer, parameter))


def _how(turns: Turns | None, parameter: Tensor) -> str:
    """How a parameter was updated that is shown after the fact; empty: the script was held at its turn."""
    number = turns.number_of(parameter) if turns is not None else None
    if turns is None or number is None or number in turns.at_once:
        return AFTER_THE_FACT
    if number in turns.held:
        return ""
    if not turns.seen:
        return AS_ONE
    if turns.has_changed(number):
        return UNSEEN
    return LEFT_ALONE if parameter.grad is not None else f"{LEFT_ALONE}: its .grad is None"


class Clip:
    """One call of `clip_grad_norm_` or `clip_grad_value_`: its parameters weakly, and what it was asked to do."""

    def __init__(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.name = name
        given = args[0] if args else kwargs.get("parameters")
        tensors = tensors_given(given)
        self.parameters = [weakref.ref(tensor) for tensor in tensors or ()]
        self.note = ITERATOR if tensors is None else ""
        key = "clip_value" if name == "clip_grad_value_" else "max_norm"
        self.limit = _number(args[1] if len(args) > 1 else kwargs.get(key))
        self.norm_type = _number(args[2] if len(args) > 2 else kwargs.get("norm_type", 2.0))

    def grads(self) -> list[Tensor]:
        """The gradients as they are."""
        alive = (ref() for ref in self.parameters)
        return [p.grad for p in alive if p is not None and p.grad is not None]

    def norm(self) -> Tensor | None:
        """Of all gradients together, computed as torch does it; None where it cannot be."""
        grads = self.grads()
        if not grads or self.norm_type is None or self.name != "clip_grad_norm_":
            return None
        return torch.nn.utils.get_total_norm(grads, self.norm_type)


def clip_begins(
    inside: Inside, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], frame: FrameType
) -> Clip:
    """Gradients are about to be clipped."""
    clip = Clip(function.__name__, args, kwargs)
    if inside.may_stop(Grain.PARAMETER, 1):
        inside.reached(_place(clip, "before", clip.note), frame, lambda: _before(inside, clip))
    return clip


def clip_ran(inside: Inside, clip: Clip, result: Any, frame: FrameType) -> None:
    """They have been."""
    if inside.may_stop(Grain.PARAMETER, 1):
        inside.reached(_place(clip, "after", clip.note), frame, lambda: _after(inside, clip, result))


def _place(clip: Clip, when: str, note: str) -> Place:
    return Place(Grain.PARAMETER, when, clip.name, "", 1, detail=note)


def _before(inside: Inside, clip: Clip) -> held.Held:
    norm = clip.norm()
    result: held.Held = {}
    if norm is not None:
        result["norm"] = norm, "of all gradients, before clipping"
        if clip.limit is not None:
            result["coefficient"] = _coefficient(norm, clip.limit), f"min(1, {clip.limit:g} / (norm + 1e-6))"
    return {**result, **_named(inside, clip)}


def _after(inside: Inside, clip: Clip, returned: Any) -> held.Held:
    result: held.Held = {}
    if isinstance(returned, Tensor):
        result["norm_before"] = returned, "of all gradients, as the call returned it"
        if clip.limit is not None:
            result["coefficient"] = _coefficient(returned, clip.limit), f"min(1, {clip.limit:g} / (norm + 1e-6))"
    norm = clip.norm()
    if norm is not None:
        result["norm_after"] = norm, "of all gradients, after clipping"
    return {**result, **_named(inside, clip)}


def _coefficient(norm: Tensor, limit: float) -> Tensor:
    # torch's own operations in torch's order.
    return torch.clamp(limit / (norm + 1e-6), max=1.0)


def _named(inside: Inside, clip: Clip) -> held.Held:
    alive = [p for ref in clip.parameters if (p := ref()) is not None and p.grad is not None]
    return {
        f"{inside.parameter_shown(p) or f'parameter[{i}]'}.grad": (p.grad, "") for i, p in enumerate(alive[: held.MOST])
    }


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)):
        return float(value)
    return float(value) if isinstance(value, Tensor) and value.numel() == 1 else None
