"""Bytes held for training, by category. Each storage is counted once, in the first category that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stepdbg.agent.graph.walk import is_leaf_class
from stepdbg.agent.naming import Names
from stepdbg.agent.saved import READABLE, count_once, saved_storages, tensor_storages, unmeasurable
from stepdbg.agent.work import Work
from stepdbg.protocol.memory import MemoryRecord

EVERY = 2048
"""Nodes between two looks at whether the answer is still wanted."""


@dataclass
class Count:
    """What was counted. Plain numbers; `seen` are data pointers."""

    parameters: int = 0
    buffers: int = 0
    gradients: int = 0
    gradient_count: int = 0
    optimizer: int = 0
    saved: int = 0
    unread: int = 0
    seen: set[int] = field(default_factory=set)
    of_graph: set[int] = field(default_factory=set)
    """Of these the ones that `saved` is the sum of."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Sequence number and bytes of each node that keeps something no newer one keeps, newest first."""

    def hold(
        self,
        parameters: Iterable[Tensor],
        buffers: Iterable[Tensor],
        optimizers: Iterable[Any],
    ) -> None:
        """Count parameters, buffers, gradients and optimizer state, in this order. 3 µs a tensor."""
        kept = list(parameters)
        self.parameters = self._sum(kept)
        self.buffers = self._sum(buffers)
        gradients = [g for p in kept if isinstance(g := p.grad, Tensor)]
        self.gradient_count = len(gradients)
        self.gradients = self._sum(gradients)
        self.optimizer = self._sum(state_tensors(optimizers))

    def save(self, nodes: Sequence[Any], work: Work | None = None) -> None:
        """Count what these nodes keep besides, at the newest node that keeps it: as the graph is measured.

        Raises GivenUpError where `work` is not wanted any more. 3 µs a node.
        """
        inner = [node for node in nodes if not is_leaf_class(type(node))]
        before = set(self.seen)
        for done, node in enumerate(sorted(inner, key=_number, reverse=True)):
            if work is not None and not done % EVERY:
                work.step(done, len(inner), "nodes measured")
            size = count_once(saved_storages(node), self.seen)
            if size:
                self.saved += size
                self.sizes.append((_number(node), size))
        self.of_graph = self.seen - before

    def _sum(self, tensors: Iterable[Tensor]) -> int:
        total = 0
        for tensor in tensors:
            total += count_once(tensor_storages(tensor), self.seen)
            self.unread += unmeasurable(tensor)
        return total


def _number(node: Any) -> int:
    return int(node._sequence_nr())


def account(
    names: Names, nodes: Sequence[Any], backwards: int | None, stop: int, *, complete: bool, work: Work | None = None
) -> tuple[MemoryRecord, Count]:
    """The record of one stop, and what was counted for it.

    `nodes`: all that the outputs and losses alive lead to. `complete`: False when outputs may be alive that were not
    noted, so that the graph's bytes cannot be told. Cost: a walk over names and graph; no pass over data.
    """
    count = Count()
    count.hold((p.tensor for p in names.parameters), names.buffers, [o for _, o in names.optimizers.values()])
    count.save(nodes, work)
    graph: int | None = count.saved
    note = ""
    if not READABLE:
        graph, note = None, "this version of torch does not tell what a graph saves"
    elif not nodes and not complete:
        graph, note = None, "the forward ran free: what it keeps was not noted"
    record = MemoryRecord(
        stop=stop,
        parameters=count.parameters,
        gradients=count.gradients,
        gradient_count=count.gradient_count,
        optimizer=count.optimizer,
        buffers=count.buffers,
        graph=graph,
        backwards=backwards,
        note=note,
        unread=count.unread,
    )
    return record, count


def storages(names: Names) -> set[int]:
    """Data pointers of parameters and buffers: what a graph keeps of them is not its own."""
    counted: set[int] = set()
    for tensor in (*(p.tensor for p in names.parameters), *names.buffers):
        count_once(tensor_storages(tensor), counted)
    return counted


def trained(names: Names) -> set[int]:
    """Data pointers of parameters, buffers, gradients and optimizer state."""
    count = Count()
    count.hold((p.tensor for p in names.parameters), names.buffers, [o for _, o in names.optimizers.values()])
    return count.seen


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of their storages, each once."""
    return count_once((pair for tensor in tensors for pair in tensor_storages(tensor)), set())


def state_tensors(optimizers: Iterable[Any]) -> Iterable[Tensor]:
    """Every tensor in the state of these optimizers."""
    for optimizer in optimizers:
        waiting: list[Any] = [dict(getattr(optimizer, "state", None) or {})]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, dict):
                waiting.extend(value.values())
            elif isinstance(value, (list, tuple)):
                waiting.extend(value)
