"""A module and all inside it, through dictionaries only: attribute access may run the user's code."""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn import Module


def submodules(module: Module) -> Iterator[Module]:
    """Each once, the module itself first."""
    seen = {id(module)}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        yield current
        for child in current.__dict__.get("_modules", {}).values():
            if isinstance(child, Module) and id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
