"""Paths from the root of a graph to one node: how many there are, and the shortest or longest. Numbers only, no nodes.

Everything here is one pass over the nodes that lie between, in topological order, without recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10

EVERY = 4096
"""Nodes between two ticks."""

BITS = 192
"""Counts of paths are exact up to this many bits, and keep that many leading ones beyond."""

EXACT = 10**15
"""Counts below are told as they are."""

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Path:
    """One path, and how many there are."""

    nodes: tuple[int, ...]
    """Numbers of nodes, the root first, the target last."""
    edges: tuple[int, ...]
    """For each node but the last: which of its edges the path takes, counting those that lead anywhere."""
    paths: str
    """How many there are in all, in words."""
    between: int
    """Nodes on any of them."""


def find(
    starts: Sequence[int],
    ends: Sequence[int],
    roots: Sequence[int],
    target: int,
    *,
    longest: bool,
    above: Sequence[int],
    tick: Tick | None = None,
) -> Path | None:
    """The path from a root to `target`; None where there is none.

    Edges of node `i` lead to `ends[starts[i]:starts[i + 1]]`. `above`: for each node whether it lies on a way from
    a root to `target`. Where several paths are equally long, the first edge in order decides, node by node.
    """
    order = _backward_first(starts, ends, target, above, tick)
    # From the target towards the roots: when a node's turn comes, all that it leads to have had theirs.
    length: dict[int, int] = {target: 0}
    through: dict[int, int] = {}
    count: dict[int, tuple[int, int]] = {target: (1, 0)}
    for node in reversed(order):
        if node == target:
            continue
        best, taken, total = -1, -1, (0, 0)
        for at, end in enumerate(ends[starts[node] : starts[node + 1]]):
            if end not in length:
                continue
            total = plus(total, count[end])
            far = length[end] + 1
            if best < 0 or (far > best if longest else far < best):
                best, taken = far, at
        if best >= 0:
            length[node], through[node], count[node] = best, taken, total
    starting = [root for root in dict.fromkeys(roots) if root in length]
    if not starting:
        return None
    total = (0, 0)
    for root in starting:
        total = plus(total, count[root])
    node = (max if longest else min)(starting, key=length.__getitem__)
    nodes, edges = [node], []
    while node != target:
        edges.append(through[node])
        node = ends[starts[node] + through[node]]
        nodes.append(node)
    return Path(tuple(nodes), tuple(edges), words(total), len(length))


def above(starts: Sequence[int], ends: Sequence[int], target: int) -> bytearray:
    """One byte for each node: whether it is `target`, or on a way to it."""
    froms: dict[int, list[int]] = {}
    for node in range(len(starts) - 1):
        for end in ends[starts[node] : starts[node + 1]]:
            froms.setdefault(end, []).append(node)
    found = bytearray(len(starts) - 1)
    found[target] = 1
    waiting = [target]
    while waiting:
        for node in froms.get(waiting.pop(), ()):
            if not found[node]:
                found[node] = 1
                waiting.append(node)
    return found


def _backward_first(
    starts: Sequence[int], ends: Sequence[int], target: int, above: Sequence[int], tick: Tick | None
) -> list[int]:
    """The nodes of `above`, each before all that it leads to. Sequence numbers would not do: double backwards and
    in-place writes have edges from lower to higher ones.
    """
    inside = [node for node, is_so in enumerate(above) if is_so]
    waits = dict.fromkeys(inside, 0)
    for node in inside:
        for end in ends[starts[node] : starts[node + 1]]:
            if above[end]:
                waits[end] += 1
    ready = [node for node in inside if not waits[node]]
    order: list[int] = []
    while ready:
        node = ready.pop()
        order.append(node)
        if tick is not None and not len(order) % EVERY:
            tick(len(order), len(inside))
        if node == target:
            continue
        for end in ends[starts[node] : starts[node + 1]]:
            if above[end]:
                waits[end] -= 1
                if not waits[end]:
                    ready.append(end)
    return order


def plus(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """The sum of two counts, each (m, e) for m · 2^e: exact as long as it has at most BITS bits.

    Whole numbers of hundreds of thousands of digits are quickly reached (a skip connection doubles the paths), and
    nobody reads those.
    """
    (small, low), (large, high) = sorted((a, b), key=lambda pair: pair[1])
    if high - low > 2 * BITS:
        return (large, high) if large else (small, low)
    total, power = small + (large << (high - low)), low
    over = total.bit_length() - BITS
    return (total >> over, power + over) if over > 0 else (total, power)


def words(count: tuple[int, int]) -> str:
    """A count as it is told: exact, or its order of magnitude."""
    number, power = count
    if not power and number < EXACT:
        return f"{number:,}"
    return f"about 10^{round(log10(number) + power * log10(2))}"
