"""Which parameter of an optimizer a tensor belongs to: itself, its gradient, its state, or a view of one.

Told by identity, and by the storage it lies in. Everything is held weakly.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stepdbg.agent.calls import storage_address
from stepdbg.agent.optim.holdings import groups_of


@dataclass
class Owned:
    """One parameter, and where it stands."""

    ref: weakref.ref[Tensor]
    group: int
    groups: int
    position: int


@dataclass
class Touched:
    """What one operation works on."""

    written: dict[int, bool] = field(default_factory=dict)
    """Owner → whether the parameter itself is written, and not its gradient or state alone."""
    read: set[int] = field(default_factory=set)
    at_once: bool = False
    """Whether it writes whole lists of tensors."""


class Own:
    """The tensors of one optimizer."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = weakref.ref(optimizer)
        self.stale = False
        """Whether gradients may be others than those known."""
        self.owned: list[Owned] = []
        self._owners: dict[int, tuple[weakref.ref[Tensor], int, bool]] = {}
        """By id of a tensor: the owner, and whether it is the parameter itself."""
        self._places: dict[int, list[tuple[weakref.ref[Tensor], int, bool]]] = {}
        """By storage."""
        self._states = 0
        """Entries of `optimizer.state` that are known; the last of them perhaps only in part."""
        groups = groups_of(optimizer)
        for number, group in enumerate(groups):
            for position, parameter in enumerate(group.params):
                if id(parameter) not in self._owners:
                    self._add(parameter, len(self.owned), itself=True)
                    self.owned.append(Owned(weakref.ref(parameter), number, len(groups), position))
        self._look_again()

    def number_of(self, parameter: Tensor) -> int | None:
        """Its number in `owned`."""
        found = self._owners.get(id(parameter))
        return found[1] if found is not None and found[0]() is parameter else None

    def touched(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Touched | None:
        """What an operation works on of it; None: nothing, or it makes a view of its argument only."""
        schema = getattr(func, "_schema", None)
        if schema is None:
            return None
        places, names, view = _writes_of(func, schema)
        if view:
            return None
        if self.stale:
            self._look_again()
        result = Touched()
        for number, value in enumerate(args):
            self._note(result, value, number in places)
        for name, value in kwargs.items():
            self._note(result, value, name in names)
        return result if result.written or result.read else None

    def _note(self, result: Touched, value: Any, writes: bool) -> None:
        if isinstance(value, (list, tuple)):
            before = len(result.written)
            for inner in value:
                if isinstance(inner, Tensor):
                    self._note(result, inner, writes)
            result.at_once |= writes and len(result.written) > before
        elif isinstance(value, Tensor):
            found = self._find(value)
            if found is None and writes:
                self._look_at_state()
                found = self._find(value)
            if found is not None and writes:
                result.written[found[1]] = result.written.get(found[1], False) or found[2]
            elif found is not None:
                result.read.add(found[1])

    def _find(self, tensor: Tensor) -> tuple[weakref.ref[Tensor], int, bool] | None:
        found = self._owners.get(id(tensor))
        if found is not None and found[0]() is tensor:
            return found
        place = _place(tensor)
        there = [entry for entry in self._places.get(place, ()) if self._still(entry, place)] if place else []
        if len(there) > 1:  # parameters that are parts of one storage
            there = [entry for entry in there if _lies_in(tensor, entry[0]())] or there
        owners = {entry[1] for entry in there}
        return there[0] if len(owners) == 1 else None

    @staticmethod
    def _still(entry: tuple[weakref.ref[Tensor], int, bool], place: int) -> bool:
        tensor = entry[0]()
        return tensor is not None and place in _places_of(tensor)

    def _add(self, tensor: Any, owner: int, *, itself: bool = False) -> None:
        if not isinstance(tensor, Tensor):
            return
        entry = weakref.ref(tensor), owner, itself
        self._owners[id(tensor)] = entry
        for place in _places_of(tensor):
            there = self._places.setdefault(place, [])
            if all(other[0]() is not tensor for other in there):
                there.append(entry)

    def _look_again(self) -> None:
        self.stale = False
        for number, owned in enumerate(self.owned):
            parameter = owned.ref()
            if parameter is not None:
                self._add(parameter.grad, number)
        self._states = 0
        self._look_at_state()

    def _look_at_state(self) -> None:
        """State that was made since is known from here on."""
        optimizer = self._optimizer()
        states = getattr(optimizer, "state", None)
        if not isinstance(states, dict) or (len(states) == 1 and self._with_gradients() > 1):
            return  # state of the first parameter alone is that of all of them together (LBFGS)
        for parameter in _newest(states, len(states) - max(self._states - 1, 0)):
            owner = self.number_of(parameter) if isinstance(parameter, Tensor) else None
            held = states.get(parameter)
            if owner is not None and isinstance(held, Mapping):
                for value in list(held.values()):
                    self._add(value, owner)
        self._states = len(states)

    def _with_gradients(self) -> int:
        parameters = [owned.ref() for owned in self.owned]
        return sum(parameter is not None and parameter.grad is not None for parameter in parameters)


def _newest(states: dict[Any, Any], count: int) -> list[Any]:
    newest = reversed(states)
    return [key for _, key in zip(range(count), newest, strict=False)]


def _place(tensor: Tensor) -> int:
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__ or tensor.is_sparse:
        return 0
    try:
        return storage_address(tensor)
    except (RuntimeError, NotImplementedError):
        return 0


def _places_of(tensor: Tensor) -> list[int]:
    parts = [tensor._indices(), tensor._values()] if tensor.is_sparse else [tensor]
    return [place for part in parts if (place := _place(part))]


def _lies_in(tensor: Tensor, other: Tensor | None) -> bool:
    if other is None or tensor.is_meta:
        return False
    try:
        first, size = other.storage_offset() * other.element_size(), other.numel() * other.element_size()
        return first <= tensor.storage_offset() * tensor.element_size() < first + size
    except (RuntimeError, NotImplementedError):
        return False


_schemas: dict[Any, tuple[frozenset[int], frozenset[str], bool]] = {}


def _writes_of(func: Any, schema: Any) -> tuple[frozenset[int], frozenset[str], bool]:
    """Positions and names of the arguments that an operation writes, and whether it only makes a view."""
    found = _schemas.get(func)
    if found is None:
        infos = [argument.alias_info for argument in schema.arguments]
        written = [n for n, info in enumerate(infos) if info is not None and info.is_write]
        names = [schema.arguments[n].name for n in written]
        view = not written and any(result.alias_info is not None for result in schema.returns)
        found = _schemas[func] = frozenset(written), frozenset(names), view
    return found
