"""Answers what an optimizer's step did, or is about to do, to one element of a parameter. Call inside `quiet()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.naming import Named, Names
from stepdbg.agent.optim.before import RAN_FREE, Before, Step, scaling_of
from stepdbg.agent.optim.families import completed, family_of
from stepdbg.agent.optim.holdings import groups_of, state_of
from stepdbg.agent.optim.kept import Kept, place_of, version_of
from stepdbg.agent.optim.owner import Owner, held_by, known_by, nobody
from stepdbg.agent.optim.places import find, first_of
from stepdbg.agent.optim.sheet import FOREACH, FUSED, SINGLE, WIDE, Case, Family, Sheet, exact, short
from stepdbg.agent.optim.taken import Taken, element, taken_from
from stepdbg.agent.optim.ulps import apart
from stepdbg.protocol.messages import GetExplanation
from stepdbg.protocol.step import DID, WILL, Explanation, Given

LOW = (torch.bfloat16, torch.float16)
FLOATS = (torch.float32, torch.float64, *LOW)

LEFT_ALONE = "the GradScaler found inf or NaN in the gradients: the step leaves every value alone"

DEVICE_ULPS = 4.0
"""Claimed where the script computes on another device than the formula here."""


@dataclass
class Asked:
    """What it is about."""

    before: Before
    names: Names
    stop: int
    label: str
    """What the gradients are now: "", "scaled", "unscaled", "clipped"."""


def explain(asked: Asked, query: GetExplanation) -> Explanation:
    """The answer. Raises NotThereError in one line where there is no such parameter or element."""
    parameters = asked.names.parameters
    position, index = find(asked.names, query.name or _first_to_see(asked), query.index)
    named = parameters[position]
    shape = tensors.shape_of(named.tensor)
    known = Explanation(
        stop=asked.stop,
        name=named.name,
        index=index if index is not None else first_of(shape or ()),
        shape=shape or (),
        dtype=tensors.dtype_name(named.tensor),
        position=position,
        parameters=len(parameters),
        previous=parameters[position - 1].name if position else "",
        following=parameters[position + 1].name if position + 1 < len(parameters) else "",
        shown=named.other,
    )
    if shape is None:
        return replace(known, note="it has no single shape: a lazy parameter before its first forward, or a nested one")
    if 0 in shape:
        return replace(known, index=(), note="it has no elements")
    return _of_owner(asked, known, named, query.tells)


def _first_to_see(asked: Asked) -> str:
    """The first parameter that a step changes, else the first one that any optimizer holds, else the first."""
    parameters = asked.names.parameters
    moved = (p.name for p in parameters if asked.before.step_of(p.tensor) is not None)
    held = (p.name for p in parameters if id(p.tensor) in asked.names.owners)
    return next(moved, next(held, parameters[0].name if parameters else ""))


def _of_owner(asked: Asked, known: Explanation, named: Named, tells: str) -> Explanation:
    before, tensor = asked.before, named.tensor
    last = before.step_of(tensor)
    upcoming = before.upcoming_of(tensor)
    owner = held_by(upcoming[0], tensor, asked.names) if upcoming is not None else None
    can_will = owner is not None
    under_way = can_will and last is not None and not last[0].over  # this very step, which has not come to it yet
    if last is not None and not under_way and (owner is None or tells == DID):
        owner = held_by(last[0].optimizer(), tensor, asked.names) or owner
    owner = owner or next(
        (o for _, x in asked.names.optimizers.values() if (o := held_by(x, tensor, asked.names))), None
    )
    if owner is None:
        return replace(known, note=nobody(named, asked.names))
    known = replace(
        known,
        optimizer=owner.title,
        kind=owner.kind,
        group=owner.group,
        groups=owner.groups,
        owned_by=known_by(owner, asked.names),
        other=can_will and last is not None and not under_way,
    )
    if can_will and (tells != DID or under_way):
        return _will(asked, known, owner, tensor)
    if last is not None:
        return _did(asked, known, owner, tensor, last)
    return replace(known, note=_no_step(asked, owner))


def _no_step(asked: Asked, owner: Owner) -> str:
    if asked.before.why_not(owner.tensor) == RAN_FREE:
        return f"the script ran free, and its steps were not looked at: step through {owner.title}.step() to see one"
    if asked.before.left_out:
        return f"the GradScaler left out the step of iteration {asked.before.left_out}: inf or NaN in the gradients"
    return f"{owner.title} has not stepped yet: run to its step (n), and e tells what it is going to do"


# ── before a step ───────────────────────────────────────────────────────────────────────────────────────────────


def _will(asked: Asked, known: Explanation, owner: Owner, tensor: Tensor) -> Explanation:
    group = groups_of(owner.optimizer)[owner.group]
    hyper = completed(owner.optimizer, group.hyper)
    known = replace(known, tells=WILL)
    upcoming = asked.before.upcoming_of(tensor)
    closure = upcoming is not None and upcoming[1]
    scale, found_inf = scaling_of(owner.optimizer)
    taken = Taken(
        value=tensor,
        grad=None if closure else tensor.grad,
        had_grad=closure or tensor.grad is not None,
        why_no_grad="its closure makes the gradient inside the step, so the update cannot be told before",
        state=dict(state_of(owner.optimizer, tensor)),
        hyper=hyper,
        label=asked.label,
        scale=scale,
    )
    told = _told(known, owner, tensor, taken, None)
    return replace(told, lines=(), predicted=None, change=None, note=LEFT_ALONE) if found_inf else told


# ── after a step ────────────────────────────────────────────────────────────────────────────────────────────────


def _did(asked: Asked, known: Explanation, owner: Owner, tensor: Tensor, last: tuple[Step, Kept]) -> Explanation:
    step, kept = last
    known = replace(known, tells=DID, iteration=step.iteration)
    taken = taken_from(asked.before, step, kept, tensor)
    if step.failed or not (step.over or kept.done):
        note = "the step raised: what it left may be half done" if step.failed else "its step has not ended yet"
        return replace(_told(known, owner, tensor, taken, None), note=note)
    version = version_of(tensor)
    untouched = version in (None, kept.version) and place_of(tensor) == kept.place
    after = element(tensor, known.index) if untouched else None
    told = _told(known, owner, tensor, taken, after)
    if after is None:
        gone = "the parameter has been written since the step: what the step left is gone"
        told = replace(told, note=f"{told.note}; {gone}" if told.note else gone)
    if step.found_inf:
        told = replace(told, lines=(), predicted=None, exact=None, within=None, ulps=None, note=LEFT_ALONE)
    return told


# ── both ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _told(known: Explanation, owner: Owner, tensor: Tensor, taken: Taken, after: Tensor | None) -> Explanation:
    family = family_of(owner.optimizer)
    value = element(taken.value, known.index) if taken.value is not None else None
    grad, entries = taken.grad_at(known.index)
    known = replace(
        known,
        hyper=tuple(_hyper(family, taken.hyper)),
        given=tuple(_given(known, family, taken, value, grad)),
        rule=family.rule(taken.hyper) if family is not None and _has_all(family, taken.hyper) else "",
        before=exact(value) if value is not None else None,
        after=exact(after) if after is not None else None,
        change=_change(value, after),
    )
    why = _why_no_formula(known, family, tensor, taken, value, grad)
    if family is None or value is None or grad is None or why:
        return replace(known, rule="" if family is None else known.rule, note=why)
    path = path_of(taken.hyper, tensor)
    claimed, tolerance = _claim(family, path, tensor, entries)
    try:
        sheet, new = _computed(family, taken, _Element(known.index, value, grad), path, after)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return replace(known, note=f"the formula cannot be computed here: {lines[0]}")
    known = replace(known, lines=tuple(sheet.lines), predicted=exact(new), tolerance=tolerance)
    if after is None:
        return replace(known, change=_change(value, new))
    one, other = float(new), float(after)
    ulps = apart(one, other, max(abs(other), abs(float(value))), tensor.dtype)
    within = ulps is not None and ulps <= claimed
    note = "" if within else _why_not_within(path, tensor, unchanged=_same(after, value))
    return replace(known, exact=ulps == 0.0, ulps=ulps, within=within, note=note)


def _why_not_within(path: str, tensor: Tensor, *, unchanged: bool) -> str:
    if path == FUSED and tensor.device.type == "cpu" and tensor.dtype in LOW and unchanged:
        return "a defect of torch: fused SGD on the CPU skips most elements of half-precision tensors (issue 191763)"
    return "something else wrote the parameter, or changed the gradient inside the step (a hook?)"


def _why_no_formula(
    known: Explanation, family: Family | None, tensor: Tensor, taken: Taken, value: Tensor | None, grad: Tensor | None
) -> str:
    what = "before → after is all that can be told"
    if not taken.had_grad:
        return f"its .grad {'is' if known.tells == WILL else 'was'} None: optimizer.step() leaves it alone"
    if family is None:
        if known.tells == WILL:
            return f"{known.kind} has no formula here: run its step (n), and e tells before → after"
        return f"{known.kind} has no formula here: {what}"
    if tensor.dtype not in FLOATS:
        return f"no formula for {known.dtype} parameters here: {what}"
    if value is None:
        setting = ", which --previous-values sets" if taken.why_no_value.startswith("over the limit") else ""
        return f"the value before the step was not kept: {taken.why_no_value}{setting}"
    if grad is None and taken.absent(known.index):
        return "the sparse gradient has no entry here: the step leaves this element alone"
    if grad is None:
        return taken.why_no_grad if known.tells == WILL else f"the gradient was not kept ({taken.why_no_grad}): {what}"
    if taken.sparse and not taken.sparse_is_plain():
        return f"no formula for a sparse gradient with momentum or weight decay here: {what}"
    if taken.state is None:
        return f"the optimizer's state before the step was not kept ({taken.why_no_state}): {what}"
    if not _has_all(family, taken.hyper):
        return f"{known.optimizer} lacks hyper-parameters of its formula: {what}"
    return ""


def _has_all(family: Family, hyper: Mapping[str, Any]) -> bool:
    return all(name in hyper for name, symbol in family.hyper.items() if symbol)


def _claim(family: Family, path: str, tensor: Tensor, entries: int) -> tuple[float, str]:
    if entries > 1:
        return 2.0, f"2 ulp: {entries} entries of the sparse gradient meet here, in an order of their own"
    if tensor.device.type != "cpu":
        return DEVICE_ULPS, f"{DEVICE_ULPS:g} ulp: computed here on the CPU, there on {tensor.device.type}"
    if path == FUSED:
        return family.fused, f"{family.fused:g} ulp: the fused kernel rounds in other places"
    return 0.0, "bit for bit"


def path_of(hyper: Mapping[str, Any], tensor: Tensor) -> str:
    """Which of torch's implementations computes this parameter's step."""
    if hyper.get("fused"):
        return FUSED
    foreach = hyper.get("foreach")
    if foreach is None:
        foreach = tensor.device.type in ("cuda", "xpu", "hpu") and not hyper.get("differentiable")
    return FOREACH if foreach else SINGLE


@dataclass
class _Element:
    """What is at one place, before the step."""

    index: tuple[int, ...]
    value: Tensor
    grad: Tensor


def _computed(family: Family, taken: Taken, at: _Element, path: str, after: Tensor | None) -> tuple[Sheet, Tensor]:
    """The lines and the new value: as torch's kernels round on whole vectors, or else on single numbers."""
    fits = taken.value is not None and taken.value.numel() >= WIDE // 2
    results = []
    for width in (WIDE, 1) if fits else (1, WIDE):
        results.append(_once(family, taken, at, path, width))
        if after is None or _same(results[-1][1], after):
            return results[-1]
    return results[0]


def _once(family: Family, taken: Taken, at: _Element, path: str, width: int) -> tuple[Sheet, Tensor]:
    dtype, sheet = at.value.dtype, Sheet()
    # Fused kernels round to the parameter's dtype only what they store.
    inside = torch.float32 if path == FUSED and dtype in LOW else dtype

    def wide(number: Tensor) -> Tensor:
        return number.to(inside).reshape(1).expand(width).clone()

    state, step = taken.state_at(at.index)
    g = wide(at.grad)
    if taken.scale is not None:
        g = sheet.line("g ← g/S", f"{short(g)}/{short(taken.scale)}", g / taken.scale, "S: the GradScaler's scale")
    numbers = {name: wide(number) for name, number in state.items()}
    new = family.update(Case(wide(at.value), g, numbers, taken.hyper, path, step), sheet)
    return sheet, new.to(dtype).reshape(-1)[0]


def _same(one: Tensor, other: Tensor) -> bool:
    return bool(one == other) or bool(one != one and other != other)


def _given(
    known: Explanation, family: Family | None, taken: Taken, value: Tensor | None, grad: Tensor | None
) -> list[Given]:
    result = []
    if value is not None:
        result.append(Given("p", "value", exact(value)))
    if grad is not None:
        label = f"gradient ({taken.label})" if taken.label else "gradient"
        result.append(Given("g", label, exact(grad)))
    state, step = taken.state_at(known.index) if taken.state is not None else ({}, 0.0)
    for name, symbol in family.state.items() if family is not None else ():
        if name == "step" and taken.state:
            result.append(Given(symbol, name, exact(step)))
        elif name in state:
            result.append(Given(symbol, name, exact(state[name])))
    return result


def _hyper(family: Family | None, hyper: Mapping[str, Any]) -> list[Given]:
    symbols = family.hyper if family is not None else dict.fromkeys(hyper, "")
    result = []
    for name, symbol in symbols.items():
        value = hyper.get(name)
        if isinstance(value, tuple):
            result.append(Given(symbol, name, ", ".join(short(v) for v in value if v is not None)))
        elif isinstance(value, bool) or value is None:
            if value:
                result.append(Given("", name, "on"))
        else:
            result.append(Given(symbol if symbol != name else "", name, short(value)))
    return result


def _change(value: Tensor | None, after: Tensor | None) -> str | None:
    if value is None or after is None:
        return None
    if value.is_complex():
        return short(complex(after.item()) - complex(value.item()))
    return short(float(after) - float(value))
