"""One graph as it was walked: plain data, no node and no tensor."""

from __future__ import annotations

import weakref
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.graph.walk import Walk, is_leaf_class, variable_of
from stepdbg.agent.naming import Names
from stepdbg.protocol.graph import Flow, Reach

Span = tuple[int, int, int]


def numbers(values: list[int]) -> Tensor:
    """As a tensor of int64."""
    # Through an array it takes a third of the time that a tensor of a list does.
    return (
        torch.frombuffer(array("q", values), dtype=torch.int64)
        if values
        else torch.empty(0, dtype=torch.int64, device="cpu")
    )


def once(froms: Tensor, to: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Each pair of nodes (numbers below `count`) once, where it comes first: x * x leads to x twice."""
    pairs, places = torch.sort(froms * count + to, stable=True)
    again = places[1:][pairs[1:] == pairs[:-1]]
    if not len(again):
        return froms, to
    keeps = torch.ones(len(to), dtype=torch.bool, device="cpu")
    keeps[again] = False
    return froms[keeps], to[keeps]


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
        self._tensors: tuple[Tensor, Tensor] | None = None
        self.leaf_of: dict[int, Leaf] = {}
        """Number of a node → the leaf that it is."""
        self.leaves: dict[int, Leaf] = {}
        self._find_leaves(nodes, kinds, leaf_kinds, names)
        seqs = [node._sequence_nr() for node in nodes]
        is_inner = bytearray(b"\1") * self.count
        for leaf in self.leaf_of:
            is_inner[leaf] = 0
        inner = list(compress(range(self.count), is_inner))
        self.seq_of: list[int] = seqs
        """By node: its sequence number; of a leaf one above all others, as torch gives it."""
        # Where numbers are equal (a node made anew by an in-place write) the one found first ran last.
        self.order: list[int] = sorted(inner, key=seqs.__getitem__, reverse=True)
        """Inner nodes, newest first: the order in which backward runs them, where nothing else decides."""
        self.seqs: list[int] = list(map(seqs.__getitem__, reversed(self.order)))
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
        uses = torch.bincount(self.edge_tensors()[1], minlength=self.count)
        for number, leaf in self.leaf_of.items():
            leaf.uses += int(uses[number])

    def covers(self, first: int, last: int) -> bool:
        """Whether there is an inner node with first <= sequence number < last."""
        at = bisect_left(self.seqs, first)
        return at < len(self.seqs) and self.seqs[at] < last

    def edge_tensors(self) -> tuple[Tensor, Tensor]:
        """`starts` and `ends`, as int64."""
        if self._tensors is None:
            self._tensors = numbers(self.starts), numbers(self.ends)
        return self._tensors

    def next_of(self, node: int) -> Sequence[int]:
        """Where the edges of a node lead."""
        return self.ends[self.starts[node] : self.starts[node + 1]]

    def alive(self) -> list[Tensor]:
        """The root tensors that still exist."""
        return [tensor for ref in self.root_refs if (tensor := ref()) is not None]

    @property
    def root_op(self) -> str:
        """The class of the first root's node."""
        return self.ops[self.roots[0]] if self.roots else ""
