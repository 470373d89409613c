"""The values that parameters had at earlier stops: our own copies, as many as a bound on their bytes allows.

Taken when a stop is left, or something is about to be set at it: until then the values are there themselves. So nothing
is done while the script runs free, and one copy is enough to tell what a phase has changed. What has not changed since
the stop before is kept once for both: a tensor of the same version at the same place is still compared bit by bit,
since writes through `.data` leave its version alone. Copies are in the host's memory, also of what is on another
device: memory there is the script's, and it may look at how much is used.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import Parameter

from stepdbg.agent import naming, tensors

LIMIT = 128 * 1024 * 1024
"""Bytes of all copies together, at most: half of what stepping may take in all where nothing else is set."""

MOST_TENSORS = 4_096
"""Parameters of which copies are kept: looking at each takes some 5 µs, at every stop."""

MOST_STOPS = 500
"""Stops that are remembered, as many as the screen remembers."""

MAX_ENTRIES = 250_000
"""Names in all snapshots together, at most: some 100 bytes each. Stops between which nothing changed share theirs."""

FREED = "its memory is given back for the time being: there are no values"

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers as wide as an element of so many bytes."""


class Kept:
    """One tensor's values, shared by all stops at which it had them."""

    def __init__(self, tensor: Tensor, plain: Tensor) -> None:
        self.copy = plain.clone() if plain.device.type == "cpu" else plain.cpu()
        self.nbytes = self.copy.numel() * self.copy.element_size()
        self.stops = 0
        """Snapshots that have it."""
        self.ref = weakref.ref(tensor)
        """To the tensor that it is a copy of. One and the same for all copies of it, also when the tensor is gone."""
        self._version = version_of(tensor)

    def still_is(self, tensor: Tensor, plain: Tensor) -> bool:
        """Whether the tensor has these values now, to the last bit."""
        if self._version != version_of(tensor) or self._version is None:
            return False
        return same_bits(self.copy, plain if plain.device.type == "cpu" else plain.cpu())


@dataclass
class Snapshot:
    """One stop."""

    stop: int
    iteration: int
    values: dict[str, Kept] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """Name of a parameter → why there is no copy of it, as the rest of a sentence."""
    why_not: str = ""
    """Why there are no copies at all, one line."""


class Snapshots:
    """Those of one session, the oldest forgotten first."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.nbytes = 0
        """Of all copies, each once."""
        self.seconds = 0.0
        """What the last stop's took."""
        self._all: deque[Snapshot] = deque()
        self._entries = 0
        self._forgotten = 0
        """Number of the last stop that was forgotten."""

    def take(self, stop: int, iteration: int, parameters: Sequence[naming.Named]) -> None:
        """Remember the values of now as those of that stop, if there are none of it yet.

        Cost: reads every parameter once or twice, copies those that have changed.
        """
        if self._all and self._all[-1].stop == stop:
            return
        began = perf_counter()
        snapshot = Snapshot(stop, iteration)
        readable: list[tuple[str, Tensor, Tensor]] = []
        nbytes = 0
        for named in parameters:
            plain, why = _plain(named.tensor)
            if plain is None:
                snapshot.left_out[named.name] = why
            else:
                readable.append((named.name, named.tensor, plain))
                nbytes += plain.numel() * plain.element_size()
        if nbytes > self.limit:
            sizes = f"the parameters take {_mebibytes(nbytes)}, the limit is {_mebibytes(self.limit)}"
            snapshot.why_not = f"the values of earlier stops are not recorded: {sizes}"
        elif len(readable) > MOST_TENSORS:
            many = f"there are {len(readable):,} parameters, the limit is {MOST_TENSORS:,}"
            snapshot.why_not = f"the values of earlier stops are not recorded: {many}"
        else:
            self._fill(snapshot, readable)
        self._all.append(snapshot)
        while len(self._all) > MOST_STOPS or (self._entries > MAX_ENTRIES and len(self._all) > 1):
            self._forget()
        self.seconds = perf_counter() - began

    def _fill(self, snapshot: Snapshot, readable: Sequence[tuple[str, Tensor, Tensor]]) -> None:
        before = self._all[-1].values if self._all else {}
        changed: list[tuple[str, Tensor, Tensor]] = []
        # By the tensor, not by its name: inside a function it goes by that function's variables.
        known = self.last()
        for name, tensor, plain in readable:
            kept = known.get(id(weakref.ref(tensor)))
            if kept is not None and kept.ref() is tensor and kept.still_is(tensor, plain):
                kept.stops += 1
                snapshot.values[name] = kept
            else:
                changed.append((name, tensor, plain))
        if not changed and before.keys() == snapshot.values.keys():
            snapshot.values = before
            return
        # What is forgotten now shall be gone before anything is copied: both at once would be over the limit.
        before, known, kept = {}, {}, None
        needed = sum(plain.numel() * plain.element_size() for _, _, plain in changed)
        while self._all and self.nbytes + needed > self.limit:
            self._forget()
        for name, tensor, plain in changed:
            kept = snapshot.values[name] = Kept(tensor, plain)
            kept.stops = 1
            self.nbytes += kept.nbytes
        self._entries += len(snapshot.values)

    def _forget(self) -> None:
        oldest = self._all.popleft()
        self._forgotten = oldest.stop
        if not self._all or self._all[0].values is not oldest.values:
            self._entries -= len(oldest.values)
        for kept in oldest.values.values():
            kept.stops -= 1
            if not kept.stops:
                self.nbytes -= kept.nbytes

    def last(self) -> dict[int, Kept]:
        """The copies of the last stop, each by the id of the weak reference to its tensor."""
        return {id(kept.ref): kept for kept in self._all[-1].values.values()} if self._all else {}

    def tensors(self) -> Iterator[Tensor]:
        """Every copy, each once."""
        found = {id(kept): kept for snapshot in self._all for kept in snapshot.values.values()}
        yield from (kept.copy for kept in found.values())

    def at(self, stop: int) -> tuple[Snapshot | None, str]:
        """What is known of that stop, or why nothing is, in one line."""
        for snapshot in self._all:
            if snapshot.stop == stop:
                return (None, snapshot.why_not) if snapshot.why_not else (snapshot, "")
        if not self._all:
            return None, f"the values of stop {stop} are not recorded"
        there = f"stops {self._all[0].stop} to {self._all[-1].stop}"
        if 0 < stop <= self._forgotten:
            return None, f"the values of stop {stop} are forgotten: {_mebibytes(self.limit)} hold those of {there}"
        return None, f"there is no stop {stop}: values are recorded of {there}"


def version_of(tensor: Tensor) -> int | None:
    """How often it was written in place, as torch counts; None where it does not count."""
    try:
        return tensor._version
    except RuntimeError:
        return None  # made in inference mode


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one device are the same to the last bit, NaN and the sign of zero included."""
    if one.shape != other.shape or one.dtype is not other.dtype:
        return False
    bits = _BITS.get(one.element_size())
    if bits is None:  # complex128
        one, other, bits = torch.view_as_real(one), torch.view_as_real(other), torch.int64
    return torch.equal(one.view(bits), other.view(bits))


def is_freed(tensor: Tensor) -> bool:
    """Whether its memory was given back (`untyped_storage().resize_(0)`, as sharding does): to read it would crash."""
    try:
        return not tensor.is_meta and tensor.untyped_storage().nbytes() == 0 and tensor.numel() > 0
    except (RuntimeError, NotImplementedError, ValueError):
        return False  # kinds that have no storage to be seen


def _plain(tensor: Tensor) -> tuple[Tensor | None, str]:
    """The tensor without its graph, where it is dense; else None and why."""
    if is_freed(tensor):
        return None, FREED
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return None, "wrapped by a torch.func transform"  # and so would a copy be
    usual = type(tensor) is Parameter or type(tensor) is Tensor
    if usual and tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_meta or tensor.is_nested):
        return tensor.detach(), ""
    if torch.nn.parameter.is_lazy(tensor) or tensor.layout is torch.strided:
        plain, why = tensors.readable(tensor)
        return (None, why) if plain is None else (plain, "")
    return None, f"{str(tensor.layout).removeprefix('torch.')}: its values of earlier stops are not recorded"


def _mebibytes(count: int) -> str:
    if count < 1024 * 1024:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024 / 1024:,.0f} MiB"
