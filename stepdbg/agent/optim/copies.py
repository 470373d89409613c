"""Copies of tensors in CPU memory, and how far a tensor has moved from one. Call everything here inside `quiet()`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHUNK = 1 << 15
"""Elements of a difference that are in memory at a time: so few that torch does not wake its other threads for them."""

SMALL = 1 << 12
"""Elements up to which it does not pay to go about it piece by piece."""


def plain_of(tensor: Tensor) -> tuple[Tensor | None, str]:
    """Its elements as they lie in memory, or why these are not kept. Of a distributed tensor the local shard."""
    try:
        if tensor.is_nested:
            return None, "values of nested parameters are not kept"
        local = getattr(tensor, "_local_tensor", None)
        if isinstance(local, Tensor):
            tensor = local
        if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
            return None, f"a {type(tensor).__name__} runs code of its own"
        if torch.nn.parameter.is_lazy(tensor):
            return None, "a lazy parameter has no value yet"
        if tensor.is_meta:
            return None, "on the meta device: no values exist"
        if tensor.layout is not torch.strided or tensor.is_quantized:
            kind = "quantized" if tensor.is_quantized else "sparse"
            return None, f"values of {kind} parameters are not kept"
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            return None, "wrapped by a torch.func transform"
        tensor = tensor.detach()
        return (tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor)), ""
    except Exception as error:  # a subclass may raise anything; the step must run
        return (
            None,
            f"cannot be read: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}",
        )


def copy_of(tensor: Tensor, into: object) -> Tensor:
    """A copy in CPU memory, laid out alike, so that nothing is made on the device; into an old one where that fits."""
    if not (
        isinstance(into, Tensor)
        and into.dtype is tensor.dtype
        and into.shape == tensor.shape
        and into.stride() == tensor.stride()
    ):
        into = torch.empty_like(tensor, device="cpu", requires_grad=False)
    assert isinstance(into, Tensor)
    return into.copy_(tensor.resolve_conj().resolve_neg() if tensor.device.type != "cpu" else tensor)


def distance(now: Tensor, value: Tensor) -> float | None:
    """2-norm of the difference, over the elements where it is finite, None where it is so nowhere; summed in float64.
    Two passes' worth of reading.

    float32 values are subtracted in float32: where they are within a factor of two of each other that is exact.
    """
    if now.numel() <= SMALL:
        return _careful((_wide(now.to("cpu")) - _wide(value)).reshape(-1))
    order = sorted(range(now.dim()), key=now.stride, reverse=True)
    now, value = now.permute(order).reshape(-1), value.permute(order).reshape(-1)
    size = min(CHUNK, now.numel())
    single, double = (torch.empty(size, device="cpu", dtype=d) for d in (torch.float32, torch.float64))
    total: float | None = None
    for start in range(0, now.numel(), CHUNK):
        this, that = now[start : start + CHUNK].to("cpu"), value[start : start + CHUNK]
        squares = math.nan
        if now.dtype is torch.float32:
            wide = double[: this.numel()].copy_(torch.sub(this, that, out=single[: this.numel()]))
            squares = float(torch.dot(wide, wide))
        finite = math.isfinite(squares)
        norm = math.sqrt(squares) if finite else _careful((_wide(this) - _wide(that)).reshape(-1))
        total = norm if total is None else total if norm is None else math.hypot(total, norm)
    return total


def _careful(difference: Tensor) -> float | None:
    norm = float(torch.linalg.vector_norm(difference))
    if math.isfinite(norm):
        return norm
    difference = difference[torch.isfinite(difference)]
    if not difference.numel():
        return None
    most = float(difference.abs().max())
    return most * float(torch.linalg.vector_norm(difference / most)) if most else 0.0


def _wide(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj()).reshape(-1)
    return tensor.to(torch.float64)
