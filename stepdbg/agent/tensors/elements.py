"""Which elements a tensor has, for every kind of tensor: or why they cannot be read, in words.

None of the script's code runs here: a subclass is read through its storage, never through its own operations, and a
distributed tensor by the shard that is here, never by a collective.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import MemberDescriptorType
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch

DENSE_LIMIT = 1 << 28
"""Bytes that a sparse tensor may take as a dense one for its elements to be shown."""

PLAIN = (Tensor, torch.nn.Parameter)

_BITS = ("bits8", "bits1x8", "bits2x4", "bits4x2", "bits16")
_NARROW = tuple(f"{sign}int{width}" for sign in ("", "u") for width in range(1, 8))

RAW = frozenset(getattr(torch, name) for name in _BITS + _NARROW if hasattr(torch, name))
"""Types that torch stores and cannot convert: their bytes are all there is to show."""

FLOAT4 = getattr(torch, "float4_e2m1fn_x2", None)

FLOAT4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Magnitudes of the eight codes of e2m1 (Open Compute Project, Microscaling Formats 1.0, 5.3.3); bit 3 is the sign."""


class UnreadableError(Exception):
    """The elements cannot be read; the message says why, for the user."""


@dataclass(frozen=True)
class Elements:
    """The elements of one tensor: those of some plain dense strided tensors, and zeros that are stored nowhere."""

    parts: tuple[Tensor, ...]
    zeros: int = 0
    note: str = ""

    @property
    def numel(self) -> int:
        """How many there are."""
        return sum(part.numel() for part in self.parts) + self.zeros


def dtype_name(tensor: Tensor) -> str:
    """The dtype without "torch."."""
    return str(tensor.dtype).removeprefix("torch.")


def shape_of(tensor: Tensor) -> tuple[int, ...] | None:
    """The shape as plain integers; None for a lazy tensor, which has none yet, a nested one, which has many, and one of
    unknown sizes.
    """
    if torch.nn.parameter.is_lazy(tensor) or tensor.is_nested:
        return None
    try:
        return tuple(int(n) for n in tensor.shape)
    except Exception:  # sizes that are symbols, or a subclass's own idea of a shape
        return None


def nbytes(tensor: Tensor) -> int:
    """Bytes of the elements that the tensor itself has (sparse: of its indices and values)."""
    try:
        if tensor.layout is torch.sparse_coo:
            return nbytes(tensor._indices()) + nbytes(tensor._values())
        if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
            return nbytes(tensor.crow_indices()) + nbytes(tensor.col_indices()) + nbytes(tensor.values())
        if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
            return nbytes(tensor.ccol_indices()) + nbytes(tensor.row_indices()) + nbytes(tensor.values())
        return int(tensor.numel() * tensor.element_size())
    except Exception:
        return 0


@contextlib.contextmanager
def outside_transforms() -> Iterator[None]:
    """Operations in here are no part of the transform of torch.func that the script may be in."""
    if _functorch.peek_interpreter_stack() is None:
        yield
    else:
        from torch._functorch import pyfunctorch  # loaded already: the script is in a transform

        with pyfunctorch.temporarily_clear_interpreter_stack():
            yield


def readable(tensor: Tensor) -> tuple[Tensor | None, str]:
    """A plain dense tensor with the same elements, or None and why there is none; the note may also be a remark.

    Never raises. A view where it can be; sparse, quantized and packed tensors are copied, sparse ones only up to
    DENSE_LIMIT.
    """
    try:
        with outside_transforms():
            plain, note = _plain(tensor)
            if plain.is_nested:
                return None, "a nested tensor has no rectangular view"
            if _is_sparse(plain):
                dense = plain.numel() * plain.element_size()
                if dense > DENSE_LIMIT:
                    return None, f"{_layout_name(plain)}: {dense / 2**30:,.1f} GiB as a dense tensor, too large to show"
                return plain.to_dense(), note or f"{_layout_name(plain)}, shown dense"
            return plain, note
    except UnreadableError as error:
        return None, str(error)
    except Exception as error:  # a subclass may raise anything here; the script must go on
        return None, f"cannot be read: {one_line(error)}"


def elements_of(tensor: Tensor) -> Elements:
    """The elements to compute with; a sparse tensor's zeros are counted, not made. Raises UnreadableError only."""
    if type(tensor) in PLAIN and tensor.layout is torch.strided and tensor.dtype in _ORDINARY and _is_simple(tensor):
        return Elements((tensor.detach(),))
    try:
        plain, note = _plain(tensor)
        if plain.is_nested:
            return Elements(tuple(_plain(part)[0] for part in plain.unbind()), 0, note)
        if _is_sparse(plain):
            stored = plain.coalesce().values() if plain.layout is torch.sparse_coo else plain.values()
            return Elements((stored.detach(),), plain.numel() - stored.numel(), note)
        return Elements((plain,), 0, note)
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(f"cannot be read: {one_line(error)}") from None


_ORDINARY = frozenset((torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64))


def _is_simple(tensor: Tensor) -> bool:
    """Whether this is nothing but a tensor that holds its elements: what nearly all are, told in a microsecond."""
    if tensor.is_meta or tensor.is_nested or _functorch.is_functorch_wrapped_tensor(tensor):
        return False
    return not (torch._is_functional_tensor(tensor) or tensor._is_zerotensor()) and _has_storage(tensor)


def _has_storage(tensor: Tensor) -> bool:
    """Whether the memory is there: frameworks that shard parameters free it and keep the tensor."""
    if tensor.numel() == 0:
        return True
    last = tensor.storage_offset() + 1
    last += sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.untyped_storage().nbytes() >= last * tensor.element_size()


def _plain(tensor: Tensor) -> tuple[Tensor, str]:
    """The tensor without what is wrapped around it, dense where it is neither sparse nor nested; and a remark."""
    if torch.nn.parameter.is_lazy(tensor):
        raise UnreadableError("not initialised yet: a lazy parameter gets its shape in the first forward")
    if _functorch.is_functorch_wrapped_tensor(tensor):
        return _out_of_transform(tensor)
    if torch._is_functional_tensor(tensor):
        raise UnreadableError("being traced (functionalized): no values can be read")
    remark = ""
    if type(tensor) not in PLAIN:
        tensor, remark = _without_subclass(tensor)
        if type(tensor) not in PLAIN and not tensor.is_nested:
            inner, more = _plain(tensor)
            return inner, remark or more
    tensor = tensor if tensor.is_nested else tensor.detach()
    if tensor.is_meta:
        raise UnreadableError("on the meta device: no values exist")
    if tensor.is_nested or _is_sparse(tensor):
        return tensor, remark
    if tensor.layout is not torch.strided:
        return tensor.to_dense(), remark or f"{_layout_name(tensor)}, shown dense"
    if tensor._is_zerotensor():
        return torch.zeros((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape), remark
    if tensor.is_quantized:
        return tensor.dequantize(), remark or "dequantized"
    if not _has_storage(tensor):
        raise UnreadableError("its memory has been freed (storage resized): no values exist now")
    if tensor.dtype in RAW:
        wide = torch.uint16 if tensor.element_size() == 2 else torch.uint8
        return tensor.view(wide), remark or f"{dtype_name(tensor)}: raw bits, shown as unsigned integers"
    if tensor.dtype is FLOAT4:
        return _unpacked(tensor), remark or "two 4-bit numbers a byte, shown unpacked along the last dimension"
    return tensor, remark


def _out_of_transform(tensor: Tensor) -> tuple[Tensor, str]:
    remark = "inside a torch.func transform"
    while _functorch.is_functorch_wrapped_tensor(tensor):
        if _functorch.is_batchedtensor(tensor):
            remark = f"batched by vmap: dimension {_functorch.maybe_get_bdim(tensor)} is the batch"
        tensor = _functorch.get_unwrapped(tensor)
    plain, more = _plain(tensor)
    return plain, more or remark


def _without_subclass(tensor: Tensor) -> tuple[Tensor, str]:
    """The data below a subclass: its shard, its own storage, or the one tensor it wraps. Nested ones as they are."""
    name = type(tensor).__name__
    if tensor.is_nested:
        return tensor, ""
    if name == "FakeTensor":
        raise UnreadableError("a fake tensor: no values exist")
    if name == "AsyncCollectiveTensor":
        raise UnreadableError("still being communicated: reading it would wait for other ranks")
    held = _held(tensor)
    local = held.get("_local_tensor")
    if isinstance(local, Tensor):
        # full_tensor() would be a collective: every rank would have to take part.
        return local, "local shard of a distributed tensor"
    if not _holds_data(tensor):
        inner = [(key, value) for key, value in held.items() if isinstance(value, Tensor)]
        if len(inner) == 1 and inner[0][1].shape == tensor.shape and inner[0][1].dtype == tensor.dtype:
            return inner[0][1], f"{name}, the tensor it wraps ({inner[0][0]})"
        wraps = f" (it wraps {', '.join(key for key, _ in inner)})" if inner else ""
        raise UnreadableError(f"{name} has no elements of its own{wraps}: they exist only in its own operations")
    with torch._C._DisableTorchDispatch():
        return tensor.as_subclass(Tensor), f"{name}, its own data"


def _held(tensor: Tensor) -> dict[str, Any]:
    """The attributes that are kept with the tensor, without asking the tensor for them."""
    held: dict[str, Any] = dict(object.__getattribute__(tensor, "__dict__"))
    for base in type(tensor).__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # a slot that was never filled
                    held[name] = slot.__get__(tensor)
    return held


def _holds_data(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided or tensor.is_meta:
        return True
    try:
        return tensor.untyped_storage().data_ptr() != 0 or not all(tensor.shape)
    except Exception:  # wrappers have an invalid storage, or none
        return False


def _unpacked(tensor: Tensor) -> Tensor:
    codes = tensor.contiguous().view(torch.uint8).to(torch.int64)
    values = torch.tensor([*FLOAT4_VALUES, *(-v for v in FLOAT4_VALUES)], device=tensor.device)
    both = torch.stack((values[codes & 15], values[codes >> 4]), -1)
    return both.flatten(-2) if tensor.dim() else both


def _is_sparse(tensor: Tensor) -> bool:
    return tensor.layout in (
        torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc
    )  # fmt: skip


def _layout_name(tensor: Tensor) -> str:
    return str(tensor.layout).removeprefix("torch.").removeprefix("_")


def one_line(error: BaseException) -> str:
    """An exception as one line."""
    try:
        text = str(error).strip().split("\n")[0]
    except Exception:
        text = ""
    return text or type(error).__name__
