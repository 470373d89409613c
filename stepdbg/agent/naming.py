"""Whose is what: root modules, optimizers and parameters under the names that the user's own variables give them.

Everything is found through dictionaries (`__dict__`, `_modules`, `_parameters`, `param_groups`), never through
attribute access: reading `.weight` of a spectrally normalised layer would run a power iteration.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from stepdbg.agent import frames
from stepdbg.agent.prefixes import Prefixes, Shown
from stepdbg.agent.submodules import submodules

MAX_CONTAINER = 64
"""Lists, tuples and dictionaries longer than this are not searched for modules."""

_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""Modules that only wrap another: the wrapped one is the root, and its parameters get no prefix from the wrapper."""


@dataclass(frozen=True)
class Named:
    """One parameter under its first name."""

    name: str
    tensor: Tensor
    root: str
    """Name of the root module; empty for a tensor outside any module."""
    aliases: tuple[str, ...] = ()
    how: Shown = field(default_factory=Shown, repr=False, compare=False)

    @property
    def shown(self) -> str:
        """Its name for the user's eyes."""
        return self.how(self.name)

    @property
    def other(self) -> str:
        """The same for a record's `shown`: empty where it is the name itself."""
        return self.how.other(self.name)


@dataclass
class Names:
    """What one stop knows by name. Holds the objects: keep it no longer than the stop."""

    modules: dict[int, tuple[str, Module]] = field(default_factory=dict)
    """id → name and module, of root modules, in the order found."""
    paths: dict[int, tuple[str, str]] = field(default_factory=dict)
    """id → path ("net.2") and class of every module under a root."""
    wrapped: dict[int, int] = field(default_factory=dict)
    """id of a module that was found → id of the one that it wraps (compiled, data parallel), or its own."""
    optimizers: dict[int, tuple[str, Any]] = field(default_factory=dict)
    parameters: list[Named] = field(default_factory=list)
    owners: dict[int, tuple[str, str]] = field(default_factory=dict)
    """id of a parameter → ("optimiser[0]", "SGD")."""
    groups: dict[int, Any] = field(default_factory=dict)
    """id of a parameter → the optimizer's param group that holds it."""
    buffers: list[Tensor] = field(default_factory=list)
    named_buffers: list[Named] = field(default_factory=list)
    """The same, under their first names."""
    shown: Shown = field(default_factory=Shown)
    """How names of parameters are shown."""
    labels: dict[int, str] = field(default_factory=dict)
    """id of any object that a variable of the user's holds → that variable's name."""

    def by_id(self) -> dict[int, Named]:
        """Parameters by id."""
        return {id(p.tensor): p for p in self.parameters}

    def label(self, thing: Any) -> str:
        """The user's name for `thing`: a module's path, an optimizer's variable, or nothing."""
        if thing is None:
            return ""
        if isinstance(thing, Module):
            named = self.modules.get(id(_unwrap(thing)))
            path = self.paths.get(id(thing))
            return named[0] if named else path[0] if path else self.labels.get(id(thing), "")
        optimizer = self.optimizers.get(id(thing))
        return optimizer[0] if optimizer else self.labels.get(id(thing), "")


def collect(
    stack: Iterable[FrameType], called: Iterable[Any], optimizers: Iterable[Any], prefixes: Prefixes | None = None
) -> Names:
    """Everything nameable from the user's frames (innermost first), `__main__`, and what is known to have run.

    `called`: modules that were called as roots; `optimizers`: those that were built; `prefixes`: what the run knows of
    names that clash. Cost: a walk over the modules.
    """
    names = Names()
    variables = list(_variables(stack))
    found: dict[int, tuple[str, Module]] = {}
    tensors: dict[int, tuple[str, Tensor]] = {}
    for name, value in variables:
        names.labels.setdefault(id(value), name)
        if is_a(value, Module):
            inner = _unwrap(value)
            names.wrapped[id(value)] = id(inner)
            found.setdefault(id(inner), (name, inner))
        elif _is_optimizer(value):
            names.optimizers.setdefault(id(value), (name, value))
        elif is_a(value, Tensor) and value.requires_grad and value.is_leaf:
            tensors.setdefault(id(value), (name, value))
    for module in called:
        inner = _unwrap(module)
        names.wrapped[id(module)] = id(inner)
        found.setdefault(id(inner), ("", inner))
    for optimizer in optimizers:
        names.optimizers.setdefault(id(optimizer), ("", optimizer))
    names.optimizers = _titled(names.optimizers)
    names.modules = _titled(_roots(found))
    _walk_modules(names)
    _own(names, tensors)
    settle(names, prefixes or Prefixes())
    return names


def is_a(value: Any, kind: type[Any]) -> bool:
    """Whether an object that may be anything is of that class. Not `isinstance`, which asks the object for its
    `__class__` as well: of a lazy or deprecated one that runs the script's code, or warns.
    """
    return issubclass(type(value), kind)


def settle(names: Names, prefixes: Prefixes) -> None:
    """Find out how names are shown."""
    loose = (p.name for p in names.parameters if not p.root)
    names.shown.left_out = prefixes.left_out(dict(names.modules.values()), loose)


def _variables(stack: Iterable[FrameType]) -> Iterator[tuple[str, Any]]:
    """(name, value) of the user's variables: direct ones of all frames first, then what lies one level inside."""
    seen: set[int] = set()
    inner: list[tuple[str, Any]] = []
    scopes: list[dict[str, Any]] = []
    for frame in stack:
        if frames.is_user(frame.f_code.co_filename):
            scopes.append(frames.variables(frame))
            if id(frame.f_globals) not in seen:
                seen.add(id(frame.f_globals))
                scopes.append(dict(frame.f_globals))
    main = sys.modules.get("__main__")
    if main is not None and id(main.__dict__) not in seen:
        scopes.append(dict(main.__dict__))
    late: list[tuple[str, Any]] = []
    for scope in scopes:
        for name, value in scope.items():
            if name.startswith("__"):
                continue
            if name == "self":
                late.append((name, value))
            else:
                yield name, value
            inner.extend(_inside(name, value))
    yield from inner
    yield from late


def _inside(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    kind = type(value)
    if kind in (list, tuple):
        if len(value) <= MAX_CONTAINER:
            yield from ((f"{name}[{i}]", v) for i, v in enumerate(value) if _interesting(v))
    elif kind is dict:
        if len(value) <= MAX_CONTAINER:
            yield from ((f"{name}[{k!r}]", v) for k, v in list(value.items()) if _interesting(v))
    elif not issubclass(kind, (type, Module)):
        attributes = _attributes(value)
        prefix = "" if name == "self" else f"{name}."
        yield from ((prefix + k, v) for k, v in attributes if type(k) is str and _interesting(v))


def _attributes(value: Any) -> list[tuple[Any, Any]]:
    try:
        own = object.__getattribute__(value, "__dict__")
    except Exception:
        return []
    return list(own.items()) if type(own) is dict and len(own) <= 400 else []


def _interesting(value: Any) -> bool:
    return is_a(value, Module) or _is_optimizer(value)


def _is_optimizer(value: Any) -> bool:
    return is_a(value, torch.optim.Optimizer)


def _unwrap(module: Module) -> Module:
    for _ in range(4):
        attribute = _WRAPPERS.get(type(module).__name__)
        inner = module.__dict__.get("_modules", {}).get(attribute) if attribute else None
        if not isinstance(inner, Module):
            break
        module = inner
    return module


def _roots(found: dict[int, tuple[str, Module]]) -> dict[int, tuple[str, Module]]:
    """Those that are not inside another. A module that only wraps one parameterless criterion is kept as it is."""
    inside: set[int] = set()
    for _, module in found.values():
        if id(module) not in inside:
            inside.update(id(m) for m in submodules(module) if m is not module)
    return {key: pair for key, pair in found.items() if key not in inside}


def _titled(pairs: dict[int, tuple[str, Any]]) -> dict[int, tuple[str, Any]]:
    """Every one with a name, and no two with the same: nameless ones are called after their class."""
    used = {name for name, _ in pairs.values() if name}
    taken: set[str] = set()
    result = {}
    for key, (name, thing) in pairs.items():
        title = name or type(thing).__name__
        number = 2
        base = title
        while title in taken or (not name and title in used):
            title, number = f"{base}#{number}", number + 1
        taken.add(title)
        result[key] = (title, thing)
    return result


def _walk_modules(names: Names) -> None:
    by_id: dict[int, int] = {}
    seen_buffers: set[int] = set()
    for root_name, root in names.modules.values():
        waiting = [(root_name, root)]
        visited: set[int] = set()
        while waiting:
            path, module = waiting.pop()
            names.paths.setdefault(id(module), (path, type(module).__name__))
            own = module.__dict__
            for key, parameter in own.get("_parameters", {}).items():
                if isinstance(parameter, Tensor):
                    _name_parameter(names, by_id, f"{path}.{key}", parameter, root_name)
            for key, buffer in own.get("_buffers", {}).items():
                if isinstance(buffer, Tensor) and id(buffer) not in seen_buffers:
                    seen_buffers.add(id(buffer))
                    names.buffers.append(buffer)
                    names.named_buffers.append(Named(f"{path}.{key}", buffer, root_name, (), names.shown))
            if id(module) in visited:
                continue  # reached a second time under another path: its parameters got that alias, enough
            visited.add(id(module))
            children = [(f"{path}.{k}", m) for k, m in own.get("_modules", {}).items() if isinstance(m, Module)]
            waiting.extend(reversed(children))


def _name_parameter(names: Names, by_id: dict[int, int], name: str, tensor: Tensor, root: str) -> None:
    index = by_id.get(id(tensor))
    if index is None:
        by_id[id(tensor)] = len(names.parameters)
        names.parameters.append(Named(name, tensor, root, (), names.shown))
    elif name != names.parameters[index].name:
        known = names.parameters[index]
        names.parameters[index] = replace(known, aliases=(*known.aliases, name))


def _own(names: Names, tensors: dict[int, tuple[str, Tensor]]) -> None:
    """Who holds which parameter; and the parameters that no module holds: the optimizers' and free leaf tensors."""
    known = {id(p.tensor) for p in names.parameters}
    loose: list[Named] = []
    for title, optimizer in names.optimizers.values():
        for number, group in enumerate(getattr(optimizer, "param_groups", ())):
            for position, tensor in enumerate(group.get("params", ())):
                names.owners.setdefault(id(tensor), (f"{title}[{number}]", type(optimizer).__name__))
                names.groups.setdefault(id(tensor), group)
                if id(tensor) not in known and isinstance(tensor, Tensor):
                    known.add(id(tensor))
                    name = tensors.get(id(tensor), (f"{title}[{number}].params[{position}]",))[0]
                    loose.append(Named(name, tensor, ""))
    loose.extend(Named(name, tensor, "") for key, (name, tensor) in tensors.items() if key not in known)
    names.parameters.extend(loose)
