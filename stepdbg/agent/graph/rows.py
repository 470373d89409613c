"""Which rows of a layout a lens shows, where a row is among them, and what is lit."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence

from stepdbg.agent.graph.layout import LEAF, Layout
from stepdbg.protocol.graph import GraphPath, Lens

MOST_NAMES = 40
"""Names of a path, at most."""

SHAPE = re.compile(r"[(\[]?\s*\d+(\s*[,x×]\s*\d+)*\s*,?\s*[)\]]?")
"""How a shape is typed: (32, 1), 32x1, 32×1, (6,)."""


def visible(layout: Layout, lens: Lens) -> Sequence[int]:
    """Indices of the rows that are shown, without a search: folded ones leave out what is below them."""
    total, own, below, parent = len(layout.kind), layout.own, layout.below, layout.parent
    levels, base = dict(lens.levels), lens.base
    if not levels and base:
        return range(total) if base > 1 or not any(own) else [i for i in range(total) if not own[i]]
    shown = []
    position = 0
    while position < total:
        if own[position] and levels.get(parent[position], base) < 2 if own else False:
            position += 1
            continue
        shown.append(position)
        position += 1 if level_of(position, levels, base) else 1 + below[position]
    return shown


def path(names: list[str]) -> GraphPath:
    """A path of these names, the root first; of a long one those in the middle are left out."""
    left_out = max(0, len(names) - MOST_NAMES)
    if left_out:
        half = MOST_NAMES // 2
        names = [*names[:half], f"… {left_out} more …", *names[-half:]]
    return GraphPath(tuple(names), left_out)


def level_of(index: int, levels: dict[int, int], base: int) -> int:
    """How far a row is unfolded. The first row is folded only where the user did that: all else hangs from it."""
    level = levels.get(index)
    if level is None:
        level = base if index else max(base, 1)
    return level


def matching(layout: Layout, is_hit: Callable[[int], bool], tick: Callable[[int], None]) -> list[int]:
    """Indices of the rows that match, with those that they hang from.

    A row that another one only continues is not above it: else every search in a chain would show all of it.
    """
    wanted = bytearray(len(layout.kind))
    for index in range(len(layout.kind)):
        if not index % 4096:
            tick(index)
        if is_hit(index):
            above = index
            while above >= 0 and not wanted[above]:
                wanted[above] = 1
                above = layout.branch(above)
            wanted[0] = 1
    return [index for index, is_wanted in enumerate(wanted) if is_wanted]


def dims_of(pattern: str) -> tuple[int, ...] | None:
    """The shape that a pattern may mean; None where it means none."""
    if not SHAPE.fullmatch(pattern.strip()):
        return None
    return tuple(int(n) for n in re.findall(r"\d+", pattern))


def find(layout: Layout, shown: Sequence[int], index: int) -> int | None:
    """Position among the visible rows of row `index`, or of the nearest one above it that is visible."""
    while index >= 0:
        at = bisect_left(shown, index)
        if at < len(shown) and shown[at] == index:
            return at
        index = layout.parent[index]
    return None


def next_leaf(layout: Layout, shown: Sequence[int], index: int) -> int | None:
    """Position of the first leaf below row `index`."""
    for at in range(bisect_left(shown, index + 1), len(shown)):
        if shown[at] < len(layout.kind) and layout.kind[shown[at]] == LEAF:
            return at
    return None
