"""Which optimizer holds a parameter, and how it came to know it, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stepdbg.agent.naming import Named, Names
from stepdbg.agent.optim.holdings import groups_of

FEW = 3
"""Modules that are named one by one."""


@dataclass
class Owner:
    """An optimizer that holds `tensor` in its group number `group` of `groups`."""

    optimizer: Any
    tensor: Tensor
    title: str
    kind: str
    group: int
    groups: int
    members: tuple[Tensor, ...]
    """Of that group."""


def held_by(optimizer: Any, tensor: Tensor, names: Names) -> Owner | None:
    """How this optimizer holds the parameter; None where it does not."""
    if optimizer is None:
        return None
    groups = groups_of(optimizer)
    for number, group in enumerate(groups):
        if any(p is tensor for p in group.params):
            kind = type(optimizer).__name__
            title = names.label(optimizer) or kind
            return Owner(optimizer, tensor, title, kind, number, len(groups), tuple(group.params))
    return None


def known_by(owner: Owner, names: Names) -> str:
    """One sentence: what the optimizer was given, as far as the parameters that it holds tell."""
    count = len(owner.members)
    place = f"group {owner.group} of {owner.groups}, {count:,} parameter{'' if count == 1 else 's'}"
    return f"it was given {_source(owner, names)}: {place}"


def nobody(named: Named, names: Names) -> str:
    """Why no step changes a parameter that no optimizer holds."""
    if not names.optimizers:
        return f"nobody owns {named.shown}: no optimizer is known here"
    return f"nobody owns {named.shown}: no optimizer was given it, so no step changes it"


def _source(owner: Owner, names: Names) -> str:
    members = {id(p) for p in owner.members}
    mine: dict[str, int] = {}
    for parameter in names.parameters:
        if id(parameter.tensor) in members and parameter.root:
            mine[parameter.root] = mine.get(parameter.root, 0) + 1
    total = {root: sum(p.root == root for p in names.parameters) for root in mine}
    if sum(mine.values()) < len(members) or not mine or len(mine) > FEW:
        return f"{len(members):,} tensors"
    parts = []
    for root, count in mine.items():
        inside = [p for p in names.parameters if p.root == root and id(p.tensor) in members]
        prefix = _prefix([p.name for p in inside], root)
        whole = sum(p.name.startswith(f"{prefix}.") for p in names.parameters if p.root == root)
        if whole == count:
            parts.append(f"{prefix}.parameters()")
        else:
            parts.append(f"{count:,} of the {total[root]:,} parameters of {root}")
    return " and ".join(parts)


def _prefix(names: list[str], root: str) -> str:
    """The innermost module that all of these parameters are in."""
    split = [name.split(".")[:-1] for name in names]
    common = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    prefix = ".".join(common)
    return prefix if prefix.startswith(root) else root
