"""One row of a graph, with all that is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from stepdbg.agent.graph import modules, rows, sections
from stepdbg.agent.graph.layout import LEAF, LOSS, MODULE, OP, REFERENCE, Layout
from stepdbg.agent.graph.lit import Lit
from stepdbg.agent.graph.record import Fact, GraphRecord
from stepdbg.agent.graph.shelf import Entry
from stepdbg.protocol.graph import GraphRow, Lens

MOST_PARAMETERS = 50
"""Names of parameters told with a row, at most."""


class Reads(Protocol):
    """What reads nodes, as long as they are there."""

    def fact(self, entry: Entry, record: GraphRecord, number: int) -> Fact:
        """What is known of one inner node."""
        ...

    def freed(self, entry: Entry, record: GraphRecord, number: int) -> bool | None:
        """Whether what one node kept is gone."""
        ...

    def shown(self, name: str) -> str:
        """The name of a parameter as the user reads it; empty: as it is."""
        ...

    def lit(self, record: GraphRecord, layout: Layout, entry: Entry, lens: Lens) -> Lit | None:
        """Which rows lie on paths to the selected parameter."""
        ...


class Drawn:
    """Makes the rows of a page."""

    def __init__(
        self,
        graphs: Reads,
        entry: Entry,
        record: GraphRecord,
        layout: Layout,
        after: list[GraphRow],
        lens: Lens,
    ) -> None:
        self._graphs, self._entry, self._record, self._layout, self._after = graphs, entry, record, layout, after
        self._lens, self._levels = lens, dict(lens.levels)
        self._lit = graphs.lit(record, layout, entry, lens)

    def name(self, index: int) -> str:
        """What a row is called."""
        layout, record = self._layout, self._record
        kind, of = layout.kind[index], layout.of[index]
        if kind == LOSS:
            return self._entry.name
        if kind == MODULE:
            return layout.calls[of][0]
        leaf = record.leaf_of.get(of)
        return record.ops[of] if leaf is None else leaf.name or "a leaf tensor"

    def title(self, index: int) -> str:
        """The same as the user reads it."""
        leaf = self._layout.kind[index] in (LEAF, REFERENCE) and self._layout.of[index] in self._record.leaf_of
        name = self.name(index)
        return self._graphs.shown(name) or name if leaf else name

    def row(self, index: int) -> GraphRow:
        """The row of that index."""
        layout, record = self._layout, self._record
        if index >= len(layout.kind):
            row = self._after[index - len(layout.kind)]
            row = replace(row, shown=self._graphs.shown(row.name)) if row.kind == "unreached" else row
            return sections.at_level(row, self._levels, self._lens.base)
        kind, of = layout.kind[index], layout.of[index]
        leaf = record.leaf_of.get(of) if kind in (LEAF, REFERENCE) else None
        node = of if kind == OP or (kind == REFERENCE and leaf is None) else self._output_node(kind, of)
        fact = self._graphs.fact(self._entry, record, node) if node >= 0 and leaf is None else Fact()
        level = rows.level_of(index, self._levels, self._lens.base)
        marks, words = fact.marks if kind in (OP, REFERENCE) else (), ""
        if leaf is not None:
            standing = record.standing.marks.get(leaf.key, ()) if record.standing else ()
            marks = tuple(dict.fromkeys((*standing, *(("shared",) if leaf.uses > 1 or leaf.shared else ()))))
        place = fact.place if kind != REFERENCE else None
        seq = self._seq(node)
        words = self._words(kind, of, leaf is not None, fact)
        return GraphRow(
            index=index,
            depth=layout.depth[index],
            kind=self._kind(kind, leaf.name if leaf else None),
            name=self.name(index),
            detail=words,
            shape=leaf.shape if leaf else fact.shape,
            nodes=layout.nodes(index),
            rows_below=layout.below[index],
            seq=seq if kind != LOSS and leaf is None else self._root_seq(kind),
            nbytes=self._bytes(index, kind),
            dtype=leaf.dtype if leaf else fact.dtype,
            level=level,
            marks=marks,
            freed=self._freed(index, kind, of),
            file=place[0] if place else "",
            line=place[1] if place else 0,
            function=place[2] if place else "",
            refers_to=layout.row_of[of] if kind == REFERENCE else None,
            lit=self._lit is not None and self._lit[index],
            flow=record.leaf_flows.get(leaf.key) if leaf else record.flows.get(-1 if seq is None else seq),
            parameters=self._parameters(index, kind, leaf.name if leaf else ""),
            unfolds=self._unfolds(index, kind, level),
            shown=self._graphs.shown(leaf.name) if leaf is not None else "",
        )

    def _output_node(self, kind: int, of: int) -> int:
        return self._layout.newest[of] if kind == MODULE else self._record.roots[0] if kind == LOSS else -1

    def _root_seq(self, kind: int) -> int | None:
        return self._seq(self._record.roots[0]) if kind == LOSS and self._record.roots else None

    def _seq(self, node: int) -> int | None:
        """The number of an inner node."""
        return self._record.seq_of[node] if node >= 0 and node not in self._record.leaf_of else None

    @staticmethod
    def _kind(kind: int, leaf: str | None) -> str:
        if kind == LEAF:
            return "parameter" if leaf else "tensor"
        return {LOSS: "loss", MODULE: "module", OP: "op", REFERENCE: "reference"}[kind]

    def _words(self, kind: int, of: int, is_leaf: bool, fact: Fact) -> str:
        if kind == LOSS:
            return self._record.detail or self._record.root_op
        if kind == MODULE:
            _, kind_of, own = self._layout.calls[of]
            if of not in self._layout.ops:
                self._layout.ops[of] = modules.ops(self._record, own)
            return " · ".join(part for part in (kind_of, self._layout.ops[of]) if part)
        if kind == REFERENCE:
            return "" if is_leaf else f"#{self._record.seq_of[of]}"
        if kind == OP and "custom" in fact.marks:
            return "autograd.Function"
        return ""

    def _bytes(self, index: int, kind: int) -> int | None:
        record = self._record
        if record.nbytes is None or kind in (LEAF, REFERENCE):
            return None
        if kind == OP:
            return record.nbytes.get(self._layout.of[index], 0)
        key = self._lens.view, "bytes"
        if key not in record.sums:
            record.sums[key] = self._layout.sums(record.nbytes)
        return record.sums[key][index]

    def _freed(self, index: int, kind: int, of: int) -> bool | None:
        if kind == OP:
            return self._graphs.freed(self._entry, self._record, of)
        if kind in (MODULE, LOSS):
            return self._entry.freed if self._bytes(index, kind) else None
        return None

    def _parameters(self, index: int, kind: int, leaf: str) -> tuple[str, ...]:
        if leaf:
            return (leaf,)
        if kind not in (OP, MODULE):
            return ()
        layout, record = self._layout, self._record
        if kind == OP:
            found = [record.leaf_of[end].name for end in record.next_of(layout.of[index]) if end in record.leaf_of]
        else:
            found = []
            at, depth = index + 1, layout.depth[index] + 1
            while at <= index + layout.below[index] and len(found) < MOST_PARAMETERS:
                if layout.depth[at] == depth and layout.kind[at] in (LEAF, REFERENCE):
                    found.append(record.leaf_of[layout.of[at]].name)
                at += 1 if layout.depth[at] != depth else 1 + layout.below[at]
        return tuple(dict.fromkeys(name for name in found if name))[:MOST_PARAMETERS]

    def _unfolds(self, index: int, kind: int, level: int) -> bool:
        own = self._layout.own
        if kind != MODULE or level >= 2 or not own:
            return False
        # A call's own node is the first row below it or stands behind other rows of the same depth.
        at, depth = index + 1, self._layout.depth[index] + 1
        while at <= index + self._layout.below[index]:
            if own[at]:
                return True
            at += 1 if self._layout.depth[at] != depth else 1 + self._layout.below[at]
        return False

    # ── search ──────────────────────────────────────────────────────────────────────────────────────────────

    def matches(self, pattern: str, called: Callable[[str], bool]) -> Callable[[int], bool]:
        """Whether a row, by its index, matches. `called`: whether a row of that name does by its name alone."""
        needle = pattern.strip().lower()
        if needle.startswith("is:"):
            mark = needle[3:]
            return lambda index: mark in self.row(index).marks
        dims = rows.dims_of(needle)
        layout = self._layout
        by_name: dict[str, bool] = {}

        def fits(index: int) -> bool:
            name = self.name(index)
            hit = by_name.get(name)
            if hit is None:
                hit = by_name[name] = called(name)
            if hit:
                return True
            kind, of = layout.kind[index], layout.of[index]
            if kind == MODULE and needle in self._words(kind, of, False, Fact()).lower():
                return True
            if kind == LOSS:
                return needle in self._record.detail.lower()
            if dims is not None and kind in (OP, LEAF):
                leaf = self._record.leaf_of.get(of)
                shape = leaf.shape if leaf else self._graphs.fact(self._entry, self._record, of).shape
                return shape == dims
            if kind == OP and ":" in needle:
                place = self._graphs.fact(self._entry, self._record, of).place
                return place is not None and needle in f"{place[0]}:{place[1]}".lower()
            return False

        return fits
