"""What the script keeps alive from earlier iterations: the answer to `GetLeaks`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from time import perf_counter
from types import FrameType
from typing import Any

from torch import Tensor

from stepdbg.agent import sources
from stepdbg.agent.deep import LookedAt
from stepdbg.agent.memory import leaks_free
from stepdbg.agent.memory import leaks_holders as holding
from stepdbg.agent.memory.leaks import Leaks, OutOfTimeError, Retained, graph_bytes, live_tensors
from stepdbg.agent.memory.leaks_graphs import Graphs
from stepdbg.agent.memory.leaks_holders import Holder, Search
from stepdbg.agent.memory.leaks_source import find_line
from stepdbg.agent.saved import READABLE, count_once, tensor_storages
from stepdbg.agent.work import Work
from stepdbg.protocol.leaks import STEADY, GetLeaks, Leak, LeakKind, LeakReport

SERIES = 64
"""Counts of live tensors told, at most."""

NOT_YET = "nothing of the last iteration is in it, or not yet: step on"

SHOWN = 50
"""Leaks told, at most."""


@dataclass
class Place:
    """What is known at the stop. Holds objects of the script: keep it no longer than the answer takes."""

    stop: int
    iteration: int
    frames: Sequence[FrameType]
    known: set[int]
    """Data pointers of parameters and buffers: their bytes are not a leak's."""
    trained: set[int]
    """Those, and of gradients and optimizer state: they are no leak."""
    ours: set[int]
    """Ids of our own tensors."""
    looked_at: LookedAt
    label: Callable[[Any], str]


@dataclass
class _Found:
    """What one holder holds."""

    holder: Holder
    nodes: list[int]
    """Their numbers."""
    iterations: set[tuple[int, int]]

    @property
    def chain(self) -> bool:
        """One graph reaches back through several iterations."""
        return len(self.holder.members) == 1 and len(self.iterations) > 1


def report(leaks: Leaks, query: GetLeaks, place: Place, work: Work) -> LeakReport:
    """Find what is held. Call inside `quiet()`. Raises GivenUpError where nobody wants it any more."""
    started = perf_counter()
    if query.off:
        leaks.stop()
    else:
        leaks.begin(place.iteration)
        leaks.free = leaks.free if query.free is None else query.free
    tensors = [tensor for tensor in live_tensors() if id(tensor) not in place.ours]
    until = started + max(query.seconds, 0.01)
    graphs = Graphs(leaks, place.iteration, tensors)
    graphs.walk(until, lambda done: work.step(done, 0, "graph nodes"), place.looked_at)
    old = list(graphs.places.values())
    unseen = leaks_free.unseen(leaks, place.iteration)
    grown = _since_free(leaks, old, unseen, place) if unseen else _grown(leaks, old)
    search = Search(chain(old, grown), until, lambda done: work.step(done, 0, "objects"))
    complete = graphs.complete
    notes: list[str] = []
    held: list[Tensor] = []
    try:
        if search.wanted:
            search.run(holding.users_variables(place.frames))
            held = holding.held_somewhere(
                [t for t in search.missing if id(t) not in graphs.places or graphs.is_old([t])],
                (tensors, old, grown, graphs.places, graphs.roots, search.wanted),
            )
            if held:
                search.run(holding.libraries_variables())
    except OutOfTimeError:
        complete = False
    holders = search.holders(lambda tensor: graphs.made_in(tensor) or leaks.made_in(leaks.cohort_of(tensor)))
    missing = {id(tensor) for tensor in search.missing}
    nameless = sum(id(tensor) in missing for tensor in held)
    found = _of_graphs(leaks, graphs, holders, place)
    found += _of_tensors(leaks, holders, {id(tensor) for tensor in grown}, place, unseen)
    found += _retained(leaks, place)
    found += leaks_free.retained(leaks, place.iteration, place.frames, place.label, place.looked_at)
    count = len(tensors)
    if unseen:
        notes.append(f"{unseen:,} iterations ran free: what grew in each, but for graphs, was not recorded")
    found.sort(key=lambda leak: (not leak.growing, -(leak.nbytes + (leak.saved or 0)), leak.name))
    if not complete:
        notes.append(f"the search was ended after {query.seconds:g} s: what holds the rest was not found")
    if nameless:
        notes.append(
            f"{nameless:,} {'tensor is' if nameless == 1 else 'tensors are'} held, but no name leads there: by objects "
            "that refer to each other until Python's garbage collector comes to them, or by C++"
        )
    if len(found) > SHOWN:
        notes.append(f"{len(found) - SHOWN:,} more are held")
    return LeakReport(
        stop=place.stop,
        iteration=place.iteration,
        leaks=tuple(found[:SHOWN]),
        since=leaks.since if leaks.on else 0,
        samples=len(leaks.samples),
        tensors=count,
        counts=tuple(leaks.samples)[-SERIES:],
        free=leaks.free,
        complete=complete,
        seconds=perf_counter() - started,
        note="; ".join(notes),
    )


# ── graphs ──────────────────────────────────────────────────────────────────────────────────────────────────


def _of_graphs(leaks: Leaks, graphs: Graphs, holders: Iterable[Holder], place: Place) -> list[Leak]:
    found: list[_Found] = []
    for holder in holders:
        members = [tensor for tensor in holder.members if id(tensor) in graphs.places]
        if graphs.is_old(members):
            numbers = graphs.behind(members)
            found.append(_Found(replace(holder, members=members), numbers, graphs.iterations_of(numbers)))
    found = _innermost(found, graphs)
    result = []
    for one in found:
        holder = one.holder
        nodes = [graphs.nodes[at] for at in one.nodes]
        own = set(place.known)
        nbytes = _bytes(holder.members, own)
        saved = graph_bytes(nodes, own)
        growing, note = _judge_graph(leaks, one, graphs, place.iteration)
        kind = LeakKind.LIST if holder.container and len(holder.members) > 1 else LeakKind.GRAPH
        first, last = min(a for a, _ in one.iterations), max(b for _, b in one.iterations)
        leak = _leak(kind, holder, growing=growing, note=note)
        result.append(
            replace(
                leak,
                first=first,
                last=last,
                iterations=sum(b - a + 1 for a, b in one.iterations),
                nodes=len(nodes),
                nbytes=nbytes,
                saved=saved if READABLE else None,
            )
        )
    return result


def _innermost(found: list[_Found], graphs: Graphs) -> list[_Found]:
    """Without those whose older graphs another one holds by itself: `loss` computed from a `hidden` that is carried
    along. What was made first is the reason.
    """
    single = [one for one in found if one.chain]
    kept = []
    for one in found:
        if one in single:
            mine = graphs.old_nodes(one.holder.members[0])
            number = graphs.number_of(one.holder.members[0])
            if any(
                graphs.number_of(other.holder.members[0]) < number and mine <= graphs.old_nodes(other.holder.members[0])
                for other in single
                if other is not one
            ):
                continue
        kept.append(one)
    return kept


def _judge_graph(leaks: Leaks, one: _Found, graphs: Graphs, iteration: int) -> tuple[bool, str]:
    """Whether it grew in each of the last three iterations, and why not."""
    holder = one.holder
    if holder.bounded:
        return False, holder.bounded
    last = {(at, at) for at in range(iteration - STEADY, iteration)}
    if not last <= one.iterations:
        ahead = STEADY - len(last & one.iterations)
        unknown = any(a != b for a, b in one.iterations)
        since = " (a free run is not told apart by iterations)" if unknown else ""
        return False, f"did not grow in {ahead} of the last {STEADY} iterations{since}"
    if one.chain:
        return True, ""
    oldest = min(leaks.cohort_of(tensor) for tensor in holder.members)
    if leaks.dropping(oldest):
        return False, "as much is let go of as comes in"
    if leaks.fresh > STEADY or min(a for a, _ in one.iterations) <= graphs.first_known:
        return True, ""
    return False, "older ones are gone: not known to grow yet, step on"


# ── tensors without a graph ─────────────────────────────────────────────────────────────────────────────────


def _grown(leaks: Leaks, graphs: Sequence[Tensor]) -> list[Tensor]:
    """What has come since the watching began and is still there, where the last iterations all left something."""
    survivors = leaks.survivors()
    if leaks.fresh <= STEADY or any(leaks.cohort - at not in survivors for at in range(STEADY)):
        return []
    known = {id(tensor) for tensor in graphs}
    return [t for group in survivors.values() for t in group if id(t) not in known and t.is_leaf]


def _since_free(leaks: Leaks, graphs: Sequence[Tensor], unseen: int, place: Place) -> list[Tensor]:
    """What may have come in iterations that nobody watched, without a graph: since the last look before them, or, where
    there was none, what lies in containers of as many as there were iterations.
    """
    known = {id(tensor) for tensor in graphs} | place.ours
    if len(leaks.samples) > 1:
        return [t for t in leaks.survivors().get(leaks.cohort, ()) if id(t) not in known and t.is_leaf]
    return [t for t in leaks_free.as_many(unseen, place.trained) if id(t) not in known]


def _of_tensors(leaks: Leaks, holders: Iterable[Holder], grown: set[int], place: Place, unseen: int) -> list[Leak]:
    result = []
    for holder in holders:
        members = [tensor for tensor in holder.members if id(tensor) in grown]
        cohorts = {leaks.cohort_of(tensor) for tensor in members}
        if unseen:
            outside = all(pointer not in place.trained for t in members for pointer, _ in tensor_storages(t))
            if holder.container and len(members) >= unseen and outside:
                leak = _leak(LeakKind.TENSORS, replace(holder, members=members), growing=False, note="")
                last = place.iteration - 1
                note = holder.bounded or leaks_free.NOT_RECORDED
                nbytes = _bytes(members, set(place.known))
                first = max(place.iteration - unseen, 1)
                result.append(replace(leak, first=first, last=last, iterations=unseen, nbytes=nbytes, note=note))
            continue
        # What is made before the loop's first phase may not have come to where it is kept yet.
        late = leaks.cohort not in cohorts
        if not members or not {leaks.cohort - late - at for at in range(STEADY)} <= cohorts:
            continue
        note = holder.bounded or ("as much is let go of as comes in" if leaks.dropping(min(cohorts)) else "")
        note = note or (NOT_YET if late else "")
        leak = _leak(LeakKind.TENSORS, replace(holder, members=members), growing=not note, note=note)
        made = [leaks.made_in(cohort) for cohort in cohorts]
        plain = [tensor for tensor in holder.tensors if tensor.is_leaf] or members
        result.append(
            replace(
                leak,
                first=min(made),
                last=max(made),
                iterations=len(cohorts),
                count=len(plain),
                nbytes=_bytes(plain, set(place.known)),
            )
        )
    return result


# ── graphs that a backward left whole ───────────────────────────────────────────────────────────────────────


def _retained(leaks: Leaks, place: Place) -> list[Leak]:
    by_iteration: dict[int, Retained] = {kept.iteration: kept for kept in leaks.retained}
    wanted = range(place.iteration - STEADY, place.iteration)
    if not all(at in by_iteration for at in wanted):
        return []
    last = by_iteration[place.iteration - 1]
    root = last.root()
    file, line, function = last.site or ("", None, "")
    name = place.label(root) if root is not None else ""
    site = file, line, _text_of(file, line), function
    note = f"as it was when iteration {place.iteration} began"
    return [leaks_free.kept_whole(name, site, last.iteration, last.nodes, last.nbytes, growing=True, note=note)]


# ── what they have in common ────────────────────────────────────────────────────────────────────────────────


def _leak(kind: LeakKind, holder: Holder, *, growing: bool, note: str) -> Leak:
    root = holder.root
    where = holder.where
    if where == "variable":
        shape = _shape(holder.members[0])
        where = f"a tensor of {shape}" if shape else "one number"
    line = find_line(root.file, root.name, root.function, root.line) if root.file else None
    file = root.file
    for other in holder.files if line is None else ():
        line = find_line(other, root.name)
        if line is not None:
            file = other
            break
    number, text = line or (None, "")
    count = len(holder.members)
    return Leak(kind, root.name, where, file, number, text, root.function, count, growing=growing, note=note)


def _shape(tensor: Tensor) -> str:
    try:
        return "×".join(map(str, tensor.shape))
    except RuntimeError:
        return ""


def _bytes(tensors: Iterable[Tensor], counted: set[int]) -> int:
    return count_once((pair for tensor in tensors for pair in tensor_storages(tensor)), counted)


def _text_of(file: str, line: int | None) -> str:
    text = sources.read(file).text if file and line else None
    lines = text.splitlines() if text else []
    return lines[line - 1].strip() if line and line <= len(lines) else ""
