"""Which tensors were alive at the start of each iteration: what is noted so that growth can be told at a stop.

Nothing is noted until somebody has asked for leaks, but at which sequence number each iteration that is stepped through
began. From then on, at the start of an iteration: one list of all objects that Python's garbage collector knows, and a
weak reference to each tensor that was not there before. The tensors of one such look are a *cohort*. Nothing is held,
no collection is started, and no weak reference has a callback.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stepdbg.agent.collected import alive, subclasses
from stepdbg.agent.deep import nodes_behind
from stepdbg.agent.graph.walk import is_leaf_class, variable_of
from stepdbg.agent.memory.own import own_tensors
from stepdbg.agent.quiet import quiet
from stepdbg.agent.saved import READABLE, count_once, saved_storages, tensor_storages

if TYPE_CHECKING:
    from stepdbg.agent.control import Control
    from stepdbg.agent.loop import Loop, Station
    from stepdbg.agent.losswatch import LossWatch
    from stepdbg.agent.tracker import Tracker

MOST = 4096
"""Iterations whose beginning is remembered, and samples."""

SHARE = 20
"""In a free run a look takes a twentieth of the time at most: the next one waits that many times as long as it took."""

CONTAINERS = (dict, list, tuple, deque, set, frozenset)
OURS = "stepdbg."


class OutOfTimeError(Exception):
    """A search takes longer than it may."""


@dataclass(frozen=True)
class Retained:
    """A graph that a backward left whole, as it was when the next iteration began."""

    iteration: int
    root: weakref.ref[Tensor]
    site: tuple[str, int, str] | None
    """The user's line that ran the backward."""
    nodes: int
    nbytes: int | None


@dataclass(frozen=True)
class KeptFree:
    """What is known of the last backwards of a free run, which left their graphs whole."""

    root: weakref.ref[Tensor] | None
    """Of the last one."""
    iteration: int
    """In which that was."""
    backwards: int
    """So many in a row."""
    until: int
    """The iteration in which the free run ended: later ones are seen again."""


class Leaks:
    """One for the session."""

    def __init__(self) -> None:
        self.on = False
        self.free = False
        """Whether a free run is watched too."""
        self.since = 0
        self.starts: deque[tuple[int, int]] = deque([(1, 0)], maxlen=MOST)
        """Iteration, and the sequence number that its nodes begin at: in a free run, where the one before ended."""
        self.samples: deque[tuple[int, int]] = deque(maxlen=MOST)
        """Iteration, and the script's tensors that were alive at its start."""
        self.fresh = 0
        """How many looks there were since the watching began, or since a free run that was not watched."""
        self.kept_free: KeptFree | None = None
        self.cohort = 0
        """Number of the last look; what was there at the first one is cohort 1."""
        self.lost: deque[frozenset[int]] = deque(maxlen=2)
        """Of the last two looks: cohorts of which something was gone that had lived through an iteration."""
        self.retained: deque[Retained] = deque(maxlen=8)
        self._known: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}
        """By id: the tensor, its cohort, and how many looks it has lived through."""
        self._kept: list[tuple[weakref.ref[Tensor], int, tuple[str, int, str] | None]] = []
        self._next_free = 0.0

    def begin(self, iteration: int) -> None:
        """Watch live tensors from here on."""
        if not self.on:
            self.on, self.since = True, iteration

    def stop(self) -> None:
        """Watch no more, and forget."""
        self.on = self.free = False
        self.cohort = self.fresh = 0
        self.kept_free = None
        self._known.clear()
        self.samples.clear()
        self.lost.clear()
        self.retained.clear()
        self._kept.clear()

    # ── what the tracker tells ──────────────────────────────────────────────────────────────────────────────

    def began(self, tracker: Tracker, iteration: int, number: int) -> None:
        """That iteration has begun, at that sequence number. Never raises; its time is none of the script's."""
        self._starts_at(iteration, number)
        control = tracker.control
        if not self.on or control is None or control.capturing() or (tracker.light and not self.free):
            return
        start = perf_counter()
        try:
            with quiet():
                self._measure_retained(iteration, control.watch)
                self.look(iteration, {id(tensor) for tensor in own_tensors(tracker, control.snapshots)})
        except Exception as error:
            control.broken(error)
        control.held += perf_counter() - start

    def next_free(self, tracker: Tracker, control: Control) -> None:
        """An iteration has ended in a free run, and the next one begins: watched only where the user asked for that."""
        loop = tracker.loop
        loop.next_iteration(perf_counter() - control.held, free=True)
        number, loop.over_at = loop.over_at, None
        if number is not None:
            self._starts_at(loop.iteration, number)
        if not self.free:
            return
        start = perf_counter()
        if start >= self._next_free:
            self.began(tracker, loop.iteration, tracker.sequence_number() if number is None else number)
            now = perf_counter()
            self._next_free = now + SHARE * (now - start)

    def runs_free(self) -> None:
        """A free run begins. What is not watched in it is not known to grow in each of its iterations."""
        self.kept_free = None
        if not self.free:
            self.fresh = 0

    def _starts_at(self, iteration: int, number: int) -> None:
        if not self.starts or self.starts[-1][0] != iteration:
            self.starts.append((iteration, number))

    def kept_graph(self, roots: Iterable[weakref.ref[Tensor]], loop: Loop, station: Station) -> None:
        """A backward from these roots has left their graph whole."""
        at = next((site[1] for site, one in loop.stations.items() if one is station), None)
        site = _place(station.code, at) if at is not None else None
        self._kept.extend((root, loop.iteration, site) for root in list(roots)[:8])
        del self._kept[:-32]

    def _measure_retained(self, iteration: int, watch: LossWatch) -> None:
        kept, self._kept = self._kept, []
        for ref, made, site in kept:
            root = ref()
            if root is None or root.is_leaf or made < iteration - 1:
                continue
            nodes = nodes_behind([root.grad_fn])
            watch.looked_at.hold(nodes, [ref])
            nbytes = graph_bytes(nodes)
            if nbytes is None or nbytes:
                self.retained.append(Retained(made, ref, site, len(nodes), nbytes))

    # ── live tensors ────────────────────────────────────────────────────────────────────────────────────────

    def look(self, iteration: int, ours: set[int]) -> None:
        """Note who is alive at the start of `iteration`, but for `ours`. Call inside `quiet()`."""
        self.cohort += 1
        self.fresh += 1
        before, self._known = self._known, {}
        for tensor in live_tensors():
            key = id(tensor)
            if key in ours:
                continue
            known = before.pop(key, None)
            if known is None or known[0]() is not tensor:
                known = weakref.ref(tensor), self.cohort, 0
            self._known[key] = known[0], known[1], known[2] + 1
        gone = (entry for entry in before.values() if entry[2] > 1)
        self.lost.append(frozenset(cohort for _, cohort, _ in gone))
        self.samples.append((iteration, len(self._known)))

    def cohort_of(self, tensor: Tensor) -> int:
        """In which look it was seen first; the one after the last for a tensor that was not there then."""
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else self.cohort + 1

    def survivors(self) -> dict[int, list[Tensor]]:
        """What is alive of each cohort but the first, by cohort. Holds tensors: let go of it soon."""
        found: dict[int, list[Tensor]] = {}
        for ref, cohort, _ in self._known.values():
            tensor = ref() if cohort > 1 else None
            if tensor is not None:
                found.setdefault(cohort, []).append(tensor)
        return found

    def dropping(self, cohort: int) -> bool:
        """Whether as much is let go of at the old end as comes in: what is held begins with that cohort."""
        if len(self.lost) < 2:
            return False
        earlier, last = self.lost
        return bool({cohort - 1, cohort} & last and {cohort - 2, cohort - 1, cohort} & earlier)

    def made_in(self, cohort: int) -> int:
        """The iteration in which the tensors of a cohort were made, as far as is known: the last of them."""
        first = self.cohort - len(self.samples) + 1
        at = cohort - first
        return self.samples[at][0] - 1 if 0 <= at < len(self.samples) else 0

    def iteration_of(self, number: int) -> tuple[int, int]:
        """Between which two iterations (both included) the node of this sequence number was made; (0, 0): before."""
        starts = list(self.starts)
        at = bisect_right([start for _, start in starts], number) - 1
        if at < 0:
            return 0, 0
        first = starts[at][0]
        return first, (starts[at + 1][0] - 1 if at + 1 < len(starts) else first)


def _place(code: Any, instruction: int) -> tuple[str, int, str] | None:
    """File, line and function of an instruction."""
    for first, last, line in code.co_lines() if code is not None else ():
        if first <= instruction < last and line is not None:
            return code.co_filename, line, getattr(code, "co_qualname", code.co_name)
    return None


def live_tensors() -> list[Tensor]:
    """Every tensor that Python's garbage collector knows. 10–30 ms. Holds them: let go of it soon."""
    return alive(subclasses(Tensor))


def is_ours(kind: type[Any]) -> bool:
    """Whether a class is one of stepdbg's own."""
    module = kind.__dict__.get("__module__", "")
    return type(module) is str and module.startswith(OURS)


def graph_bytes(nodes: Sequence[Any], known: Iterable[int] = ()) -> int | None:
    """Bytes that these nodes save, without the leaves that their graph leads to, and without the storages whose data
    pointers are `known`. None: this torch does not tell.
    """
    if not READABLE:
        return None
    counted = set(known)
    for leaf in leaves_of(nodes):
        counted.update(pointer for pointer, _ in tensor_storages(leaf))
    return count_once((pair for node in nodes for pair in saved_storages(node)), counted)


def leaves_of(nodes: Sequence[Any]) -> list[Tensor]:
    """The tensors that these nodes accumulate gradients into."""
    kinds = {kind for kind in set(map(type, nodes)) if is_leaf_class(kind)}
    found = (variable_of(node) for node in nodes if type(node) in kinds)
    return [leaf for leaf in found if leaf is not None]
