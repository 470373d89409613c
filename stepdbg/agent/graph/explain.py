"""Explaining a backward: the chain of nodes from the root to one parameter, with what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from stepdbg.agent import naming, pointing
from stepdbg.agent.chainflows import ChainNoted, norm_of
from stepdbg.agent.flows import OFF, Flowed
from stepdbg.agent.graph.chain import above as ways_above
from stepdbg.agent.graph.chain import find
from stepdbg.agent.graph.makers import makers
from stepdbg.agent.graph.record import Fact, GraphRecord
from stepdbg.agent.graph.shelf import Entry
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol import messages as m
from stepdbg.protocol.chain import ChainPage, ChainStep, Way

MOST_STEPS = 2_000
"""Steps of one page, at most."""

CHAIN_EARLIER = "the nodes of this chain were not watched when its backward ran"


def parameter(names: naming.Names, name: str) -> naming.Named:
    """The parameter of that name or alias; for no name the first one that is trained. Raises NotThereError where
    there is none.
    """
    for named in names.parameters:
        if not name and named.tensor.requires_grad:
            return named
    found = pointing.one(names, name)
    if found is not None:
        return found
    raise NotThereError(f"no parameter is called {name} at this stop" if name else "no parameter is known at this stop")


def why_none(named: naming.Named, entry: Entry | None, note: str) -> str:
    """Why there is no chain, in one line."""
    if not named.tensor.requires_grad:
        return f"{named.shown} is frozen (requires_grad is False): no backward comes to it"
    if entry is None or entry.record is None:
        return note or "there is no graph"
    standing = entry.record.standing
    cause = standing.causes.get(id(named.tensor), "") if standing is not None else ""
    return f"the graph of {entry.name} does not reach {named.shown}{f': {cause}' if cause else ''}"


class Explained:
    """The chain to one parameter in one graph. Holds neither nodes nor what holds them."""

    def __init__(self, named: naming.Named, record: GraphRecord, way: Way, work: Work | None) -> None:
        def tick(done: int, total: int) -> None:
            if work is not None:
                work.step(done, total, "nodes")

        target = next(number for number, leaf in record.leaf_of.items() if leaf.key == id(named.tensor))
        starts, ends, above = record.starts, record.ends, ways_above(record.starts, record.ends, target)
        longest = way is Way.LONGEST
        path = find(starts, ends, record.roots, target, longest=longest, above=above, tick=tick)
        if path is None:
            raise NotThereError(f"no root of the graph leads to {named.shown}")
        self._named, self._record, self._path, self._way = named, record, path, way
        self._seqs = tuple(record.seq_of[number] for number in path.nodes[:-1])
        self._made_by = makers(record.spans, self._seqs)
        self._joins = _joins(record, path.nodes)

    def page(
        self,
        query: m.GetChain,
        fact: Callable[[int], Fact],
        *,
        stop: int,
        root: str,
        flowed: Flowed,
        tracker: Tracker,
        grad_label: str,
    ) -> ChainPage:
        """A page of it, with the gradients that are known. `flowed`: those of the whole graph."""
        named, path, grad = self._named, self._path, self._named.tensor.grad
        watched = tracker.watched
        noted, wish = watched.chains.of(id(named.tensor), self._seqs), watched.chains.wish
        start = max(0, query.offset)
        page = range(start, min(start + min(max(0, query.count), MOST_STEPS), len(path.nodes)))
        wished = wish is not None and wish.ref() is named.tensor and wish.way is self._way
        return ChainPage(
            stop=stop,
            name=named.name,
            way=self._way,
            offset=start,
            total=len(path.nodes),
            steps=tuple(self._step(at, fact, noted, flowed) for at in page),
            root=root,
            paths=path.paths,
            nodes=path.between,
            watched=watched.flows.on and wished,
            why_no_flows="" if noted is not None else self._why(flowed, on=watched.flows.on),
            accumulated=tracker.loop.backwards,
            grad_now=norm_of(grad),
            grad_label="none" if grad is None else grad_label,
            shown=named.other,
            **_of_backward(noted),
        )

    def _step(self, at: int, fact: Callable[[int], Fact], noted: ChainNoted | None, flowed: Flowed) -> ChainStep:
        record, number = self._record, self._path.nodes[at]
        leaf = record.leaf_of.get(number) if at == len(self._path.nodes) - 1 else None
        seq = self._seqs[at] if leaf is None else None
        module, kind = self._named.shown, ""
        if seq is not None:
            module, kind = record.paths.get(self._made_by.get(seq, 0), ("", ""))
        if noted is not None:
            entering, leaving = noted.entering.get(at), noted.leaving.get(at)
        else:  # what was noted at module boundaries is of the same nodes
            entering = flowed.flows.get(seq) if seq is not None else flowed.leaf_flows.get(id(self._named.tensor))
            leaving = None
        shape = leaf.shape if leaf is not None else fact(number).shape
        return ChainStep(record.ops[number], module, kind, shape, seq, self._joins[number], entering, leaving)

    @staticmethod
    def _why(flowed: Flowed, *, on: bool) -> str:
        if flowed.flows or flowed.leaf_flows:
            return CHAIN_EARLIER
        return flowed.why if on else OFF


def _of_backward(noted: ChainNoted | None) -> dict[str, Any]:
    if noted is None:
        return {}
    names = ("iteration", "micro_batch", "times", "had_grad", "grad_before", "grad_after")
    return {name: getattr(noted, name) for name in names}


def _joins(record: GraphRecord, nodes: Iterable[int]) -> dict[int, int]:
    counts = dict.fromkeys(nodes, 0)
    for end in record.ends:
        if end in counts:
            counts[end] += 1
    return counts
