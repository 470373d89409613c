"""What is said on the wire. `ToClient` messages come from the agent, `ToAgent` ones from the screen's side."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, get_args

from stepdbg.protocol.breakpoints import (
    DeleteBreakpoint,
    EditBreakpoint,
    Evaluating,
    GetBreakpoints,
    SetBreakpoint,
    Spec,
)
from stepdbg.protocol.chain import ChainPage, Way
from stepdbg.protocol.compare import GetDiff
from stepdbg.protocol.edits import SetRequiresGrad, SetValue
from stepdbg.protocol.graph import PLAIN, GraphEdges, GraphPage, GraphPath, Lens, Watching
from stepdbg.protocol.inside import FindTarget, GetHeld, Target
from stepdbg.protocol.leaks import GetLeaks
from stepdbg.protocol.memory import GetGradients, GetOtherMemory, MemoryRecord
from stepdbg.protocol.parameters import AS_IN_MODEL, Arrangement
from stepdbg.protocol.records import ParameterPage, SourceText, StopRecord, ValuesRecord
from stepdbg.protocol.shown import GetNames, SetNames
from stepdbg.protocol.step import Explanation
from stepdbg.protocol.trends import GetRates, Trends
from stepdbg.protocol.values import ElementFound, MarkedModules, PythonText
from stepdbg.protocol.whatif import GetWhatIf
from stepdbg.protocol.words import Evaluate, GetCompletions, GetVariables


class Action(str, Enum):
    """How the held script goes on."""

    NEXT = "next"
    """Run one phase."""
    ITERATION = "iteration"
    """Run to the first boundary of the next iteration."""
    CONTINUE = "continue"
    """Run until paused, an exception or the end."""
    SKIP = "skip"
    """Leave out the phase about to run, stop at the boundary after it. Refused where it cannot be skipped."""
    INTO = "into"
    """Go into what is about to run: a phase, a module, a module's operations. NEXT where nothing is inside."""
    OUT = "out"
    """Run to the end of the module that encloses this place; of the phase, where there is none."""
    UNTIL = "until"
    """Run until the place that `Resume.target` names, or until a whole iteration has not come to it."""


# ── from the agent ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Hello:
    """First message of all: who speaks. Sent when the script imports torch (or ends without)."""

    version: int
    pid: int
    python: str
    """Path of the interpreter that runs the script."""
    python_version: str
    torch_version: str
    """Empty when the script ended without importing torch."""
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Stopped:
    """The script is held; requests are served until a `Resume`."""

    stop: StopRecord


@dataclass(frozen=True)
class Continued:
    """The script runs on: answer to `Resume`. No request is served until the next `Stopped`."""

    action: Action


@dataclass(frozen=True)
class Progress:
    """Sent at most ten times a second while running, from a boundary."""

    iteration: int
    micro_batch: int
    phase: str
    loss: float | None
    rate: float | None


@dataclass(frozen=True)
class Reply:
    """Answer to the request `id`; `body` is the plain form of that request's RESULT."""

    id: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The request `id` could not be answered; `error` is one line for the user."""

    id: int
    error: str


@dataclass(frozen=True)
class Working:
    """The request `id` takes a while: `done` of `total` things (0: nobody knows how many) so far."""

    id: int
    done: int
    total: int
    what: str
    """What is counted: "nodes"."""


@dataclass(frozen=True)
class Warned:
    """Something on the agent's side went wrong without touching the script; one line for the user."""

    text: str


@dataclass(frozen=True)
class Logged:
    """What a logpoint wrote down, at a boundary or a place, without stopping."""

    number: int
    text: str
    iteration: int


# ── from the screen's side ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Resume:
    """Let the script go on. Legal only while stopped."""

    action: Action
    target: Target | None = None
    """Of UNTIL: as `FindTarget` gave it."""


@dataclass(frozen=True)
class Pause:
    """Stop at the next boundary. While stopped it has no effect."""


@dataclass(frozen=True)
class Detach:
    """Take all instrumentation out and run on bare; the agent closes the connection."""


@dataclass(frozen=True)
class Cancel:
    """The answer to the request `id` is not wanted any more. It is `Failed` then, unless it has been answered already.

    A `Resume` or `Detach` that comes while a request is being answered cancels it as well. While the script runs, `id`
    0 is what `Evaluating` tells of: the script stops there.
    """

    id: int


@dataclass(frozen=True)
class GetParameters:
    """A page of parameters. Cost: what the columns need, of the rows of this page only. A sort by a statistic, or a
    predicate on one, reads the whole model, once a stop; `Working` tells how far it is.
    """

    RESULT: ClassVar[type[Any]] = ParameterPage
    id: int
    offset: int = 0
    count: int = 50
    pattern: str = ""
    """What to show: see `protocol.predicates`. It must parse."""
    arrangement: Arrangement = AS_IN_MODEL


@dataclass(frozen=True)
class GetValues:
    """One tensor's numbers: statistics (a few passes over each side that is asked for) and a page of cells.

    `name` is that of a parameter, "net.2 output" for what a marked module put out last ("net.2 output #1": at its
    first call of this iteration), or "=" and an expression in the variables of the stopped frame. An expression is
    evaluated once a stop; its value is kept until the script goes on, or another one is asked for.
    """

    RESULT: ClassVar[type[Any]] = ValuesRecord
    id: int
    name: str
    row: int = 0
    column: int = 0
    rows: int = 20
    columns: int = 8
    bins: int = 96
    slice: str = ""
    """See `protocol.slices`."""
    sides: tuple[str, ...] = ("value", "grad")
    """Of `SIDES`: only these are read."""
    again: bool = False
    """Evaluate an expression once more, although its value is at hand."""


@dataclass(frozen=True)
class SeekElement:
    """Where the largest or smallest finite element is, or the first one that is not finite. One pass over the data."""

    RESULT: ClassVar[type[Any]] = ElementFound
    id: int
    name: str
    """As in GetValues."""
    what: str
    """"max", "min" or "nan" (the first NaN or Inf); complex numbers by their absolute value."""
    slice: str = ""
    side: str = "value"


@dataclass(frozen=True)
class CopyValues:
    """A tensor (or slice) as Python text, at most 10,000 elements of it."""

    RESULT: ClassVar[type[Any]] = PythonText
    id: int
    name: str
    slice: str = ""
    side: str = "value"


@dataclass(frozen=True)
class MarkModule:
    """Keep what a module puts out, from its next call on, until the iteration ends; or no longer."""

    RESULT: ClassVar[type[Any]] = MarkedModules
    id: int
    module: str = ""
    """Its path, "net.2"; empty: only say which are marked."""
    on: bool | None = True
    """None: mark it if it is not marked, else unmark it."""


@dataclass(frozen=True)
class GetGraph:
    """A page of a graph. The first request for a graph walks it, about 1 µs a node; `Working` tells how far it is."""

    RESULT: ClassVar[type[Any]] = GraphPage
    id: int
    offset: int = 0
    count: int = 60
    lens: Lens = PLAIN
    seek: str = ""
    """Where to begin instead of `offset`: "parent:I", "leaf:I" (the next one below), "target:I" (of a reference) or
    "row:I", with I a `GraphRow.index`; or "parameter:NAME", "node:SEQ", "module:PATH" (its last call). The page is
    around it then, `found` its position."""
    measure: bool = False
    """Measure what each node keeps first, also where the graph is so large that this takes a while."""


@dataclass(frozen=True)
class GetGraphEdges:
    """A page of the edges between the rows that this lens shows."""

    RESULT: ClassVar[type[Any]] = GraphEdges
    id: int
    offset: int = 0
    count: int = 5000
    lens: Lens = PLAIN


@dataclass(frozen=True)
class GetGraphPath:
    """How the root leads to the row `index` of this lens."""

    RESULT: ClassVar[type[Any]] = GraphPath
    id: int
    index: int
    lens: Lens = PLAIN


@dataclass(frozen=True)
class GetChain:
    """A page of the chain of nodes from the loss to the parameter `name` (empty: the first that is trained).

    Cost: a few passes over the graph's nodes; it is walked first if it has not been.
    """

    RESULT: ClassVar[type[Any]] = ChainPage
    id: int
    name: str
    way: Way = Way.SHORTEST
    offset: int = 0
    count: int = 200
    graph: int = 0
    """`GraphChoice.id`; 0: the newest graph that reaches the parameter."""


@dataclass(frozen=True)
class SetWatching:
    """Switch on or off what is recorded from here on; None leaves it as it is."""

    RESULT: ClassVar[type[Any]] = Watching
    id: int
    gradients: bool | None = None
    stacks: bool | None = None
    chain: str | None = None
    """Name of the parameter to whose nodes gradients are noted one by one as well, while they are watched; "": none."""
    way: Way = Way.SHORTEST
    """Which chain to it."""


@dataclass(frozen=True)
class GetExplanation:
    """What an optimizer's step did, or is about to do, to one element. Cost: that element's computation."""

    RESULT: ClassVar[type[Any]] = Explanation
    id: int
    name: str
    """Empty: the first parameter that a step changes."""
    index: tuple[int, ...] | None = None
    """Negative ones count from the end, as in Python; None: the first element."""
    tells: str = ""
    """"did" or "will"; empty: what is about to be done where that is known, else what was done."""


@dataclass(frozen=True)
class GetMemory:
    """Bytes by category. Cost: a walk over parameters, optimizer state and the live graph; no pass over data.

    From the first one on, while stepping: the same at each boundary that is passed (a graph of at most 20,000 nodes),
    and one pass over the gradients after each backward, where they take at most 32 MiB.
    """

    RESULT: ClassVar[type[Any]] = MemoryRecord
    id: int


@dataclass(frozen=True)
class GetTrends:
    """What optimizer steps did, from the step of number `since` on. The first one begins the noting: from then on,
    while stepping, each step costs a pass over its gradients and three over its parameters.
    """

    RESULT: ClassVar[type[Any]] = Trends
    id: int
    since: int = 0


@dataclass(frozen=True)
class GetSource:
    """A source file, at most 2 MiB of it. Served at a stop."""

    RESULT: ClassVar[type[Any]] = SourceText
    id: int
    file: str


Query = (
    GetParameters | GetValues | GetGraph | GetGraphEdges | GetGraphPath | SetWatching | GetMemory | GetSource
    | SeekElement | CopyValues | MarkModule | GetExplanation
    | SetValue | SetRequiresGrad | GetDiff
    | GetTrends | GetRates | GetChain
    | GetHeld | FindTarget
    | SetBreakpoint | EditBreakpoint | DeleteBreakpoint | GetBreakpoints
    | Evaluate | GetCompletions | GetVariables
    | GetOtherMemory | GetGradients
    | GetLeaks | GetWhatIf | SetNames | GetNames
)  # fmt: skip
ToClient = Hello | Stopped | Continued | Progress | Reply | Failed | Working | Warned | Logged | Evaluating
ToAgent = Resume | Pause | Detach | Cancel | Query
Message = ToClient | ToAgent

TO_CLIENT: tuple[type[Any], ...] = get_args(ToClient)
QUERIES: tuple[type[Any], ...] = get_args(Query)
TO_AGENT: tuple[type[Any], ...] = (Resume, Pause, Detach, Cancel, *QUERIES)


@dataclass(frozen=True)
class Settings:
    """What the agent is started with: passed as JSON in the environment, or directly in process."""

    stop_at: str = "first"
    """"first", "never", or the value of a Phase."""
    on_detach: str = "end"
    """What becomes of the script when the screen's side dies: "end" or "continue"."""
    phases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The phase map: Phase value → functions as "pkg.mod:Class.method"."""
    previous_bytes: int = 268_435_456
    """Copies of what parameters were before the last step, at most; 0: none."""
    evaluation: bool = True
    """Whether expressions of the user's may be evaluated in the script (`--no-eval`: not)."""
    breakpoints: tuple[Spec, ...] = ()
    """Those that are armed from the start."""
    full_names: bool = False
    """As `SetNames.full`."""
