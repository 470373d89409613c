"""Which tensor is the loss, and which outputs are alive: weak references only, so that nothing lives longer.

A criterion's result is the loss. A loss that is plain arithmetic has no call of its own: it is known when backward is
entered, as its root. One computed inside the model (Hugging Face) is found in the output as `.loss`.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stepdbg.agent.deep import LookedAt
from stepdbg.agent.loop import Station
from stepdbg.protocol.records import LossValue, Phase, PhaseRun

if TYPE_CHECKING:
    from stepdbg.agent.tracker import Active, Tracker

MAX_OUTPUTS = 32
"""Results of forwards and losses remembered (weakly), at most."""


class Seen:
    """A loss tensor as it was seen, held weakly; its number once it has been read."""

    __slots__ = ("iteration", "micro", "name", "ref", "shape", "source", "station", "value")

    def __init__(self, tensor: Tensor, name: str, source: str, station: Station, place: tuple[int, int]) -> None:
        self.ref = weakref.ref(tensor)
        self.name = name
        self.source = source
        self.station = station
        self.iteration, self.micro = place
        self.value: float | None = None
        self.shape: tuple[int, ...] = ()


class LossWatch:
    """Told of every phase's result; asked at stops."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.seen: Seen | None = None
        self.outputs: deque[weakref.ref[Tensor]] = deque(maxlen=MAX_OUTPUTS)
        self.roots: list[weakref.ref[Tensor]] = []
        """What the backward that was entered last starts from."""
        self.keeps_graph = False
        """Whether that backward leaves its graph's buffers alone (`retain_graph`, `create_graph`)."""
        self.complete = True
        """False once an output has passed in which tensors were not looked for."""
        self.thorough = False
        """Whether to look for tensors inside containers: while stepping, when a stop will follow."""
        self.inline: PhaseRun | None = None
        """A loss without a call of its own, noted at the backward that follows it."""
        self.freed_by: int = 0
        """Counts backward phases that freed their graph."""
        self.looked_at = LookedAt()
        self.scaled = False
        """Whether the loss of the backward entered last was scaled by a GradScaler."""
        self.grad_label = ""
        """What the gradients are now: "", "scaled", "unscaled" or "clipped"."""

    def backward_begins(self, call: tuple[Any, ...], kwargs: Mapping[str, Any], method: str, station: Station) -> None:
        """A backward is entered with these arguments (`call[0]`: what it starts from)."""
        first = call[0] if call else kwargs.get("tensors", kwargs.get("outputs"))
        tensors = [first] if isinstance(first, Tensor) else list(first) if isinstance(first, (list, tuple)) else []
        tensors = [t for t in tensors if isinstance(t, Tensor)]
        self.roots = [weakref.ref(t) for t in tensors]
        retain = kwargs.get("retain_graph", call[_RETAIN[method]] if len(call) > _RETAIN[method] else None)
        create = kwargs.get("create_graph", call[_RETAIN[method] + 1] if len(call) > _RETAIN[method] + 1 else False)
        self.keeps_graph = bool(create) if retain is None else bool(retain)
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
        inside = output is root
        name = "inside the model" if inside else "inline"
        if last is not None and last.phase is Phase.FORWARD:
            self.inline = PhaseRun(Phase.LOSS, detail=name)
        self.seen = Seen(root, name, "output" if inside else "backward", station, self._place())
        self.outputs.append(self.seen.ref)

    def phase_ended(self, active: Active, result: Any, error: BaseException | None) -> None:
        """A phase has returned `result`."""
        phase = active.phase
        if phase is Phase.LOSS or phase is Phase.FORWARD:
            if error is None:
                self._result(active, result)
        elif error is None and not active.skipped:
            if phase is Phase.BACKWARD:
                self.grad_label = "scaled" if self.scaled else ""
                self.freed_by += not self.keeps_graph
            elif phase in _LABELS:
                self.grad_label = _LABELS[phase]

    def _result(self, active: Active, result: Any) -> None:
        if isinstance(result, Tensor):
            self.outputs.append(weakref.ref(result))
            if active.phase is Phase.LOSS:
                self.seen = Seen(result, active.station.kind, "loss", active.station, self._place())
            return
        if not self.thorough:
            self.complete = False
            return
        for key, tensor in _tensors(result):
            self.outputs.append(weakref.ref(tensor))
            if key == "loss" and tensor.numel() == 1:
                self.seen = Seen(tensor, "inside the model", "output", active.station, self._place())

    def loss(self) -> LossValue | None:
        """The loss as last seen, read if it is still there. Copies one number off the device."""
        seen = self.seen
        if seen is None:
            return None
        tensor = seen.ref()
        if seen.value is None and tensor is not None:
            seen.shape = tuple(tensor.shape)
            if tensor.numel() == 1 and not tensor.is_complex() and not tensor.is_meta:
                seen.value = float(tensor.detach().item())
        station, place = seen.station, (seen.iteration, seen.micro)
        if seen.value is not None and station.loss_place != place:
            station.loss_place, station.loss_before, station.loss = place, station.loss, seen.value
        previous = station.loss_before if station.loss_place == place else None
        return LossValue(seen.value, previous, seen.name, seen.iteration, seen.shape, seen.source)

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

_RETAIN = {"Tensor.backward": 2, "backward": 2, "grad": 3}
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
