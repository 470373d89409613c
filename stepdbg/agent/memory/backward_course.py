"""How many bytes a backward holds while it runs: an estimate from its graph, told when it is over.

A node gives back what it saved once it has run, and a gradient comes with the leaf that it belongs to. The order in
which the engine takes nodes is known: of those that wait for nothing more, the one made last, and leaves before all
others. So the course is found from the graph as it is before, without a hook in it: hooks would make the engine
copy gradients that it passes on otherwise. What is not in a category is not in it either: the gradients that flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from torch import Tensor

from stepdbg.agent.graph.walk import is_leaf_class, variable_of
from stepdbg.agent.memory.account import Count
from stepdbg.agent.saved import runs_again, saved_storages, tensor_storages

LEAF = -1


@dataclass(frozen=True)
class Course:
    """Plain numbers: nothing of the script's is held while its backward runs."""

    count: Count
    """As it is before."""
    steps: tuple[tuple[int, int], ...]
    """In the engine's order: (sequence number, bytes given back after it), or (LEAF, id of its parameter)."""
    grads: frozenset[int]
    """Data pointers of the gradients that there are."""
    packed: bool
    """Whether more than this is unpacked or computed again meanwhile: then all is at least so much."""

    def peak(self, parameters: Iterable[Tensor]) -> tuple[int, int, int] | None:
        """Bytes of gradients and of what the graph keeps where both together are the most, and the sequence number of
        the node that ran last then. None: that is when it began, or when it is over.

        `parameters`: with the gradients that they have now, after it.
        """
        coming: dict[int, int] = {}
        seen: set[int] = set(self.grads)
        for parameter in parameters:
            for pointer, nbytes in tensor_storages(grad) if (grad := parameter.grad) is not None else ():
                if pointer not in seen:
                    seen.add(pointer)
                    coming[id(parameter)] = coming.get(id(parameter), 0) + nbytes
        saved, gradients = self.count.saved, self.count.gradients
        most, found, last = saved + gradients, None, 0
        for number, what in self.steps:
            if number == LEAF:
                gradients += coming.pop(what, 0)
            else:
                saved, last = saved - what, number
            if saved + gradients > most:
                most, found = saved + gradients, (gradients, saved, last)
        return found if most > saved + gradients else None


def course(count: Count, nodes: Sequence[Any], roots: Iterable[Any], parameters: Iterable[Tensor]) -> Course:
    """Of a backward from `roots` that frees its graph. `nodes`: of all graphs alive, as they are in `count`.

    Cost: some 5 µs a node. Holds nothing.
    """
    order = _order(list(roots))
    holders: dict[int, int] = {}
    sizes: dict[int, int] = {}
    kept_by: dict[Any, set[int]] = {}
    for node in nodes:
        if is_leaf_class(type(node)):
            continue
        pointers = set()
        for pointer, nbytes in saved_storages(node):
            if pointer in count.of_graph:
                pointers.add(pointer)
                sizes[pointer] = nbytes
        for pointer in pointers:
            holders[pointer] = holders.get(pointer, 0) + 1
        if pointers:
            kept_by[node] = pointers
    steps: list[tuple[int, int]] = []
    for node in order:
        if is_leaf_class(type(node)):
            variable = variable_of(node)
            steps.append((LEAF, id(variable)))
            continue
        freed = 0
        for pointer in kept_by.get(node, ()):
            holders[pointer] -= 1
            freed += 0 if holders[pointer] else sizes[pointer]
        steps.append((int(node._sequence_nr()), freed))
    gradients = frozenset(
        pointer for p in parameters if (grad := p.grad) is not None for pointer, _ in tensor_storages(grad)
    )
    return Course(count, tuple(steps), gradients, packed(order))


def _order(roots: Sequence[Any]) -> list[Any]:
    """The nodes behind `roots` as the engine runs them."""
    waits: dict[Any, int] = dict.fromkeys(roots, 0)
    found = list(waits)
    for node in found:  # grows while it is gone through
        for following, _ in node.next_functions:
            if following is None:
                continue
            if following not in waits:
                waits[following] = 0
                found.append(following)
            waits[following] += 1
    ready: list[tuple[int, int, Any]] = []
    for root in found[: len(set(roots))]:
        if not waits[root]:
            _push(ready, root)
    order: list[Any] = []
    while ready:
        node = heappop(ready)[2]
        order.append(node)
        for following, _ in node.next_functions:
            if following is not None:
                waits[following] -= 1
                if not waits[following]:
                    _push(ready, following)
    return order


def _push(ready: list[tuple[int, int, Any]], node: Any) -> None:
    # Nodes themselves are never compared. Which of several leaves comes first makes no difference.
    number = 1 << 64 if is_leaf_class(type(node)) else int(node._sequence_nr())
    heappush(ready, (-number, id(node), node))


def packed(nodes: Iterable[Any]) -> bool:
    """Whether some node is a checkpoint, or what it keeps was packed by a hook: in a backward these come back to what
    they were or are computed again, and how much that is is not known before it.
    """
    return any(runs_again(node) for node in nodes)
