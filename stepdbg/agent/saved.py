"""What autograd nodes keep for backward, without unpacking anything.

`_raw_saved_*` hands out the SavedTensor itself, and its `data` the tensor inside, or, where pack hooks are in use,
what the hook returned. So no unpack hook runs: under checkpointing one would recompute a forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import SavedTensor

READABLE = hasattr(SavedTensor, "data")
"""Whether this torch lets one look at what a node saved; where it does not, nobody can tell the bytes."""

MOST_PACKED = 64
"""Items of a container that a hook has packed a tensor into that are looked at."""

_PLAIN = (Tensor, torch.nn.Parameter)

_FIELDS: dict[type[Any], tuple[str, ...]] = {}


def fields_of(kind: type[Any]) -> tuple[str, ...]:
    """The attributes under which nodes of this class keep tensors."""
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))
        _FIELDS[kind] = fields
    return fields


def runs_again(node: Any) -> bool:
    """Whether it is a checkpoint: a function that says so, or one whose saved tensors a hook has packed away."""
    kind = type(node)
    if kind.__name__ == "CheckpointFunctionBackward":
        return True
    for name in fields_of(kind):
        try:
            raw = getattr(node, name)
        except RuntimeError:
            return False  # freed by a backward
        for saved in raw if isinstance(raw, (tuple, list)) else (raw,):
            packed = getattr(saved, "data", None)
            if packed is not None and not isinstance(packed, Tensor):
                return True
    return False


def saved_storages(node: Any) -> Iterator[tuple[int, int]]:
    """(data pointer, bytes) of each storage that one node keeps; nothing for a freed node. May repeat itself."""
    for name in fields_of(type(node)):
        try:
            raw = getattr(node, name)
            for saved in raw if isinstance(raw, (tuple, list)) else (raw,):
                yield from _storage(getattr(saved, "data", None))
        except RuntimeError:
            continue  # freed by a backward


def _storage(data: Any, depth: int = 2) -> Iterator[tuple[int, int]]:
    """What a node saved, or what a hook has packed it into: tensors and bytes, two containers deep."""
    kind = type(data)
    if issubclass(kind, Tensor):
        yield from tensor_storages(data)
    elif kind is bytes or kind is bytearray:
        yield id(data), len(data)
    elif depth and (kind is tuple or kind is list):
        for item in data[:MOST_PACKED]:
            yield from _storage(item, depth - 1)
    elif depth and kind is dict:
        for item in list(data.values())[:MOST_PACKED]:
            yield from _storage(item, depth - 1)


def tensor_storages(tensor: Tensor) -> Iterator[tuple[int, int]]:
    """(data pointer, bytes) of the storages behind a tensor: one, or those of the parts of a sparse one, of the tensors
    that a subclass wraps, or of the shard of a distributed one. Nothing where there is none: see `unmeasurable`.
    """
    for part in _parts(tensor):
        try:
            storage = part.untyped_storage()
            pointer, size = storage.data_ptr(), int(storage.nbytes())
        except (RuntimeError, NotImplementedError, ValueError, TypeError):
            continue  # meta tensors, opaque layouts: no storage that could be measured
        if pointer:
            yield pointer, size


def unmeasurable(tensor: Tensor) -> bool:
    """Whether a tensor has elements in memory that nobody can tell the size of: oneDNN's own layout."""
    return str(tensor.layout) == "torch._mkldnn"


def _parts(tensor: Tensor, depth: int = 2) -> Iterator[Tensor]:
    """The tensors whose storages hold the elements. None of a subclass's own code runs."""
    local = getattr(tensor, "_local_tensor", None)
    if isinstance(local, Tensor):
        tensor = local
    layout = tensor.layout
    if layout is torch.strided:
        inner = _wrapped(tensor) if type(tensor) not in _PLAIN and depth else []
        yield from inner or (tensor,)
        return
    try:
        if layout is torch.sparse_coo:
            parts: tuple[Tensor, ...] = (tensor._indices(), tensor._values())
        elif layout in (torch.sparse_csr, torch.sparse_bsr):
            parts = (tensor.crow_indices(), tensor.col_indices(), tensor.values())
        elif layout in (torch.sparse_csc, torch.sparse_bsc):
            parts = (tensor.ccol_indices(), tensor.row_indices(), tensor.values())
        else:
            parts = tuple(_wrapped(tensor))  # jagged ones are subclasses that hold what they are made of
    except (RuntimeError, NotImplementedError):
        return
    for part in parts:
        yield from _parts(part, depth - 1) if depth else (part,)


def _wrapped(tensor: Tensor) -> list[Tensor]:
    """The tensors in the attributes of a subclass that has no memory of its own."""
    try:
        if tensor.untyped_storage().data_ptr():
            return []
    except (RuntimeError, NotImplementedError, ValueError):
        pass
    held = getattr(tensor, "__dict__", None) or {}
    return [part for value in list(held.values()) if isinstance(value, Tensor) for part in _parts(value, 1)]


def count_once(storages: Iterable[tuple[int, int]], counted: set[int]) -> int:
    """Bytes of the storages whose data pointers are not among those `counted`, and now are."""
    total = 0
    for pointer, size in storages:
        if pointer not in counted:
            counted.add(pointer)
            total += size
    return total
