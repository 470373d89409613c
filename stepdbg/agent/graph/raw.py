"""Node by node. Every node is drawn once, below the last of those that lead to it to run; others refer to it.

The largest part of what hangs from a node continues it at the same depth, below all the others, which are one level
further in. So no row is deeper than the logarithm of the number of nodes, however long a chain is (the heavy paths of
D. D. Sleator and R. E. Tarjan, "A data structure for dynamic trees", 1983).

Where a row comes is counted, not found by going through the rows: from the rows of each subtree, and of what comes
before it below the same node.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stepdbg.agent.graph.layout import LEAF, LOSS, OP, REFERENCE, Layout
from stepdbg.agent.graph.record import GraphRecord, numbers, once

HIGHEST = 2**63 - 1
"""Leaves have a number of 64 bits, all set, which an int64 does not hold."""


@dataclass
class _Tree:
    """Which nodes hang from which, by their numbers (int64, on the CPU as all that is counted here)."""

    above: Tensor
    """The one that each is drawn below; -1: it is a root."""
    order: list[int]
    """Inner nodes, each after the one that it is drawn below."""
    leaves: Tensor
    appears: Tensor
    """The first edge by which each hangs from the one above."""
    froms: Tensor
    to: Tensor
    """References, in the order of the edges: from a node to one that is drawn below another, each pair once."""
    nth: Tensor
    """Which one of its node's references each is, from 0."""


def lay_out(record: GraphRecord) -> Layout:
    """The rows. About 0.6 µs a node."""
    tree = _spanning_tree(record)
    count, above = record.count, tree.above
    refers = torch.bincount(tree.froms, minlength=count)
    rows, inner = _sizes(tree, refers)
    behind, light = _behind(record, tree, rows, inner, refers)
    at, depth = _places(record, tree, behind, light)
    total = 1 + count + len(tree.to)
    froms = at[tree.froms]
    references = froms + 1 + tree.nth
    of, depths, parents, below = torch.zeros((4, total), dtype=torch.int64, device="cpu")
    of[at], of[references] = torch.arange(count, device="cpu"), tree.to
    depths[at], depths[references] = depth, depth[tree.froms] + 1
    parents[at], parents[references] = torch.where(above >= 0, at[above], 0), froms
    parents[0], below[0] = -1, total - 1
    below[at] = rows - 1
    kinds = bytearray((OP,)) * total
    by_row = torch.frombuffer(kinds, dtype=torch.uint8)
    by_row[references], by_row[at[tree.leaves]], by_row[0] = REFERENCE, LEAF, LOSS
    return Layout(kinds, of.tolist(), depths.tolist(), parents.tolist(), below.tolist(), row_of=at.tolist())


def _spanning_tree(record: GraphRecord) -> _Tree:
    """An inner node is drawn below the last to run before it, a leaf below the first."""
    count, edges, order = record.count, record.edges, numbers(record.order)
    starts, ends = record.edge_tensors()
    place = torch.full((count,), -1, dtype=torch.int64, device="cpu")
    place[order] = torch.arange(len(order), device="cpu")
    froms = torch.repeat_interleave(torch.arange(count, device="cpu"), starts.diff())
    from_places = place[froms]
    above = torch.full((count,), -1, dtype=torch.int64, device="cpu")
    above.scatter_reduce_(0, ends, from_places, "amax")
    leaves = numbers(list(record.leaf_of))
    first = torch.full((count,), count, dtype=torch.int64, device="cpu")
    first.scatter_reduce_(0, ends, from_places, "amin")
    above[leaves] = torch.where(first[leaves] < count, first[leaves], -1)
    above[numbers(record.roots)] = -1
    falls = bool((above < place)[order].all())
    if len(order):
        above = torch.where(above >= 0, order[above], above)
    draws = above[ends] == froms
    appears = torch.full((count,), edges, dtype=torch.int64, device="cpu")
    appears.scatter_reduce_(0, ends[draws], torch.nonzero(draws).flatten(), "amin")
    others = ~draws
    froms, to = once(froms[others], ends[others], count)
    since = torch.arange(len(to), device="cpu")
    nth = since - _start_of_group(froms)
    return _Tree(above, record.order if falls else _top_down(record, above.tolist()), leaves, appears, froms, to, nth)


def _start_of_group(groups: Tensor) -> Tensor:
    """Of numbers of which equal ones stand side by side: for each, where its group begins."""
    _, counts = torch.unique_consecutive(groups, return_counts=True)
    return torch.repeat_interleave(counts.cumsum(0) - counts, counts)


def _top_down(record: GraphRecord, above: list[int]) -> list[int]:
    """Inner nodes, each after the one that it is drawn below, where numbers do not fall: several threads, or nodes
    made anew by writing in place.
    """
    children: dict[int, list[int]] = {}
    for node in record.order:
        children.setdefault(above[node], []).append(node)
    found = children.get(-1, [])
    for node in found:  # grows while it is gone through
        found.extend(children.get(node, ()))
    return found


def _sizes(tree: _Tree, refers: Tensor) -> tuple[Tensor, Tensor]:
    """By node: rows at and below it; and inner nodes, since leaves weigh nothing against them."""
    above = tree.above
    inner = torch.ones_like(above)
    inner[tree.leaves] = 0
    hanging = above[tree.leaves]
    rows = 1 + refers + torch.bincount(hanging[hanging >= 0], minlength=len(above))
    all_rows, all_inner, all_above = rows.tolist(), inner.tolist(), above.tolist()
    for node in reversed(tree.order):
        up = all_above[node]
        if up >= 0:
            all_rows[up] += all_rows[node]
            all_inner[up] += all_inner[node]
    return numbers(all_rows), numbers(all_inner)


def _behind(record: GraphRecord, tree: _Tree, rows: Tensor, inner: Tensor, refers: Tensor) -> tuple[Tensor, Tensor]:
    """By node: how many rows behind the one above its own row is, and whether it is one level further in."""
    above = tree.above
    behind = 1 + refers[above]  # of a root overwritten
    light = torch.zeros_like(above)
    roots = numbers(record.roots)
    behind[roots] = 1 + rows[roots].cumsum(0) - rows[roots]
    hanging = torch.nonzero(above >= 0).flatten()
    siblings = torch.bincount(above[hanging], minlength=len(above))
    some = hanging[siblings[above[hanging]] > 1]
    some = some[torch.argsort(tree.appears[some])]
    largest_first = some[torch.argsort(inner[some], descending=True, stable=True)]
    largest_first = largest_first[torch.argsort(above[largest_first], stable=True)]
    light[largest_first] = 1
    light[largest_first[torch.unique(_start_of_group(above[largest_first]))]] = 0
    # Leaves have the highest numbers, so they come first: backward adds to them before it goes on.
    seqs = numbers([min(record.seq_of[node], HIGHEST) for node in some.tolist()])
    newest_first = some[torch.argsort(seqs, descending=True, stable=True)]
    in_rows = newest_first[torch.argsort(2 * above[newest_first] - light[newest_first], stable=True)]
    before = rows[in_rows].cumsum(0) - rows[in_rows]
    behind[in_rows] += before - before[_start_of_group(above[in_rows])]
    return behind, light


def _places(record: GraphRecord, tree: _Tree, behind: Tensor, light: Tensor) -> tuple[Tensor, Tensor]:
    """By node: its row, and its depth."""
    at, depth, above = behind.tolist(), light.tolist(), tree.above.tolist()
    if len(record.roots) > 1:
        for root in record.roots:
            depth[root] = 1
    for node in tree.order:
        up = above[node]
        if up >= 0:
            at[node] += at[up]
            depth[node] += depth[up]
    rows, depths = numbers(at), numbers(depth)
    leaves = tree.leaves[tree.above[tree.leaves] >= 0]
    rows[leaves] += rows[tree.above[leaves]]
    depths[leaves] += depths[tree.above[leaves]]
    return rows, depths
