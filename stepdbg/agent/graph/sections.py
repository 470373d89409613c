"""What follows the tree: who is reached by the graph, and why the others are not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stepdbg.agent.graph import facts
from stepdbg.agent.graph.record import GraphRecord, Standing
from stepdbg.agent.graph.shelf import Entry
from stepdbg.agent.naming import Names
from stepdbg.agent.reach import Reaches
from stepdbg.agent.tracker import Tracker
from stepdbg.protocol.graph import GraphRow, Lens

CHECKPOINTED = "CheckpointFunctionBackward"


def stand(record: GraphRecord, names: Names, tracker: Tracker, nodes: list[Any], entry: Entry) -> None:
    """Find out who is reached, and note it as plain data. Told at the stop where the graph is walked: what was called
    is forgotten later.
    """
    rerun = CHECKPOINTED in record.op_names
    reruns = [record.seq_of[i] for i in record.order if record.ops[i] == CHECKPOINTED] if rerun else []
    reaches = Reaches(
        names,
        record,
        tracker.calls,
        iteration=entry.iteration,
        kept=lambda: facts.storages([nodes[i] for i in record.order]),
        reruns=reruns,
        what=entry.kind,
    )
    keys = {id(p.tensor): p for p in names.parameters}
    unreached = reaches.unreached()
    record.standing = Standing(
        rows=reaches.rows(),
        marks={key: reaches.marks(key) for key in keys},
        counts=reaches.counts(),
        causes={key: cause for key in keys if (cause := reaches.cause(key))},
        unreached=[(p.name, p.root, _shape(p.tensor), id(p.tensor)) for p in unreached],
    )


def _shape(tensor: Any) -> tuple[int, ...] | None:
    try:
        return tuple(int(n) for n in tensor.shape)
    except RuntimeError:
        return None  # lazy


def of(record: GraphRecord, lens: Lens) -> list[GraphRow]:
    """The rows behind the tree, numbered on from it."""
    standing = record.standing
    if standing is None or not standing.rows:
        return []
    made: list[GraphRow] | None = record.layouts.get(("after", lens.view))
    if made is None:
        first = len(record.layouts[lens.view].kind)
        made = record.layouts["after", lens.view] = _rows(standing, first)
    return made


def _rows(standing: Standing, first: int) -> list[GraphRow]:
    rows = [_row(first, 0, "section", "who is reached", "")]
    by_root: dict[str, list[tuple[str, str, tuple[int, ...] | None, int]]] = {}
    for one in standing.unreached:
        by_root.setdefault(one[1] or "other tensors", []).append(one)
    # Whole summaries first: a long list of what one of them does not reach would push the others off the screen.
    for reach in sorted(standing.rows, key=lambda r: r.what == "module" and r.name in by_root):
        frozen = f" · {reach.frozen} frozen" if reach.frozen else ""
        detail = f"{reach.reached} of {reach.total}{frozen}"
        if reach.kind:
            detail = f"{reach.kind} · {detail}"
        below = by_root.get(reach.name, ()) if reach.what == "module" else ()
        at = first + len(rows)
        rows.append(replace(_row(at, 1, "reach", reach.name, detail), rows_below=len(below), cause=reach.cause))
        for name, _, shape, key in below:
            row = _row(first + len(rows), 2, "unreached", name, "")
            rows.append(
                replace(
                    row,
                    shape=shape,
                    cause=standing.causes.get(key, ""),
                    marks=standing.marks.get(key, ()),
                    parameters=(name,),
                )
            )
    rows[0] = replace(rows[0], rows_below=len(rows) - 1)
    return rows


def _row(index: int, depth: int, kind: str, name: str, detail: str) -> GraphRow:
    return GraphRow(index, depth, kind, name, detail, None, 0, 0, None)


def at_level(row: GraphRow, levels: dict[int, int], base: int) -> GraphRow:
    """The row as it is folded now."""
    return replace(row, level=_level(row, levels, base))


def _level(row: GraphRow, levels: dict[int, int], base: int) -> int:
    return levels.get(row.index, base if row.kind != "section" else max(base, 1))


def visible(after: list[GraphRow], lens: Lens, first: int) -> list[int]:
    """Indices of those that are shown."""
    levels, shown, position = dict(lens.levels), [], 0
    while position < len(after):
        row = after[position]
        shown.append(first + position)
        position += 1 if _level(row, levels, lens.base) else 1 + row.rows_below
    return shown


def matching(after: list[GraphRow], pattern: str, first: int, called: Callable[[str], bool]) -> list[int]:
    """Indices of those that match, with what they hang from. `called`: whether a row of that name does."""
    needle = pattern.strip().lower()
    wanted: set[int] = set()
    above: list[int] = []
    for position, row in enumerate(after):
        del above[row.depth :]
        above.append(first + position)
        mark = needle.removeprefix("is:")
        hit = mark in row.marks if mark != needle else called(row.name) or needle in row.detail.lower()
        if hit and row.kind != "section":
            wanted.update(above)
    return sorted(wanted)


def find(shown: Sequence[int], index: int) -> int | None:
    """Position among the visible rows of row `index`, if it is visible."""
    at = bisect_left(shown, index)
    return at if index >= 0 and at < len(shown) and shown[at] == index else None


def parent(after: list[GraphRow], index: int) -> int:
    """The row that row `index` hangs from; -1: none."""
    first = after[0].index
    depth = after[index - first].depth
    return next((row.index for row in reversed(after[: index - first]) if row.depth < depth), -1)
