"""Which module made the nodes that keep bytes for backward: told by sequence numbers, as everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stepdbg.agent.graph.makers import Span, makers
from stepdbg.protocol.memory import MOST_MODULES, SavedBy


def saved_by(
    sizes: Sequence[tuple[int, int]], spans: Iterable[Span], paths: Mapping[int, tuple[str, str]]
) -> tuple[tuple[SavedBy, ...], int, str]:
    """What each module saved, in the order of the forward; how many modules were left out; and which saved last.

    `sizes`: sequence number and bytes of each node. `paths`: path and class of modules by id.
    """
    made_by = makers(list(spans), (seq for seq, _ in sizes))
    totals: dict[tuple[str, str], list[int]] = {}
    last, so_far = "", 0
    for seq, size in sorted(sizes):
        last, kind = paths.get(made_by.get(seq, 0), ("", ""))
        so_far += size
        total = totals.setdefault((last, kind), [0, 0, 0])
        total[:] = total[0] + size, total[1] + 1, so_far
    rows = tuple(SavedBy(path, kind, *total) for (path, kind), total in totals.items())
    if len(rows) > MOST_MODULES:
        least = sorted((row.nbytes for row in rows), reverse=True)[MOST_MODULES - 1]
        kept = tuple(row for row in rows if row.nbytes >= least)[:MOST_MODULES]
        return kept, len(rows) - len(kept), last
    return rows, 0, last
