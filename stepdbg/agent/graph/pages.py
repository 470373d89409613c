"""The answers about graphs at one stop. Holds nodes while the script is held there, and no longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from stepdbg.agent import naming, pointing, stacks
from stepdbg.agent.flows import Flowed
from stepdbg.agent.graph import edges as lifted
from stepdbg.agent.graph import explain, facts, modules, raw, rows, sections
from stepdbg.agent.graph.drawn import Drawn
from stepdbg.agent.graph.layout import Layout
from stepdbg.agent.graph.lit import Lit
from stepdbg.agent.graph.record import Fact, GraphRecord
from stepdbg.agent.graph.seek import seek
from stepdbg.agent.graph.shelf import Entry, Shelf, gather
from stepdbg.agent.graph.walk import Walk, WalkGivenUpError
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.saved import READABLE, count_once, saved_storages
from stepdbg.agent.tensors.elements import outside_transforms
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol import messages as m
from stepdbg.protocol.chain import ChainPage, Way
from stepdbg.protocol.graph import GraphEdges, GraphPage, GraphPath, GraphRow, GraphView, Lens

MAX_ROWS = 2000
"""Rows of one page, at most."""

AT_ONCE = 2_000
"""Nodes of a graph of which everything is read when it is walked: so that later stops can show it whole."""


class Graphs:
    """Graphs as they are at one stop."""

    def __init__(
        self,
        tracker: Tracker,
        watch: LossWatch,
        names: Callable[[], naming.Names],
        shelf: Shelf,
        stop: int,
        known: Callable[[], set[int]],
    ) -> None:
        """`known`: data pointers of storages that are not counted as kept (parameters, buffers)."""
        self._tracker, self._watch, self._names, self._known = tracker, watch, names, known
        self._shelf, self._stop = shelf, stop
        self._newest: Entry | None = None
        self._gathered = False
        self._nodes: dict[int, list[Any] | None] = {}
        """By id of an entry: its nodes as numbered by the walk; None where they cannot be had any more."""
        self._shown: dict[tuple[int, Lens], Sequence[int]] = {}
        self._lit: dict[tuple[int, GraphView, str], Lit | None] = {}
        self._texts: dict[int, str] = {}
        self._chains: dict[tuple[int, int, Way], explain.Explained] = {}
        """By id of an entry and of a parameter."""

    # ── answers ─────────────────────────────────────────────────────────────────────────────────────────────

    def page(self, query: m.GetGraph, work: Work | None) -> GraphPage:
        """A page of rows."""
        entry, note = self._entry(query.lens.graph)
        record = None if entry is None else self._record(entry, work)
        choices = tuple(e.choice() for e in self._shelf.entries)
        if entry is None or record is None:
            return GraphPage(self._stop, 0, 0, (), "", "", None, False, 0, 0, (), note, choices=choices)
        if query.measure and record.nbytes is None:
            self._measure(entry, record, work)
        layout = self._layout(record, query.lens.view)
        after = sections.of(record, query.lens)
        shown = self._visible(entry, record, layout, after, query.lens, work)
        found = seek(query.seek, record, layout, after, shown) if query.seek else None
        count = min(max(0, query.count), MAX_ROWS)
        start = max(0, query.offset if found is None else found - count // 2)
        drawn = Drawn(self, entry, record, layout, after, query.lens)
        self._look_whether_freed(entry, record)
        why = self._flowed(entry, record).why
        standing = record.standing
        return GraphPage(
            stop=self._stop,
            offset=start,
            total=len(shown),
            rows=tuple(drawn.row(shown[at]) for at in range(start, min(start + count, len(shown)))),
            root=entry.name,
            root_op=record.root_op,
            recorded_at=record.stop,
            freed=entry.freed,
            nodes=record.count,
            edges=record.edges,
            reach=standing.rows if standing else (),
            note=note,
            graph=entry.id,
            choices=tuple(e.choice() for e in self._shelf.entries),
            marks=standing.counts if standing else (),
            found=found,
            flows=why,
            unmeasured=READABLE and record.nbytes is None and self._nodes_of(entry) is not None,
        )

    def shown(self, name: str) -> str:
        """The name of a parameter as the user reads it; empty: as it is."""
        return self._names().shown.other(name)

    def edges(self, query: m.GetGraphEdges, work: Work | None) -> GraphEdges:
        """Edges between visible rows."""
        entry, record = self._known_entry(query.lens, work)
        layout = self._layout(record, query.lens.view)
        shown = self._visible(entry, record, layout, sections.of(record, query.lens), query.lens, work)
        every = lifted.between(record, layout, shown, work)
        return GraphEdges(query.offset, len(every), tuple(every[query.offset : query.offset + query.count]))

    def path(self, query: m.GetGraphPath, work: Work | None) -> GraphPath:
        """The names of the rows that lead to one, the root first."""
        entry, record = self._known_entry(query.lens, work)
        layout = self._layout(record, query.lens.view)
        after = sections.of(record, query.lens)
        index = query.index
        if not 0 <= index < len(layout.kind) + len(after):
            raise NotThereError(f"there is no row {index} in this graph")
        drawn = Drawn(self, entry, record, layout, after, query.lens)
        names: list[str] = []
        if index >= len(layout.kind):
            name = after[index - len(layout.kind)].name
            names.append(self.shown(name) or name)
            index = 0
            names.append("(not reached)")
        while index >= 0:
            names.append(drawn.title(index))
            index = layout.parent[index]
        return rows.path(names[::-1])

    def chain(self, query: m.GetChain, work: Work | None) -> ChainPage:
        """The chain of nodes to one parameter, in the graph asked for or the newest that reaches it."""
        named = explain.parameter(self._names(), query.name)
        first, note = self._entry(query.graph)
        others = () if query.graph else tuple(e for e in reversed(self._shelf.entries) if e is not first)
        for entry in (*((first,) if first is not None else ()), *others):
            record = self._record(entry, work)
            if record is not None and id(named.tensor) in record.leaves:
                break
        else:
            why = explain.why_none(named, first, note)
            shown = named.other
            return ChainPage(self._stop, named.name, query.way, 0, 0, (), note=why, shown=shown)
        key = entry.id, id(named.tensor), query.way
        if key not in self._chains:
            self._chains[key] = explain.Explained(named, record, query.way, work)
        self._look_whether_freed(entry, record)
        return self._chains[key].page(
            query,
            partial(self.fact, entry, record),
            stop=self._stop,
            root=entry.name,
            flowed=self._flowed(entry, record),
            tracker=self._tracker,
            grad_label=self._watch.grad_label,
        )

    def _flowed(self, entry: Entry, record: GraphRecord) -> Flowed:
        """The gradients that are known of a graph: those of the last backward through it."""
        flows = self._tracker.watched.flows
        found = flows.of_graph(record.seqs, next(iter(record.alive()), None), freed=entry.freed)
        record.flows = found.flows or record.flows
        record.leaf_flows = {k: f for k, f in found.leaf_flows.items() if k in record.leaves} or record.leaf_flows
        why = "" if record.flows or record.leaf_flows else found.why
        return Flowed(record.flows, record.leaf_flows, why)

    def recorded(self) -> GraphRecord | None:
        """What is recorded of the newest graph that is, without walking any."""
        self._gather()
        if self._newest is not None and self._newest.record is not None:
            return self._newest.record
        return next((e.record for e in reversed(self._shelf.entries) if e.record is not None), None)

    # ── which graph ─────────────────────────────────────────────────────────────────────────────────────────

    def _gather(self) -> None:
        if not self._gathered:
            self._gathered = True
            iteration = self._tracker.loop.iteration
            spans = list(self._tracker.spans)
            self._newest = gather(self._shelf, self._watch, self._names(), spans, iteration)
            self._shelf.tidy(iteration)

    def _entry(self, number: int) -> tuple[Entry | None, str]:
        """The graph asked for, and a remark on it."""
        self._gather()
        if number:
            chosen = self._shelf.by_id(number)
            if chosen is not None:
                return chosen, ""
        if self._newest is not None:
            return self._newest, ""
        recorded = [e for e in self._shelf.entries if e.record is not None]
        if recorded:
            return max(recorded, key=lambda e: e.record.stop if e.record else 0), ""
        if any(ref() is not None for ref in self._watch.outputs):
            return None, "no graph: what the model put out does not require grad (no_grad, or frozen parameters)"
        if self._tracker.loop.came_late and not self._tracker.loop.order:
            return None, "no graph yet: the debugger was not there before, and no variable of yours holds one"
        return None, "no graph yet: no forward has run, or its output was not kept by the script"

    def _known_entry(self, lens: Lens, work: Work | None) -> tuple[Entry, GraphRecord]:
        entry, note = self._entry(lens.graph)
        record = self._record(entry, work) if entry is not None else None
        if entry is None or record is None:
            raise NotThereError(note or "there is no graph")
        return entry, record

    def _record(self, entry: Entry, work: Work | None) -> GraphRecord | None:
        """The entry's record; walks the graph if there is none yet, or it has grown another."""
        roots = entry.roots()
        record = entry.record
        if record is not None and (not roots or record.root_ids == [id(t.grad_fn) for t in roots]):
            return record
        if not roots:
            return record
        names = self._names()
        tracker, watch = self._tracker, self._watch
        try:
            walk = Walk([t.grad_fn for t in roots], work)
        except WalkGivenUpError as error:
            watch.looked_at.hold(error.nodes, [*entry.refs, *watch.references()])
            raise
        with outside_transforms():
            record = GraphRecord(walk, names, list(tracker.spans), stop=self._stop, iteration=entry.iteration)
        record.root_refs, record.detail = list(entry.refs), entry.detail
        record.roots = list(range(len(dict.fromkeys(id(t.grad_fn) for t in roots))))
        record.root_ids = [id(t.grad_fn) for t in roots]
        nodes = walk.nodes
        newest_last = [nodes[i] for i in record.leaf_of]
        newest_last.extend(nodes[i] for i in reversed(record.order))
        watch.looked_at.hold_in_order(newest_last, [*entry.refs, *watch.references()])
        entry.record = record
        self._nodes[entry.id] = nodes
        self._shown = {key: value for key, value in self._shown.items() if key[0] != entry.id}
        if record.count <= AT_ONCE:
            for number in record.order:
                record.facts[number] = self._read(record, nodes, number)
            self._measure(entry, record, None)
        sections.stand(record, names, tracker, nodes, entry)
        return record

    def _nodes_of(self, entry: Entry) -> list[Any] | None:
        """The nodes by number, as long as the graph is alive: walked again at a later stop."""
        if entry.id not in self._nodes:
            nodes = None
            roots, record = entry.roots(), entry.record
            if record is not None and len(roots) == len(entry.refs):
                walk = Walk([t.grad_fn for t in roots])
                if len(walk.nodes) == record.count:
                    nodes = walk.nodes
            self._nodes[entry.id] = nodes
        return self._nodes[entry.id]

    # ── facts ───────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, record: GraphRecord, nodes: list[Any], number: int) -> Fact:
        seq = record.seq_of[number]
        used, calls = self._tracker.watched.stacks.used, self._tracker.calls

        def place(node: Any) -> facts.Place | None:
            made = stacks.line_of(node) if used else None
            return (made.file, made.line, made.function) if made is not None else calls.line_of(seq)

        return facts.read(nodes[number], place)

    def fact(self, entry: Entry, record: GraphRecord, number: int) -> Fact:
        """What is known of one inner node."""
        known = record.facts.get(number)
        if known is None:
            nodes = self._nodes_of(entry)
            if nodes is None:
                return Fact()
            known = record.facts[number] = self._read(record, nodes, number)
        return known

    def _measure(self, entry: Entry, record: GraphRecord, work: Work | None) -> None:
        """Bytes of every node, each storage once, at the first node that keeps it in the order of backward."""
        nodes = self._nodes_of(entry)
        if not READABLE or nodes is None:
            return
        counted = set(self._known())
        nbytes = {}
        for done, number in enumerate(record.order):
            if work is not None and not done % 2048:
                work.step(done, len(record.order), "nodes measured")
            size = count_once(saved_storages(nodes[number]), counted)
            if size:
                nbytes[number] = size
        record.nbytes = nbytes
        record.sums.clear()

    def _look_whether_freed(self, entry: Entry, record: GraphRecord) -> None:
        """Whether a backward has freed the graph: told by the first nodes and the last that keep anything.

        The last ones run last: while it runs they keep it still.
        """
        if entry.freed:
            return
        nodes = self._nodes_of(entry) if record.count <= AT_ONCE or self._stop == record.stop else None
        if nodes is None and not entry.roots():
            entry.freed = True
            return
        if nodes is None:
            nodes = self._nodes_of(entry)
        several = [*record.order[:100], *record.order[-100:]] if nodes is not None else ()
        states = {self.freed(entry, record, number) for number in several} - {None}
        if states:
            entry.freed = False not in states
        elif nodes is not None:
            # Nothing that could be freed: then it is told by whether a backward ran from here.
            ran = self._watch.freed_roots
            entry.freed = any(ref() is tensor for ref in ran for tensor in entry.roots())

    def freed(self, entry: Entry, record: GraphRecord, number: int) -> bool | None:
        """Whether what one node kept is gone."""
        nodes = self._nodes_of(entry)
        state = facts.freed(nodes[number]) if nodes is not None else None
        # Of most nodes that were freed torch tells no more than that they keep nothing: this one has kept something.
        return True if state is None and record.nbytes and number in record.nbytes else state

    # ── rows ────────────────────────────────────────────────────────────────────────────────────────────────

    def _layout(self, record: GraphRecord, view: GraphView) -> Layout:
        layout: Layout | None = record.layouts.get(view)
        if layout is None:
            with outside_transforms():
                layout = record.layouts[view] = (modules if view is GraphView.MODULES else raw).lay_out(record)
        return layout

    def _visible(
        self,
        entry: Entry,
        record: GraphRecord,
        layout: Layout,
        after: list[GraphRow],
        lens: Lens,
        work: Work | None,
    ) -> Sequence[int]:
        key = entry.id, Lens(0, lens.view, lens.base, lens.levels, lens.pattern)
        shown = self._shown.get(key)
        if shown is None:
            if lens.pattern:
                shown = self._search(entry, record, layout, after, lens, work)
            else:
                shown = rows.visible(layout, lens)
                extra = sections.visible(after, lens, len(layout.kind))
                whole = isinstance(shown, range) and len(extra) == len(after)
                shown = range(len(shown) + len(extra)) if whole else [*shown, *extra]
            self._shown = {key: shown}
        return shown

    def _search(
        self,
        entry: Entry,
        record: GraphRecord,
        layout: Layout,
        after: list[GraphRow],
        lens: Lens,
        work: Work | None,
    ) -> list[int]:
        drawn = Drawn(self, entry, record, layout, after, lens)
        total = len(layout.kind)

        def tick(done: int) -> None:
            if work is not None:
                work.step(done, total, "rows searched")

        called = pointing.finder(self._names(), lens.pattern)
        hits = rows.matching(layout, drawn.matches(lens.pattern, called), tick)
        return [*hits, *sections.matching(after, lens.pattern, total, called)]

    def lit(self, record: GraphRecord, layout: Layout, entry: Entry, lens: Lens) -> Lit | None:
        """Which rows lie on paths to the selected parameter; None: none is selected, or it is not reached."""
        key = entry.id, lens.view, lens.selected
        if key not in self._lit:
            number = next(
                (n for n, leaf in record.leaf_of.items() if lens.selected and leaf.name == lens.selected), None
            )
            self._lit = {key: None if number is None else Lit(record, layout, number)}
        return self._lit[key]
