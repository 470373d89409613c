"""All tensors alive in the process, beside what is held for training: found on demand, in the collector's list.

A pass over all objects that Python's collector keeps track of. For as long as it takes they are held; then nothing is.
Not found: what only C++ holds (of tensors in a graph that no noted output leads to), and what `gc.freeze` has hidden.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator
from itertools import compress
from typing import Any

from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.naming import Names
from stepdbg.agent.saved import count_once, tensor_storages, unmeasurable
from stepdbg.agent.work import Work
from stepdbg.protocol.memory import MOST_LARGEST, LiveTensor, OtherMemory

AT_A_TIME = 20_000
"""Objects between two looks at whether the answer is still wanted."""


def others(names: Names, counted: Collection[int], own: Collection[int], stop: int, work: Work) -> OtherMemory:
    """What there is besides the storages with these data pointers: those `counted` for training, and our `own`.

    Raises GivenUpError. Cost: 0.2 µs an object, and 3 µs a tensor.
    """
    seen = {*counted, *own}
    unread, checkpoints = 0, 0
    found: list[tuple[int, int, Tensor]] = []
    for thing in _interesting(work):
        if not isinstance(thing, Tensor):  # a checkpointed call
            for tensor in _inputs(thing):
                checkpoints += count_once(tensor_storages(tensor), seen)
            continue
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


def _interesting(work: Work) -> list[Any]:
    """Tensors, and before them the frames in which `torch.utils.checkpoint` keeps what a call was given."""
    objects = gc.get_objects()
    total = len(objects)
    found: list[Any] = []
    frames: list[Any] = []
    wanted: dict[type[Any], bool] = {}
    frame_kinds: set[type[Any]] = set()
    for start in range(0, total, AT_A_TIME):
        work.step(start, total, "objects")
        piece = objects[start : start + AT_A_TIME]
        kinds = list(map(type, piece))
        for kind in {kind for kind in kinds if kind not in wanted}:
            is_frame = kind.__name__ == "_CheckpointFrame" and kind.__module__ == "torch.utils.checkpoint"
            wanted[kind] = is_frame or issubclass(kind, Tensor)
            if is_frame:
                frame_kinds.add(kind)
        for thing in compress(piece, map(wanted.__getitem__, kinds)):
            (frames if type(thing) in frame_kinds else found).append(thing)
    return frames + found


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
