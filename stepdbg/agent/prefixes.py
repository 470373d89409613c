"""Which parameters are shown without the variable of their root module: `0.weight` for `net.0.weight`.

So are they called in `named_parameters()`, and so they are shown, until another root module begins with a name like
theirs. From then on both are shown in full for the rest of the run: a name must not change its meaning. What identifies
a parameter, here and in every record, is the full name always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor
from torch.nn import Module

from stepdbg.agent.submodules import submodules


class Prefixes:
    """What is known of this for a whole run."""

    def __init__(self) -> None:
        self.full = False
        """Whether the user wants the root in front always."""
        self._clashed: set[str] = set()

    def left_out(self, roots: Mapping[str, Module], others: Iterable[str]) -> frozenset[str]:
        """Those of `roots` whose name is left out. `others`: names of parameters that are in none of them.

        Cost: the direct children of each root.
        """
        begin = {title: _first_names(module) for title, module in roots.items()}
        taken: dict[str, str] = dict.fromkeys((_first(name) for name in others), "")
        for title, firsts in begin.items():
            if not firsts:
                continue  # a criterion
            for name in firsts:
                other = taken.setdefault(name, title)
                if other != title:
                    self._clashed |= {other, title}
                if any(name == _first(root) for root in roots):  # else it would read as that root's name
                    self._clashed.add(title)
            if any(root.startswith(f"{title}.") for root in roots):
                self._clashed.add(title)
        if self.full:
            return frozenset()
        return frozenset(title for title, firsts in begin.items() if firsts and title not in self._clashed)


class Shown:
    """How the names of one stop are shown."""

    def __init__(self, left_out: frozenset[str] = frozenset()) -> None:
        self.left_out = left_out

    def __call__(self, name: str) -> str:
        """The full name of a parameter, a buffer or a tensor of one, as it is shown."""
        for root in self.left_out:
            if name.startswith(root) and name[len(root) : len(root) + 1] == ".":
                return name[len(root) + 1 :]
        return name

    def other(self, name: str) -> str:
        """The same for a record's `shown`: empty where it is the name itself."""
        shown = self(name)
        return shown if shown != name else ""


def _first(name: str) -> str:
    return name.partition(".")[0]


def _first_names(module: Module) -> set[str]:
    """What the names in `named_parameters()` and `named_buffers()` begin with; empty: there are none."""
    children = module.__dict__.get("_modules", {}).items()
    inside = {key for key, child in children if isinstance(child, Module) and any(map(_own, submodules(child)))}
    return _own(module) | inside


def _own(module: Module) -> set[str]:
    """Names of the parameters and buffers that it holds itself."""
    kinds = (module.__dict__.get(kind, {}) for kind in ("_parameters", "_buffers"))
    return {key for held in kinds for key, value in held.items() if isinstance(value, Tensor)}
