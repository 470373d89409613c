"""Which modules were called in the last two iterations, and where what they put out went: all while stepping only.

A graph tells what reached the loss. Why something did not is told by the calls: under which grad mode a module ran,
which nodes it made, the storages that it put out with history, and which later call took such a storage without.

A storage is known by the address of its C++ object. Of every one that was put out a weak reference is kept: that frees
its memory as ever and only keeps the address from being given to another, so that equal addresses mean one storage.
No tensor and no module is held.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from threading import get_ident
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, UntypedStorage
from torch._C import _is_torch_function_mode_enabled
from torch.nn import Parameter

from stepdbg.agent import frames
from stepdbg.agent.loop import Loop

MAX_CALLS = 100_000
"""Module calls remembered, at most; where an iteration makes more, nobody claims that a module was not called in it."""

MAX_TENSORS = 16
"""Tensors noted of what a call took, or put out, inside containers."""

UNKNOWN, WITHOUT, WITH = 0, 1, 2
"""What a call put out: nothing that we can read, tensors none of which requires grad, tensors some of which do."""

Site = tuple[str, int, str]
"""File, line and function."""

_storage: Callable[[Tensor], Any] = Tensor.untyped_storage
_weak: Callable[[Any], int] = vars(torch._C.StorageBase)["_weak_ref"]
_let_go: Callable[[int], None] = UntypedStorage._free_weak_ref
storage_address: Callable[[Tensor], int] = getattr(torch._C, "_storage_address", lambda t: t.untyped_storage()._cdata)


_Noted = tuple[int, bool, int, int, int, tuple[int, ...], tuple[int, ...], int]
"""A `Call` as it is noted: a plain tuple is made in a quarter of the time."""


class Call(NamedTuple):
    """One call of a module that has returned. Calls are in the order in which they returned."""

    module: int
    """Its id."""
    grad: bool
    """Whether grad mode was on when it was called."""
    first: int
    last: int
    """Sequence numbers of the nodes made in it: the first one, and one past the last."""
    put_out: int
    """UNKNOWN, WITHOUT or WITH."""
    outputs: tuple[int, ...]
    """Storages of what it put out with history."""
    took: tuple[int, ...]
    """Storages of the tensors it was called with; negative for those without history."""
    thread: int
    """In which it ran: each thread numbers its own nodes."""


class Calls:
    """Told of every module call while stepping; asked at stops."""

    def __init__(self, loop: Loop, broken: Callable[[Exception], Any]) -> None:
        self._loop = loop
        self._broken = broken
        """Told where something of ours fails."""
        self._log: deque[_Noted] = deque()
        self._dropped = 0
        """Calls that were once in the log and are not any more: what the first one's number is."""
        self._began: dict[int, int] = {1: 0}
        """Iteration → number of its first call."""
        self._sites: deque[tuple[int, int, int, Site]] = deque(maxlen=MAX_CALLS)
        self._sorted: tuple[int, int, list[int], list[tuple[int, int, Site]]] = (-1, 0, [], [])
        self._noted_sites = 0
        self._user_files: dict[str, bool] = {}
        self.told: list[Callable[[Any, int, int, tuple[Any, ...], Any, Any], None]] = []
        """Whom the wrapper tells of every call that has returned: nobody, or an armed `watch nan`."""

    def __del__(self) -> None:
        self.clear()

    # ── the hot path ────────────────────────────────────────────────────────────────────────────────────────

    def note(
        self, module: int, grad: bool, first: int, last: int, args: tuple[Any, ...], kwargs: Any, result: Any
    ) -> None:
        """The module with this id was called with these arguments and has returned `result`. Never raises."""
        log = self._log
        try:
            if not grad:
                log.append((module, False, first, last, UNKNOWN, (), (), get_ident()))
            elif (
                type(result) is Tensor
                and 0 < len(args) < 3
                and type(args[0]) is Tensor
                and type(args[-1]) is Tensor
                and not kwargs
                and not _is_torch_function_mode_enabled()
            ):
                took = tuple([-storage_address(t) if t.is_leaf else storage_address(t) for t in args])
                if not result.is_leaf:
                    log.append((module, True, first, last, WITH, (_weak(_storage(result)),), took, get_ident()))
                else:
                    put_out = WITH if result.requires_grad else WITHOUT
                    log.append((module, True, first, last, put_out, (), took, get_ident()))
            else:
                log.append(_look(module, first, last, args, kwargs, result))
        except (RuntimeError, NotImplementedError):  # no storage: sparse, or wrapped by a transform of torch.func
            try:
                log.append(_look(module, first, last, args, kwargs, result))
            except Exception as error:
                self._broken(error)
        except Exception as error:
            self._broken(error)
        if len(log) > MAX_CALLS:
            self._drop(1)

    def where(self, frame: FrameType | None) -> Site | None:
        """The user's line that is being run in `frame` or one of its callers."""
        known = self._user_files
        while frame is not None:
            code = frame.f_code
            user = known.get(code.co_filename)
            if user is None:
                user = known[code.co_filename] = frames.is_user(code.co_filename)
            if user:
                return code.co_filename, frame.f_lineno or 0, getattr(code, "co_qualname", code.co_name)
            frame = frame.f_back
        return None

    def made_at(self, first: int, last: int, site: Site | None) -> None:
        """The call on this line of the user's made the nodes from `first` to before `last`."""
        if site is not None and first != last:
            self._sites.append((get_ident(), first, last, site))
            self._noted_sites += 1

    def new_iteration(self, iteration: int, oldest: int) -> None:
        """Another iteration begins: forget what came before the last one. `oldest`: the number its nodes begin at."""
        before = max(self._began)
        self._began = {before: self._began[before], iteration: self._dropped + len(self._log)}
        self._drop(self._began[before] - self._dropped)
        sites = self._sites
        while sites and sites[0][2] <= oldest:
            sites.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._drop(len(self._log))
        self._sites.clear()

    def _drop(self, count: int) -> None:
        log = self._log
        for _ in range(count):
            for storage in log.popleft()[5]:
                _let_go(storage)
            self._dropped += 1

    def entry_points(self) -> tuple[Callable[..., Any], ...]:
        """The functions through which the script comes in here."""
        return (Calls.note, Calls.where, Calls.made_at, Calls.new_iteration, _look)

    # ── asked at stops ──────────────────────────────────────────────────────────────────────────────────────

    def of(self, iteration: int, newest: int | None = None) -> list[Call] | str:
        """All module calls of an iteration, or one line on why they are not known.

        `newest`: sequence number of a graph's root, made in this thread. A call that began after it has no part in it.
        """
        if iteration <= self._loop.partly_free:
            return "not recorded: the script ran free in this iteration"
        start = self._began.get(iteration)
        if start is None:
            return "not recorded any more: an earlier iteration"
        if start < self._dropped:
            return f"not recorded: this iteration made more than {MAX_CALLS:,} module calls"
        end = min((n for i, n in self._began.items() if i > iteration), default=self._dropped + len(self._log))
        found = islice(self._log, start - self._dropped, end - self._dropped)
        here = get_ident()
        return [Call(*noted) for noted in found if newest is None or noted[2] <= newest or noted[7] != here]

    def line_of(self, seq: int) -> Site | None:
        """The user's line that called the root module (or functional loss) which made the node of this number.

        Of nodes made in the thread that asks.
        """
        here = get_ident()
        if self._sorted[:2] != (self._noted_sites, here):
            ordered = sorted(site[1:] for site in self._sites if site[0] == here)
            self._sorted = (self._noted_sites, here, [site[0] for site in ordered], ordered)
        firsts, ordered = self._sorted[2:]
        at = bisect_right(firsts, seq) - 1
        if at < 0 or seq >= ordered[at][1]:
            return None
        file, line, function = ordered[at][2]
        return file if file.startswith("<") else os.path.abspath(file), line, function  # noqa: PTH100


def _look(module: int, first: int, last: int, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> _Noted:
    """A call with grad mode on, whatever was given and put out; no mode or subclass of the script's sees it."""
    with torch._C.DisableTorchFunction():
        took = []
        for value in (*args, *kwargs.values()):
            for tensor in tensors_in(value):
                address = storage_of(tensor)
                if address:
                    took.append(-address if tensor.is_leaf else address)
        put_out, outputs = UNKNOWN, []
        for tensor in tensors_in(result):
            if not tensor.requires_grad:
                put_out = put_out or WITHOUT
                continue
            put_out = WITH
            if not tensor.is_leaf and storage_of(tensor):
                outputs.append(_weak(_storage(tensor)))
        return module, True, first, last, put_out, tuple(outputs), tuple(took), get_ident()


def storage_of(tensor: Tensor) -> int:
    """The number of its storage; 0 where there is none, and for subclasses, whose storage may be a mere shell."""
    if type(tensor) is not Tensor and type(tensor) is not Parameter:
        return 0
    try:
        return int(storage_address(tensor))
    except (RuntimeError, NotImplementedError):
        return 0


def tensors_in(value: Any, depth: int = 2) -> Iterator[Tensor]:
    """The tensors in `value`, two containers deep, past everything that a class of the script's may override."""
    kind = type(value)
    if issubclass(kind, Tensor):
        yield value
        return
    if depth == 0:
        return
    items: Collection[Any]
    if issubclass(kind, tuple):
        items = tuple.__getitem__(value, slice(MAX_TENSORS))
    elif issubclass(kind, list):
        items = list.__getitem__(value, slice(MAX_TENSORS))
    elif issubclass(kind, dict):
        items = list(dict.values(value))[:MAX_TENSORS]
    elif hasattr(kind, "__dataclass_fields__"):
        items = list(object.__getattribute__(value, "__dict__").values())[:MAX_TENSORS]
    else:
        return
    for item in items:
        yield from tensors_in(item, depth - 1)
