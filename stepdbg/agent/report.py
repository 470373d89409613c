"""One stop, and the answers to what the screen asks about it. Alive only while the script is held.

What outlives the stop is in `Remembered`: plain data and weak references, for "changed since the last stop" and for
showing a graph after its backward freed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent import edits, naming, pointing, sources
from stepdbg.agent.active import Active
from stepdbg.agent.breakpoints.manage import Desk
from stepdbg.agent.compare.pages import Diffs
from stepdbg.agent.compare.sides import Known
from stepdbg.agent.compare.snapshots import Snapshots
from stepdbg.agent.graph.explain import parameter as parameter_called
from stepdbg.agent.graph.pages import Graphs
from stepdbg.agent.graph.shelf import Shelf
from stepdbg.agent.inside import held, targets
from stepdbg.agent.inside.held import Holding
from stepdbg.agent.loop import Station
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.memory import leaks_report, whatif, whatif_graph
from stepdbg.agent.memory.account import storages, trained
from stepdbg.agent.memory.answers import Memory
from stepdbg.agent.memory.own import own_tensors
from stepdbg.agent.optim.explain import Asked, explain
from stepdbg.agent.parameters.listing import Parameters
from stepdbg.agent.parameters.marks import Marks
from stepdbg.agent.saved import tensor_storages
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.trends import label_of, learning_rates
from stepdbg.agent.values.pages import Values
from stepdbg.agent.words import Words
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Book, DeleteBreakpoint, EditBreakpoint, GetBreakpoints, SetBreakpoint
from stepdbg.protocol.compare import GetDiff
from stepdbg.protocol.edits import Edited, SetRequiresGrad, SetValue
from stepdbg.protocol.inside import FindTarget, GetHeld, Target
from stepdbg.protocol.leaks import GetLeaks, LeakReport
from stepdbg.protocol.memory import GetGradients, GetOtherMemory, MemoryRecord
from stepdbg.protocol.records import Phase, PhaseRun
from stepdbg.protocol.shown import GetNames, NamesShown, SetNames
from stepdbg.protocol.step import Explanation
from stepdbg.protocol.trends import GetRates, Rates, Trends
from stepdbg.protocol.whatif import Estimate, GetWhatIf, WhatIfKind
from stepdbg.protocol.words import Evaluate, Evaluated, GetCompletions, GetVariables


@dataclass
class Remembered:
    """What one stop leaves to the next."""

    marks: Marks = field(default_factory=Marks)
    graphs: Shelf = field(default_factory=Shelf)
    snapshots: Snapshots = field(default_factory=Snapshots)
    batches: whatif_graph.Seen = field(default_factory=whatif_graph.Seen)


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
                [frame for frame, _ in self._stack],
                [c for c in called if c is not None],
                self._optimizers,
                self._tracker.prefixes,
            )
        return self._names

    def storages(self) -> set[int]:
        """Data pointers of parameters and buffers."""
        return storages(self())


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
        self.over = False
        """Whether nothing of the script runs after this stop."""
        self.holding: Holding | None = None
        """Finds the tensors at the place that the script is held at; None: it is held between phases."""
        self.evaluation = True
        """Whether expressions may be evaluated."""
        self._grad = torch.is_grad_enabled()
        if before is not None:
            self._next.graphs, self._next.snapshots = before.graphs, before.snapshots
            self._next.batches = before.batches

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
            iteration=0 if upcoming else active.iteration,
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
        if "parameters" in vars(self):  # else nobody has looked at them here
            self.parameters.remember()
        if not self.over:
            self._remember_values()
        return self._next

    def answer(self, query: Any, work: Work) -> Any:
        """The query's RESULT. Raises what its making raises; the caller turns that into Failed."""
        answered = _ANSWERS.get(type(query))
        if answered is None:
            raise TypeError(f"no query: {type(query).__name__}")
        return answered(self, query, work)

    # ── parameters ──────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def parameters(self) -> Parameters:
        """What is told of parameters, buffers and optimizer state."""
        before = self._before.marks if self._before is not None else None
        return Parameters(self._tracker, self.names, self.graphs, before, self._next.marks, self._watch.grad_label)

    # ── inside a phase ──────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def held(self) -> held.Held | None:
        """The tensors at this place, found when first asked for."""
        return self.holding() if self.holding is not None else None

    def target(self, text: str) -> Target:
        """Where to run until, in the user's words. Raises NotThereError."""
        return targets.find(text, self.names, self.stack)

    # ── values ──────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def values(self) -> Values:
        """The numbers of single tensors."""
        values = Values(self._tracker, self._watch, self._names, self.stack, self._number, self.held)
        values.evaluation = self.evaluation
        return values

    # ── words ───────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def words(self) -> Words:
        """What is said about frames."""
        return Words(self._tracker, self.stack, self._number, allowed=self.evaluation, grad=self._grad)

    def evaluate(self, query: Evaluate) -> Evaluated:
        """Run a line of the user's. After a statement everything is read anew: it may have changed anything."""
        if query.statement and self.evaluation:
            self._remember_values()
            self._forget()
        return self.words.evaluate(query)

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
        return parameter_called(self.names, name).tensor

    def explanation(self, query: m.GetExplanation) -> Explanation:
        """What a step does, or did, to one element."""
        return explain(Asked(self._tracker.before, self.names, self._number, self._watch.grad_label), query)

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
            upcoming = (step.station.what(), loop.iteration, max(loop.partly_free, self._passed()), label)
        return tracker.trends.answer(self._number, query.since, upcoming)

    def _passed(self) -> int:
        return self._tracker.control.passed if self._tracker.control is not None else 0

    # ── memory ──────────────────────────────────────────────────────────────────────────────────────────────

    def memory(self, work: Work) -> MemoryRecord:
        """Bytes by category."""
        nodes = self.bytes.live_nodes(work)
        if self._before_backward:
            whatif_graph.note(self._next.batches, self._watch, nodes, self._names.storages())
        return self.bytes.record(nodes, work)

    @cached_property
    def bytes(self) -> Memory:
        """What memory is held for."""
        return Memory(self._tracker, self._watch, self._names, self._next.snapshots, self._next.graphs, self._number)

    def leaks(self, query: GetLeaks, work: Work) -> LeakReport:
        """What is kept alive from earlier iterations."""
        tracker, names = self._tracker, self.names
        place = leaks_report.Place(
            stop=self._number,
            iteration=tracker.loop.iteration,
            frames=[frame for frame, _ in self.stack],
            known=storages(names),
            trained=trained(names),
            ours={id(tensor) for tensor in own_tensors(tracker, self._next.snapshots)},
            looked_at=self._watch.looked_at,
            label=names.label,
        )
        return leaks_report.report(tracker.leaks, query, place, work)

    @property
    def _before_backward(self) -> bool:
        stack = self._tracker.local.stack
        return bool(stack) and stack[-1].phase is Phase.BACKWARD and not stack[-1].started

    def whatif(self, query: GetWhatIf, work: Work) -> Estimate:
        """What memory would be if something were done differently."""
        if query.kind is WhatIfKind.ZERO_GRAD:
            return whatif.zero_grad(self.names, self._number)
        if query.kind is WhatIfKind.OPTIMIZER:
            return whatif.optimizer(self.names, self._number, query)
        nodes = self.bytes.live_nodes(work)
        known = self._names.storages()
        if query.kind is WhatIfKind.BATCH:
            seen = self._next.batches
            split = whatif_graph.note(seen, self._watch, nodes, known) if self._before_backward else None
            return whatif_graph.batch(seen, split, self._number, query)
        tracker, labels = self._tracker, self.names.labels
        outputs = [t for ref in self._watch.references() if (t := ref()) is not None and id(t) in labels]
        calls = tracker.calls.of(tracker.loop.iteration)
        graph = whatif_graph.Graph(
            nodes=nodes,
            spans=tracker.spans,
            calls=calls if not isinstance(calls, str) else (),
            known=known,
            held={pointer for output in outputs for pointer, _ in tensor_storages(output)},
        )
        return whatif_graph.checkpoint(self.names, graph, self._number, query.name)

    def edit(self, query: SetValue | SetRequiresGrad, work: Work) -> Edited:
        """Write what the user sets. What was read before is read anew."""
        self._remember_values()
        self._forget()
        place = edits.Place(self.names, self._watch, self._number, self._tracker.loop.iteration, self.over)
        return edits.apply(query, place, work)

    def _forget(self) -> None:
        self.values.forget()
        self.parameters.forget()
        self.diffs.forget()

    def name(self, query: SetNames) -> NamesShown:
        """Show names as the user wants them; what was told of them is told anew."""
        prefixes = self._tracker.prefixes
        if query.full is not None:
            prefixes.full = query.full
            naming.settle(self.names, prefixes)
            self.diffs.forget()
        return NamesShown(prefixes.full, tuple(sorted(self.names.shown.left_out)))

    def breakpoints(self, query: SetBreakpoint | EditBreakpoint | DeleteBreakpoint | GetBreakpoints) -> Book:
        """All breakpoints, once that was done."""
        control = self._tracker.control
        if control is None:
            raise NotThereError("the script has been let go")
        return Desk(control.breakpoints, self._tracker, self._names, self.stack).answer(query)

    @cached_property
    def diffs(self) -> Diffs:
        """What was compared at this stop."""
        return Diffs(Known(self._number, self.names, self._next.snapshots))

    def keep_at_most(self, nbytes: int) -> None:
        """How much the values of earlier stops may take."""
        self._next.snapshots.limit = nbytes

    def _remember_values(self) -> None:
        self._next.snapshots.take(self._number, self._tracker.loop.iteration, self.names.parameters)


def kind_of(station: Station) -> str:
    """The class or function of what a station concerns, as its user knows it."""
    if station.phase is Phase.BACKWARD:
        return "autograd.grad" if station.kind == "grad" else ""
    return "DataLoader" if station.kind.endswith("DataLoaderIter") else station.kind


_ANSWERS: dict[type[Any], Callable[[Report, Any, Work], Any]] = {
    m.GetParameters: lambda r, query, work: r.parameters.page(query, r._number, work, returned=not r.stack),
    m.GetValues: lambda r, query, _: r.values.page(query),
    m.SeekElement: lambda r, query, work: r.values.seek(query, work),
    m.CopyValues: lambda r, query, _: r.values.copy(query),
    m.MarkModule: lambda r, query, _: r.values.mark(query),
    m.GetGraph: lambda r, query, work: r.graphs.page(query, work),
    m.GetGraphEdges: lambda r, query, work: r.graphs.edges(query, work),
    m.GetGraphPath: lambda r, query, work: r.graphs.path(query, work),
    m.GetChain: lambda r, query, work: r.graphs.chain(query, work),
    m.GetMemory: lambda r, _, work: r.memory(work),
    GetOtherMemory: lambda r, _, work: r.bytes.others(work),
    GetGradients: lambda r, query, _: r.bytes.gradients(query),
    GetWhatIf: lambda r, query, work: r.whatif(query, work),
    GetLeaks: lambda r, query, work: r.leaks(query, work),
    m.GetExplanation: lambda r, query, _: r.explanation(query),
    m.GetTrends: lambda r, query, _: r.trends(query),
    GetRates: lambda r, _, __: Rates(r._number, r.lrs()),
    m.GetSource: lambda _, query, __: sources.read(query.file),
    SetValue: lambda r, query, work: r.edit(query, work),
    SetRequiresGrad: lambda r, query, work: r.edit(query, work),
    GetDiff: lambda r, query, work: r.diffs.page(query, work),
    GetHeld: lambda r, _, __: held.listed(r._number, r.held),
    FindTarget: lambda r, query, _: r.target(query.text),
    SetBreakpoint: lambda r, query, _: r.breakpoints(query),
    EditBreakpoint: lambda r, query, _: r.breakpoints(query),
    DeleteBreakpoint: lambda r, query, _: r.breakpoints(query),
    GetBreakpoints: lambda r, query, _: r.breakpoints(query),
    Evaluate: lambda r, query, _: r.evaluate(query),
    GetCompletions: lambda r, query, _: r.words.completions(query),
    GetVariables: lambda r, query, _: r.words.variables(query),
    SetNames: lambda r, query, _: r.name(query),
    GetNames: lambda r, _, __: pointing.known(r.names, r._number),
}
"""How each query is answered. At module level: a table of bound methods would refer to the report in a circle."""
