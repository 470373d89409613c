"""All tensors alive in the process, beside what is held for training: found on demand, in the collector's list.

A pass over all objects that Python's collector keeps track of. For as long as it takes they are held; then nothing is.
Not found: what only C++ holds (of tensors in a graph that no noted output leads to), and what `gc.freeze` has hidden.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection, Iterator
from typing import Any

from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.collected import alive, subclasses
from stepdbg.agent.naming import Names
from stepdbg.agent.saved import count_once, tensor_storages, unmeasurable
from stepdbg.agent.work import Work
from stepdbg.protocol.memory import MOST_LARGEST, LiveTensor, OtherMemory

AT_A_TIME = 4_096
"""Tensors between two looks at whether the answer is still wanted."""


def others(names: Names, counted: Collection[int], own: Collection[int], stop: int, work: Work) -> OtherMemory:
    """What there is besides the storages with these data pointers: those `counted` for training, and our `own`.

    Raises GivenUpError. Cost: 0.1 µs an object, and 3 µs a tensor.
    """
    seen = {*counted, *own}
    unread, checkpoints = 0, 0
    found: list[tuple[int, int, Tensor]] = []
    for frame in _checkpointed():
        for tensor in _inputs(frame):
            checkpoints += count_once(tensor_storages(tensor), seen)
    things = alive(subclasses(Tensor))
    for at, thing in enumerate(things):
        if at % AT_A_TIME == 0:
            work.step(at, len(things), "tensors")
        unread += unmeasurable(thing)
        size = count_once(tensor_storages(thing), seen)
        if size:
            found.append((size, len(found), thing))
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    rows = tuple(
        LiveTensor(
            names.labels.get(id(tensor), ""),
            tensors.shape_of(tensor) or (),
            tensors.dtype_name(tensor),
            str(tensor.device),
            size,
        )
        for size, _, tensor in found[:MOST_LARGEST]
    )
    return OtherMemory(
        stop=stop,
        nbytes=sum(entry[0] for entry in found) + checkpoints,
        storages=len(found),
        largest=rows,
        checkpoints=checkpoints,
        unread=unread,
        own=0,
        own_rest=0,
        hidden=gc.get_freeze_count(),
    )


def _checkpointed() -> list[Any]:
    """The frames in which `torch.utils.checkpoint` keeps what a call was given."""
    kind = getattr(sys.modules.get("torch.utils.checkpoint"), "_CheckpointFrame", None)
    return alive({kind}) if isinstance(kind, type) else []


def _inputs(frame: Any) -> Iterator[Tensor]:
    """The tensors that a checkpointed call keeps, as they were saved: nothing is unpacked."""
    held = frame.__dict__
    saved = list(held.get("saved_args") or ())
    saver = held.get("input_saver")  # as torch before 2.13 keeps them
    saved += list(getattr(saver, "_raw_saved_tensors", ()) or ())
    for each in saved:
        data = each if isinstance(each, Tensor) else getattr(each, "data", None)
        if isinstance(data, Tensor):
            yield data
