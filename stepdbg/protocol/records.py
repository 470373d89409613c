"""Plain facts about the stopped script: what the agent found out, as data without tensors.

Every number is in the unit its field names: bytes are whole storages, seconds are wall-clock `perf_counter`
differences. `None` always means *unknown* or *not there*, as the field says; it is never a stand-in for zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(str, Enum):
    """The phases of a training loop; CUSTOM ones are named by the script with `stepdbg.phase("…")`."""

    DATA = "data"
    ZERO_GRAD = "zero_grad"
    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    UNSCALE = "unscale"
    CLIP = "clip"
    STEP = "step"
    SCHEDULER = "scheduler"
    CUSTOM = "custom"


SKIPPABLE = frozenset({Phase.ZERO_GRAD, Phase.BACKWARD, Phase.CLIP, Phase.STEP, Phase.SCHEDULER})
"""Phases whose result a loop does not need: these may be skipped (a phase run says so of itself too)."""


MOST_RATES = 16
"""Learning rates told with a stop, at most."""


class StopReason(str, Enum):
    """Why the script is held (DAP's `stopped` reasons, and the two ends)."""

    ENTRY = "entry"
    STEP = "step"
    PAUSE = "pause"
    BREAKPOINT = "breakpoint"
    EXCEPTION = "exception"
    FINISHED = "finished"


@dataclass(frozen=True)
class PhaseRun:
    """One phase, run or about to run.

    `subject` is the name of what is concerned (`net`, `optimiser`, the name of a custom phase), from the user's own
    variables where there is one; `kind` its class. `detail` is a short remark ("no grad", "inline", "inside the
    model", "end of data", "inf/nan gradients: step skipped by GradScaler"), empty when there is none.
    """

    phase: Phase
    subject: str = ""
    kind: str = ""
    detail: str = ""
    seconds: float | None = None
    """Wall-clock time without the time held at stops. None: has not run, or was not timed (inline)."""
    skipped: bool = False
    skippable: bool = False


@dataclass(frozen=True)
class RailStep:
    """One station of the loop, in the order learned from it. A call site run several times is one station."""

    phase: Phase
    subject: str
    kind: str
    state: str
    """ "done", "next" (about to run), "ahead" (was there in the last iteration), "skipped", "failed" (raised),
    "unknown" (before the one about to run in the loop's order, but the script ran free then)."""
    seconds: float | None = None
    count: int = 1
    """Times run in this iteration (micro-batches); for "ahead": in the last one."""
    depth: int = 0
    """Phases enclosing it: a closure's phases inside STEP have depth 1."""
    detail: str = ""


@dataclass(frozen=True)
class Frame:
    """One Python frame. `file` is absolute, or as the code names it ("<string>")."""

    file: str
    line: int
    function: str
    is_user: bool
    """False for torch, site-packages and the standard library."""


@dataclass(frozen=True)
class LossValue:
    """The loss as last seen. `value` is None where it could not be read (gone, or not one number)."""

    value: float | None
    previous: float | None
    """The value at the previous iteration's (or micro-batch's) stop, as recorded then."""
    name: str
    """What made it: "BCELoss", "cross_entropy", "inline", "inside the model"."""
    iteration: int
    shape: tuple[int, ...] = ()
    source: str = ""
    """"loss" (a criterion's result), "backward" (root of a backward), "output" (found in a model's output)."""


@dataclass(frozen=True)
class ExceptionInfo:
    """An uncaught exception of the script; `text` is the traceback as Python prints it, without our frames."""

    type: str
    message: str
    text: str


@dataclass(frozen=True)
class StopRecord:
    """One stop. Sent whole with `Stopped`; everything larger is asked for page by page."""

    number: int
    """1 for the first stop of the run, then counting up."""
    reason: StopReason
    iteration: int
    """From 1. From one optimizer step to the next."""
    micro_batch: int
    """From 1, inside the iteration; 0 for unknown: part of this iteration ran free, where they are not counted."""
    just_ran: tuple[PhaseRun, ...]
    """What ran since the boundary before this one, oldest first (forward, then an inline loss). Empty at the first
    stop, at the first one inside a phase, and where the script `ran_free` until here: not recorded."""
    next: PhaseRun | None
    """About to run; None at the end and after an exception."""
    inside: tuple[PhaseRun, ...]
    """Enclosing phases, outermost first (STEP around a closure's phases, CUSTOM ones)."""
    rail: tuple[RailStep, ...]
    loss: LossValue | None
    stack: tuple[Frame, ...]
    """Innermost first, without our own frames; at most 64."""
    here: int | None
    """Index into `stack` of the innermost frame of the user's code: the line about to run (or that raised)."""
    thread: str
    """Name of the held thread ("MainThread" for the main one)."""
    elapsed: float
    """Seconds the script itself has run since torch was imported, without the time held at stops."""
    rate: float | None
    """Iterations per second of run time over the last iterations; None before two have ended."""
    exception: ExceptionInfo | None = None
    note: str = ""
    """One sentence for the user, where there is something to say ("no phase of a training loop was seen")."""
    ran_free: bool = False
    """The script ran free until here: what ran last, and which phases of this iteration did, was not recorded."""
    lrs: tuple[tuple[str, float], ...] = ()
    """Learning rates as they are now: (optimizer, rate), or one for each param group ("optimiser[1]") where they
    differ. At most MOST_RATES; those that are no number are left out."""


@dataclass(frozen=True)
class ParameterRow:
    """One parameter (or one set of tied ones)."""

    name: str
    """`net.0.weight`: as in `named_parameters()`, after the root module's name. Unique in the session's stop."""
    aliases: tuple[str, ...]
    shape: tuple[int, ...] | None
    """None: a lazy parameter that has no shape yet."""
    dtype: str
    """Without "torch."."""
    device: str
    numel: int
    nbytes: int
    requires_grad: bool
    owner: str
    """The optimizer's name and param group, "optimiser[0]"; empty: no optimizer holds it."""
    owner_kind: str
    value_norm: float | None
    """2-norm over the finite elements; None when it cannot be computed: `note` says why."""
    grad_norm: float | None
    """Same for `.grad`; None with `grad` "none" when there is no gradient."""
    grad: str
    """"none", "dense", "sparse", or "unreadable" (see `note`)."""
    value_changed: bool | None
    """Written in place, replaced, or of another norm than at the previous stop; None: no previous record."""
    grad_changed: bool | None
    nonfinite: int = 0
    """NaN and Inf elements in the value, left out of the norm."""
    grad_nonfinite: int = 0
    grad_label: str = ""
    """What the gradient's numbers are: "", "scaled", "unscaled", "clipped"."""
    reached: bool | None = None
    """Whether the last recorded graph arrives here. None: no graph recorded."""
    note: str = ""
    marks: tuple[str, ...] = ()
    """What is special about it, of `protocol.graph.MARKS`; the first five only once a graph has been recorded."""
    cause: str = ""
    """Why the graph does not arrive here, one line; empty where it does, or where that cannot be told."""


@dataclass(frozen=True)
class ParameterPage:
    """Rows `offset` … `offset + len(rows)` of `total` that match the pattern, of `everything` known."""

    stop: int
    offset: int
    total: int
    everything: int
    rows: tuple[ParameterRow, ...]
    gone: str = ""
    """Why there is nothing to show ("the script's variables have been freed"), else empty."""
    graph_at: int | None = None
    """Number of the stop at which the graph was recorded that `reached`, marks and causes are about; None: none was."""


@dataclass(frozen=True)
class TensorStats:
    """Summary of one tensor. min/max/mean/std/norm/histogram are over the finite elements, in float64 or float32
    accumulation; std is the population one (correction 0). None where no finite element exists.
    """

    numel: int
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    norm: float | None
    zeros: int
    nan: int
    posinf: int
    neginf: int
    histogram: tuple[int, ...] = ()
    """Counts in equal bins from `low` to `high`; empty when there is none."""
    low: float = 0.0
    high: float = 0.0
    sampled: int | None = None
    """Elements that the histogram was made from, when not all of them."""


@dataclass(frozen=True)
class TensorView:
    """A tensor's numbers as a page of rows and columns: the last dimension runs across, all others run down."""

    shape: tuple[int, ...]
    dtype: str
    device: str
    nbytes: int
    stats: TensorStats | None
    rows: int
    columns: int
    """Of the whole, once flattened to two dimensions; 1 × 1 for a single number."""
    row: int
    column: int
    """Where this page starts."""
    cells: tuple[tuple[str, ...], ...]
    """Numbers as text, `%.4g` for floats, whole for integers, True/False for booleans."""
    note: str = ""
    """Why numbers or statistics are missing, in words."""


@dataclass(frozen=True)
class ValuesRecord:
    """One parameter's value and gradient, side by side."""

    stop: int
    name: str
    value: TensorView | None
    grad: TensorView | None
    grad_label: str
    """As in ParameterRow; "none" when there is no gradient."""
    note: str = ""


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
    backwards: int
    """Backward phases since gradients were last cleared: how many were summed in place."""
    note: str = ""


@dataclass(frozen=True)
class SourceText:
    """A source file as the script's machine has it. `changed` : modified on disk since the run began."""

    file: str
    text: str | None
    changed: bool
    note: str = ""
