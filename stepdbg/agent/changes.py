"""Single changes by hand: into a tensor, to a setting of an optimizer, of `requires_grad`.

Tensors are written in place, under `no_grad`, as in `p.fill_(0)`, `p[0, 1].fill_(2.5)` and `p.mul_(0.5)`. That raises
the tensor's version, so a graph that has saved it would make its backward raise. Writing through `.data` would not, and
backward would put the new values into the gradients of the old forward, wrong without a word. So what a live graph has
saved is left alone: it can be set before the forward, or after the backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent import naming, settings, tensors
from stepdbg.agent.compare.snapshots import is_freed
from stepdbg.agent.graph.walk import Walk, WalkGivenUpError, is_leaf_class
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.saved import runs_again, saved_storages, tensor_storages
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol.edits import Amount, Edit, How, Pick

LATER = "before the next forward or after the backward it can be"


@dataclass
class Live:
    """What the graphs that a backward can still run through hold on to."""

    saved: dict[int, str] = field(default_factory=dict)
    """Data pointer of a storage → the node that saved it."""
    again: str = ""
    """A node whose backward runs a part of the forward again, with the parameters as they are then."""
    complete: bool = True
    """False: the script ran free, and there may be graphs that nobody has seen."""


def look(watch: LossWatch, work: Work) -> Live:
    """Walk all live graphs: 1 µs a node for the walk, 2 µs for what it has saved."""
    live = Live(complete=watch.complete)
    try:
        nodes = Walk(watch.live_roots(), work).nodes
    except WalkGivenUpError as error:
        watch.looked_at.hold(error.nodes, watch.references())
        raise
    for node in nodes:
        if is_leaf_class(type(node)):
            continue
        for pointer, _ in saved_storages(node):
            live.saved.setdefault(pointer, node.name())
        if not live.again and runs_again(node):
            live.again = node.name()
    watch.looked_at.hold(nodes, watch.references())
    return live


class Change:
    """One thing to be done. What can be wrong with it is found by `check`."""

    title: str
    """What is changed, as the user reads it …"""
    target: str
    """… and in full."""

    def told(
        self,
        stop: int,
        iteration: int,
        what: str,
        before: str,
        after: str,
        changed: int | None,
        numel: int | None = None,
        *,
        note: str,
    ) -> Edit:
        """The record of it."""
        shown = self.title if self.title != self.target else ""
        return Edit(stop, iteration, self.target, what, before, after, changed, numel, note, shown)

    def check(self, live: Callable[[], Live]) -> None:
        """Raise NotThereError where it cannot be done. `live` looks at the graphs, once, when it is called."""
        raise NotImplementedError

    def do(self, stop: int, iteration: int) -> Edit:
        """Do it, and tell of it. Raises what torch raises."""
        raise NotImplementedError


class Write(Change):
    """Numbers into a parameter or its gradient, all or some of them."""

    def __init__(self, named: naming.Named, amount: Amount, picks: Sequence[Pick], *, of_grad: bool = False) -> None:
        self._named, self._amount, self._of_grad = named, amount, of_grad
        self._index = tuple(p.at if p.at is not None else slice(p.start, p.stop, p.step) for p in picks)
        rest = ".grad" if of_grad else ""
        if picks:
            rest += f"[{', '.join(pick_text(p) for p in picks)}]"
        self.title, self.target = f"{named.shown}{rest}", f"{named.name}{rest}"
        self._note = ""

    @property
    def _tensor(self) -> Tensor:
        tensor = self._named.tensor.grad if self._of_grad else self._named.tensor
        if tensor is None:
            raise NotThereError(f"{self._named.shown} has no gradient: .grad is None")
        return tensor

    def check(self, live: Callable[[], Live]) -> None:
        """Kind of tensor, index, dtype, and whether a live graph has saved it."""
        tensor, title = self._tensor, self.title
        why = unwritable(tensor)
        if why:
            raise NotThereError(f"{title} {why}")
        chosen = self._chosen()
        if not chosen.numel():
            raise NotThereError(f"{title} has no elements" if not self._index else f"{title} chooses no elements")
        self._check_dtype(tensor.dtype)
        self._check_graph(tensor, live())

    def _chosen(self) -> Tensor:
        """The part that is written: a view."""
        tensor = self._tensor
        if not self._index:
            return tensor.detach() if tensor.requires_grad else tensor
        if len(self._index) > tensor.dim():
            raise NotThereError(f"{self.title}: the shape is {tuple(tensor.shape)}, so at most {tensor.dim()} indices")
        for at, size in zip(self._index, tensor.shape, strict=False):
            if isinstance(at, int) and not -size <= at < size:
                raise NotThereError(
                    f"{self.title}: the shape is {tuple(tensor.shape)}, so there is no [{at}] in {size}"
                )
        return tensor.detach()[self._index]

    def _check_dtype(self, dtype: torch.dtype) -> None:
        amount, name = self._amount, f"{self.title} is {str(dtype).removeprefix('torch.')}"
        if amount.how is How.FLAG and dtype is not torch.bool:
            raise NotThereError(f"{name}: it takes a number, not {'true' if amount.flag else 'false'}")
        if amount.how is not How.FLAG and len(amount.numbers) != 1:
            raise NotThereError(f"{self.title} takes one number for all its elements, not {len(amount.numbers)}")
        if dtype is torch.bool and amount.how is not How.FLAG:
            raise NotThereError(f"{name}: it takes true or false")
        if dtype.is_floating_point or dtype.is_complex or dtype is torch.bool:
            if amount.how is How.SET and dtype.is_floating_point:
                self._check_range(amount.numbers[0], dtype)
            return
        if amount.integer is None:
            raise NotThereError(f"{name}: it takes an integer")
        info = torch.iinfo(dtype)
        if amount.how is How.SET and not info.min <= amount.integer <= info.max:
            raise NotThereError(f"{name}: it takes {info.min} to {info.max}")

    def _check_range(self, number: float, dtype: torch.dtype) -> None:
        largest = torch.finfo(dtype).max
        if math.isfinite(number) and abs(number) > largest:
            kind = str(dtype).removeprefix("torch.")
            raise NotThereError(f"{self.title} is {kind}, which ends at {largest:.4g}: {number:g} would be inf")

    def _check_graph(self, tensor: Tensor, live: Live) -> None:
        for pointer, _ in tensor_storages(tensor):
            if pointer in live.saved:
                why = f"the graph has saved it for backward ({live.saved[pointer]}), which would raise"
                raise NotThereError(f"{self.title} cannot be set here: {why}; {LATER}")
        if live.again and not self._of_grad and tensor.is_leaf:
            why = f"backward runs a part of the forward again ({live.again}), with what it finds then"
            raise NotThereError(f"{self.title} cannot be set here: {why}; {LATER}")
        if not live.complete and tensor.requires_grad:
            self._note = "the script ran free until here: if a forward has saved it, its backward will raise"

    def do(self, stop: int, iteration: int) -> Edit:
        """Write, and compare with what was there."""
        tensor, amount = self._tensor, self._amount
        chosen = self._chosen()
        before = chosen.clone()
        # Not into `chosen`: a view of the tensor itself is what a user would write to.
        target = tensor[self._index] if self._index else tensor
        if amount.how is How.FLAG:
            target.fill_(amount.flag)
        else:
            real = tensor.dtype.is_floating_point or tensor.dtype.is_complex
            number = amount.numbers[0] if real or amount.integer is None else amount.integer
            target.mul_(number) if amount.how is How.SCALE else target.fill_(number)
        single = chosen.numel() == 1
        was, now = (_text(t) if single else _norm(t) for t in (before, chosen))
        what = "value" if single else "2-norm"
        changed = count_changed(before, chosen)
        return self.told(stop, iteration, what, was, now, changed, chosen.numel(), note=self._note)


class Flag(Change):
    """Whether a parameter takes gradients."""

    def __init__(self, named: naming.Named, on: bool) -> None:
        self._tensor, self._on = named.tensor, on
        self.title, self.target = f"{named.shown}.requires_grad", f"{named.name}.requires_grad"

    def check(self, live: Callable[[], Live]) -> None:  # noqa: ARG002
        """Only leaves can be switched, and only numbers with a derivative take gradients."""
        tensor = self._tensor
        if not tensor.is_leaf:
            raise NotThereError(f"{self.title}: only leaves can be switched, and this is the result of an operation")
        kind = tensors.dtype_name(tensor)
        if self._on and not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
            raise NotThereError(
                f"{self.title}: it is {kind}, and only floating point and complex numbers take gradients"
            )
        if self._on and tensor.is_inference():
            raise NotThereError(f"{self.title}: it was made in inference mode, so it can never take gradients")

    def do(self, stop: int, iteration: int) -> Edit:
        """Switch it. The gradient that there is stays, and so does what the optimizer does with it."""
        tensor = self._tensor
        before = tensor.requires_grad
        tensor.requires_grad_(self._on)
        note = ""
        if before and not self._on and tensor.grad is not None:
            note = "its .grad stays: an optimizer that holds it goes on stepping it until that is cleared"
        changed = 0 if before == self._on else None
        return self.told(stop, iteration, "value", str(before), str(self._on), changed, note=note)


class Setting(Change):
    """A number, a flag or a tuple of numbers in a param group."""

    def __init__(self, slot: settings.Slot, amount: Amount, picks: Sequence[Pick]) -> None:
        self._slot, self._amount, self._picks = slot, amount, picks
        self.title = self.target = slot.title
        self._made: Any = None

    def check(self, live: Callable[[], Live]) -> None:
        """Kind and range."""
        picks = self._picks
        if len(picks) > 1 or (picks and picks[0].at is None):
            raise NotThereError(f"{self.title} takes one index at most")
        at = picks[0].at if picks else None
        self._made = settings.new_value(self._slot, self._amount, at)
        value = self._slot.value
        if isinstance(value, Tensor):
            why = unwritable(value)
            if why:
                raise NotThereError(f"{self.title} {why}")
            if not value.dtype.is_floating_point and not float(self._made).is_integer():
                raise NotThereError(f"{self.title} is a tensor of {tensors.dtype_name(value)}: it takes an integer")
            graph = live()
            for pointer, _ in tensor_storages(value):
                if pointer in graph.saved:
                    raise NotThereError(
                        f"{self.title} cannot be set here: the graph has saved it for backward; {LATER}"
                    )

    def do(self, stop: int, iteration: int) -> Edit:
        """Put it into the group; a tensor is filled in place, since compiled code holds on to it."""
        slot, made = self._slot, self._made
        value = slot.value
        before = _text(value)
        if isinstance(value, Tensor):
            value.fill_(made)
        else:
            slot.group[slot.key] = made
        note = ""
        if slot.key == "lr" and "initial_lr" in slot.group:
            note = "a scheduler has been made for this optimizer: when it steps it sets lr by its own rule"
        after = _text(slot.value)
        return self.told(stop, iteration, "value", before, after, 0 if before == after else None, note=note)


def unwritable(tensor: Tensor) -> str:
    """Why nothing can be written into it, as the rest of a sentence that begins with its name; empty: it can."""
    if torch.nn.parameter.is_lazy(tensor):
        return "is not initialised yet: a lazy parameter gets its shape in the first forward"
    if tensor.is_meta:
        return "is on the meta device: there are no values"
    if tensor.is_inference():
        return "was made in inference mode: torch allows no writing into it afterwards"
    if is_freed(tensor):
        return "has given its memory back for the time being: there are no values"
    if tensor.is_nested:
        return "is a nested tensor, which cannot be set"
    if tensor.layout is not torch.strided:
        return f"is {str(tensor.layout).removeprefix('torch.')}, which cannot be set"
    if tensor.is_quantized:
        return "is quantized, which cannot be set"
    if isinstance(getattr(tensor, "_local_tensor", None), Tensor):
        return "is one rank's part of a distributed tensor: every rank would have to set it"
    if not tensor.is_leaf and tensor.requires_grad:
        return "is the result of an operation, not a leaf: backward needs it as it is"
    return ""


def pick_text(pick: Pick) -> str:
    """A pick as it is written in brackets."""
    if pick.at is not None:
        return str(pick.at)
    start, stop = ("" if v is None else str(v) for v in (pick.start, pick.stop))
    return f"{start}:{stop}" + (f":{pick.step}" if pick.step is not None else "")


def count_changed(before: Tensor, now: Tensor) -> int:
    """Elements that are other than before; NaN is equal to NaN."""
    try:
        other = before != now
        if before.dtype.is_floating_point or before.dtype.is_complex:
            other &= ~(before.isnan() & now.isnan())
    except (RuntimeError, NotImplementedError):  # kinds that cannot be compared, such as float8 in older torch
        return count_changed(before.to(torch.float32), now.to(torch.float32))
    return int(other.sum())


def _norm(tensor: Tensor) -> str:
    found = tensors.norms([tensor])[0]
    if found.value is None:
        return "?"
    text = f"{found.value:.6g}"
    return f"{text} and {found.nonfinite:,} nan/inf" if found.nonfinite else text


def _text(value: Any) -> str:
    """A setting, or the one number of a tensor, to the digits that tell it from its neighbours."""
    if isinstance(value, Tensor):
        number = value.item()
        if value.dtype.is_floating_point and value.dtype is not torch.float64:
            return f"{number:.8g}"
        return repr(number)
    if isinstance(value, (tuple, list)):
        return f"({', '.join(_text(v) for v in value)})"
    return repr(value)
