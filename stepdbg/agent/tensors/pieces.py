"""A dense tensor of any strides as flat pieces of bounded size.

Statistics do not depend on the order of the elements, so they are read in the order in which they lie in memory: a
transposed tensor is not copied, an expanded one is read once, and only what is neither is copied, piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1 << 19
"""Elements handled at a time on the CPU: with their copies (6 MiB at most) they stay in a cache, and calling torch for
each costs little beside reading them.
"""

CHUNK_ELSEWHERE = 1 << 22
"""The same on other devices, where each piece costs a few waits: 48 MiB. Zeros are counted in float32: up to 2²⁴."""

RUN = 16
"""Elements of a sample that lie side by side: a cache line of float32, so that a sample reads no more than it needs."""


@dataclass(frozen=True)
class Layout:
    """The distinct elements of a tensor, and how often each occurs (`repeat` > 1 for expanded ones)."""

    tensor: Tensor
    """Dimensions from the largest stride to the smallest, none of stride 0."""
    repeat: int

    @property
    def flat(self) -> Tensor | None:
        """All of it as one view of one dimension; None where the elements do not lie side by side."""
        return self.tensor.view(-1) if self.tensor.is_contiguous() else None


def layout(tensor: Tensor) -> Layout:
    """The elements in memory order. Reads and copies nothing."""
    if tensor.is_contiguous():
        return Layout(tensor, 1)
    repeat = 1
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(dim, 0, 1)
            repeat *= size
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda dim: (-strides[dim], dim))
    return Layout(tensor.permute(order), repeat)


def chunk_of(tensor: Tensor) -> int:
    """Elements handled at a time on the tensor's device."""
    return CHUNK if tensor.device.type == "cpu" else CHUNK_ELSEWHERE


def pieces(tensor: Tensor, size: int = 0) -> Iterator[Tensor]:
    """Flat pieces of at most `size` elements (`chunk_of` by default): views where they can be, else copies."""
    size = size or chunk_of(tensor)
    if tensor.is_contiguous():
        flat = tensor.view(-1)
        if flat.numel() <= size:
            yield flat
        else:
            yield from torch.split(flat, size)
    elif tensor.numel() <= size:
        yield tensor.reshape(-1)
    else:
        longest = next(dim for dim, length in enumerate(tensor.shape) if length > 1)
        rows = max(1, size * tensor.shape[longest] // tensor.numel())
        for part in torch.split(tensor, rows, longest):
            yield from pieces(part, size)


def sample(tensor: Tensor, size: int) -> Tensor:
    """About `size` elements in runs of RUN at equal distances, as a flat copy; all of them where there are no more.

    The distance has no divisor in common with the last dimension's length: a sample that kept step with the rows would
    see some columns only. Costs the memory it reads: the sample's, or one pass where the elements lie apart.
    """
    total = tensor.numel()
    if total <= size:
        return tensor.reshape(-1)
    width = tensor.shape[-1]
    if not tensor.is_contiguous():
        stride = _out_of_step(-(-total // size), width)
        return torch.cat([piece[::stride] for piece in pieces(tensor)])
    stride = max(_out_of_step(-(-total * RUN // size), width), RUN)
    starts = total // stride
    return tensor.view(-1)[: starts * stride].view(starts, stride)[:, :RUN].reshape(-1)


def _out_of_step(stride: int, width: int) -> int:
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride
