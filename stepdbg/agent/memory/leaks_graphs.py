"""The graphs behind all live tensors, and of which iterations their nodes are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

from torch import Tensor

from stepdbg.agent.deep import LookedAt
from stepdbg.agent.graph.walk import is_leaf_class
from stepdbg.agent.memory.leaks import Leaks, OutOfTimeError

EVERY = 4096
MOST = 200_000
"""Nodes gone through, at most."""


class Graphs:
    """All tensors that have a history, the newest first, and one walk from them. Holds them: let go of it soon."""

    def __init__(self, leaks: Leaks, iteration: int, tensors: Sequence[Tensor]) -> None:
        self.first_known = leaks.starts[0][0]
        self.complete = True
        self.nodes: list[Any] = []
        self.places: dict[int, Tensor] = {}
        """By id: the tensors that are, or lead to what is, older than the iteration before this one; where there are
        any, the newer ones as well."""
        self._leaks = leaks
        self._iteration = iteration
        nodes = ((tensor, node_of(tensor)) for tensor in tensors if not tensor.is_leaf)
        self._node_of = {id(tensor): node for tensor, node in nodes if node is not None}
        self.roots = [tensor for tensor in tensors if id(tensor) in self._node_of]
        self.roots.sort(key=self.number_of, reverse=True)
        self._number: dict[Any, int] = {}
        self._below: list[list[int]] = []
        self._made: list[tuple[int, int] | None] = []
        """By node: the iterations between which it was made; None for leaves."""
        self._oldest: list[int] = []

    def walk(self, until: float, step: Callable[[int], None], looked_at: LookedAt) -> None:
        """Go through all graphs, 2 µs a node, and find out what is old."""
        try:
            for root in self.roots:
                begin = len(self.nodes)
                try:
                    self._walk(self._node_of[id(root)], until, step)
                finally:
                    looked_at.hold(self.nodes[begin:], [weakref.ref(root)])
        except OutOfTimeError:
            self.complete = False
        missing = len(self.nodes) - len(self._below)
        self._below.extend([] for _ in range(missing))
        self._made.extend(None for _ in range(missing))
        self._find_oldest()
        before = self._iteration - 1
        if any(self._oldest_behind(root) < before for root in self.roots):
            for root in self.roots:
                if self._oldest_behind(root) < before or self._age(root)[1] >= before:
                    self.places[id(root)] = root

    def number_of(self, tensor: Tensor) -> int:
        """Sequence number of its node."""
        return int(self._node_of[id(tensor)]._sequence_nr())

    def is_old(self, tensors: Iterable[Tensor]) -> bool:
        """Whether these lead to what was made before the iteration before this one."""
        return any(self._oldest_behind(tensor) < self._iteration - 1 for tensor in tensors)

    def iterations_of(self, numbers: Iterable[int]) -> set[tuple[int, int]]:
        """Of which iterations these nodes are."""
        return {made for at in numbers if (made := self._made[at]) is not None}

    def old_nodes(self, tensor: Tensor) -> frozenset[int]:
        """Numbers of the nodes behind it that were made before the iteration before this one."""
        before = self._iteration - 1
        behind = self.behind([tensor])
        return frozenset(at for at in behind if (made := self._made[at]) is not None and made[1] < before)

    def behind(self, tensors: Iterable[Tensor]) -> list[int]:
        """Numbers of the nodes behind these, each once."""
        seen = dict.fromkeys(at for t in tensors if (at := self._number.get(self._node_of[id(t)])) is not None)
        waiting = list(seen)
        while waiting:
            for below in self._below[waiting.pop()]:
                if below not in seen:
                    seen[below] = None
                    waiting.append(below)
        return list(seen)

    def made_in(self, tensor: Tensor) -> int:
        """In which iteration its node was made, at the latest; 0: unknown, or it has no graph."""
        return self._age(tensor)[1] if id(tensor) in self._node_of else 0

    def _age(self, tensor: Tensor) -> tuple[int, int]:
        return self._leaks.iteration_of(self.number_of(tensor))

    def _oldest_behind(self, tensor: Tensor) -> int:
        at = self._number.get(self._node_of[id(tensor)])
        return self._oldest[at] if at is not None else self._iteration

    def _walk(self, first: Any, until: float, step: Callable[[int], None]) -> None:
        nodes, number = self.nodes, self._number
        if first in number:
            return
        number[first] = len(nodes)
        nodes.append(first)
        while len(self._below) < len(nodes):
            node = nodes[len(self._below)]
            self._made.append(None if is_leaf_class(type(node)) else self._leaks.iteration_of(node._sequence_nr()))
            below = []
            for following, _ in node.next_functions:
                if following is not None:
                    at = number.get(following)
                    if at is None:
                        at = number[following] = len(nodes)
                        nodes.append(following)
                    below.append(at)
            self._below.append(below)
            if not len(self._below) % EVERY:
                step(len(self._below))
                if perf_counter() > until or len(self._below) >= MOST:
                    raise OutOfTimeError

    def _find_oldest(self) -> None:
        """By node: the last iteration in which the oldest of what it leads to may have been made."""
        far = self._iteration + 1
        self._oldest = oldest = [far if made is None else made[1] for made in self._made]
        # Newer nodes lead to older ones: in rising order of sequence numbers all below have been done.
        ordered = [at for at, made in enumerate(self._made) if made is not None]
        ordered.sort(key=lambda at: self.nodes[at]._sequence_nr())
        for at in ordered:
            for below in self._below[at]:
                oldest[at] = min(oldest[at], oldest[below])


def node_of(tensor: Tensor) -> Any:
    """Its node. Of a view that of what it is a view of: asking a view whose base was written to makes a new one."""
    try:
        while tensor._is_view():
            base = tensor._base
            if base is None or base.is_leaf:
                return None
            tensor = base
        return tensor.grad_fn
    except (RuntimeError, NotImplementedError):  # of a transform of torch.func
        return None
