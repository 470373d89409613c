"""What autograd nodes keep for backward, without unpacking anything.

`_raw_saved_*` hands out the SavedTensor itself, and its `data` the tensor inside, or, where pack hooks are in use,
what the hook returned. So no unpack hook runs: under checkpointing one would recompute a forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from torch._C._autograd import SavedTensor

READABLE = hasattr(SavedTensor, "data")
"""Whether this torch lets one look at what a node saved; where it does not, nobody can tell the bytes."""

_FIELDS: dict[type[Any], tuple[str, ...]] = {}


def fields_of(kind: type[Any]) -> tuple[str, ...]:
    """The attributes under which nodes of this class keep tensors."""
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))
        _FIELDS[kind] = fields
    return fields


def saved_storages(node: Any) -> Iterator[tuple[int, int]]:
    """(data pointer, bytes) of each storage that one node keeps; nothing for a freed node. May repeat itself."""
    for name in fields_of(type(node)):
        try:
            raw = getattr(node, name)
            for saved in raw if isinstance(raw, (tuple, list)) else (raw,):
                yield from _storage(getattr(saved, "data", None))
        except RuntimeError:
            continue  # freed by a backward


def _storage(data: Any) -> Iterator[tuple[int, int]]:
    if not isinstance(data, Tensor):
        return
    yield from tensor_storages(data)


def tensor_storages(tensor: Tensor) -> Iterator[tuple[int, int]]:
    """(data pointer, bytes) of the storages behind a tensor: one, or those of a sparse one's indices and values."""
    try:
        local = getattr(tensor, "_local_tensor", None)
        if isinstance(local, Tensor):
            tensor = local
        if tensor.is_sparse:
            for part in (tensor._indices(), tensor._values()):
                yield from tensor_storages(part)
            return
        storage = tensor.untyped_storage()
        pointer, size = storage.data_ptr(), storage.nbytes()
    except (RuntimeError, NotImplementedError, ValueError):
        return  # meta tensors, opaque layouts: no storage that could be measured
    if pointer:
        yield pointer, size


def count_once(storages: Iterable[tuple[int, int]], counted: set[int]) -> int:
    """Bytes of the storages whose data pointers are not among those `counted`, and now are."""
    total = 0
    for pointer, size in storages:
        if pointer not in counted:
            counted.add(pointer)
            total += size
    return total
