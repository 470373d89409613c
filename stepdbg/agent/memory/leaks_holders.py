"""Who holds a tensor, and under which name of the user's.

From the variables of the script's frames and modules down, through whatever they refer to (`gc.get_referents`), until
the tensors are met: so the shortest name is found first, and nothing of ours is in the way. Where no variable of the
user's leads to one, those of libraries' modules are gone through as well.
"""

from __future__ import annotations

import gc
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter
from types import FrameType
from typing import Any, NamedTuple

from torch import Tensor

from stepdbg.agent import frames
from stepdbg.agent.collected import referrers, subclasses
from stepdbg.agent.memory.leaks import CONTAINERS, OutOfTimeError, is_ours

AT_ONCE, MOST = 16, 64
EVERY = 4096
"""Objects gone through between two looks at the clock."""

_PLAIN = frozenset({str, bytes, int, float, complex, bool, type(None), range, slice, types.CodeType, types.FrameType})


class Root(NamedTuple):
    """A variable of the script's."""

    name: str
    file: str = ""
    function: str = ""
    """In which it is a variable; empty: of a module, or an attribute."""
    line: int = 0
    """First line of that function."""


@dataclass(eq=False)
class Holder:
    """One name that holds tensors."""

    root: Root
    members: list[Tensor] = field(default_factory=list)
    """Of the tensors that were looked for."""
    tensors: list[Tensor] = field(default_factory=list)
    """Of a container: all that are right in it."""
    where: str = ""
    """"list of 12", "variable", "attribute of Net"."""
    container: bool = False
    bounded: str = ""
    """Why it cannot grow for ever; empty: nothing says so."""
    files: tuple[str, ...] = ()
    """Of the classes on the way to it, innermost first."""
    above: int = -1
    """Number of the thing that it is; below zero: a variable."""


class Search:
    """One walk from names to tensors. It holds what it has met: let go of it when it is over."""

    def __init__(self, wanted: Iterable[Tensor], until: float, step: Callable[[int], None]) -> None:
        self.wanted = {id(tensor): tensor for tensor in wanted}
        self._left = set(self.wanted)
        self._until = until
        self._step = step
        self._things: list[Any] = []
        self._above: list[int] = []
        """By number of a thing: that of what leads to it; below zero: the root of number -n - 1."""
        self._roots: list[Root] = []
        self._seen: set[int] = set()
        self._edges: list[tuple[int, Tensor]] = []
        self._kinds = subclasses(Tensor)

    def run(self, variables: Iterable[tuple[Root, Any]]) -> None:
        """Go through these, and what they lead to. Raises OutOfTimeError, with what was found until then at hand."""
        at = len(self._things)
        for root, value in variables:
            self._roots.append(root)
            self._meet(value, -len(self._roots))
        while at < len(self._things) and self._left:
            for child in _referents(self._things[at]):
                self._meet(child, at)
            at += 1
            if not at % EVERY:
                self._step(at)
                if perf_counter() > self._until:
                    raise OutOfTimeError

    @property
    def missing(self) -> list[Tensor]:
        """What no name led to."""
        return [self.wanted[key] for key in self._left]

    def _meet(self, thing: Any, above: int) -> None:
        key, kind = id(thing), type(thing)
        if key in self.wanted:
            self._edges.append((above, thing))
            self._left.discard(key)
        elif key not in self._seen and kind not in _PLAIN and gc.is_tracked(thing) and _goes_on(thing, kind):
            self._seen.add(key)
            self._things.append(thing)
            self._above.append(above)

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────

    def holders(self, age: Callable[[Tensor], int]) -> list[Holder]:
        """Each name that holds some of the tensors, in the order in which they were met; `age`: of which iteration a
        tensor is.
        """
        found: dict[tuple[int, str], Holder] = {}
        for above, tensor in self._edges:
            if above < 0:
                found.setdefault((above, ""), Holder(self._roots[-above - 1], where="variable")).members.append(tensor)
                continue
            thing, kind = self._things[above], type(self._things[above])
            container = kind in CONTAINERS and not self._is_attributes(above)
            suffix = "" if container else self._suffix(above, tensor)
            holder = found.get((above, suffix))
            if holder is None:
                root, files = self._path(above)
                name = _extended(root, suffix)
                holder = found[above, suffix] = Holder(name, container=container, files=files, above=above)
                if container:
                    holder.tensors = [one for one in gc.get_referents(thing) if type(one) in self._kinds]
                    holder.where, holder.bounded = _described(thing)
                else:
                    owner = self._things[self._above[above]] if kind is dict and self._above[above] >= 0 else thing
                    holder.where = _owner(owner)
            holder.members.append(tensor)
        for holder in found.values():
            holder.members = _once(holder.members)
        return self._collected(list(found.values()), age)

    def _collected(self, holders: list[Holder], age: Callable[[Tensor], int]) -> list[Holder]:
        """Where a container has a container or an object for each iteration (`log.append({"loss": loss})`), it is what
        grows: then the one holder in place of theirs.
        """
        branches: dict[int, dict[int, list[Holder]]] = {}
        for holder in holders:
            at = holder.above
            while at >= 0 and (above := self._above[at]) >= 0:
                if type(self._things[above]) in CONTAINERS and not self._is_attributes(above):
                    branches.setdefault(above, {}).setdefault(at, []).append(holder)
                at = above
        left = {id(holder): holder for holder in holders}
        for at in sorted(branches, reverse=True):  # what is further in was met later
            parts = [kept for part in branches[at].values() if (kept := [one for one in part if id(one) in left])]
            if not _one_after_another([[age(tensor) for one in part for tensor in one.members] for part in parts]):
                continue
            gone = [one for one in left.values() if one.above == at] + [one for part in parts for one in part]
            for one in gone:
                del left[id(one)]
            root, files = self._path(at)
            where, bounded = _described(self._things[at])
            members = _once(tensor for one in gone for tensor in one.members)
            tensors = _once(
                [*self._within(self._things[at], 3), *(t for one in gone for t in one.tensors or one.members)]
            )
            whole = Holder(root, members, tensors, where, container=True, bounded=bounded, files=files, above=at)
            left[id(whole)] = whole
        return list(left.values())

    def _within(self, container: Any, depth: int) -> Iterator[Tensor]:
        """The tensors in a container, so many containers deep."""
        for one in gc.get_referents(container):
            if type(one) in self._kinds:
                yield one
            elif depth > 1 and type(one) in CONTAINERS:
                yield from self._within(one, depth - 1)

    def _is_attributes(self, at: int) -> bool:
        """Whether a dictionary is the `__dict__` of the object that leads to it."""
        thing, above = self._things[at], self._above[at]
        if type(thing) is not dict or above < 0:
            return False
        owner = self._things[above]
        return isinstance(owner, type) or _own(owner) is thing

    def _suffix(self, at: int, child: Any) -> str:
        """What is written after a thing to come to what it leads to; "=name" where a name of its own begins there."""
        thing, kind = self._things[at], type(self._things[at])
        if kind is dict:
            key = next((key for key, value in list(thing.items()) if value is child), "?")
            return f".{key}" if self._is_attributes(at) else f"[{key!r}]"
        if kind in (list, tuple, deque):
            above = self._above[at]
            if kind is tuple and type(child) is types.CellType and above >= 0:
                owner = self._things[above]
                if type(owner) is types.FunctionType and owner.__closure__ is thing and owner.__closure__:
                    at = next((n for n, cell in enumerate(owner.__closure__) if cell is child), 0)
                    return f"={owner.__code__.co_freevars[at]}"
            return f"[{next((n for n, value in enumerate(thing) if value is child), '?')}]"
        if kind in (types.GeneratorType, types.CoroutineType):
            frame = thing.gi_frame if kind is types.GeneratorType else thing.cr_frame
            return "=" + next((k for k, value in frames.variables(frame).items() if value is child), "?")
        own = _own(thing)
        if kind is types.CellType or own is child or (isinstance(thing, type) and type(child) is dict):
            return ""
        items = list(own.items()) if own is not None else []
        name = next((key for key, value in items if value is child), None) or _slot(thing, child)
        return f".{name}" if name else ""

    def _path(self, at: int) -> tuple[Root, tuple[str, ...]]:
        """The name of a thing, and where the classes on the way are from."""
        way = [at]
        while self._above[way[-1]] >= 0:
            way.append(self._above[way[-1]])
        root = self._roots[-self._above[way[-1]] - 1]
        files = []
        for above, below in zip(way[::-1], way[-2::-1], strict=False):
            thing = self._things[above]
            suffix = self._suffix(above, self._things[below])
            if suffix.startswith("="):
                code = _code_of(thing if type(thing) is not tuple else self._things[self._above[above]])
                root = Root(suffix[1:], code.co_filename if code is not None else "")
                continue
            root = _extended(root, suffix)
            module = sys.modules.get(str(getattr(type(thing), "__module__", "")))
            file = getattr(module, "__file__", None)
            if suffix.startswith(".") and type(file) is str:
                files.append(file)
        return root, tuple(files[::-1])


def _described(container: Any) -> tuple[str, str]:
    """`where` and `bounded` of a container."""
    bounded = type(container) is deque and container.maxlen is not None
    return (
        f"{type(container).__name__} of {len(container):,}",
        f"it holds {container.maxlen:,} at most" if bounded else "",
    )


def _once(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _one_after_another(ages: list[list[int]]) -> bool:
    """Whether each of several parts goes on to later iterations than the one before it, and does not begin earlier."""
    spans = sorted((min(part), max(part)) for part in ages)
    return len(spans) > 1 and all(a <= c and b < d for (a, b), (c, d) in pairwise(spans))


def _extended(root: Root, suffix: str) -> Root:
    return root._replace(name=root.name + suffix) if suffix else root


def _owner(thing: Any) -> str:
    kind = type(thing)
    if kind is types.CellType:
        return "variable of an inner function"
    if kind in (types.GeneratorType, types.CoroutineType):
        return "variable of a generator"
    return f"attribute of {thing.__name__ if isinstance(thing, type) else kind.__name__}"


def _code_of(thing: Any) -> Any:
    for attribute in ("__code__", "gi_code", "cr_code"):
        code = getattr(thing, attribute, None)
        if code is not None:
            return code
    return None


def _own(thing: Any) -> Any:
    """The `__dict__` of an object, past everything that its class may override. None: it has none."""
    if type(thing) in CONTAINERS or type(thing) in _PLAIN:
        return None
    try:
        if isinstance(thing, type):
            return type.__dict__["__dict__"].__get__(thing)
        return object.__getattribute__(thing, "__dict__")
    except Exception:
        return None


def _slot(thing: Any, child: Any) -> str:
    """The slot in which an object keeps another."""
    for kind in type.mro(type(thing)) if not isinstance(thing, type) else ():
        for name, member in list(kind.__dict__.items()):
            if type(member) is types.MemberDescriptorType:
                try:
                    if member.__get__(thing) is child:
                        return name
                except AttributeError:
                    continue
    return ""


def _goes_on(thing: Any, kind: type[Any]) -> bool:
    """Whether to look at what it refers to: not into libraries' modules and classes, nor at ourselves."""
    if kind is types.ModuleType or is_ours(kind):
        return False
    if issubclass(kind, type):
        module = sys.modules.get(thing.__dict__.get("__module__", "") or "")
        file = getattr(module, "__file__", None)
        return type(file) is str and frames.is_user(file)
    return True


def _referents(thing: Any) -> Iterable[Any]:
    if type(thing) is types.FunctionType:  # its globals are gone through as those of a module, or not at all
        return [part for part in (thing.__closure__, thing.__defaults__, thing.__kwdefaults__, thing.__dict__) if part]
    return gc.get_referents(thing)


def held_somewhere(tensors: list[Tensor], ours: tuple[Any, ...]) -> list[Tensor]:
    """Those of a sample of these that any Python object but `ours` refers to. What only a graph or a gradient keeps has
    none. One look at all objects for 16 of them, 64 at most.
    """
    every = -(-len(tensors) // MOST) or 1
    sample = tensors[::every]
    mine = {id(tensors), id(sample), *map(id, ours)}
    found: dict[int, Tensor] = {}
    for at in range(0, len(sample), AT_ONCE):
        part = sample[at : at + AT_ONCE]
        by_id = {id(tensor): tensor for tensor in part}
        mine |= {id(part), id(by_id)}
        for holder, kind, referents in referrers(part):
            if holder in mine or is_ours(kind) or kind is types.FrameType:
                continue
            for one in referents:
                if id(one) in by_id:
                    found[id(one)] = by_id[id(one)]
    return list(found.values())


def users_variables(stack: Iterable[FrameType]) -> Iterator[tuple[Root, Any]]:
    """Those of the functions that are running, innermost first, in this thread and others, then of the user's modules.

    `self` comes last: what else leads there has a better name.
    """
    late: list[tuple[Root, Any]] = []
    elsewhere = [frame for top in sys._current_frames().values() for frame in frames.walk(top)]
    modules: dict[int, tuple[str, dict[str, Any]]] = {}
    seen: set[int] = set()
    for frame in (*stack, *elsewhere):
        code = frame.f_code
        if id(frame) in seen or not frames.is_user(code.co_filename):
            continue
        seen.add(id(frame))
        modules.setdefault(id(frame.f_globals), (code.co_filename, frame.f_globals))
        if frame.f_globals is frame.f_locals:
            continue
        function = getattr(code, "co_qualname", code.co_name)
        for name, value in frames.variables(frame).items():
            pair = Root(name, code.co_filename, function, code.co_firstlineno), value
            if name == "self":
                late.append(pair)
            else:
                yield pair
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if type(module) is types.ModuleType and type(file) is str and frames.is_user(file):
            modules.setdefault(id(module.__dict__), (file, module.__dict__))
    for file, names in modules.values():
        for name, value in list(names.items()):
            if not name.startswith("__"):
                yield Root(name, file), value
    yield from late


def libraries_variables() -> Iterator[tuple[Root, Any]]:
    """Those of the modules that are not the user's, nor ours."""
    for title, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if type(module) is not types.ModuleType or title.startswith("stepdbg"):
            continue
        if type(file) is str and frames.is_user(file):
            continue
        for name, value in list(module.__dict__.items()):
            if not name.startswith("__"):
                yield Root(f"{title}.{name}", file or ""), value
