"""A graph that answers as the contract says: two views, folding, search, places, marks. The truth is written out below.

`net` is Linear, ReLU, Linear, Sigmoid under BCELoss; `net2` was never called. 7 nodes and 4 leaves, 10 edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import (
    GraphChoice,
    GraphEdges,
    GraphPage,
    GraphPath,
    GraphRow,
    GraphView,
    Lens,
    Reach,
    Watching,
)

FILE = "/home/user/two_nets.py"
NEVER = "net2 was never called in this iteration"
REACH = (
    Reach("net", "Sequential", 4, 4),
    Reach("net2", "Sequential", 0, 4, cause=NEVER),
    Reach("optimiser", "SGD", 4, 4, what="optimizer"),
)
GRADIENT = GraphChoice(7, "gradient", "gradient of net.0.weight", 1, None, freed=False, nodes=None, alive=True)


def choices(recorded_at: int, *, freed: bool) -> tuple[GraphChoice, ...]:
    iteration = (recorded_at - 1) // 5 + 1
    return (GraphChoice(iteration, "loss", "loss BCELoss", iteration, recorded_at, freed, 11, not freed),)


@dataclass(frozen=True)
class Place:
    """A row with what only the one who made it knows."""

    row: GraphRow
    parent: int | None
    own: bool = False
    """A node of the module that it hangs from: shown at that one's level 2 only."""
    target: str = ""
    seqs: frozenset[int] = frozenset()


# kind, name, detail, shape, sequence number, bytes, line; the depth is the number of rows that it hangs from.
Line = tuple[int, str, str, str, tuple[int, ...] | None, int | None, int | None, int]

MODULES: tuple[Line, ...] = (
    (0, "loss", "loss", "0.6712", (), 46, 1408, 10),
    (1, "module", "criterion", "BCELoss · BinaryCrossEntropy", (), 46, 256, 10),
    (2, "own", "BinaryCrossEntropyBackward0", "", (), 46, 256, 10),
    (1, "module", "net", "Sequential", (32, 1), 45, 1152, 9),
    (2, "module", "net.3", "Sigmoid · Sigmoid", (32, 1), 45, 128, 9),
    (3, "own", "SigmoidBackward0", "", (32, 1), 45, 128, 9),
    (2, "module", "net.2", "Linear · Addmm, T", (32, 1), 44, 768, 9),
    (3, "own", "AddmmBackward0", "", (32, 1), 44, 768, 9),
    (3, "own", "TBackward0", "", (6, 1), 43, 0, 9),
    (3, "parameter", "net.2.bias", "", (1,), None, None, 0),
    (3, "parameter", "net.2.weight", "", (1, 6), None, None, 0),
    (2, "module", "net.1", "ReLU · Relu", (32, 6), 42, 0, 9),
    (3, "own", "ReluBackward0", "", (32, 6), 42, 0, 9),
    (2, "module", "net.0", "Linear · Addmm, T", (32, 6), 41, 256, 9),
    (3, "own", "AddmmBackward0", "", (32, 6), 41, 256, 9),
    (3, "own", "TBackward0", "", (4, 6), 40, 0, 9),
    (3, "parameter", "net.0.bias", "", (6,), None, None, 0),
    (3, "parameter", "net.0.weight", "", (6, 4), None, None, 0),
)
RAW: tuple[tuple[int, int | None, str, str], ...] = (
    # depth, parent, kind, name; a row of its parent's depth continues it.
    (0, None, "loss", "loss"),
    (0, 0, "op", "BinaryCrossEntropyBackward0"),
    (0, 1, "op", "SigmoidBackward0"),
    (0, 2, "op", "AddmmBackward0"),
    (1, 3, "parameter", "net.2.bias"),
    (1, 3, "op", "TBackward0"),
    (1, 5, "parameter", "net.2.weight"),
    (0, 3, "op", "ReluBackward0"),
    (0, 7, "op", "AddmmBackward0"),
    (1, 8, "parameter", "net.0.bias"),
    (0, 8, "op", "TBackward0"),
    (0, 10, "parameter", "net.0.weight"),
)
SEQS = {1: 46, 2: 45, 3: 44, 5: 43, 7: 42, 8: 41, 10: 40}
AFTER: tuple[tuple[int, str, str, str, str], ...] = (
    (0, "section", "who is reached", "", ""),
    (1, "reach", "net", "4 of 4", ""),
    (1, "reach", "net2", "0 of 4", NEVER),
    (2, "unreached", "net2.0.weight", "", NEVER),
    (2, "unreached", "net2.0.bias", "", NEVER),
    (2, "unreached", "net2.2.weight", "", NEVER),
    (2, "unreached", "net2.2.bias", "", NEVER),
    (1, "reach", "optimiser", "SGD · 4 of 4", ""),
)


def _modules() -> list[Place]:
    places: list[Place] = []
    above: list[int] = []
    for index, (depth, kind, name, detail, dims, seq, nbytes, line) in enumerate(MODULES):
        del above[depth:]
        own = kind == "own"
        row = GraphRow(
            index, depth, "op" if own else kind, name, detail, dims, 1, 0, seq, nbytes, "float32",
            file=FILE if line else "", line=line, function="<module>" if line else "",
        )  # fmt: skip
        places.append(Place(row, above[-1] if above else None, own))
        above.append(index)
    return places


def _raw() -> list[Place]:
    by_seq = {place.row.seq: place.row for place in _modules() if place.own}
    leaves = {place.row.name: place.row for place in _modules() if place.row.kind == "parameter"}
    places = []
    for index, (depth, parent, kind, name) in enumerate(RAW):
        like = leaves.get(name) or by_seq.get(SEQS.get(index)) or _modules()[0].row
        places.append(Place(replace(like, index=index, depth=depth, kind=kind, name=name), parent))
    return places


def _with_sections(places: list[Place]) -> list[Place]:
    shapes = {"weight": {"0": (6, 4), "2": (1, 6)}, "bias": {"0": (6,), "2": (1,)}}
    above: list[int] = []
    for depth, kind, name, detail, cause in AFTER:
        index = len(places)
        del above[depth:]
        _net, _, rest = name.partition(".")
        number, _, what = rest.partition(".")
        dims = shapes[what][number] if kind == "unreached" else None
        marks = ("unreached",) if kind == "unreached" else ()
        row = GraphRow(index, depth, kind, name, detail, dims, 0, 0, None, cause=cause, marks=marks)
        places.append(Place(row, above[-1] if above else None))
        above.append(index)
    return places


def _finished(places: list[Place]) -> list[Place]:
    """With what follows from who hangs from whom: extents, parameters, whether there are own nodes."""
    below: dict[int, set[int]] = {place.row.index: set() for place in places}
    for place in places:
        parent = place.parent
        while parent is not None:
            below[parent].add(place.row.index)
            parent = places[parent].parent
    done = []
    for place in places:
        children = [p for p in places if p.parent == place.row.index]
        done.append(
            replace(
                place,
                row=replace(
                    place.row,
                    rows_below=len(below[place.row.index]),
                    nodes=sum(places[i].row.kind in ("op", "parameter") for i in below[place.row.index]),
                    parameters=tuple(p.row.name for p in children if p.row.kind == "parameter"),
                    unfolds=any(p.own for p in children),
                ),
            )
        )
    return done


PLACES = {
    GraphView.MODULES: _finished(_with_sections(_modules())),
    GraphView.RAW: _finished(_with_sections(_raw())),
}


def level(places: list[Place], lens: Lens, index: int) -> int:
    return dict(lens.levels).get(index, lens.base) if places[index].row.rows_below else 1


def matches(row: GraphRow, pattern: str) -> bool:
    if pattern.startswith("is:"):
        return pattern[3:] in row.marks
    dims = row.shape or ()
    texts = (row.name, row.detail, str(tuple(dims)), "x".join(map(str, dims)), "×".join(map(str, dims)))
    return any(pattern.lower() in text.lower() for text in texts)


def ancestors(places: list[Place], index: int) -> list[int]:
    found = []
    parent = places[index].parent
    while parent is not None:
        found.append(parent)
        parent = places[parent].parent
    return found


def visible(lens: Lens) -> list[GraphRow]:
    """The rows that this lens shows, in order."""
    places = PLACES[lens.view]
    if lens.pattern:
        hits = {place.row.index for place in places if matches(place.row, lens.pattern)}
        wanted = hits.union(*(ancestors(places, index) for index in hits)) if hits else set()
    else:
        wanted = set()
        for place in places:
            above = ancestors(places, place.row.index)
            shown = all(level(places, lens, index) for index in above)
            if place.own:
                shown = shown and level(places, lens, above[0]) == 2
            if shown:
                wanted.add(place.row.index)
    lit = lit_rows(lens)
    return [
        replace(
            place.row,
            level=level(places, lens, place.row.index),
            unfolds=place.row.unfolds and level(places, lens, place.row.index) < 2,
            lit=place.row.index in lit,
        )
        for place in places
        if place.row.index in wanted
    ]


def lit_rows(lens: Lens) -> set[int]:
    raw = PLACES[GraphView.RAW]
    leaf = next((p.row.index for p in raw if p.row.name == lens.selected and p.row.kind == "parameter"), None)
    if leaf is None:
        return set()
    path = {leaf, *ancestors(raw, leaf)}
    if lens.view is GraphView.RAW:
        return path
    seqs = {SEQS[index] for index in path if index in SEQS}
    places = PLACES[GraphView.MODULES]
    found = {p.row.index for p in places if (p.own and p.row.seq in seqs) or p.row.name == lens.selected}
    return found.union(*(ancestors(places, index) for index in found))


def position(rows: list[GraphRow], lens: Lens, seek: str) -> int | None:
    """Where, among the visible rows, that is which was sought."""
    places = PLACES[lens.view]
    what, _, of = seek.partition(":")
    if what == "parameter":
        hits = (i for i, row in enumerate(rows) if row.kind in ("parameter", "unreached") and row.name == of)
        return next(hits, None)
    index: int | None = int(of)
    if what == "parent":
        index = places[int(of)].parent
    elif what == "leaf":
        index = next((row.index for row in rows if row.index > int(of) and row.kind in ("parameter", "tensor")), None)
    elif what == "target":
        index = places[int(of)].row.refers_to
    return next((i for i, row in enumerate(rows) if row.index == index), None)


def recorded_at(number: int) -> int:
    """The stop at which the graph that is there at stop `number` was walked last."""
    iteration, at = divmod(number - 1, 5)
    return 5 * iteration + at + 1 if at in (2, 3) else 5 * iteration + 4 if at == 4 else 5 * iteration - 1


def page(query: m.GetGraph, number: int, *, freed: bool | None = None, stop: int | None = None) -> GraphPage:
    """The answer at stop `number`."""
    walked = recorded_at(number) if stop is None else stop
    gone = number != walked if freed is None else freed
    lens = query.lens
    rows = visible(lens)
    found = position(rows, lens, query.seek) if query.seek else None
    offset = query.offset if found is None else max(found - query.count // 2, 0)
    keeps = [replace(row, freed=gone if row.nbytes else None) for row in rows[offset : offset + query.count]]
    return GraphPage(
        number, offset, len(rows), tuple(keeps), "loss", "BinaryCrossEntropyBackward0", walked, gone, 11, 10, REACH,
        graph=1, choices=choices(walked, freed=gone), marks=(("reached", 4), ("unreached", 4)), found=found,
        flows="off: gradients are not watched",
    )  # fmt: skip


NO_GRAPH = GraphPage(0, 0, 0, (), "", "", None, False, 0, 0, (), note="no forward pass with gradients has run yet")


def edges(query: m.GetGraphEdges) -> GraphEdges:
    """Each visible row with the nearest visible one above it, among those of the graph."""
    places = PLACES[query.lens.view]
    shown = {row.index for row in visible(query.lens) if row.kind in ("loss", "module", "op", "parameter")}
    found = []
    for index in sorted(shown):
        above = next((i for i in ancestors(places, index) if i in shown), None)
        found += [(above, index, 1)] if above is not None else []
    return GraphEdges(query.offset, len(found), tuple(found[query.offset : query.offset + query.count]))


def path(query: m.GetGraphPath) -> GraphPath:
    """Names from the root to that row."""
    places = PLACES[query.lens.view]
    above = [*reversed(ancestors(places, query.index)), query.index]
    return GraphPath(tuple(places[index].row.name for index in above), 0)


def watching(query: m.SetWatching) -> Watching:
    return Watching(bool(query.gradients), bool(query.stacks))
