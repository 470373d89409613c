"""The gradients that a backward brought to each module's output and to each leaf, where the user asked for them.

A BACKWARD phase that is stepped puts a pre-hook on the node of every module's output, of every root and of every
leaf, and takes all of them out again when it is left. A hook reads the gradient that goes into the node, makes plain
numbers of it, and lets it pass as it is. Nothing of a graph is kept: nodes are known by their sequence numbers.
"""

from __future__ import annotations

import contextlib
import math
import sys
import weakref
from array import array
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import get_ident
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.dynamo import step_over
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.graph import Flow

MAX_BACKWARDS = 32
"""Backwards remembered, at most, of this iteration and the last."""

FINE = 1e-15
"""Where a float32 norm is below this, squares may have vanished: it is made again in float64."""

MANY = 1 << 16
"""Elements up to which one float32 sum of squares is right within 1e-5."""

OFF = "off: gradients are not watched"
EARLIER = "gradients were not watched when its backward ran"
RAN_FREE = "this backward ran free"
NOT_YET = "no backward has run through this graph yet"
NOTHING_CAME = "its backward brought no gradient into this graph"
COMPILED = "not watched: compiled autograd ran this backward"
INSIDE_FUNC = "not watched: this backward ran inside a torch.func transform"
CAPTURED = "not watched: this backward was recorded into a CUDA graph"


@dataclass
class Backward:
    """One backward and what it brought."""

    iteration: int
    micro_batch: int
    roots: tuple[weakref.ref[Tensor], ...]
    note: str = ""
    """Why nothing was noted; empty where it was."""
    root_seqs: frozenset[int] = frozenset()
    """Sequence numbers of the nodes that it started from."""
    flows: dict[int, Flow] = field(default_factory=dict)
    """By sequence number of the node."""
    leaf_flows: dict[int, Flow] = field(default_factory=dict)
    """By id of the leaf tensor: what was added into its `.grad`. `autograd.grad` adds nothing there."""
    nodes: array[int] = field(default_factory=lambda: array("Q"))
    """Sequence numbers of all inner nodes that it could come to, ascending."""

    def concerns(self, seqs: Sequence[int]) -> bool:
        """Whether it ran through the graph of these nodes (ascending), or of a part of it."""
        if not seqs:
            return False
        return _has(self.nodes, seqs[-1]) or any(_has(seqs, seq) for seq in self.root_seqs)


@dataclass(frozen=True)
class Flowed:
    """What is known of the gradients in one graph."""

    flows: dict[int, Flow]
    leaf_flows: dict[int, Flow]
    why: str
    """Why there are none, one line; empty where there are."""


class Hooks:
    """The hooks that one backward has put in: taken out when it is left."""

    def __init__(self, backward: Backward) -> None:
        self.backward = backward
        self.thread = get_ident()
        self.preparing = 0.0
        """Seconds that putting them in has taken."""
        self.seconds = 0.0
        """Time that watching has taken, since the backward began."""
        self._handles: list[Any] = []
        self._at_end: list[Callable[[], None]] = []

    def add(self, handle: Any) -> None:
        """A hook more that is to be taken out."""
        self._handles.append(handle)

    def at_end(self, function: Callable[[], None]) -> None:
        """Call it once the backward has been left and the hooks are out; inside `quiet()`."""
        self._at_end.append(function)

    def put_in(self, nodes: Sequence[Any], roots: Sequence[Any], spans: Iterable[Sequence[int]]) -> None:
        """Hook the boundaries among `nodes`: all that `roots` lead to."""
        seqs: dict[Any, int] = {}
        leaves = []
        for node in nodes:
            if type(node).__name__ == "AccumulateGrad":  # all of these have the same number
                leaves.append(node)
            else:
                seqs[node] = node._sequence_nr()
        chosen = {node: seqs[node] for node in roots if node in seqs}
        calls = _Calls(spans, seqs.values())
        for node, seq in seqs.items():
            for following, _ in node.next_functions:
                number = seqs.get(following)
                if number is not None and calls.entered(seq, number):
                    chosen[following] = number
        # Nodes made by several threads may share a number: then nobody can tell whose gradient it was.
        counts = Counter(seqs.values()) if len(set(seqs.values())) < len(seqs) else None
        backward = self.backward
        backward.root_seqs = frozenset(seqs[node] for node in roots if node in seqs)
        backward.nodes = array("Q", sorted(seqs.values()))
        for node, seq in chosen.items():
            if counts is None or counts[seq] == 1:
                self._handles.append(node.register_prehook(_Hook(self, backward.flows, seq)))
        for node in leaves:
            self._handles.append(node.register_prehook(_Hook(self, backward.leaf_flows, id(node.variable))))

    def take_out(self) -> None:
        """Remove every hook. AccumulateGrad nodes outlive the graph: what is left there would fire ever after."""
        while self._handles:
            self._handles.pop().remove()
        while self._at_end:
            self._at_end.pop()()


class _Hook:
    """Stands before one node while a backward runs."""

    __slots__ = ("_hooks", "_key", "_table")

    def __init__(self, hooks: Hooks, table: dict[int, Flow], key: int) -> None:
        self._hooks = hooks
        self._table = table
        self._key = key

    def __call__(self, grads: tuple[Tensor | None, ...]) -> None:
        """Note what passes; None lets it pass unchanged."""
        began = perf_counter()
        try:
            with quiet():
                flow = flow_of(grads)
        except Exception:
            flow = Flow(None, None, None, 0, 0)
        except BaseException as error:  # the user's Ctrl-C, which came while we were here
            error.__traceback__ = None
            raise
        before = self._table.get(self._key)
        self._table[self._key] = flow if before is None else replace(flow, times=before.times + 1)
        self._hooks.seconds += perf_counter() - began


step_over(_Hook.__call__, and_what_it_calls=True)  # the engine calls it, also from within a compiled region


class Flows:
    """What the last backwards brought, and why others brought nothing that is known."""

    def __init__(self) -> None:
        self.on = False
        self._backwards: deque[Backward] = deque(maxlen=MAX_BACKWARDS)
        self._free_until = 0

    def begins(self, backward: Backward) -> bool:
        """A backward is about to run. Returns whether to watch it."""
        while self._backwards and self._backwards[0].iteration < backward.iteration - 1:
            self._backwards.popleft()
        self._backwards.append(backward)
        backward.note = obstacle() if self.on else EARLIER
        return not backward.note

    def ran_free(self, number: int) -> None:
        """A free run has ended, when autograd had come to this sequence number: what it ran was not watched."""
        self._free_until = number

    def of_graph(self, seqs: Sequence[int], root: Tensor | None, *, freed: bool) -> Flowed:
        """What was brought into the graph whose inner nodes have these sequence numbers (ascending).

        `root`: its root, while it is alive. `freed`: whether a backward has run through it.
        """
        flows: dict[int, Flow] = {}
        leaf_flows: dict[int, Flow] = {}
        why = NOT_YET
        for backward in self._backwards:
            rooted = root is not None and any(ref() is root for ref in backward.roots)
            if backward.note:
                why = backward.note if rooted else why
            elif rooted or backward.concerns(seqs):
                _merge(flows, {seq: flow for seq, flow in backward.flows.items() if _has(seqs, seq)})
                _merge(leaf_flows, backward.leaf_flows)
                why = NOTHING_CAME
        if flows or leaf_flows:
            return Flowed(flows, leaf_flows, "")
        if why == NOT_YET and freed:
            why = RAN_FREE if seqs and seqs[-1] < self._free_until else EARLIER
        return Flowed({}, {}, OFF if why in (NOT_YET, EARLIER) and not self.on else why)


def root_nodes(call: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The nodes that `backward` or `grad`, called with these arguments, starts from. A leaf has none."""
    first = call[0] if call else kwargs.get("tensors", kwargs.get("outputs"))
    if isinstance(first, Tensor) or hasattr(first, "node"):
        several = [first]
    else:
        several = list(first) if isinstance(first, (list, tuple)) else []
    nodes = []
    for root in several:
        node = root.grad_fn if isinstance(root, Tensor) else getattr(root, "node", None)  # a GradientEdge
        if node is not None:
            nodes.append(node)
    return list(dict.fromkeys(nodes))


def obstacle() -> str:
    """Why the backward that is about to run cannot be watched."""
    compiled: Any = sys.modules.get("torch._dynamo.compiled_autograd")
    if compiled is not None and getattr(compiled, "compiled_autograd_enabled", False):
        return COMPILED  # it would compile the hooks, and compile anew when they are gone
    functorch: Any = getattr(torch._C, "_functorch", None)
    if functorch is not None and functorch.peek_interpreter_stack() is not None:
        return INSIDE_FUNC  # every operation in there, ours too, is the transform's
    cuda: Any = torch.cuda
    if cuda.is_initialized() and cuda.is_current_stream_capturing():
        return CAPTURED  # reading a number off the device would break the recording
    return ""


class _Calls:
    """Module calls as ranges of sequence numbers, one inside the other."""

    def __init__(self, spans: Iterable[Sequence[int]], seqs: Iterable[int]) -> None:
        """`seqs`: the numbers that will be asked for."""
        ranges = sorted({(span[0], span[1]) for span in spans}, key=lambda r: (r[0], -r[1]))
        self._innermost: dict[int, tuple[int, int]] = {}
        around: list[tuple[int, int]] = []
        position = 0
        for seq in sorted(seqs):
            while position < len(ranges) and ranges[position][0] <= seq:
                while around and around[-1][1] <= ranges[position][0]:
                    around.pop()
                around.append(ranges[position])
                position += 1
            while around and around[-1][1] <= seq:
                around.pop()
            if around:
                self._innermost[seq] = around[-1]

    def entered(self, seq: int, following: int) -> bool:
        """Whether the edge from `seq` to `following` goes from outside a module call into it."""
        inner = self._innermost.get(following)
        return inner is not None and not inner[0] <= seq < inner[1]


def flow_of(grads: Iterable[Tensor | None]) -> Flow:
    """The numbers of what goes into one node: of all its outputs together. Call inside `quiet()`.

    Complex ones by their absolute values; of a distributed tensor the local shard. A gradient that cannot be read has
    elements, but neither a norm nor non-finite ones.
    """
    total = Flow(None, None, None, 0, 0)
    readable = True
    for grad in grads:
        if grad is not None:
            flow = _of_one(grad)
            readable &= flow.norm is not None or flow.nonfinite == flow.numel
            total = flow if total.numel == 0 else _together(total, flow)
    return total if readable else Flow(None, None, None, total.numel, 0)


def _together(a: Flow, b: Flow) -> Flow:
    lows = [v for v in (a.min, b.min) if v is not None]
    highs = [v for v in (a.max, b.max) if v is not None]
    norms = [v for v in (a.norm, b.norm) if v is not None]
    return Flow(
        math.hypot(*norms) if norms else None,
        min(lows, default=None),
        max(highs, default=None),
        a.numel + b.numel,
        a.nonfinite + b.nonfinite,
    )


def _of_one(grad: Tensor) -> Flow:
    numel = 0
    with contextlib.suppress(Exception):  # a subclass may raise anything; so may a shape that is not known yet
        local = getattr(grad, "_local_tensor", None)
        if isinstance(local, Tensor):
            grad = local  # full_tensor() would be a collective
        numel = int(grad.numel())
        values = _values(grad)
        if values is not None:
            return _numbers(values, numel)
    return Flow(None, None, None, numel, 0)


def _values(grad: Tensor) -> Tensor | None:
    """A dense tensor of all elements that are stored, each once; None where they cannot be read."""
    if type(grad).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return None  # operations on it would be the script's own code
    if grad.is_meta or grad.is_nested or torch._C._functorch.is_functorch_wrapped_tensor(grad):
        return None
    grad = grad.detach()
    if type(grad) is not Tensor:
        grad = grad.as_subclass(Tensor)
    if grad.layout is torch.sparse_coo:
        return (grad if grad.is_coalesced() else grad.coalesce())._values()
    if grad.layout in (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc):
        return grad.values()
    return grad if grad.layout is torch.strided else grad.to_dense()


def _numbers(values: Tensor, numel: int) -> Flow:
    """Statistics of `numel` elements of which `values` are stored, or of which each is one of `values`."""
    repeats = 1
    if values.layout is torch.strided and values.numel():
        for dim, (size, stride) in enumerate(zip(values.shape, values.stride(), strict=True)):
            if stride == 0 and size > 1:  # expanded: the same elements again
                values, repeats = values.narrow(dim, 0, 1), repeats * size
        if not values.is_contiguous():  # in the order of memory there is nothing to copy
            values = values.permute(sorted(range(values.dim()), key=values.stride, reverse=True))
    stored = values.numel() * repeats
    if numel == 0:
        return Flow(None, None, None, 0, 0)
    if stored == 0:
        return Flow(0.0, 0.0, 0.0, numel, 0)
    norm, low, high, nonfinite = _dense(values)
    nonfinite *= repeats
    norm = None if norm is None else norm * math.sqrt(repeats)
    if stored < numel:  # those that a sparse gradient does not store are zero
        norm, low, high = norm or 0.0, min(low or 0.0, 0.0), max(high or 0.0, 0.0)
    return Flow(norm, low, high, numel, nonfinite)


def _dense(values: Tensor) -> tuple[float | None, float | None, float | None, int]:
    """Norm, min, max over the finite elements, and how many others: two passes where nothing is out of the way."""
    if values.dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        low, high = (float(v) for v in torch.aminmax(values))
        if math.isfinite(low) and math.isfinite(high):
            wide = torch.float64 if values.dtype is torch.float64 else torch.float32
            if values.numel() <= MANY:
                norm = float(torch.linalg.vector_norm(values, dtype=wide))
            else:
                norm = tensors.norms([values])[0].value or 0.0
            if FINE < norm < math.inf or low == high == 0.0:
                return norm, low, high, 0
    found = tensors.statistics(values)
    return found.norm, found.min, found.max, found.nan + found.posinf + found.neginf


def _has(seqs: Sequence[int], seq: int) -> bool:
    at = bisect_left(seqs, seq)
    return at < len(seqs) and seqs[at] == seq


def _merge(into: dict[int, Flow], more: Mapping[int, Flow]) -> None:
    """Add later flows: their numbers, and all the times."""
    for key, flow in more.items():
        before = into.get(key)
        into[key] = flow if before is None else replace(flow, times=before.times + flow.times)
