"""Node by node. Every node is drawn once, below the last of those that lead to it to run; others refer to it.

The largest part of what hangs from a node continues it at the same depth, below all the others, which are one level
further in. So no row is deeper than the logarithm of the number of nodes, however long a chain is (the heavy paths of
D. D. Sleator and R. E. Tarjan, "A data structure for dynamic trees", 1983).
"""

from __future__ import annotations

from stepdbg.agent.graph.layout import LEAF, LOSS, OP, REFERENCE, Layout
from stepdbg.agent.graph.record import GraphRecord


def lay_out(record: GraphRecord) -> Layout:
    """The rows. About 2 µs a node."""
    drawn_below = _spanning_tree(record)
    children = _children(drawn_below)
    sizes = _sizes(record, children)
    layout = Layout()
    layout.add(LOSS, 0, 0, -1)
    row_of, leaf_of = layout.row_of, record.leaf_of
    ends, starts, add = record.ends, record.starts, layout.add
    waiting = [(root, 0 if len(record.roots) == 1 else 1, 0) for root in reversed(record.roots)]
    while waiting:
        node, depth, parent = waiting.pop()
        row = add(LEAF if node in leaf_of else OP, node, depth, parent)
        row_of[node] = row
        below = children.get(node, ())
        edges = ends[starts[node] : starts[node + 1]]
        heavy = max(below, key=sizes.__getitem__) if below else -1
        light = []
        for child in dict.fromkeys(edges) if len(edges) > 1 else edges:
            if drawn_below[child] != node:
                add(REFERENCE, child, depth + 1, row)
            elif child == heavy:
                continue
            elif child in leaf_of:
                row_of[child] = add(LEAF, child, depth + 1, row)
            else:
                light.append(child)
        if heavy >= 0:
            waiting.append((heavy, depth, row))
        if len(light) > 1:
            light.sort(key=record.seq_of.__getitem__)
        waiting.extend((child, depth + 1, row) for child in light)
    return layout.finish()


def _spanning_tree(record: GraphRecord) -> list[int]:
    """By node: which one it is drawn below. For an inner node the last to run before it, for a leaf the first."""
    drawn_below = [-1] * record.count
    ends, starts, leaf_of = record.ends, record.starts, record.leaf_of
    for node in record.order:
        for end in ends[starts[node] : starts[node + 1]]:
            if drawn_below[end] < 0 or end not in leaf_of:
                drawn_below[end] = node
    for root in record.roots:
        drawn_below[root] = -1
    return drawn_below


def _children(drawn_below: list[int]) -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for node, above in enumerate(drawn_below):
        if above >= 0:
            children.setdefault(above, []).append(node)
    return children


def _sizes(record: GraphRecord, children: dict[int, list[int]]) -> list[int]:
    """Nodes below each in the tree; leaves weigh nothing against inner nodes."""
    order = list(record.roots)
    for node in order:  # grows while it is gone through: those above come before those below
        order.extend(children.get(node, ()))
    sizes = [1] * record.count
    for leaf in record.leaf_of:
        sizes[leaf] = 0
    for node in reversed(order):
        for child in children.get(node, ()):
            sizes[node] += sizes[child]
    return sizes
