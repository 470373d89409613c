"""The memory while stepping: what is noted of it between two stops, once somebody has looked at it.

Only weak references and plain data. A free run notes nothing and pays for nothing.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stepdbg.agent.memory.account import Count
from stepdbg.agent.memory.backward_course import Course, course
from stepdbg.agent.memory.by_module import saved_by
from stepdbg.agent.memory.gradients import Gradients
from stepdbg.agent.naming import Names
from stepdbg.agent.parameters.passes import Passes
from stepdbg.agent.quiet import quiet
from stepdbg.agent.saved import READABLE
from stepdbg.protocol.memory import MemoryNote
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from stepdbg.agent.active import Active
    from stepdbg.agent.control import Control
    from stepdbg.agent.losswatch import LossWatch
    from stepdbg.agent.tracker import Tracker

MOST_NOTES = 256
"""Boundaries noted between two stops, at most: the newest."""

MOST_NODES = 20_000
"""Nodes of a graph that is looked at when a boundary is passed, at most; of larger ones the bytes are unknown."""

INPUTS = 5
"""Position of `inputs` among the arguments of `torch.autograd.backward`."""


class MemoryNotes:
    """One for the session."""

    def __init__(self) -> None:
        self.on = False
        self.gradients = Gradients()
        self._course: Course | None = None
        """Of the backward that runs."""
        self._notes: deque[MemoryNote] = deque(maxlen=MOST_NOTES)
        self._telling: tuple[int, tuple[MemoryNote, ...]] = (0, ())
        self._parameters: list[weakref.ref[Tensor]] = []
        self._buffers: list[weakref.ref[Tensor]] = []
        self._optimizers: list[weakref.ref[Any]] = []
        self._paths: dict[int, tuple[str, str]] = {}
        self._labels: dict[int, str] = {}

    def look(self, names: Names, passes: Passes, iteration: int) -> None:
        """Note what happens to these from now on. Called at a stop, inside `quiet()`."""
        self.on = True
        parameters = [named.tensor for named in names.parameters]
        passes.watch(parameters)
        self.gradients.watch(parameters, iteration)
        self._parameters = [weakref.ref(tensor) for tensor in parameters]
        self._buffers = [weakref.ref(tensor) for tensor in names.buffers]
        self._optimizers = [weakref.ref(optimizer) for _, optimizer in names.optimizers.values()]
        self._paths = dict(names.paths)
        self._labels = {key: name for table in (names.modules, names.optimizers) for key, (name, _) in table.items()}

    def told(self, stop: int) -> tuple[MemoryNote, ...]:
        """What was noted before that stop: the same for as often as it is asked there."""
        if self._telling[0] != stop:
            self._telling = stop, tuple(self._notes)
            self._notes.clear()
        return self._telling[1]

    def stop(self) -> None:
        """Note nothing any more, and let go."""
        self.on = False
        self.gradients.stop()
        self._notes.clear()
        self._course = None
        self._parameters, self._buffers, self._optimizers = [], [], []

    def ran_free(self) -> None:
        """What happens will not be seen."""
        self.gradients.ran_free()

    # ── while stepping ──────────────────────────────────────────────────────────────────────────────────────

    def begins(self, passes: Passes, iteration: int) -> None:
        """A BACKWARD or ZERO_GRAD is about to run."""
        passes.begins()
        if self.on:
            with quiet():
                self.gradients.begins(iteration)

    def backward_begins(
        self, control: Control, active: Active, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """A BACKWARD with these arguments is about to run: what it will hold is found from its graph."""
        self._course = None
        watch = control.watch
        inputs = kwargs.get("inputs", args[INPUTS] if len(args) > INPUTS else None)
        if not self.on or not READABLE or active.station.kind == "grad" or inputs is not None or watch.keeps_graph:
            return  # it puts its gradients elsewhere, or gives nothing back: it holds the most when it is over
        began = perf_counter()
        with quiet():
            count, nodes = self._count(watch)
            roots = [node for ref in watch.roots if (root := ref()) is not None and (node := root.grad_fn) is not None]
            if nodes is not None and roots:
                self._course = course(count, nodes, roots, _alive(self._parameters))
        control.held += perf_counter() - began

    def ended(self, tracker: Tracker, active: Active, *, failed: bool) -> None:
        """The BACKWARD or ZERO_GRAD has run, or raised."""
        phase, iteration, passes = active.phase, tracker.loop.iteration, tracker.passes
        passes.ended(phase)
        course, self._course = self._course, None
        if not self.on:
            return
        with quiet():
            if phase is Phase.BACKWARD and course is not None and not failed:
                self._note_peak(tracker, active, course)
            self.gradients.ended(phase, passes, iteration)

    def _note_peak(self, tracker: Tracker, active: Active, course: Course) -> None:
        """Note what a backward held inside, where that is more than before and after it."""
        peak = course.peak(_alive(self._parameters))
        if peak is None:
            return
        gradients, saved, number = peak
        count = course.count
        self._notes.append(
            MemoryNote(
                iteration=tracker.loop.iteration,
                ran=self._called(active),
                parameters=count.parameters,
                gradients=gradients,
                optimizer=count.optimizer,
                buffers=count.buffers,
                graph=saved,
                module=saved_by([(number, 1)], tracker.spans, self._paths)[2],
                inside=True,
                at_least=course.packed,
            )
        )

    def boundary(self, control: Control) -> None:
        """A boundary is passed without a stop. The time that this takes is none of the script's."""
        if not self.on or not control.tracker.armed or control.capturing():
            return
        began = perf_counter()
        try:
            with quiet():
                self._notes.append(self._note(control.tracker, control))
        except Exception as error:
            control.broken(error)
        control.held += perf_counter() - began

    def _note(self, tracker: Tracker, control: Control) -> MemoryNote:
        watch, last = control.watch, tracker.last
        count, nodes = self._count(watch)
        module = saved_by(count.sizes, tracker.spans, self._paths)[2] if count.sizes else ""
        return MemoryNote(
            iteration=last.iteration if last is not None else tracker.loop.iteration,
            ran=self._called(last) if last is not None else "",
            parameters=count.parameters,
            gradients=count.gradients,
            optimizer=count.optimizer,
            buffers=count.buffers,
            graph=count.saved if nodes is not None and READABLE and (nodes or watch.complete) else None,
            module=module,
        )

    def _count(self, watch: LossWatch) -> tuple[Count, list[Any] | None]:
        """What is held now, and the nodes of all graphs alive; None: more than are looked at."""
        count = Count()
        count.hold(_alive(self._parameters), _alive(self._buffers), _alive(self._optimizers))
        nodes = _behind(watch.live_roots())
        watch.looked_at.hold(nodes, watch.references())
        if len(nodes) > MOST_NODES:
            return count, None
        count.save(nodes)
        return count, nodes

    def _called(self, active: Active) -> str:
        station, what = active.station, active.station.what()
        name = what if isinstance(what, str) else self._labels.get(id(what), "") if what is not None else ""
        if active.phase is Phase.BACKWARD:
            return f"backward {station.root_label}".rstrip()
        return " ".join(part for part in (active.phase.value, name or station.kind) if part)


def _alive(refs: Iterable[weakref.ref[Any]]) -> list[Any]:
    return [thing for ref in refs if (thing := ref()) is not None]


def _behind(roots: list[Any]) -> list[Any]:
    """The nodes that `roots` lead to, until there are more than MOST_NODES."""
    seen = dict.fromkeys(roots)
    waiting = list(roots)
    while waiting and len(seen) <= MOST_NODES:
        for following, _ in waiting.pop().next_functions:
            if following is not None and following not in seen:
                seen[following] = None
                waiting.append(following)
    return list(seen)
