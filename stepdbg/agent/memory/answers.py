"""The answers about memory at one stop. Holds the script's objects while it is held there, and no longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stepdbg.agent.compare.snapshots import Snapshots
from stepdbg.agent.graph.shelf import Shelf
from stepdbg.agent.graph.walk import Walk, WalkGivenUpError
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.memory.account import Count, account, bytes_of
from stepdbg.agent.memory.by_module import saved_by
from stepdbg.agent.memory.others import others
from stepdbg.agent.memory.own import copied_bytes, estimate, own_tensors
from stepdbg.agent.memory.process import devices, peak_resident
from stepdbg.agent.naming import Names
from stepdbg.agent.saved import tensor_storages
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.work import Work
from stepdbg.protocol.memory import GetGradients, GradientPage, MemoryRecord, OtherMemory
from stepdbg.protocol.records import Phase


class Memory:
    """Bytes as they are at one stop. Everything is counted anew when it is asked for."""

    def __init__(
        self,
        tracker: Tracker,
        watch: LossWatch,
        names: Callable[[], Names],
        snapshots: Snapshots,
        shelf: Shelf,
        stop: int,
    ) -> None:
        self._tracker, self._watch, self._names = tracker, watch, names
        self._snapshots, self._shelf, self._stop = snapshots, shelf, stop

    def live_nodes(self, work: Work) -> list[Any]:
        """The nodes of all graphs that outputs and losses alive lead to."""
        watch = self._watch
        try:
            nodes = Walk(watch.live_roots(), work).nodes
        except WalkGivenUpError as error:
            watch.looked_at.hold(error.nodes, watch.references())
            raise
        watch.looked_at.hold(nodes, watch.references())
        return nodes

    def record(self, nodes: Sequence[Any], work: Work) -> MemoryRecord:
        """Bytes by category, and what is known of gradients. `nodes`: as `live_nodes` found them."""
        record, count = self._account(nodes, work)
        tracker, names = self._tracker, self._names()
        notes = tracker.memory
        notes.look(names, tracker.passes, tracker.loop.iteration)
        copies = copied_bytes(tracker, self._snapshots)
        modules, left_out, last = saved_by(count.sizes, tracker.spans, names.paths)
        return replace(
            record,
            modules=modules,
            modules_left_out=left_out,
            module=last,
            process_peak=peak_resident(),
            devices=devices(),
            own=copies + tracker.watched.outputs.nbytes,
            own_copies=copies,
            own_limit=tracker.before.limit + self._snapshots.limit,
            summed=notes.gradients.summed(tracker.passes, self._watch.grad_label),
            clearing=notes.gradients.clearing,
            passed=notes.told(self._stop),
            in_backward=any(a.phase is Phase.BACKWARD and a.started for a in tracker.local.stack),
        )

    def others(self, work: Work) -> OtherMemory:
        """What else is alive."""
        _, count = self._account(self.live_nodes(work), work)
        tracker = self._tracker
        mine = list(own_tensors(tracker, self._snapshots))
        own = {pointer for tensor in mine for pointer, _ in tensor_storages(tensor)}
        found = others(self._names(), count.seen, own, self._stop, work)
        kept: list[Any] = [tracker.before, tracker.calls, tracker.loop, tracker.memory, tracker.passes, tracker.spans]
        kept += [tracker.trends, tracker.watched, self._watch, self._snapshots, self._shelf]
        return replace(found, own=bytes_of(mine), own_rest=estimate(kept))

    def gradients(self, query: GetGradients) -> GradientPage:
        """One by one."""
        tracker, names = self._tracker, self._names()
        notes = tracker.memory
        notes.look(names, tracker.passes, tracker.loop.iteration)
        notes.gradients.closely = True
        return notes.gradients.page(
            names.parameters, tracker.passes, tracker.loop.known_backwards, self._stop, query.offset, query.count
        )

    def _account(self, nodes: Sequence[Any], work: Work) -> tuple[MemoryRecord, Count]:
        backwards, complete = self._tracker.loop.known_backwards, self._watch.complete
        return account(self._names(), nodes, backwards, self._stop, complete=complete, work=work)
