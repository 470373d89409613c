"""Which tensor is the loss, and which outputs are alive: weak references only, so that nothing lives longer.

A criterion's result is the loss. A loss that is plain arithmetic has no call of its own: it is known when backward is
entered, as its root. One computed inside the model (Hugging Face) is found in the output as `.loss`.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from stepdbg.agent import frames
from stepdbg.agent.deep import LookedAt
from stepdbg.agent.given import tensors_given
from stepdbg.agent.loop import Station
from stepdbg.agent.memory.leaks import KeptFree
from stepdbg.protocol.records import LossValue, Phase, PhaseRun

if TYPE_CHECKING:
    from types import FrameType

    from stepdbg.agent.active import Active
    from stepdbg.agent.tracker import Tracker

MAX_OUTPUTS = 32
"""Results of forwards and losses remembered (weakly), at most."""


class Seen(NamedTuple):
    """A loss tensor as it was seen, held weakly."""

    ref: weakref.ref[Tensor]
    name: str
    source: str
    station: Station
    place: tuple[int, int]
    """Iteration and micro-batch."""


class LossWatch:
    """Told of every phase's result; asked at stops."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.seen: Seen | None = None
        self.outputs: deque[weakref.ref[Tensor]] = deque(maxlen=MAX_OUTPUTS)
        self.roots: list[weakref.ref[Tensor]] = []
        """What the backward that was entered last starts from."""
        self.root: weakref.ref[Tensor] | None = None
        """What the last backward of a free run started from."""
        self.keeps_graph = False
        """Whether that backward leaves its graph's buffers alone (`retain_graph`, `create_graph`)."""
        self.complete = True
        """False once an output has passed in which tensors were not looked for."""
        self.thorough = False
        """Whether to look for tensors inside containers: while stepping, when a stop will follow."""
        self.inline: PhaseRun | None = None
        """A loss without a call of its own, noted at the backward that follows it."""
        self.freed_roots: deque[weakref.ref[Tensor]] = deque(maxlen=MAX_OUTPUTS)
        """What backwards started from that freed their graph."""
        self.gradients: deque[tuple[weakref.ref[Tensor], weakref.ref[Tensor]]] = deque(maxlen=MAX_OUTPUTS)
        """What `autograd.grad` put out with a graph of its own (`create_graph`), and what each is the gradient of."""
        self._inputs: list[weakref.ref[Tensor]] = []
        """What the `autograd.grad` that was entered last differentiates by."""
        self._freeing = False
        """Whether the last backward of a free run freed its graph."""
        self._keeping = 0
        """How many backwards of a free run in a row, the last ones, have not."""
        self._root_iteration = 0
        """In which iteration the last of them was."""
        self.looked_at = LookedAt()
        self.scaled = False
        """Whether the loss of the backward entered last was scaled by a GradScaler."""
        self.grad_label = ""
        """What the gradients are now: "", "scaled", "unscaled" or "clipped"."""

    def adopt(self, stack: list[tuple[FrameType, int]]) -> None:
        """The debugger comes to a run that has begun: graphs that its variables hold are known from here on."""
        found: dict[int, tuple[str, Tensor]] = {}
        for frame, _ in stack:
            for name, value in list(frame.f_locals.items()) if frames.is_user(frame.f_code.co_filename) else ():
                if type(value) is Tensor and value.grad_fn is not None:
                    found.setdefault(id(value), (name, value))
        in_order = sorted(found.values(), key=lambda one: one[1].grad_fn._sequence_nr() if one[1].grad_fn else 0)
        for name, tensor in in_order[-MAX_OUTPUTS:]:
            self.outputs.append(weakref.ref(tensor))
            if "loss" in name.lower() and tensor.numel() == 1:
                self.seen = Seen(self.outputs[-1], "", "backward", Station(Phase.BACKWARD, 0), self._place())

    def backward_begins(self, call: tuple[Any, ...], kwargs: Mapping[str, Any], method: str, station: Station) -> None:
        """A backward is entered with these arguments (`call[0]`: what it starts from)."""
        first = call[0] if call else kwargs.get("tensors", kwargs.get("outputs"))
        if type(first) is Tensor:
            tensors = [first]
        else:
            several = list(first) if isinstance(first, (list, tuple)) else [first]
            tensors = [t for t in several if isinstance(t, Tensor)]
        self.roots = [weakref.ref(t) for t in tensors]
        station.root, station.root_label = (self.roots[0] if self.roots else None), ""
        inputs = kwargs.get("inputs", call[1] if len(call) > 1 else ()) if method == "grad" else ()
        self._inputs = [weakref.ref(t) for t in tensors_given(inputs) or ()]
        self.keeps_graph = bool(kwargs or len(call) > 1) and _keeps_graph(call, kwargs, method)
        self.inline = None
        if not tensors:
            return
        root = tensors[0]
        last = self._tracker.last
        output = self.outputs[-1]() if self.outputs else None
        if self.seen is not None and self.seen.ref() is root:
            if self.seen.source == "output":
                self.inline = PhaseRun(Phase.LOSS, detail="inside the model")
            return
        if self.scaled and self._scales_what_was_seen(root):
            return
        inside = output is root
        # A root of several elements is no loss: the script has handed backward a gradient for it.
        name = ("inside the model" if inside else "inline") if root.numel() == 1 else ""
        if name and last is not None and last.phase is Phase.FORWARD:
            self.inline = PhaseRun(Phase.LOSS, detail=name)
        label = ", ".join(word for word in (name, "scaled" if self.scaled else "") if word)
        self.seen = Seen(weakref.ref(root), label, "output" if inside else "backward", station, self._place())
        self.outputs.append(self.seen.ref)

    def _scales_what_was_seen(self, root: Tensor) -> bool:
        """Whether `root` is what a GradScaler made of the loss that was seen: then that is the loss still."""
        seen = self.seen.ref() if self.seen is not None else None
        node, made_by = root.grad_fn, seen.grad_fn if seen is not None else None
        return node is not None and made_by is not None and any(n is made_by for n, _ in node.next_functions)

    def phase_ended(self, active: Active, error: BaseException | None, result: Any = None) -> None:
        """A phase other than FORWARD and LOSS has ended."""
        if error is None and not active.skipped:
            phase = active.phase
            if phase is Phase.BACKWARD:
                self.grad_label = "scaled" if self.scaled else ""
                if not self.keeps_graph:
                    self.freed_roots.extend(self.roots)
                elif self._tracker.leaks.on:
                    self._tracker.leaks.kept_graph(self.roots, self._tracker.loop, active.station)
                self._differentiated(result)
            else:
                self.labelled(phase)

    def labelled(self, phase: Phase) -> None:
        """A phase has run that changes what the gradients are."""
        if phase in _LABELS:
            self.grad_label = _LABELS[phase]

    def backward_ran(self, call: tuple[Any, ...], kwargs: Mapping[str, Any], method: str, scaled: bool) -> None:
        """A backward has run in a free run, called with these arguments: its root is the loss, whatever made it."""
        root = call[0] if call else None
        if type(root) is Tensor:
            self.root = weakref.ref(root)
        self.scaled = scaled
        self.grad_label = "scaled" if scaled else ""
        # What `Tensor.backward` passes on when nothing was given to it is the common case.
        plain = method == "backward" and len(call) == 4 and call[2] is None and not call[3]
        self._freeing = plain or not _keeps_graph(call, kwargs, method)
        self._keeping = 0 if self._freeing else self._keeping + 1
        self._root_iteration = self._tracker.loop.iteration

    def after_free_run(self) -> None:
        """The free run is over: what was seen before it is the past, the root of its last backward the loss."""
        self.complete = False
        self.inline = None
        ref = self.root
        root = ref() if ref is not None else None
        self.root = None
        if root is not None:
            station = self.seen.station if self.seen is not None else Station(Phase.BACKWARD, 0)
            # What was read before is of another iteration, however long ago: no trend can be told from it.
            station.loss = station.loss_before = station.loss_place = None
            label = "scaled" if self.scaled else ""
            here = self._root_iteration == self._tracker.loop.iteration
            place = self._place() if here else (self._root_iteration, 0)
            self.seen = Seen(weakref.ref(root), label, "backward", station, place)
            self.outputs.append(self.seen.ref)
            self.roots = [self.seen.ref]
            if self._freeing:
                self.freed_roots.append(self.seen.ref)
        if self._keeping:
            kept = KeptFree(ref, self._root_iteration, self._keeping, self._tracker.loop.partly_free)
            self._tracker.leaks.kept_free = kept
        self._keeping = 0

    def result(self, active: Active, result: Any) -> None:
        """A FORWARD or LOSS phase has returned `result`."""
        if isinstance(result, Tensor):
            ref = weakref.ref(result)
            self.outputs.append(ref)
            if active.phase is Phase.LOSS:
                self.seen = Seen(ref, active.station.kind, "loss", active.station, self._place())
            return
        if not self.thorough:
            self.complete = False
            return
        for key, tensor in _tensors(result):
            ref = weakref.ref(tensor)
            self.outputs.append(ref)
            if key == "loss" and tensor.numel() == 1:
                self.seen = Seen(ref, "inside the model", "output", active.station, self._place())

    def _differentiated(self, result: Any) -> None:
        """`autograd.grad` has returned `result`: gradients that have a graph can be looked at like any output."""
        several = tuple(result.values()) if type(result) is dict else result
        if not isinstance(several, tuple) or len(several) != len(self._inputs):
            return
        for gradient, of in zip(several[:MAX_OUTPUTS], self._inputs, strict=False):
            if isinstance(gradient, Tensor) and gradient.grad_fn is not None:
                ref = weakref.ref(gradient)
                self.gradients.append((ref, of))
                self.outputs.append(ref)

    def loss(self) -> LossValue | None:
        """The loss as last seen, read if it is still there. Copies one number off the device."""
        seen = self.seen
        if seen is None:
            return None
        tensor, station = seen.ref(), seen.station
        shape: tuple[int, ...] = ()
        if tensor is not None:
            shape = tuple(tensor.shape)
            fits = tensor.numel() == 1 and not tensor.is_complex() and not tensor.is_meta
            if fits and (station.loss_place != seen.place or station.loss is None):
                if station.loss_place != seen.place:
                    station.loss_before = station.loss
                station.loss_place, station.loss = seen.place, number_of(tensor)
        known = station.loss_place == seen.place
        value, previous = (station.loss, station.loss_before) if known else (None, station.loss)
        return LossValue(value, previous, seen.name, seen.place[0], shape, seen.source)

    def live_roots(self) -> list[Any]:
        """grad_fn nodes of every output and loss that is alive, newest first, each once."""
        nodes = [t.grad_fn for ref in self.references() if (t := ref()) is not None]
        return list(dict.fromkeys(n for n in nodes if n is not None))

    def references(self) -> list[weakref.ref[Tensor]]:
        """To every output and loss that was noted, newest first; many are dead."""
        return [*([self.seen.ref] if self.seen else []), *self.roots, *reversed(self.outputs)]

    def _place(self) -> tuple[int, int]:
        return (self._tracker.loop.iteration, self._tracker.loop.micro_batch)


_LABELS = {Phase.UNSCALE: "unscaled", Phase.CLIP: "clipped", Phase.ZERO_GRAD: ""}
"""What the gradients are called after a phase."""


def number_of(tensor: Tensor) -> float | None:
    """The one number in it; None where it has none of its own: a batch of them (vmap), or a tensor without data."""
    if is_functorch_wrapped_tensor(tensor):
        return None
    try:
        return float(tensor.detach().item())
    except (RuntimeError, NotImplementedError):
        return None


def _keeps_graph(call: tuple[Any, ...], kwargs: Mapping[str, Any], method: str) -> bool:
    """Whether a backward called with these arguments leaves the graph's buffers alone."""
    at = _RETAIN[method]
    retain = kwargs.get("retain_graph", call[at] if len(call) > at else None)
    create = kwargs.get("create_graph", call[at + 1] if len(call) > at + 1 else False)
    return bool(create) if retain is None else bool(retain)


_RETAIN = {"backward": 2, "grad": 3}
"""Position of `retain_graph` among the arguments; `create_graph` follows it."""


def _tensors(value: Any, depth: int = 2) -> Iterator[tuple[str, Tensor]]:
    """(key, tensor) of what a model put out, two levels deep, MAX_OUTPUTS of each container at most."""
    items: list[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value))
    else:
        items = list(getattr(value, "__dict__", {}).items())
    for key, item in items[:MAX_OUTPUTS]:
        if isinstance(item, Tensor):
            yield str(key), item
        elif depth > 1 and isinstance(item, (Mapping, list, tuple)):
            yield from _tensors(item, depth - 1)
