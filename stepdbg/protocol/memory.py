"""The bytes of a run: what they are held for, what gradients are the sum of, and what else there is.

All counts are bytes of whole storages: a view, an expanded tensor and a tied weight are what they are cut from, and
that is counted once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from stepdbg.protocol.shown import Titled


class Category(str, Enum):
    """What memory is held for. Each storage is counted once: in the first of these, in this order, that holds it."""

    PARAMETERS = "parameters"
    """Of modules and optimizers; and leaf tensors that require grad and that a variable of the script's holds."""
    BUFFERS = "buffers"
    """Of modules."""
    GRADIENTS = "gradients"
    """`.grad` of these parameters."""
    OPTIMIZER = "optimizer state"
    """Every tensor in `optimizer.state`."""
    SAVED = "saved for backward"
    """What the nodes keep that live outputs and losses lead to. Of tensors that a hook has packed: the tensors and
    bytes objects that it has made of them, wherever these are; nothing where it put them on a disk."""
    OTHER = "other tensors"
    """All other tensors that Python knows of: inputs, targets, data sets, outputs, what other graphs keep."""


TRAINING = (Category.PARAMETERS, Category.GRADIENTS, Category.OPTIMIZER, Category.BUFFERS, Category.SAVED)
"""What is held for training, in the order in which it is shown."""


@dataclass(frozen=True)
class SavedBy:
    """What the nodes that one module made keep for backward."""

    path: str
    """"net.2"; empty: made outside of any module call (a functional loss, arithmetic)."""
    kind: str
    """Its class."""
    nbytes: int
    nodes: int
    """How many of its nodes keep something."""
    so_far: int = 0
    """What was saved in all when it had saved its last: the sum in the order of the forward."""


@dataclass(frozen=True)
class DeviceBytes:
    """What the allocator of one CUDA device says."""

    device: str
    allocated: int
    reserved: int
    peak_allocated: int
    peak_reserved: int


@dataclass(frozen=True)
class Summed:
    """Gradients that are sums of backward passes: of the parameters with the most of them."""

    passes: int
    """Since their gradients were cleared."""
    parameters: int
    fewest: int
    """Passes in the gradient with the fewest, among those that there are."""
    first_nbytes: int
    nbytes: int
    """Of these gradients after the first pass, and now."""
    first_norm: float | None = None
    norm: float | None = None
    """2-norm after the first pass, and now; None: not read, or NaN and Inf in it."""


@dataclass(frozen=True)
class Clearing:
    """How gradients were cleared last: by a `zero_grad`, or by hand."""

    iteration: int
    to_none: int
    """Parameters whose `.grad` was set to None."""
    to_zeros: int
    """Those whose `.grad` was filled with zeros."""
    freed: int
    """Bytes that setting to None has given back."""
    kept: int
    """Bytes that were filled with zeros and stay."""
    by_hand: bool = False


@dataclass(frozen=True)
class MemoryNote:
    """A boundary that was passed without a stop; or the peak inside a phase, where that is above both its ends."""

    iteration: int
    """That in which `ran` ran."""
    ran: str
    """The phase that had just run, and the name or class of what it was of: "forward net"."""
    parameters: int
    gradients: int
    optimizer: int
    buffers: int
    graph: int | None
    module: str = ""
    """The module that saved last for the graph alive then; inside a backward, that whose node ran last."""
    inside: bool = False
    """Whether this is the peak inside the phase `ran`: estimated from the graph, as autograd goes through it."""
    at_least: bool = False
    """Whether more may be held then: what hooks unpack, and what checkpointed calls compute again."""

    def of(self, category: Category) -> int | None:
        """Bytes of that category; None: unknown."""
        return _of(self, category)


@dataclass(frozen=True)
class MemoryRecord:
    """Bytes held for training at one stop, each storage counted once, in the first category that holds it."""

    stop: int
    parameters: int
    gradients: int
    gradient_count: int
    """Parameters that have a `.grad`."""
    optimizer: int
    buffers: int
    graph: int | None
    """Saved for backward by the live graph, without parameters and buffers; 0 after backward freed it; None:
    cannot be told (`note` says why)."""
    backwards: int | None
    """Backward phases since gradients were last cleared: how many were summed in place. None: not known, since the
    debugger was opened in a run that had begun.
    """
    note: str = ""
    unread: int = 0
    """Tensors among these whose memory cannot be told (opaque layouts): they count nothing."""
    modules: tuple[SavedBy, ...] = ()
    """What modules have saved, in the order of the forward: at most MOST_MODULES, the largest."""
    modules_left_out: int = 0
    module: str = ""
    """The module that saved last."""
    process_peak: int | None = None
    """Most resident bytes that the process ever had."""
    devices: tuple[DeviceBytes, ...] = ()
    """CUDA devices that the script uses."""
    own: int = 0
    """Bytes of the tensors that the debugger holds itself: copies of earlier values, and of what marked modules put
    out. In none of the above."""
    own_copies: int = 0
    """Of `own`: the copies of earlier values."""
    own_limit: int = 0
    """As many bytes these may take: `Settings.previous_bytes`."""
    summed: Summed | None = None
    """None: no gradient, or not seen pass by pass."""
    clearing: Clearing | None = None
    """None: none was seen since the memory was first looked at."""
    passed: tuple[MemoryNote, ...] = ()
    """Boundaries passed since the memory was told last, oldest first."""
    in_backward: bool = False
    """Whether the script is held inside a BACKWARD: gradients have come, of a pass that is not counted yet."""

    def of(self, category: Category) -> int | None:
        """Bytes of that category; None: unknown, or not counted here."""
        return _of(self, category)

    @property
    def held(self) -> int:
        """Bytes of all categories that are known."""
        return sum(self.of(category) or 0 for category in TRAINING)


MOST_MODULES = 400


def _of(record: MemoryRecord | MemoryNote, category: Category) -> int | None:
    if category is Category.PARAMETERS:
        return record.parameters
    if category is Category.GRADIENTS:
        return record.gradients
    if category is Category.OPTIMIZER:
        return record.optimizer
    if category is Category.BUFFERS:
        return record.buffers
    return record.graph if category is Category.SAVED else None


@dataclass(frozen=True)
class LiveTensor:
    """One storage that is in no category of training."""

    name: str
    """The variable that holds a tensor of it; empty: none that a frame or `__main__` has."""
    shape: tuple[int, ...]
    dtype: str
    device: str
    nbytes: int


@dataclass(frozen=True)
class OtherMemory:
    """What is alive beside what is held for training."""

    stop: int
    nbytes: int
    """Category.OTHER."""
    storages: int
    largest: tuple[LiveTensor, ...]
    """At most MOST_LARGEST, the largest first."""
    checkpoints: int
    """Of `nbytes`: inputs that checkpointed calls keep, to compute them again in backward."""
    unread: int
    """Tensors whose memory cannot be told."""
    own: int
    """As MemoryRecord.own."""
    own_rest: int
    """About so much do the records, columns and notes of the debugger take: an estimate, without its code."""
    hidden: int = 0
    """Objects that the script has hidden from the garbage collector (`gc.freeze`), and so from this count."""


MOST_LARGEST = 50


@dataclass(frozen=True)
class GradientRow(Titled):
    """One parameter's gradient."""

    name: str
    nbytes: int
    """Of `.grad`; 0: there is none, or its memory was counted with another's."""
    state: str
    """"none", "dense" or "sparse"."""
    passes: int | None
    """Backward passes summed into it; None: not known."""
    cleared: str
    """How it was cleared last: "none", "zeros"; empty: not seen."""
    passes_of_loop: bool = False
    """Whether `passes` is the loop's count of backwards, since those of this gradient were not seen one by one."""
    shown: str = ""
    """As `ParameterRow.shown`."""


@dataclass(frozen=True)
class GradientPage:
    """Rows `offset` … of the `total` parameters, in the model's order."""

    stop: int
    offset: int
    total: int
    rows: tuple[GradientRow, ...]


@dataclass(frozen=True)
class GetOtherMemory:
    """What else is alive. Cost: a pass over all objects of the process, 0.2 µs each; `Working` tells how far it is."""

    RESULT: ClassVar[type[Any]] = OtherMemory
    id: int


@dataclass(frozen=True)
class GetGradients:
    """A page of gradients. From the first one on norms are noted after each backward however large gradients are."""

    RESULT: ClassVar[type[Any]] = GradientPage
    id: int
    offset: int = 0
    count: int = 200
