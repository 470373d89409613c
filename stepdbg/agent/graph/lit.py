"""Which rows lie on paths to one leaf: found out for the rows that are looked at, and for what lies between."""

from __future__ import annotations

from stepdbg.agent.graph.layout import LOSS, MODULE, REFERENCE, Layout
from stepdbg.agent.graph.record import GraphRecord

_LEADS, _DOES_NOT = 1, 2


class Lit:
    """The rows of one layout, for one leaf."""

    def __init__(self, record: GraphRecord, layout: Layout, leaf: int) -> None:
        self._record, self._layout = record, layout
        self._known = bytearray(record.count)
        """By node: 0 as long as nobody has asked."""
        self._known[leaf] = _LEADS
        self._around: dict[int, bool] = {}

    def __getitem__(self, row: int) -> bool:
        """Whether the row stands for a node that leads to the leaf, or for one around such a node.

        Costs as many nodes as there are between; at most once each where they do not lead to it.
        """
        kind, of = self._layout.kind[row], self._layout.of[row]
        if kind == LOSS:
            return any(map(self._leads, self._record.roots))
        if kind != MODULE:
            return self._leads(of)
        if row not in self._around:
            kinds, ofs = self._layout.kind, self._layout.of
            rows = range(row + 1, row + self._layout.below[row] + 1)
            self._around[row] = any(
                self._leads(ofs[at]) for at in rows if kinds[at] != MODULE and kinds[at] != REFERENCE
            )
        return self._around[row]

    def _leads(self, node: int) -> bool:
        known = self._known
        if known[node]:
            return known[node] == _LEADS
        starts, ends = self._record.starts, self._record.ends
        looked_at = [node]
        came_from = {node: -1}
        for at in looked_at:  # grows while it is gone through: the nearest first
            for end in ends[starts[at] : starts[at + 1]]:
                if known[end] == _LEADS:
                    back = at
                    while back >= 0:
                        known[back] = _LEADS
                        back = came_from[back]
                    return True
                if not known[end] and end not in came_from:
                    came_from[end] = at
                    looked_at.append(end)
        for at in looked_at:
            known[at] = _DOES_NOT
        return False
