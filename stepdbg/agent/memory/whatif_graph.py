"""What the graph would save of another batch size, or if a module were checkpointed: estimates, nothing is run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stepdbg.agent import pointing
from stepdbg.agent.calls import Call, storage_of
from stepdbg.agent.graph.walk import is_leaf_class
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.naming import Names
from stepdbg.agent.saved import READABLE, fields_of, tensor_storages
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.whatif import Estimate, EstimateRow, GetWhatIf, WhatIfKind

NO_GRAPH = "there is no live graph: ask at a stop before a backward (n runs up to it)"
UNREADABLE = "this version of torch does not tell what a graph saves"

MOST = 64
"""Batch sizes remembered."""


@dataclass
class Seen:
    """What graphs saved for backward, by the size of the batch. Plain numbers: outlives the stops."""

    sizes: dict[int, int] = field(default_factory=dict)
    last: int = 0

    def note(self, size: int, nbytes: int) -> None:
        """A forward of that many samples saved so many bytes."""
        self.sizes.pop(size, None)
        self.sizes[size] = nbytes
        self.last = size
        if len(self.sizes) > MOST:
            del self.sizes[next(iter(self.sizes))]


def batch_size(watch: LossWatch) -> int | None:
    """The first dimension of the largest output that is alive: taken to be the batch. None: there is none."""
    outputs = [t for ref in watch.outputs if (t := ref()) is not None and t.dim() > 0 and t.grad_fn is not None]
    largest = max(outputs, key=lambda tensor: tensor.numel(), default=None)
    return int(largest.shape[0]) if largest is not None else None


def note(seen: Seen, watch: LossWatch, nodes: Sequence[Any], known: set[int]) -> tuple[int, int] | None:
    """Remember what this graph saves, and of how large a batch. Returns what has the batch in it, and the rest."""
    size = batch_size(watch)
    if size is None or not nodes or not READABLE:
        return None
    scales, rest = _split(nodes, known, size)
    if scales + rest:
        seen.note(size, scales + rest)
    return scales, rest


def batch(seen: Seen, split: tuple[int, int] | None, stop: int, query: GetWhatIf) -> Estimate:
    """What a graph of another batch would save. `split`: as `note` returned it at this stop; None: no graph now."""
    if not READABLE:
        raise NotThereError(UNREADABLE)
    if not seen.sizes:
        raise NotThereError(NO_GRAPH)
    now = seen.last
    target = query.size or round(now * (query.factor or 1))
    if target < 1:
        raise NotThereError(f"a batch of {target} has no samples")
    saved = seen.sizes[now]
    rows = [EstimateRow(f"a batch of {now:,} saves", saved, "now" if split is not None else "as seen last")]
    if len(seen.sizes) > 1:
        other = max((size for size in seen.sizes if size != now), key=lambda size: abs(size - now))
        slope = (saved - seen.sizes[other]) / (now - other)
        fixed = saved - slope * now
        told = max(round(fixed + slope * target), 0)
        rows += [
            EstimateRow(f"a batch of {other:,} saved", seen.sizes[other], "seen before"),
            EstimateRow("a sample takes", round(slope), "the difference of the two, by sample"),
            EstimateRow("whatever the batch", round(fixed), "what is left"),
            EstimateRow(f"a batch of {target:,} would save", told, _change(told - saved)),
        ]
        return _batch(
            stop, now, target, rows, f"would save {told:,}", saved,
            f"A straight line through batches of {now:,} and {other:,}.",
            "What grows with the square of something (attention) does so with its length, not with the batch.",
        )  # fmt: skip
    if split is None:
        raise NotThereError(
            f"only batches of {now:,} have been seen, and their graph is gone: ask at a stop before a backward"
        )
    scales, rest = split
    all_of_it, told = round((scales + rest) * target / now), round(scales * target / now) + rest
    rows += [
        EstimateRow("  of it grows", scales, f"its first dimension is {now:,} or a multiple"),
        EstimateRow("  of it may not", rest, "has no such dimension"),
        EstimateRow(f"a batch of {target:,} would save", told, _change(told - saved)),
    ]
    if rest:
        bound = ("at most", "if all of it grows") if target >= now else ("at least", "if all of it shrinks")
        rows.append(EstimateRow(bound[0], all_of_it, bound[1]))
    return _batch(
        stop, now, target, rows, f"would save about {told:,}", saved,
        f"From one batch only: the batch is taken to be {now:,}, the first dimension of the largest output.",
        "Stop before a backward of another batch size, and two sizes are compared instead.",
    )  # fmt: skip


def _batch(
    stop: int, now: int, target: int, rows: list[EstimateRow], told: str, saved: int, basis: str, note: str
) -> Estimate:
    title = f"a batch of {target:,} instead of {now:,}"
    answer = f"estimated: a batch of {target:,} {told} bytes for backward, where {now:,} saves {saved:,}"
    return Estimate(stop, WhatIfKind.BATCH, title, tuple(rows), answer, basis, note)


def _change(difference: int) -> str:
    return f"{'+' if difference >= 0 else '−'}{abs(difference):,} bytes"


def _split(nodes: Sequence[Any], known: set[int], size: int) -> tuple[int, int]:
    """Bytes of what the nodes save with the batch as its first dimension (or a multiple), and of the rest."""
    sizes: dict[int, int] = {}
    scaling: set[int] = set()
    for node in nodes:
        for tensor in saved_tensors(node):
            grows = tensor.dim() > 0 and tensor.shape[0] > 0 and tensor.shape[0] % size == 0
            for pointer, nbytes in tensor_storages(tensor):
                if pointer not in known:
                    sizes[pointer] = nbytes
                    if grows:
                        scaling.add(pointer)
    scales = sum(sizes[pointer] for pointer in scaling)
    return scales, sum(sizes.values()) - scales


def saved_tensors(node: Any) -> Iterator[Tensor]:
    """What a node keeps for backward, without unpacking anything; nothing of a freed one."""
    for name in fields_of(type(node)):
        try:
            raw = getattr(node, name)
            for saved in raw if isinstance(raw, (tuple, list)) else (raw,):
                data = getattr(saved, "data", None)
                if isinstance(data, Tensor):
                    yield data
        except RuntimeError:
            continue


# ── checkpointing ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Graph:
    """The live graph, and what is known of the calls that made it. Holds nodes: keep it no longer than the answer."""

    nodes: Sequence[Any]
    spans: Iterable[tuple[int, int, int]]
    calls: Iterable[Call]
    known: set[int]
    """Data pointers of parameters and buffers."""
    held: set[int]
    """Of outputs that a variable of the user's holds: they stay whatever is checkpointed."""


def checkpoint(names: Names, graph: Graph, stop: int, path: str) -> Estimate:
    """What checkpointing the module of that path would free of this graph."""
    module = pointing.module(names, path)
    if module is None:
        near = pointing.nearest(path, [name for name, _ in names.paths.values()])
        raise NotThereError(f"no module is called {path} at this stop{near}")
    path = names.paths.get(id(module), (path, ""))[0]
    if not READABLE:
        raise NotThereError(UNREADABLE)
    if not graph.nodes:
        raise NotThereError(NO_GRAPH)
    spans = sorted((first, last) for first, last, key in graph.spans if key == id(module))
    if not spans:
        raise NotThereError(f"{path} made nothing of the graph that is alive: it was not called, or without grad")
    inside, outside = _sort(graph.nodes, spans)
    if not inside:
        raise NotThereError(f"{path} made nothing of the graph that is alive")
    sizes, addresses, parts = _saved(inside, outside, graph.known)
    saved = sum(sizes[pointer] for pointer in parts[0])
    if not sizes:
        raise NotThereError(f"the graph saves nothing any more, a backward has freed it: {NO_GRAPH.partition(': ')[2]}")
    both = parts[0] & parts[1]
    own = parts[0] - parts[1]
    calls = [call for call in graph.calls if call.module == id(module)]
    took = {abs(address) for call in calls for address in call.took}
    inputs = {addresses[address] for address in took if address in addresses} & own
    held = (own & graph.held) - inputs
    # What comes in with a history and nobody saves now would be kept by a checkpoint all the same.
    unsaved = [abs(address) for call in calls for address in call.took if address > 0 and address not in addresses]
    edges = _inputs(inside)
    extra = sum(edges) if unsaved and len(edges) == len(set(unsaved)) else 0
    freed = sum(sizes[pointer] for pointer in own - inputs - held) - extra
    rows = [
        EstimateRow(f"{path} saves", saved, f"{len(spans):,} call{'' if len(spans) == 1 else 's'}"),
        EstimateRow("  saved outside too", sum(sizes[p] for p in both), "stays"),
        EstimateRow("  its inputs", sum(sizes[p] for p in inputs), "a checkpoint keeps them"),
    ]
    if held:
        rows.append(EstimateRow("  in your variables", sum(sizes[p] for p in held), "stays"))
    if extra:
        rows.append(EstimateRow("inputs kept anew", extra, "nothing saves them now"))
    rows.append(EstimateRow("checkpointing frees", freed, "until its backward computes it anew"))
    does = f"free {freed:,} bytes" if freed >= 0 else f"keep {-freed:,} bytes more"
    note = "It costs one more forward of the module, and some KiB of random state a call (preserve_rng_state)."
    if unsaved and not extra:
        note = f"The size of {len(set(unsaved))} of its inputs is not known: what is freed is that much less. {note}"
    return Estimate(
        stop,
        WhatIfKind.CHECKPOINT,
        f"checkpoint({path}, …)",
        tuple(rows),
        f"estimated: checkpointing {path} would {does} between its forward and its backward",
        "What the nodes made inside the module save, without what anything outside saves, and without its inputs.",
        note,
    )


def _saved(
    inside: Sequence[Any], outside: Sequence[Any], known: set[int]
) -> tuple[dict[int, int], dict[int, int], tuple[set[int], set[int]]]:
    """By data pointer the bytes of what is saved, but for what is `known`; the pointer of each storage's number; and
    what the nodes inside save, and those outside.
    """
    sizes: dict[int, int] = {}
    addresses: dict[int, int] = {}
    parts: tuple[set[int], set[int]] = (set(), set())
    for nodes, pointers in zip((inside, outside), parts, strict=True):
        for node in nodes:
            for tensor in saved_tensors(node):
                for pointer, nbytes in tensor_storages(tensor):
                    if pointer not in known:
                        sizes[pointer] = nbytes
                        pointers.add(pointer)
                        addresses[storage_of(tensor)] = pointer
    return sizes, addresses, parts


def _sort(nodes: Sequence[Any], spans: Sequence[tuple[int, int]]) -> tuple[list[Any], list[Any]]:
    firsts = [first for first, _ in spans]
    inside: list[Any] = []
    outside: list[Any] = []
    for node in nodes:
        if is_leaf_class(type(node)):
            continue
        number = node._sequence_nr()
        at = bisect_right(firsts, number) - 1
        within = at >= 0 and any(first <= number < last for first, last in spans[max(at - 8, 0) : at + 1])
        (inside if within else outside).append(node)
    return inside, outside


def _inputs(inside: Sequence[Any]) -> list[int]:
    """Bytes of each tensor with a history that comes in from outside these nodes."""
    mine = set(inside)
    found: dict[tuple[Any, int], int] = {}
    for node in inside:
        for following, number in node.next_functions:
            if following is None or following in mine or is_leaf_class(type(following)):
                continue
            try:
                metadata = following._input_metadata[number]
                size = metadata.dtype.itemsize
                for length in metadata.shape:
                    size *= int(length)
            except (AttributeError, IndexError, RuntimeError):
                continue
            found[following, number] = size
    return list(found.values())
