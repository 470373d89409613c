"""Walking a graph without changing how it is freed.

A node that Python has once looked at keeps its Python object for as long as the graph lives (torch calls it PyObject
preservation), and such nodes are freed by recursion instead of by torch's own loop: a chain of 25,000 of them overflows
an 8 MiB stack, where a bare run is fine (torch 2.13). So when many nodes have been looked at, their Python objects are
held until the graph's tensors are gone, and then let go newest first: each node is freed on its own, without recursion.
What such a graph saves for backward is so freed at the next phase after its tensors died, at the latest.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor

MANY = 2_000
"""Nodes that may be freed by recursion: a tenth of what overflows the stack of a thread."""


def nodes_behind(roots: Sequence[Any]) -> list[Any]:
    """Every node that `roots` lead to, themselves first, each once. 1 µs a node."""
    seen = dict.fromkeys(roots)
    waiting = list(roots)
    while waiting:
        for following, _ in waiting.pop().next_functions:
            if following is not None and following not in seen:
                seen[following] = None
                waiting.append(following)
    return list(seen)


class LookedAt:
    """Holds the nodes of large graphs that were walked, until they can be freed one by one."""

    def __init__(self) -> None:
        self._held: list[tuple[list[Any], list[weakref.ref[Tensor]]]] = []

    @property
    def holding(self) -> bool:
        """Whether there is anything to let go."""
        return bool(self._held)

    def hold(self, nodes: list[Any], tensors: Sequence[weakref.ref[Tensor]]) -> None:
        """Take care of `nodes`, whose graph the `tensors` hold. Does nothing for a small graph."""
        if len(nodes) <= MANY:
            return
        # Newest last: a list lets go of its last element first, and edges lead from newer to older nodes.
        # AccumulateGrad nodes number highest of all but are the oldest here.
        ordered = sorted(nodes, key=lambda node: (hasattr(node, "variable"), -node._sequence_nr()))
        self.hold_in_order(ordered[::-1], tensors)

    def hold_in_order(self, newest_last: list[Any], tensors: Sequence[weakref.ref[Tensor]]) -> None:
        """The same for nodes that are in order already, leaves first."""
        if len(newest_last) > MANY:
            self._held.append((newest_last, [ref for ref in tensors if ref() is not None]))

    def release(self) -> None:
        """Let go of graphs whose tensors are gone. Called at every boundary; free when nothing is held."""
        if not self._held:
            return
        kept = []
        for nodes, tensors in self._held:
            if any(ref() is not None for ref in tensors):
                kept.append((nodes, tensors))
            else:
                while nodes:
                    nodes.pop()
        self._held = kept
