"""A graph as rows in pre-order, in columns: what 100,000 of them cost is a few lists."""

from __future__ import annotations

from dataclasses import dataclass, field

LOSS, MODULE, OP, LEAF, REFERENCE = range(5)
"""What a row is."""


@dataclass
class Layout:
    """The rows of one view of one graph, by their index."""

    kind: bytearray = field(default_factory=bytearray)
    of: list[int] = field(default_factory=list)
    """The node's number; of a MODULE row its call's; of LOSS 0."""
    depth: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    """Index of the row that it hangs from (or continues); -1 for the first."""
    below: list[int] = field(default_factory=list)
    """Rows of the subtree."""
    own: bytearray = field(default_factory=bytearray)
    """Whether the row is a module's own node, which level 1 does not show; empty: none is."""
    row_of: list[int] = field(default_factory=list)
    """By node: index of the row that it is drawn at; -1: at none."""
    calls: list[tuple[str, str, list[range]]] = field(default_factory=list)
    """Path and class of each module call, and its own nodes: runs of places among all, the oldest first."""
    ops: dict[int, str] = field(default_factory=dict)
    """The ops in short of those calls that have been drawn."""
    newest: list[int] = field(default_factory=list)
    """For each module call: number of the newest node inside, which made its output."""

    def add(self, kind: int, of: int, depth: int, parent: int) -> int:
        """A further row; returns its index."""
        index = len(self.kind)
        self.kind.append(kind)
        self.of.append(of)
        self.depth.append(depth)
        self.parent.append(parent)
        return index

    def sums(self, values: dict[int, int]) -> list[int]:
        """By row: the sum of `values` (by node's number) over it and all below it, each node where it is drawn."""
        total = [0] * len(self.kind)
        for node, value in values.items():
            if self.row_of[node] >= 0:
                total[self.row_of[node]] = value
        for index in range(len(total) - 1, 0, -1):
            total[self.parent[index]] += total[index]
        return total

    def nodes(self, row: int) -> int:
        """Nodes that are drawn at a row and below it."""
        last = row + self.below[row] + 1
        return self.kind.count(OP, row, last) + self.kind.count(LEAF, row, last)

    def branch(self, row: int) -> int:
        """The row above that is one level further out: the one it continues is passed over. -1: there is none."""
        depth, above = self.depth[row], self.parent[row]
        while above >= 0 and self.depth[above] >= depth:
            above = self.parent[above]
        return above
