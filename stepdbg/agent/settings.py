"""The settings of optimizers (lr, betas, weight decay …): which there are, and whether a new value is a legal one.

The ranges are those that the constructors of `torch.optim` check (torch 2.13); `step` reads the settings from the
param groups anew each time, so what is put there takes effect at the next step. Flags that choose an implementation,
or that want state which the optimizer made no room for, are left alone: `step` would raise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stepdbg.agent import naming
from stepdbg.agent.pointing import plain
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.edits import Amount, How

_IMPLEMENTATION = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""How `step` computes, not what: state and compiled code were made for it."""

_NEEDS_STATE = {"amsgrad": "max_exp_avg_sq", "centered": "grad_avg"}
"""Flags that cannot be switched on once there is state without this entry."""


@dataclass(frozen=True)
class Slot:
    """One setting in one param group."""

    title: str
    """"optimiser[0].lr"."""
    optimizer: Any
    group: dict[str, Any]
    key: str

    @property
    def value(self) -> Any:
        """What it is now."""
        return self.group[self.key]


def find(names: naming.Names, target: str) -> list[Slot]:
    """The settings that `target` names: "lr" of all optimizers, "optimiser.lr", "optimiser[0].lr".

    Empty where it names none. Raises NotThereError where the optimizer is there, but no such group or setting.
    """
    prefix, _, key = plain(target).rpartition(".")
    slots: list[Slot] = []
    seen: set[int] = set()
    for title, optimizer in names.optimizers.values():
        groups = list(getattr(optimizer, "param_groups", ()))
        numbers = _groups_meant(prefix, plain(title), title, len(groups))
        here = []
        for number in numbers:
            group = groups[number]
            if id(group) not in seen and key != "params" and key in group:  # a wrapper shares those of what it wraps
                seen.add(id(group))
                here.append(Slot(f"{title}[{number}].{key}", optimizer, group, key))
        if prefix and numbers and not here:
            there = ", ".join(_settable(groups[numbers[0]])) or "none"
            raise NotThereError(f"{title} has no setting {key!r}; it has {there}")
        slots += here
    return slots


def _groups_meant(prefix: str, name: str, title: str, count: int) -> list[int]:
    if prefix in ("", name):
        return list(range(count))
    number = prefix.removeprefix(f"{name}.") if prefix.startswith(f"{name}.") else ""
    if not number.isdecimal():
        return []
    if int(number) >= count:
        has = f"only {title}[0]" if count == 1 else f"{title}[0] to {title}[{count - 1}]"
        raise NotThereError(f"there is no param group {title}[{number}], {has}")
    return [int(number)]


def known(names: naming.Names) -> list[str]:
    """Every name under which a setting can be given."""
    found: dict[str, None] = {}
    for title, optimizer in names.optimizers.values():
        for group in getattr(optimizer, "param_groups", ()):
            for key in _settable(group):
                found[key] = found[f"{title}.{key}"] = None
    return list(found)


def _settable(group: dict[str, Any]) -> list[str]:
    return [key for key, value in group.items() if key not in _IMPLEMENTATION and _kind(value)]


def _kind(value: Any) -> str:
    """One of "flag", "integer", "number", "numbers" and "tensor"; nothing for what cannot be set here."""
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, (tuple, list)) and value and all(type(v) in (int, float) for v in value):
        return "numbers"
    return ""


def new_value(slot: Slot, amount: Amount, at: int | None = None) -> Any:
    """What the setting becomes; a tensor's new number, for one that is a tensor. `at`: only that one of several.

    Raises NotThereError with one line where it cannot be set, or not to this.
    """
    kind, title = _kind(slot.value), slot.title
    if slot.key in _IMPLEMENTATION:
        raise NotThereError(f"{title} chooses how step is computed: it cannot be changed once the optimizer is built")
    if not kind:
        what = "None" if slot.value is None else f"a {type(slot.value).__name__}"
        raise NotThereError(f"{title} is {what}: only numbers, True or False, and tuples of numbers can be set")
    if at is not None and kind != "numbers":
        raise NotThereError(f"{title} is one value, so it takes no index")
    made = {"flag": _flag, "numbers": _numbers}.get(kind, _number)(slot, amount, at)
    for number in made if isinstance(made, (tuple, list)) else (made,):
        _check_range(slot, number)
    _check_together(slot, made)
    return made


def _flag(slot: Slot, amount: Amount, _at: int | None) -> bool:
    flag = amount.flag
    if amount.how is not How.FLAG:
        if amount.how is How.SCALE or amount.integer not in (0, 1):
            raise NotThereError(f"{slot.title} is {slot.value}: it takes true or false")
        flag = bool(amount.integer)
    wanted = _NEEDS_STATE.get(slot.key)
    if flag and wanted is not None and _lacks_state(slot, wanted):
        raise NotThereError(f"{slot.title}: the optimizer has state without {wanted!r}, so its next step would raise")
    return flag


def _lacks_state(slot: Slot, entry: str) -> bool:
    states = (slot.optimizer.state.get(p) for p in slot.group.get("params", ()))
    return any(state and entry not in state for state in states)


def _number(slot: Slot, amount: Amount, _at: int | None) -> int | float:
    now = slot.value
    if isinstance(now, Tensor):
        if now.numel() != 1:
            raise NotThereError(
                f"{slot.title} is a tensor of {now.numel()} elements: only one of a single number is set"
            )
        now = now.item()
    number = _one(slot, amount)
    if amount.how is How.SCALE:
        return _scaled(now, number)
    if _kind(slot.value) == "integer" and amount.integer is None:
        if slot.key in _REALS:
            return number  # lr=1 was written without a point
        raise NotThereError(f"{slot.title} is the integer {now}: it takes an integer")
    return amount.integer if _kind(slot.value) == "integer" and amount.integer is not None else number


def _scaled(now: Any, factor: float) -> float | int:
    product = now * factor
    return int(product) if isinstance(now, int) and float(product).is_integer() else product


def _one(slot: Slot, amount: Amount) -> float:
    if amount.how is How.FLAG:
        raise NotThereError(f"{slot.title} is {slot.value}: it takes a number")
    if len(amount.numbers) != 1:
        raise NotThereError(f"{slot.title} is one number, not {len(amount.numbers)}")
    return amount.numbers[0]


def _numbers(slot: Slot, amount: Amount, at: int | None) -> Any:
    now = slot.value
    if at is not None:
        if not -len(now) <= at < len(now):
            raise NotThereError(f"{slot.title} has {len(now)} numbers: there is no [{at}]")
        changed = list(now)
        number = _one(slot, amount)
        changed[at] = now[at] * number if amount.how is How.SCALE else number
        return type(now)(changed)
    if amount.how is How.SCALE:
        return type(now)(v * amount.numbers[0] for v in now)
    if amount.how is How.FLAG or len(amount.numbers) != len(now):
        form = ", ".join(str(v) for v in now)
        raise NotThereError(f"{slot.title} takes {len(now)} numbers, as in: {form}")
    return type(now)(amount.numbers)


# ── what is legal ───────────────────────────────────────────────────────────────────────────────────────────

_Test = tuple[Callable[[float], bool], str]
_NOT_NEGATIVE: _Test = (lambda value: value >= 0, "must not be negative")
_BELOW_ONE: _Test = (lambda value: 0 <= value < 1, "must be at least 0 and less than 1")
_UP_TO_ONE: _Test = (lambda value: 0 <= value <= 1, "must be between 0 and 1")

_RANGES: dict[str, _Test] = {
    **dict.fromkeys(("lr", "initial_lr", "eps", "weight_decay", "momentum", "lr_decay"), _NOT_NEGATIVE),
    **dict.fromkeys(("momentum_decay", "initial_accumulator_value"), _NOT_NEGATIVE),
    "betas": _BELOW_ONE,
    "rho": _UP_TO_ONE,
    "beta2_decay": (lambda value: value <= 0, "must not be positive"),
    "d": (lambda value: value >= 1, "must be at least 1"),
}
"""By the setting's name, which means the same in all of `torch.optim`."""

_REALS = frozenset(_RANGES) | {"alpha", "dampening", "lambd", "t0", "tolerance_grad", "tolerance_change"}
"""Settings that are no integers, also where one was written without a point."""


def _check_range(slot: Slot, number: Any) -> None:
    if isinstance(number, bool):
        return
    if math.isnan(number):
        raise NotThereError(f"{slot.title} cannot be nan")
    test = _RANGES.get(slot.key)
    if slot.key == "alpha" and "centered" in slot.group:
        test = _NOT_NEGATIVE  # RMSprop's; what ASGD calls so may be anything
    if test is not None and not test[0](number):
        raise NotThereError(f"{slot.title} {test[1]}, so not {number:g}")


def _check_together(slot: Slot, made: Any) -> None:
    """Settings that go together: nesterov wants a momentum and no dampening, RMSprop's momentum a buffer."""
    group = {**slot.group, slot.key: made}
    if group.get("nesterov") and "dampening" in group and (group.get("momentum", 0) <= 0 or group["dampening"] != 0):
        raise NotThereError(f"{slot.title}: nesterov wants a momentum above 0 and a dampening of 0")
    switched_on = slot.key == "momentum" and "alpha" in group and not slot.value and made
    if switched_on and _lacks_state(slot, "momentum_buffer"):
        raise NotThereError(f"{slot.title}: the optimizer has state without a momentum buffer, so its step would raise")
