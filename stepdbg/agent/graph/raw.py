"""Node by node. Every node is drawn once, below the last of those that lead to it to run; others refer to it.

The largest part of what hangs from a node continues it at the same depth, below all the others, which are one level
further in. So no row is deeper than the logarithm of the number of nodes, however long a chain is (the heavy paths of
D. D. Sleator and R. E. Tarjan, "A data structure for dynamic trees", 1983).
"""

from __future__ import annotations

from itertools import compress

import torch

from stepdbg.agent.graph.layout import LEAF, LOSS, OP, REFERENCE, Layout
from stepdbg.agent.graph.record import GraphRecord, numbers


def lay_out(record: GraphRecord) -> Layout:
    """The rows. About 1 µs a node."""
    drawn_below, follows, falls = _spanning_tree(record)
    sizes = _sizes(record, drawn_below, falls)
    layout = Layout()
    layout.add(LOSS, 0, 0, -1)
    ofs, depths, parents = layout.of, layout.depth, layout.parent
    leaf_of, seq_of, ends, starts = record.leaf_of, record.seq_of, record.ends, record.starts
    references: list[int] = []
    waiting = [(root, 0 if len(record.roots) == 1 else 1, 0) for root in reversed(record.roots)]
    row = 0
    while waiting:
        node, depth, parent = waiting.pop()
        while True:
            row += 1
            ofs.append(node)
            depths.append(depth)
            parents.append(parent)
            following = follows[node]
            if following < 0:
                break
            node, parent = following, row
        below = ends[starts[node] : starts[node + 1]]
        if not below:
            continue
        here, heavy, light = row, -1, []
        for child in dict.fromkeys(below) if len(below) > 1 else below:
            if drawn_below[child] != node:
                row += 1
                references.append(row)
                ofs.append(child)
                depths.append(depth + 1)
                parents.append(here)
            elif heavy < 0 or sizes[child] > sizes[heavy]:
                if heavy >= 0:
                    light.append(heavy)
                heavy = child
            else:
                light.append(child)
        if heavy >= 0:
            waiting.append((heavy, depth, here))
        if len(light) > 1:
            light.sort(key=seq_of.__getitem__)  # leaves last of all: backward adds to them before it goes on
        waiting.extend([(child, depth + 1, here) for child in light])
    kinds = layout.kind = bytearray((OP,)) * len(ofs)
    kinds[0] = LOSS
    for row in references:
        kinds[row] = REFERENCE
    drawn = kinds.translate(_DRAWN)
    layout.row_of = dict(zip(compress(ofs, drawn), compress(range(len(ofs)), drawn), strict=True))
    for leaf in leaf_of:
        kinds[layout.row_of[leaf]] = LEAF
    return layout.finish()


_DRAWN = bytes(int(kind == OP) for kind in range(256))


def _spanning_tree(record: GraphRecord) -> tuple[list[int], list[int], bool]:
    """By node: which one it is drawn below (-1: it is a root), and which one continues it, where it leads to just one
    that is drawn below it (-1: to none or several). And whether nodes come after those that they are drawn below.

    For an inner node it is the last to run before it, for a leaf the first.
    """
    count, order = record.count, numbers(record.order)
    starts, ends = numbers(record.starts), numbers(record.ends)
    place = torch.full((count,), -1, dtype=torch.int64, device="cpu")
    place[order] = torch.arange(len(order), device="cpu")
    from_places = torch.repeat_interleave(place, starts.diff())
    above = torch.full((count,), -1, dtype=torch.int64, device="cpu")
    above.scatter_reduce_(0, ends, from_places, "amax")
    leaves = numbers(list(record.leaf_of))
    first = torch.full((count,), count, dtype=torch.int64, device="cpu")
    first.scatter_reduce_(0, ends, from_places, "amin")
    above[leaves] = torch.where(first[leaves] < count, first[leaves], -1)
    above[numbers(record.roots)] = -1
    falls = bool((above < place)[order].all())
    drawn_below = torch.where(above >= 0, order[above], above) if len(order) else above
    follows = torch.full((count,), -1, dtype=torch.int64, device="cpu")
    single = torch.nonzero(starts.diff() == 1).flatten()
    child = ends[starts[single]]
    follows[single] = torch.where(drawn_below[child] == single, child, -1)
    return drawn_below.tolist(), follows.tolist(), falls


def _sizes(record: GraphRecord, drawn_below: list[int], falls: bool) -> list[int]:
    """Inner nodes at and below each in the tree; leaves weigh nothing against them."""
    sizes = [1] * record.count
    for leaf in record.leaf_of:
        sizes[leaf] = 0
    for node in reversed(record.order) if falls else _bottom_up(record, drawn_below):
        above = drawn_below[node]
        if above >= 0:
            sizes[above] += sizes[node]
    return sizes


def _bottom_up(record: GraphRecord, drawn_below: list[int]) -> list[int]:
    """Inner nodes, each before the one that it is drawn below, where numbers do not fall: several threads, or nodes
    made anew by writing in place.
    """
    children: dict[int, list[int]] = {}
    for node in record.order:
        children.setdefault(drawn_below[node], []).append(node)
    found = list(record.roots)
    for node in found:  # grows while it is gone through
        found.extend(children.get(node, ()))
    return found[::-1]
