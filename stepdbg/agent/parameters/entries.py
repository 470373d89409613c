"""Every tensor of the model by name: parameters, buffers, and what optimizers keep for each parameter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from stepdbg.agent import pointing
from stepdbg.agent.naming import Names

PARAMETER, BUFFER, STATE = "parameter", "buffer", "state"

DEEPEST = 3
"""Lists and dictionaries inside an optimizer's state are gone into so far (LBFGS keeps lists of tensors)."""

LONGEST = 1000
"""Elements of one such list or dictionary, at most."""


_STATE = re.compile(r"(?P<optimizer>.+?)\.state\[(?P<of>.+)\](?P<rest>(?:\.[^\]]*)?(?:\[\d+\].*)?)")


@dataclass(frozen=True)
class Entry:
    """One tensor (or number, in an optimizer's state) under its name."""

    kind: str
    name: str
    tensor: Tensor
    aliases: tuple[str, ...] = ()
    of: str = ""
    """Name of the parameter that an optimizer keeps this for."""
    number: bool = False
    """Whether an optimizer keeps a plain number, of which `tensor` is a copy in 0 dimensions."""

    @property
    def place(self) -> str:
        """Path of the module that holds it."""
        return self.name.rpartition(".")[0] if self.kind != STATE else ""


def parameters(names: Names) -> list[Entry]:
    """All parameters, in the model's order; tied ones once."""
    return [Entry(PARAMETER, p.name, p.tensor, p.aliases) for p in names.parameters]


def buffers(names: Names) -> list[Entry]:
    """All buffers, in the model's order."""
    return [Entry(BUFFER, b.name, b.tensor) for b in names.named_buffers]


def states(names: Names) -> Iterator[Entry]:
    """What every optimizer keeps, as `optimiser.state[net.0.weight].exp_avg`, in the order in which it was made.

    The state of an optimizer is often a defaultdict: nothing is looked up in it by key.
    """
    by_id = {id(p.tensor): p.name for p in names.parameters}
    for title, optimizer in names.optimizers.values():
        state = getattr(optimizer, "state", None)
        if not isinstance(state, Mapping):
            continue
        for key, kept in list(state.items()):
            of = by_id.get(id(key), "") if isinstance(key, Tensor) else ""
            label = of or (f"{key!r}"[:40] if not isinstance(key, Tensor) else "?")
            yield from _inside(f"{title}.state[{label}]", kept, of, DEEPEST)


class States(Sequence[Entry]):
    """What all optimizers keep. Counted at once, named when it is first looked at: there may be three for each
    parameter.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._entries: list[Entry] | None = None
        held = (getattr(optimizer, "state", None) for _title, optimizer in names.optimizers.values())
        self._count = sum(
            _count(kept, DEEPEST) for state in held if isinstance(state, Mapping) for kept in list(state.values())
        )

    @property
    def entries(self) -> list[Entry]:
        """All of them, by name."""
        if self._entries is None:
            self._entries = list(states(self._names))
        return self._entries

    def __len__(self) -> int:
        return self._count if self._entries is None else len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self.entries[index]


def _count(thing: Any, depth: int) -> int:
    """How many entries `_inside` makes of it."""
    if isinstance(thing, Tensor):
        return 1
    if isinstance(thing, (int, float)):
        return not isinstance(thing, bool)
    if depth and isinstance(thing, (dict, list, tuple)):
        inside = list(thing.values() if isinstance(thing, dict) else thing)[:LONGEST]
        return sum(1 if isinstance(value, Tensor) else _count(value, depth - 1) for value in inside)
    return 0


def _inside(path: str, thing: Any, of: str, depth: int) -> Iterator[Entry]:
    if isinstance(thing, Tensor):
        yield Entry(STATE, path, thing, (), of)
    elif isinstance(thing, (int, float)) and not isinstance(thing, bool):
        yield Entry(STATE, path, _copy(thing), (), of, number=True)
    elif depth and isinstance(thing, dict):
        for key, value in list(thing.items())[:LONGEST]:
            yield from _inside(f"{path}.{key}", value, of, depth - 1)
    elif depth and isinstance(thing, (list, tuple)):
        for at, value in enumerate(list(thing)[:LONGEST]):
            yield from _inside(f"{path}[{at}]", value, of, depth - 1)


def _copy(number: float) -> Tensor:
    whole = isinstance(number, int) and abs(number) < 1 << 63
    return torch.tensor(number, dtype=torch.int64 if whole else torch.float64)


def shown(names: Names, entry: Entry) -> str:
    """Its name as the user reads it."""
    if entry.kind == STATE:
        return entry.name.replace(f"[{entry.of}]", f"[{names.shown(entry.of)}]", 1) if entry.of else entry.name
    return names.shown(entry.name)


def find(names: Names, name: str) -> Entry | None:
    """The parameter (by any of its names), buffer or optimizer state of that name; None: there is none."""
    if (state := _STATE.fullmatch(name)) is not None:
        of = pointing.one(names, state["of"])
        wanted = f"{state['optimizer']}.state[{of.name if of is not None else state['of']}]{state['rest']}"
        if (found := next((entry for entry in states(names) if entry.name == wanted), None)) is not None:
            return found
    parameter = pointing.one(names, name)
    if parameter is not None:
        return Entry(PARAMETER, parameter.name, parameter.tensor, parameter.aliases)
    buffer = next(iter(pointing.buffers(names, name)), None)
    return Entry(BUFFER, buffer.name, buffer.tensor) if buffer is not None else None
