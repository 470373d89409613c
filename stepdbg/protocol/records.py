"""Plain facts about the stopped script: what the agent found out, as data without tensors.

Every number is in the unit its field names: bytes are whole storages, seconds are wall-clock `perf_counter`
differences. `None` always means *unknown* or *not there*, as the field says; it is never a stand-in for zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stepdbg.protocol.inside import Place
from stepdbg.protocol.shown import Titled


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
    iteration: int = 0
    """The iteration in which it ran; 0: unknown, or not yet. What ran before the first stop of an iteration ran in the
    one before."""


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
    at: Place | None = None
    """Where inside the phase (the last of `inside`) the script is held; None: between phases."""
    why: str = ""
    """What of the user's stopped it: "breakpoint 2: loss > 2", "line 31 of train.py"; empty where it was a step."""


@dataclass(frozen=True)
class TensorStats:
    """Summary of one tensor. min/max/mean/std/norm/histogram are over the finite elements, accumulated in float64; std
    is the population one (correction 0). None where no finite element exists, and where it was not asked for. Complex
    numbers count by their absolute values.
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
    whole_min: int | None = None
    whole_max: int | None = None
    """The extremes of integers themselves where a float cannot hold them (beyond 2⁵³): min and max are rounded then."""
    note: str = ""
    """Why there are no numbers, in words."""


@dataclass(frozen=True)
class ParameterRow(Titled):
    """One row of the parameter pane: a parameter (or one set of tied ones), or what `kind` says.

    What was not among the quantities asked for is None.
    """

    name: str
    """`net.0.weight`: as in `named_parameters()`, after the root module's name: what identifies it. Unique in the
    session's stop."""
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
    kind: str = "parameter"
    """"parameter", "buffer", "state" (of an optimizer), "module" (totals of the parameters shown below it) or "section"
    (of all buffers, or of all optimizer state; `rows_below` counts them)."""
    module: str = ""
    """Class of the module that holds it; of a "module" its own. Empty: none does."""
    lr: float | None = None
    """Learning rate of its group; None: no owner, or several below a module."""
    weight_decay: float | None = None
    delta_norm: float | None = None
    """2-norm of the value less the one before its optimizer's last step; of a module that of all below it."""
    delta_note: str = ""
    """Why that is not known."""
    stats: TensorStats | None = None
    """Of the value, without a histogram."""
    grad_stats: TensorStats | None = None
    passes: int | None = None
    """Backward passes added into `.grad` since it was cleared last."""
    passes_of_loop: bool = False
    """Whether `passes` is the loop's count of backwards, since those of this gradient were not seen one by one."""
    parameters: int = 1
    """Of a module: how many are below it."""
    trainable: int = 0
    """Of a module: how many of these require grad."""
    index: int = 0
    """Its number among all rows, in pre-order, when nothing is folded."""
    depth: int = 0
    rows_below: int = 0
    level: int = 0
    """0 folded, 1 as first shown (a module without its buffers), 2 unfolded whole."""
    unfolds: bool = False
    """Whether level 2 shows more than level 1: the module has buffers."""
    above: int | None = None
    """Position of the row that it hangs from."""
    shown: str = ""
    """The name as the user reads it, without its root module where no other has such a one (`0.weight`, as in
    `named_parameters()`); empty: as `name`."""
    shown_aliases: tuple[str, ...] = ()
    """The same of its aliases; empty: as these."""

    @property
    def key(self) -> str:
        """What its level is kept by: `Arrangement.levels`."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class ParameterPage:
    """Rows `offset` … `offset + len(rows)` of the `total` that are shown: parameters that match the pattern, with the
    rows of modules, buffers and optimizer state as they are folded. `everything`: parameters known.
    """

    stop: int
    offset: int
    total: int
    everything: int
    rows: tuple[ParameterRow, ...]
    gone: str = ""
    """Why there is nothing to show ("the script's variables have been freed"), else empty."""
    graph_at: int | None = None
    """Number of the stop at which the graph was recorded that `reached`, marks and causes are about; None: none was."""
    matching: int | None = None
    """Parameters that match the pattern; None: as many as there are rows."""


@dataclass(frozen=True)
class TensorView:
    """A tensor's numbers as a page of rows and columns: the last dimension runs across, all others run down.

    Where a slice was asked for, statistics, rows, columns and cells are about that part only.
    """

    shape: tuple[int, ...] | None
    """None: it has none (lazy), or many (nested)."""
    dtype: str
    device: str
    nbytes: int
    stats: TensorStats | None
    rows: int
    columns: int
    """Of the whole (or of the slice), once flattened to two dimensions; 1 × 1 for a single number."""
    row: int
    column: int
    """Where this page starts."""
    cells: tuple[tuple[str, ...], ...]
    """Numbers as text that reads back as the same number: `repr` of what `.item()` gives, "nan", "inf", "-inf"."""
    note: str = ""
    """Why numbers or statistics are missing, in words; or what is shown instead ("dequantized")."""
    indexed: tuple[int, ...] | None = None
    """The shape that indices and slices count in, where that is not `shape`: of the local shard, for one."""


@dataclass(frozen=True)
class ValuesRecord(Titled):
    """One tensor: a parameter, what an expression gives, or the output of a marked module; and what belongs to it."""

    stop: int
    name: str
    """As asked for."""
    value: TensorView | None
    grad: TensorView | None
    grad_label: str
    """As in ParameterRow; "none" when there is no gradient, "no" for a tensor that takes none."""
    note: str = ""
    """Why there is no value, or what an expression gave that is no tensor; or a remark."""
    slice: str = ""
    """As asked for; empty: the whole."""
    sides: tuple[str, ...] = ("value", "grad")
    """What was asked for, of `SIDES`."""
    previous: TensorView | None = None
    """What the value was before the optimizer's last step that was stepped through."""
    difference: TensorView | None = None
    """Value minus previous value, in the value's dtype (float32 for narrower ones, int64 for whole numbers)."""
    previous_note: str = ""
    """Why there is no previous value, else since when: "before the step of iteration 2"."""
    shown: str = ""
    """As `ParameterRow.shown`."""


SIDES = ("value", "grad", "previous", "difference")
"""What `ValuesRecord` can have side by side."""


@dataclass(frozen=True)
class SourceText:
    """A source file as the script's machine has it. `changed` : modified on disk since the run began."""

    file: str
    text: str | None
    changed: bool
    note: str = ""
