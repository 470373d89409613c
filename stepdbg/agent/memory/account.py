"""Bytes held for training, by category. Each storage is counted once, in the first category that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from stepdbg.agent.naming import Names
from stepdbg.agent.saved import READABLE, count_once, saved_storages, tensor_storages
from stepdbg.protocol.records import MemoryRecord


def account(names: Names, nodes: Sequence[Any], backwards: int, stop: int, *, complete: bool) -> MemoryRecord:
    """The categories in order: parameters, buffers, gradients, optimizer state, saved for backward.

    `nodes`: all that the outputs and losses alive lead to. `complete`: False when outputs may be alive that were not
    noted, so that the graph's bytes cannot be told. Cost: a walk over names and graph; no pass over data.
    """
    counted: set[int] = set()
    parameters = _sum((p.tensor for p in names.parameters), counted)
    buffers = _sum(names.buffers, counted)
    gradients = [g for p in names.parameters if isinstance(g := p.tensor.grad, Tensor)]
    gradient_bytes = _sum(gradients, counted)
    optimizer = _sum(_state_tensors(names), counted)
    graph: int | None = count_once((pair for node in nodes for pair in saved_storages(node)), counted)
    note = ""
    if not READABLE:
        graph, note = None, "this version of torch does not tell what a graph saves"
    elif not nodes and not complete:
        graph, note = None, "the forward ran free: what it keeps was not noted"
    return MemoryRecord(
        stop=stop,
        parameters=parameters,
        gradients=gradient_bytes,
        gradient_count=len(gradients),
        optimizer=optimizer,
        buffers=buffers,
        graph=graph,
        backwards=backwards,
        note=note,
    )


def storages(names: Names) -> set[int]:
    """Data pointers of parameters and buffers: what a graph keeps of them is not its own."""
    counted: set[int] = set()
    _sum((p.tensor for p in names.parameters), counted)
    _sum(names.buffers, counted)
    return counted


def _sum(tensors: Iterable[Tensor], counted: set[int]) -> int:
    return count_once((pair for tensor in tensors for pair in tensor_storages(tensor)), counted)


def _state_tensors(names: Names) -> Iterable[Tensor]:
    for _, optimizer in names.optimizers.values():
        waiting: list[Any] = [dict(getattr(optimizer, "state", None) or {})]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, dict):
                waiting.extend(value.values())
            elif isinstance(value, (list, tuple)):
                waiting.extend(value)
