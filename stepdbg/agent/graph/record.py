"""One graph as it was walked: plain data, no node and no tensor."""

from __future__ import annotations

import weakref
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import methodcaller
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.graph.walk import Walk, is_leaf_class, variable_of
from stepdbg.agent.naming import Names
from stepdbg.protocol.graph import Flow, Reach

Span = tuple[int, int, int]

SEQUENCE_NUMBER = methodcaller("_sequence_nr")


def numbers(values: list[int]) -> Tensor:
    """As a tensor of int64."""
    # Through an array it takes a third of the time that a tensor of a list does.
    return (
        torch.frombuffer(array("q", values), dtype=torch.int64)
        if values
        else torch.empty(0, dtype=torch.int64, device="cpu")
    )


@dataclass
class Leaf:
    """An AccumulateGrad: the tensor it accumulates into, by id and name."""

    key: int
    name: str
    """Empty: no parameter that is known by name."""
    shape: tuple[int, ...]
    dtype: str
    uses: int = 0
    """Edges that lead to it."""
    shared: bool = False


@dataclass
class Fact:
    """What one node says of itself."""

    shape: tuple[int, ...] | None = None
    dtype: str = ""
    marks: tuple[str, ...] = ()
    place: tuple[str, int, str] | None = None
    """File, line and function that made it."""


@dataclass
class Standing:
    """Who is reached by the graph, as it was found when the graph was recorded."""

    rows: tuple[Reach, ...] = ()
    marks: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """By id of the parameter."""
    counts: tuple[tuple[str, int], ...] = ()
    causes: dict[int, str] = field(default_factory=dict)
    unreached: list[tuple[str, str, tuple[int, ...] | None, int]] = field(default_factory=list)
    """Name, name of the root, shape and id."""


class GraphRecord:
    """One graph. Nodes are numbered as the walk found them; `order` is the one in which backward runs them."""

    def __init__(self, walk: Walk, names: Names, spans: Sequence[Span], *, stop: int, iteration: int) -> None:
        """Cost: about 1.5 µs a node beyond the walk."""
        nodes = walk.nodes
        self.stop, self.iteration = stop, iteration
        self.starts, self.ends = walk.starts, walk.ends
        self.count, self.edges = len(nodes), len(walk.ends)
        kinds = list(map(type, nodes))
        named: dict[Any, str] = {}
        leaf_kinds = set()
        for kind in set(kinds):
            named[kind] = kind.__name__
            if is_leaf_class(kind):
                leaf_kinds.add(kind)
        self.ops: list[str] = list(map(named.__getitem__, kinds))
        """Name of each node's class; of those that torch has no class for, what the node calls itself."""
        if "CppFunction" in named.values():
            self.ops = [n.name() if op == "CppFunction" else op for n, op in zip(nodes, self.ops, strict=True)]
        self.op_names = frozenset(named.values())
        self.leaf_of: dict[int, Leaf] = {}
        """Number of a node → the leaf that it is."""
        self.leaves: dict[int, Leaf] = {}
        self._find_leaves(nodes, kinds, leaf_kinds, names)
        numbers = list(map(SEQUENCE_NUMBER, nodes))
        is_inner = bytearray(b"\1") * self.count
        for leaf in self.leaf_of:
            is_inner[leaf] = 0
        inner = list(compress(range(self.count), is_inner))
        self.seq_of: list[int] = numbers
        """By node: its sequence number; of a leaf one above all others, as torch gives it."""
        # Where numbers are equal (a node made anew by an in-place write) the one found first ran last.
        self.order: list[int] = sorted(inner, key=numbers.__getitem__, reverse=True)
        """Inner nodes, newest first: the order in which backward runs them, where nothing else decides."""
        self.seqs: list[int] = list(map(numbers.__getitem__, reversed(self.order)))
        oldest = self.seqs[0] if self.seqs else 0
        self.spans = [span for span in spans if span[1] > oldest]
        paths = names.paths
        self.paths = {module: paths.get(module, ("", "")) for module in {span[2] for span in self.spans}}
        self.roots: list[int] = []
        self.title = self.detail = ""
        self.root_refs: list[weakref.ref[Tensor]] = []
        self.root_ids: list[int] = []
        """Ids of the roots' nodes: an in-place write gives a tensor another one."""
        self.facts: dict[int, Fact] = {}
        self.nbytes: dict[int, int] | None = None
        """Bytes each node keeps that no newer one keeps; None: not measured."""
        self.sums: dict[tuple[Any, str], list[int]] = {}
        """By view and what is summed: for each row, over all below it."""
        self.standing: Standing | None = None
        self.flows: dict[int, Flow] = {}
        self.leaf_flows: dict[int, Flow] = {}
        self.why_no_flows = ""
        self.layouts: dict[Any, Any] = {}
        self._entries: tuple[list[int], list[int]] | None = None

    def _find_leaves(self, nodes: list[Any], kinds: list[Any], leaf_kinds: set[Any], names: Names) -> None:
        if not leaf_kinds:
            return
        parameters = names.by_id()
        for i in compress(range(self.count), map(leaf_kinds.__contains__, kinds)):
            variable = variable_of(nodes[i])
            if variable is None:
                continue
            key = id(variable)
            known = parameters.get(key)
            dtype = str(variable.dtype).removeprefix("torch.")
            leaf = Leaf(key, known.name if known else "", tuple(variable.shape), dtype)
            leaf.shared = bool(known and known.aliases)
            self.leaf_of[i] = self.leaves[key] = leaf
        uses = Counter(compress(self.ends, map(self.leaf_of.__contains__, self.ends)))
        for end, count in uses.items():
            self.leaf_of[end].uses += count

    def covers(self, first: int, last: int) -> bool:
        """Whether there is an inner node with first <= sequence number < last."""
        at = bisect_left(self.seqs, first)
        return at < len(self.seqs) and self.seqs[at] < last

    def next_of(self, node: int) -> Sequence[int]:
        """Where the edges of a node lead."""
        return self.ends[self.starts[node] : self.starts[node + 1]]

    def above(self, node: int) -> bytearray:
        """One byte for each node: whether it is `node`, or on a path from the root to it. Cost: a pass over edges."""
        if self._entries is None:
            self._entries = self._turned_round()
        starts, froms = self._entries
        found = bytearray(self.count)
        found[node] = 1
        waiting = [node]
        while waiting:
            at = waiting.pop()
            for above in froms[starts[at] : starts[at + 1]]:
                if not found[above]:
                    found[above] = 1
                    waiting.append(above)
        return found

    def _turned_round(self) -> tuple[list[int], list[int]]:
        """Who leads to node `i`: `froms[starts[i]:starts[i + 1]]`."""
        ends, starts = numbers(self.ends), numbers(self.starts)
        froms = torch.repeat_interleave(torch.arange(self.count, device="cpu"), starts.diff())
        by_end = torch.argsort(ends, stable=True)
        counts = torch.bincount(ends, minlength=self.count).cumsum(0)
        return [0, *counts.tolist()], froms[by_end].tolist()

    def alive(self) -> list[Tensor]:
        """The root tensors that still exist."""
        return [tensor for ref in self.root_refs if (tensor := ref()) is not None]

    @property
    def root_op(self) -> str:
        """The class of the first root's node."""
        return self.ops[self.roots[0]] if self.roots else ""
