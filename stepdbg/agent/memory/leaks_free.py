"""What a free run that was not watched has left: found from what lives after it, and told as far as that shows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from stepdbg.agent import frames
from stepdbg.agent.collected import alive, subclasses
from stepdbg.agent.deep import LookedAt, nodes_behind
from stepdbg.agent.memory.leaks import Leaks, graph_bytes
from stepdbg.agent.memory.leaks_source import find_retaining, root_in
from stepdbg.agent.saved import tensor_storages
from stepdbg.protocol.leaks import STEADY, Leak, LeakKind

NOT_RECORDED = (
    "whether it grows in each iteration was not recorded while running free: i three times, or leaks watch, tells"
)


def unseen(leaks: Leaks, iteration: int) -> int:
    """How many iterations up to this one ran without live tensors being counted, where these are too many to tell what
    grows in each; else 0.
    """
    if leaks.fresh > 1 or iteration <= STEADY:
        return 0
    samples = [at for at, _ in leaks.samples if at < iteration]
    count = iteration - (samples[-1] if samples else 1)
    return count if count >= STEADY else 0


def as_many(iterations: int, known: set[int]) -> list[Tensor]:
    """The tensors without a graph in containers that hold as many of them as so many iterations leave, one each; but
    for those whose storages are `known`. One pass over all objects. Holds them: let go of it soon.
    """
    counts = (iterations, iterations + 1)
    tensors = subclasses(Tensor)
    found: list[Tensor] = []
    for thing in alive({list, dict, deque, set}):
        if len(thing) in counts:
            items = list(thing.values()) if type(thing) is dict else list(thing)
            if all(type(item) in tensors and _plain(item, known) for item in items):
                found += items
    return found


def _plain(tensor: Tensor, known: set[int]) -> bool:
    if isinstance(tensor, Parameter) or not tensor.is_leaf:
        return False
    return all(pointer not in known for pointer, _ in tensor_storages(tensor))


def retained(
    leaks: Leaks, iteration: int, stack: Sequence[FrameType], label: Any, looked_at: LookedAt
) -> Iterable[Leak]:
    """The graph of the last backward of a free run, where its last ones have left theirs whole."""
    kept = leaks.kept_free
    if kept is None or iteration > kept.until or kept.backwards < STEADY:
        return
    root = kept.root() if kept.root is not None else None
    nodes: list[Any] = []
    if root is not None and root.grad_fn is not None:
        nodes = nodes_behind([root.grad_fn])
        if kept.root is not None:
            looked_at.hold(nodes, [kept.root])
    nbytes = graph_bytes(nodes) if nodes else None
    whole = bool(nodes) and nbytes != 0 and kept.iteration < iteration
    times = f"the last {kept.backwards:,} backwards of the free run left their graphs whole"
    note = times if whole else f"{times}: whether these outlive their iteration was not recorded, i tells"
    name = label(root) if root is not None else ""
    yield kept_whole(name, _backward_in(stack), kept.iteration, len(nodes), nbytes, growing=whole, note=note)


def kept_whole(
    name: str,
    site: tuple[str, int | None, str, str],
    iteration: int,
    nodes: int,
    nbytes: int | None,
    *,
    growing: bool,
    note: str,
) -> Leak:
    """The graph that a backward of that iteration has left whole. `site`: file, line, its text and function of that
    backward; without a `name` the text tells what it started from.
    """
    file, line, text, function = site
    return Leak(
        kind=LeakKind.RETAINED,
        name=name or root_in(text),
        where="kept whole by backward",
        file=file,
        line=line,
        text=text,
        function=function,
        first=iteration,
        last=iteration,
        iterations=1,
        nodes=nodes,
        saved=nbytes,
        growing=growing,
        note=note,
    )


def _backward_in(stack: Sequence[FrameType]) -> tuple[str, int | None, str, str]:
    """File, line, its text and function of the only backward that keeps its graph: in a function that is running, or
    else in its file.
    """
    codes = [frame.f_code for frame in stack if frames.is_user(frame.f_code.co_filename)]
    places = [(c.co_filename, c.co_name, c.co_firstlineno) for c in codes if c.co_name != "<module>"]
    for file, function, line in (*places, *((c.co_filename, "", 0) for c in codes)):
        found = find_retaining(file, function, line)
        if found is not None:
            return file, *found
    return "", None, "", ""
