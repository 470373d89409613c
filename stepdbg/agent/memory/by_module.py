"""Which module made the nodes that keep bytes for backward: told by sequence numbers, as everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stepdbg.protocol.memory import MOST_MODULES, SavedBy

Span = tuple[int, int, int]


def makers(seqs: Iterable[int], spans: Iterable[Span]) -> dict[int, int]:
    """Sequence number of a node → id of the module in whose innermost call it was made. Those of no call are left out.

    Cost: sorting both.
    """
    calls = sorted(set(spans), key=lambda span: (span[0], -span[1]))
    found: dict[int, int] = {}
    around: list[Span] = []
    position = 0
    for seq in sorted(seqs):
        while position < len(calls) and calls[position][0] <= seq:
            while around and around[-1][1] <= calls[position][0]:
                around.pop()
            around.append(calls[position])
            position += 1
        while around and around[-1][1] <= seq:
            around.pop()
        if around:
            found[seq] = around[-1][2]
    return found


def saved_by(
    sizes: Sequence[tuple[int, int]], spans: Iterable[Span], paths: Mapping[int, tuple[str, str]]
) -> tuple[tuple[SavedBy, ...], int, str]:
    """What each module saved, in the order of the forward; how many modules were left out; and which saved last.

    `sizes`: sequence number and bytes of each node. `paths`: path and class of modules by id.
    """
    made_by = makers((seq for seq, _ in sizes), spans)
    totals: dict[tuple[str, str], list[int]] = {}
    last = ""
    for seq, size in sorted(sizes):
        last, kind = paths.get(made_by.get(seq, 0), ("", ""))
        total = totals.setdefault((last, kind), [0, 0])
        total[0] += size
        total[1] += 1
    rows = tuple(SavedBy(path, kind, nbytes, nodes) for (path, kind), (nbytes, nodes) in totals.items())
    if len(rows) > MOST_MODULES:
        least = sorted((row.nbytes for row in rows), reverse=True)[MOST_MODULES - 1]
        kept = tuple(row for row in rows if row.nbytes >= least)[:MOST_MODULES]
        return kept, len(rows) - len(kept), last
    return rows, 0, last
