"""Whether a place inside a phase is one that a breakpoint is on. Names may be written with brackets, and be globs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stepdbg.agent.breakpoints.armed import Armed
from stepdbg.agent.pointing import pattern, plain
from stepdbg.protocol.breakpoints import Kind
from stepdbg.protocol.inside import Grain, Place


def at(armed: Armed, place: Place, entered: Sequence[str]) -> bool:
    """Whether it is. `entered`: of a node before it runs, the modules that backward comes into with it."""
    spec = armed.spec
    kind = spec.kind
    if kind is Kind.GRADIENT:
        # The gradient has arrived once the node has added it to `.grad`.
        return place.grain is Grain.NODE and place.when == "after" and _named(spec.target, place.parameter)
    if place.when != "before":
        return False
    if kind is Kind.MODULE:
        if spec.direction == "backward":
            return any(_named(spec.target, module) for module in entered)
        return place.grain is Grain.MODULE and _named(spec.target, place.name)
    if kind is Kind.OP:
        return place.grain is Grain.OP and is_op(spec.target, place.name)
    if kind is Kind.NODE:
        return place.grain is Grain.NODE and is_node(spec.target, place.name)
    return False


def _named(target: str, name: str) -> bool:
    return bool(name) and pattern(target).match(plain(name)) is not None


def is_op(target: str, name: str) -> bool:
    """Also "addmm", "aten.addmm" and "aten.addmm.default" are the same operation."""
    parts = name.replace("::", ".").split(".")
    wanted = pattern(target.replace("::", "."))
    spellings = {".".join(parts), ".".join(parts[:2]), parts[1] if len(parts) > 1 else parts[0]}
    return any(wanted.match(spelling) for spelling in spellings)


def is_node(target: str, name: str) -> bool:
    """Also "Addmm", "AddmmBackward" and "AddmmBackward0" are the same node."""
    wanted = pattern(target)
    bare = re.sub(r"Backward\d*$", "", name)
    return any(wanted.match(spelling) for spelling in (name, name.rstrip("0123456789"), bare))
