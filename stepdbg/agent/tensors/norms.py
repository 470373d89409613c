"""2-norms of many tensors: one pass over the data, tensors of one kind together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stepdbg.agent.tensors.elements import Elements, UnreadableError, elements_of, outside_transforms
from stepdbg.agent.tensors.many import SMALL
from stepdbg.agent.tensors.pieces import layout
from stepdbg.agent.tensors.summary import statistics_of

FAST = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

ROW = 256
"""Elements whose squares are added in float32; the rows' norms are added in float64. A single float32 sum over 124 M
elements is wrong by more than 1 %.
"""

FINE = 1e-15
"""A norm from which squares in float32 are known not to have vanished."""


@dataclass(frozen=True)
class Norm:
    """2-norm over the finite elements, how many others there are, and why there is none."""

    value: float | None
    nonfinite: int = 0
    note: str = ""


def norms(tensors: Sequence[Tensor]) -> list[Norm]:
    """The 2-norm of each tensor, within 1e-6 of it. One pass over the data; what is not finite, tiny or huge, and types
    other than the common four, take statistics' way. Never raises.
    """
    results: list[Norm | None] = [None] * len(tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[tuple[int, Elements]]] = {}
    with outside_transforms():
        for index, tensor in enumerate(tensors):
            try:
                elements = elements_of(tensor)
            except UnreadableError as error:
                results[index] = Norm(None, 0, str(error))
                continue
            parts = elements.parts
            if len(parts) == 1 and parts[0].dtype in FAST and parts[0].numel():
                groups.setdefault((parts[0].device, parts[0].dtype), []).append((index, elements))
            else:
                results[index] = _careful_norm(elements)
        for members in groups.values():
            _norm_group(members, results)
    return [r if r is not None else Norm(None, 0, "cannot be computed") for r in results]


def _norm_group(members: list[tuple[int, Elements]], results: list[Norm | None]) -> None:
    plain = [elements.parts[0] for _, elements in members]
    wide = torch.float64 if plain[0].dtype is torch.float64 else torch.float32
    together = [place for place, p in enumerate(plain) if p.numel() <= SMALL or wide is torch.float64]
    values = dict.fromkeys(range(len(plain)), math.nan)
    try:
        if together:
            found = torch._foreach_norm([plain[place] for place in together], 2, dtype=wide)
            values.update(zip(together, torch.stack(found).tolist(), strict=True))
        for place, tensor in enumerate(plain):
            if tensor.numel() > SMALL and wide is not torch.float64:
                values[place] = _row_by_row(tensor)
    except (RuntimeError, NotImplementedError, TypeError):
        pass  # those that are left take the slow way
    for (index, elements), value in zip(members, values.values(), strict=True):
        # Not finite: an element is not, or the squares overflowed. Tiny: they vanished. Both want the slow, exact way.
        results[index] = Norm(value, 0, elements.note) if FINE < value < math.inf else _careful_norm(elements)


def _row_by_row(tensor: Tensor) -> float:
    own = layout(tensor)
    flat = own.flat
    if flat is None or own.repeat > 1:
        return math.nan
    whole = flat.numel() // ROW * ROW
    rows = torch.linalg.vector_norm(flat[:whole].view(-1, ROW), dim=1, dtype=torch.float32)
    rest = torch.linalg.vector_norm(flat[whole:], dtype=torch.float32)
    return math.hypot(float(torch.linalg.vector_norm(rows, dtype=torch.float64)), float(rest))


def _careful_norm(elements: Elements) -> Norm:
    found = statistics_of(elements, columns=("norm",))
    if found.norm is None and found.note:
        return Norm(None, 0, found.note)
    return Norm(found.norm if found.norm is not None else 0.0, found.nan + found.posinf + found.neginf, elements.note)
