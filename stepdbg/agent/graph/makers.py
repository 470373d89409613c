"""Which module's call made a node, told by sequence numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int, int]
"""First and one-past-last sequence number of a module call, and the module's id."""


def makers(spans: Sequence[Span], seqs: Iterable[int]) -> dict[int, int]:
    """Sequence number of a node → id of the module whose call made it, the innermost one."""
    # A call is noted when it ends: of two with the same span the later one is around the other.
    latest_first = spans[::-1]
    calls = sorted(latest_first, key=lambda span: (span[0], -span[1]))
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
