"""A module and all inside it, through dictionaries only: attribute access may run the user's code."""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn import Module


def submodules(module: Module) -> Iterator[Module]:
    """Each once, in the order of `module.modules()`: what is in two places stands where it is met first, going down."""
    seen: set[int] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        children = [child for child in current.__dict__.get("_modules", {}).values() if isinstance(child, Module)]
        waiting.extend(reversed(children))
