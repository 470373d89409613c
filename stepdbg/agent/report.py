"""One stop, and the answers to what the screen asks about it. Alive only while the script is held.

What outlives the stop is in `Remembered`: plain data and weak references, for "changed since the last stop" and for
showing a graph after its backward freed it.
"""

from __future__ import annotations

import fnmatch
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from types import FrameType
from typing import Any

from torch import Tensor

from stepdbg.agent import memory, naming, sources, tensors
from stepdbg.agent.graph import explain
from stepdbg.agent.graph.pages import Graphs
from stepdbg.agent.graph.record import GraphRecord
from stepdbg.agent.graph.shelf import Shelf
from stepdbg.agent.graph.walk import Walk, WalkGivenUpError
from stepdbg.agent.loop import Station
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.tracker import Active, Tracker
from stepdbg.agent.trends import label_of, learning_rates
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import (
    MemoryRecord,
    ParameterPage,
    ParameterRow,
    Phase,
    PhaseRun,
    TensorStats,
    TensorView,
    ValuesRecord,
)
from stepdbg.protocol.trends import Trends

MAX_ROWS = 2000
"""Rows of one page, at most."""


@dataclass(frozen=True)
class Mark:
    """What a tensor looked like at a stop."""

    ref: weakref.ref[Tensor]
    version: int
    pointer: int
    norm: float | None

    def differs(self, now: Mark) -> bool | None:
        """Whether it was written, replaced or is of another norm; None where that cannot be told."""
        if self.ref() is not now.ref() or (self.version, self.pointer) != (now.version, now.pointer):
            return True
        if self.norm is None or now.norm is None:
            return None  # writes through `.data` leave the version alone: without two norms we do not know
        return self.norm != now.norm


@dataclass
class Remembered:
    """What one stop leaves to the next."""

    values: dict[str, Mark] = field(default_factory=dict)
    grads: dict[str, Mark | None] = field(default_factory=dict)
    graphs: Shelf = field(default_factory=Shelf)


class _Named:
    """Looks up names when they are first asked for. An object of its own, so that nothing at a stop refers to itself
    in a circle: what it holds is gone when the stop is.
    """

    def __init__(self, tracker: Tracker, stack: list[tuple[FrameType, int]], optimizers: list[Any]) -> None:
        self._tracker, self._stack, self._optimizers = tracker, stack, optimizers
        self._names: naming.Names | None = None

    def __call__(self) -> naming.Names:
        if self._names is None:
            called = [s.what() for _, s in self._tracker.loop.rail() if s.phase in (Phase.FORWARD, Phase.LOSS)]
            self._names = naming.collect(
                [frame for frame, _ in self._stack], [c for c in called if c is not None], self._optimizers
            )
        return self._names

    def storages(self) -> set[int]:
        """Data pointers of parameters and buffers."""
        return memory.storages(self())


class Report:
    """Answers queries about one stop; every expensive part is made when first asked for."""

    def __init__(
        self,
        tracker: Tracker,
        watch: LossWatch,
        number: int,
        stack: list[tuple[FrameType, int]],
        optimizers: list[Any],
        before: Remembered | None,
    ) -> None:
        self._tracker = tracker
        self._watch = watch
        self._number = number
        self.stack = stack
        self._names = _Named(tracker, stack, optimizers)
        self._before = before
        self._next = Remembered()
        self._marked = False
        self._statistics: dict[tuple[int, int], TensorStats] = {}
        if before is not None:
            self._next.graphs = before.graphs

    @property
    def names(self) -> naming.Names:
        """Everything nameable at this stop."""
        return self._names()

    def run_of(self, active: Active, *, upcoming: bool = False) -> PhaseRun:
        """The plain record of one phase."""
        station = active.station
        detail = active.detail
        if not detail and active.phase is Phase.FORWARD and not active.grad:
            detail = "no grad"
        return PhaseRun(
            phase=active.phase,
            subject=self.subject_of(station),
            kind=kind_of(station),
            detail=detail,
            seconds=None if upcoming else active.seconds,
            skipped=active.skipped and not upcoming,
            skippable=active.skippable,
        )

    def subject_of(self, station: Station) -> str:
        """The user's name for what a station concerns: a module, an optimizer, the root of a backward."""
        if station.phase is Phase.BACKWARD:
            # Of each backward its own root: an iteration may have several. Its name is kept when it is gone.
            ref = station.root
            if self._watch.roots and sum(s.phase is Phase.BACKWARD for s in self._tracker.loop.stations.values()) == 1:
                ref = self._watch.roots[0]  # that of a free run is noted there only
            root = ref() if ref is not None else None
            if root is not None:
                station.root_label = self.names.label(root) or station.root_label
            return station.root_label
        what = station.what()
        return what if isinstance(what, str) else self.names.label(what)

    def remembered(self) -> Remembered:
        """What the next stop may compare with."""
        if self._marked:
            for named in self.names.parameters:
                self._next.values.setdefault(named.name, _mark(named.tensor, None))
                grad = named.tensor.grad
                self._next.grads.setdefault(named.name, None if grad is None else _mark(grad, None))
        return self._next

    def answer(self, query: Any, work: Work) -> Any:
        """The query's RESULT. Raises what its making raises; the caller turns that into Failed."""
        if isinstance(query, m.GetParameters):
            return self.parameters(query)
        if isinstance(query, m.GetValues):
            return self.values(query)
        if isinstance(query, m.GetGraph):
            return self.graphs.page(query, work)
        if isinstance(query, m.GetGraphEdges):
            return self.graphs.edges(query, work)
        if isinstance(query, m.GetGraphPath):
            return self.graphs.path(query, work)
        if isinstance(query, m.GetChain):
            return self.graphs.chain(query, work)
        if isinstance(query, m.GetMemory):
            return self.memory(work)
        if isinstance(query, m.GetTrends):
            return self.trends(query)
        if isinstance(query, m.GetSource):
            return sources.read(query.file)
        raise TypeError(f"no query: {type(query).__name__}")

    # ── parameters ──────────────────────────────────────────────────────────────────────────────────────────

    def parameters(self, query: m.GetParameters) -> ParameterPage:
        """A page of rows, with the norms of these rows only."""
        self._marked = True
        everything = self.names.parameters
        chosen = [p for p in everything if self._matches(p, query.pattern)]
        start = max(0, query.offset)
        page = chosen[start : start + min(max(0, query.count), MAX_ROWS)]
        values = tensors.norms([p.tensor for p in page])
        grads = [p.tensor.grad for p in page]
        grad_norms = iter(tensors.norms([g for g in grads if g is not None]))
        rows = tuple(
            self._row(p, norm, grad, next(grad_norms) if grad is not None else None)
            for p, norm, grad in zip(page, values, grads, strict=True)
        )
        gone = ""
        if not everything:
            gone = "no parameters: no module or optimizer is reachable from the script's variables here"
            if not self.stack:
                gone = "the script's functions have returned, and their variables with them: nothing is left to show"
        recorded = self._recorded
        graph_at = recorded.stop if recorded is not None else None
        return ParameterPage(self._number, start, len(chosen), len(everything), rows, gone, graph_at)

    def _matches(self, named: naming.Named, pattern: str) -> bool:
        if not pattern:
            return True
        owner, kind = self.names.owners.get(id(named.tensor), ("nobody", ""))
        texts = [named.name, *named.aliases, owner, kind, tensors.dtype_name(named.tensor)]
        pattern = pattern.lower()
        if pattern.startswith("is:"):
            return pattern[3:] in self._marks(named)
        if any(c in pattern for c in "*?["):
            return any(fnmatch.fnmatchcase(t.lower(), pattern) for t in texts)
        return any(pattern in t.lower() for t in texts)

    def _row(
        self, named: naming.Named, norm: tensors.Norm, grad: Tensor | None, grad_norm: tensors.Norm | None
    ) -> ParameterRow:
        tensor = named.tensor
        shape = tensors.shape_of(tensor)
        mark = _mark(tensor, norm.value)
        grad_mark = None if grad is None else _mark(grad, grad_norm.value if grad_norm else None)
        self._next.values[named.name], self._next.grads[named.name] = mark, grad_mark
        owner, owner_kind = self.names.owners.get(id(tensor), ("", ""))
        standing = self._recorded.standing if self._recorded is not None else None
        return ParameterRow(
            name=named.name,
            aliases=named.aliases,
            shape=shape,
            dtype=tensors.dtype_name(tensor),
            device=str(tensor.device),
            numel=0 if shape is None else tensor.numel(),
            nbytes=0 if shape is None else tensors.nbytes(tensor),
            requires_grad=tensor.requires_grad,
            owner=owner,
            owner_kind=owner_kind,
            value_norm=norm.value,
            grad_norm=grad_norm.value if grad_norm else None,
            grad=_grad_state(grad, grad_norm),
            value_changed=self._changed(named.name, mark, value=True),
            grad_changed=self._changed(named.name, grad_mark, value=False),
            nonfinite=norm.nonfinite,
            grad_nonfinite=grad_norm.nonfinite if grad_norm else 0,
            grad_label=self._watch.grad_label if grad is not None else "",
            reached=None if self._recorded is None else id(tensor) in self._recorded.leaves,
            note=norm.note or (grad_norm.note if grad_norm else ""),
            marks=self._marks(named),
            cause=standing.causes.get(id(tensor), "") if standing is not None else "",
        )

    @property
    def _recorded(self) -> GraphRecord | None:
        """The graph that marks are about: the newest that has been walked."""
        return self.graphs.recorded()

    def _marks(self, named: naming.Named) -> tuple[str, ...]:
        standing = self._recorded.standing if self._recorded is not None else None
        if standing is not None:
            return standing.marks.get(id(named.tensor), ())
        # What does not take a graph to know.
        known = (("shared", bool(named.aliases)), ("frozen", not named.tensor.requires_grad))
        return tuple(mark for mark, is_so in known if is_so)

    def _changed(self, name: str, now: Mark | None, *, value: bool) -> bool | None:
        if self._before is None:
            return None
        before: dict[str, Any] = dict(self._before.values if value else self._before.grads)
        if name not in before:
            return None
        then: Mark | None = before[name]
        if then is None or now is None:
            return then is not now
        return then.differs(now)

    # ── values ──────────────────────────────────────────────────────────────────────────────────────────────

    def values(self, query: m.GetValues) -> ValuesRecord:
        """One parameter's value and gradient."""
        for named in self.names.parameters:
            if query.name == named.name or query.name in named.aliases:
                break
        else:
            raise NotThereError(f"no parameter is called {query.name} at this stop")
        grad = named.tensor.grad
        return ValuesRecord(
            stop=self._number,
            name=named.name,
            value=self._view(named.tensor, query),
            grad=None if grad is None else self._view(grad, query),
            grad_label="none" if grad is None else self._watch.grad_label,
        )

    def _view(self, tensor: Tensor, query: m.GetValues) -> TensorView:
        """A page of one tensor; its statistics are made once a stop, however many pages are asked for."""
        key = (id(tensor), query.bins)
        page = tensors.view(
            tensor,
            row=query.row,
            column=query.column,
            rows=min(query.rows, 500),
            columns=min(query.columns, 200),
            bins=min(query.bins, 200),
            known=self._statistics.get(key),
        )
        if page.stats is not None:
            self._statistics[key] = page.stats
        return page

    # ── graph ───────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def graphs(self) -> Graphs:
        """The graphs that can be looked at."""
        return Graphs(
            self._tracker,
            self._watch,
            self._names,
            self._next.graphs,
            self._number,
            self._names.storages,
        )

    def parameter_called(self, name: str) -> Tensor:
        """The parameter of that name. Raises NotThereError where there is none."""
        return explain.parameter(self.names, name).tensor

    # ── trends ──────────────────────────────────────────────────────────────────────────────────────────────

    def lrs(self) -> tuple[tuple[str, float], ...]:
        """Learning rates as they are now. One number for each group is read, off the device where it is a tensor."""
        return learning_rates(self._tracker.trends.known_as(self.names.optimizers.values()))

    def trends(self, query: m.GetTrends) -> Trends:
        """What steps did that were noted; from now on they are."""
        tracker, loop = self._tracker, self._tracker.loop
        tracker.trends.begin(loop.iteration)
        step = tracker.local.stack[-1] if tracker.local.stack else None
        upcoming = None
        if step is not None and step.phase is Phase.STEP and not step.started:
            label = label_of(self._watch.grad_label, loop.backwards)
            upcoming = (step.station.what(), loop.iteration, loop.partly_free, label)
        return tracker.trends.answer(self._number, query.since, upcoming)

    # ── memory ──────────────────────────────────────────────────────────────────────────────────────────────

    def memory(self, work: Work) -> MemoryRecord:
        """Bytes by category."""
        try:
            nodes = Walk(self._watch.live_roots(), work).nodes
        except WalkGivenUpError as error:
            self._watch.looked_at.hold(error.nodes, self._watch.references())
            raise
        self._watch.looked_at.hold(nodes, self._watch.references())
        return memory.account(
            self.names,
            nodes,
            self._tracker.loop.backwards,
            self._number,
            complete=self._watch.complete,
        )


def kind_of(station: Station) -> str:
    """The class or function of what a station concerns, as its user knows it."""
    if station.phase is Phase.BACKWARD:
        return "autograd.grad" if station.kind == "grad" else ""
    return "DataLoader" if station.kind.endswith("DataLoaderIter") else station.kind


def _mark(tensor: Tensor, norm: float | None) -> Mark:
    try:
        version = tensor._version
    except RuntimeError:
        version = -1  # inference tensors keep no version
    try:
        pointer = tensor.data_ptr() if not tensor.is_sparse else 0
    except (RuntimeError, NotImplementedError, ValueError):
        pointer = 0  # sparse and meta tensors have no single pointer, lazy ones none yet
    return Mark(weakref.ref(tensor), version, pointer, norm)


def _grad_state(grad: Tensor | None, norm: tensors.Norm | None) -> str:
    if grad is None:
        return "none"
    if norm is None or norm.value is None:
        return "unreadable"
    return "sparse" if grad.is_sparse else "dense"
