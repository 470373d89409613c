"""What single nodes say of themselves: read for the rows on screen, while the nodes are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from stepdbg.agent.calls import storage_of
from stepdbg.agent.graph.record import Fact
from stepdbg.agent.saved import fields_of

VIEWS = frozenset(
    (
        "Alias", "AsStrided", "Chunk", "Conj", "Detach", "Diagonal", "Expand", "Imag", "Indices", "Movedim", "Narrow",
        "NegView", "Permute", "Real", "ReshapeAlias", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze",
        "Swapaxes", "T", "Transpose", "Unbind", "Unfold", "Unsqueeze", "Values", "View", "ViewAsComplex", "ViewAsReal",
    )
)  # fmt: skip
"""Nodes of the ops that torch documents as views (docs: "Tensor Views"), without number and "Backward"."""

IN_PLACE = frozenset({"CopySlices", "CopyBackwards"})
"""Nodes that only a write into a tensor makes. Others are the same for `relu` and `relu_`: torch does not tell."""

Place = tuple[str, int, str]


def read(node: Any, place: Callable[[Any], Place | None]) -> Fact:
    """All of one node but its bytes. About 3 µs. `place`: finds the line that made it."""
    shape, dtype = output_of(node)
    return Fact(shape, dtype, marks_of(node), place(node))


def output_of(node: Any) -> tuple[tuple[int, ...] | None, str]:
    """Shape and dtype of what it put out forward: what flows into it backward has the same."""
    try:
        metadata = node._input_metadata
        if not metadata:
            return None, ""
        first = metadata[0]
        return tuple(int(n) for n in first.shape), str(first.dtype).removeprefix("torch.")
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None, ""


def marks_of(node: Any) -> tuple[str, ...]:
    """What is special about it, of NODE_MARKS."""
    kind = type(node)
    forward: Any = getattr(kind, "_forward_cls", None)
    if forward is not None:
        module = str(getattr(forward, "__module__", ""))
        if module.startswith("torch._functorch"):
            return ("compiled",)
        return ("checkpoint",) if module == "torch.utils.checkpoint" else ("custom",)
    marks = []
    name = kind.__name__
    if name in IN_PLACE:
        marks.append("in-place")
    elif name.rstrip("0123456789").removesuffix("Backward") in VIEWS:
        marks.append("view")
    if any(type(data).__module__ == "torch.utils.checkpoint" for data in saved_data(node) or ()):
        marks.append("checkpoint")
    return tuple(marks)


def saved_data(node: Any) -> list[Any] | None:
    """What it keeps, packed as it is; None once a backward has freed it."""
    found: list[Any] = []
    for name in fields_of(type(node)):
        try:
            raw = getattr(node, name)
            found.extend(getattr(one, "data", None) for one in (raw if isinstance(raw, (tuple, list)) else (raw,)))
        except RuntimeError:
            return None
    return [data for data in found if data is not None]


def freed(node: Any) -> bool | None:
    """Whether a backward has freed what it kept; None: it keeps nothing."""
    data = saved_data(node)
    if data is None or data:
        return data is None
    return any(_emptied(node, name) for name in fields_of(type(node))) or None


def _emptied(node: Any, name: str) -> bool:
    """Whether nothing is in this field any more, where something was: asking for it raises then. What has hooks to
    unpack it is not asked for, since these are the script's.
    """
    raw = getattr(node, name)
    several = raw if isinstance(raw, (tuple, list)) else (raw,)
    if any(getattr(one, "unpack_hook", raw) is not None for one in several):
        return False
    try:
        getattr(node, name.replace("_raw", "", 1))
    except RuntimeError:
        return True
    return False


def storages(nodes: list[Any]) -> set[int]:
    """The storages that nodes keep now, numbered as in `calls.storage_of`."""
    return {storage_of(data) for node in nodes for data in saved_data(node) or () if isinstance(data, Tensor)}
