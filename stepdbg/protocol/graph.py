"""The autograd graph as plain facts: rows of a tree, counts, who is reached, and how it is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stepdbg.protocol.shown import Titled

MARKS = {
    "reached": "the loss reaches it",
    "unreached": "the loss does not reach it",
    "unowned": "reached, but no optimizer holds it: it gets gradients and is never updated",
    "unused": "an optimizer holds it, but the loss does not reach it",
    "shared": "used in more than one place, or under more than one name",
    "frozen": "requires_grad is False",
}
"""What can be special about a parameter: each can be counted, and filtered for as `is:unowned`."""

NODE_MARKS = {
    "view": "its output is a view of its input: no numbers are copied",
    "in-place": "it wrote into a tensor that was there",
    "custom": "an autograd.Function of the script's own, or of a library",
    "checkpoint": "keeps no activations: backward runs this part of the forward again",
    "compiled": "one region that torch.compile made: what is inside has no nodes of its own",
}
"""What can be special about a node, filtered for in the same way."""


class GraphView(str, Enum):
    """The two ways to show one graph."""

    MODULES = "modules"
    """Nodes folded inside the module call that made them."""
    RAW = "raw"
    """Node by node, as `next_functions` lead from one to the other."""


@dataclass(frozen=True)
class Lens:
    """How a graph is looked at: all that decides which rows there are."""

    graph: int = 0
    """`GraphChoice.id`; 0: the newest root that is alive."""
    view: GraphView = GraphView.MODULES
    base: int = 1
    """Level of every row that is not in `levels`: 0 folded, 1 as first shown (modules without their own nodes),
    2 unfolded whole."""
    levels: tuple[tuple[int, int], ...] = ()
    """(`GraphRow.index`, level) of the rows that the user has folded or unfolded, sorted."""
    pattern: str = ""
    """Only rows that match, with the rows above them: part of name, detail, place or shape; `is:MARK` for a mark."""
    selected: str = ""
    """Name of the parameter whose paths are lit."""


PLAIN = Lens()
"""The newest graph, by modules, nothing folded, searched or lit."""


@dataclass(frozen=True)
class Flow:
    """The gradient that a backward brought to one place, as a hook saw it there.

    norm (2-norm), min and max are over the finite elements, None where there is none.
    """

    norm: float | None
    min: float | None
    max: float | None
    numel: int
    nonfinite: int
    times: int = 1
    """Backwards that came through; the numbers are the last one's."""


@dataclass(frozen=True)
class Reach:
    """How many of the parameters of a root module, or of an optimizer, the loss's graph arrives at."""

    name: str
    kind: str
    reached: int
    total: int
    """Parameters that require grad; frozen ones are in `frozen`."""
    frozen: int = 0
    what: str = "module"
    """"module" or "optimizer"."""
    cause: str = ""
    """Why those that are not reached are not, where one reason holds for all of them."""


@dataclass(frozen=True)
class GraphRow(Titled):
    """One line of the graph tree.

    `kind`: "loss" (the root, or one of several), "module" (one call of a module; below it is what ran inside), "op"
    (one autograd node), "parameter" (a leaf: AccumulateGrad of a named parameter), "tensor" (a leaf that is no known
    parameter), "reference" (a node or leaf that is drawn elsewhere: `refers_to`), "section" (the heading of what
    follows the tree), "reach" (a root module or an optimizer, in that section), "unreached" (a parameter that the graph
    does not contain).
    """

    index: int
    """Its number in the whole tree of this view, in pre-order: stays the same however it is folded."""
    depth: int
    kind: str
    name: str
    """Module path, op name (`AddmmBackward0`), parameter name, or the loss's."""
    detail: str
    """Class of the module and its ops, "4 of 6", where a reference leads …"""
    shape: tuple[int, ...] | None
    """Of what the node put out forward."""
    nodes: int
    """Autograd nodes in this row and below it."""
    rows_below: int
    """Rows of the subtree under this one, when nothing is folded."""
    seq: int | None
    """Highest sequence number inside; None for AccumulateGrad leaves."""
    nbytes: int | None = None
    """Bytes this row (with all below it) keeps for backward, deduplicated by storage and without the parameters'
    own; None: not measured."""
    dtype: str = ""
    """Of its output, without "torch."; empty: unknown."""
    level: int = 1
    """How it is folded now: see `Lens.base`."""
    marks: tuple[str, ...] = ()
    """Of MARKS or NODE_MARKS."""
    freed: bool | None = None
    """Whether a backward has freed what it kept; None: keeps nothing, or unknown."""
    file: str = ""
    """The user's line that made it, absolute; empty: unknown."""
    line: int = 0
    function: str = ""
    refers_to: int | None = None
    """`index` of the row that a reference leads to."""
    lit: bool = False
    """On a path from the root to the selected parameter."""
    flow: Flow | None = None
    """The gradient of its output (of a leaf: what was added into `.grad`), where gradients were watched."""
    cause: str = ""
    """Of "unreached" and "reach" rows: why the graph does not arrive there."""
    parameters: tuple[str, ...] = ()
    """Names of the parameters that its own nodes lead to directly, at most 50."""
    unfolds: bool = False
    """Whether there are rows under it that level 2 would show."""
    shown: str = ""
    """As `ParameterRow.shown`."""


@dataclass(frozen=True)
class GraphChoice:
    """One of the graphs that can be looked at."""

    id: int
    kind: str
    """"loss", "output" or "gradient"."""
    title: str
    """"loss BCELoss", "output of netG", "gradient of net.0.weight"."""
    iteration: int
    recorded_at: int | None
    """Number of the stop at which it was walked; None: not yet."""
    freed: bool
    nodes: int | None
    alive: bool
    """Whether its root still exists."""


@dataclass(frozen=True)
class GraphPage:
    """A page of visible rows (after folding and filtering) of one graph."""

    stop: int
    offset: int
    total: int
    rows: tuple[GraphRow, ...]
    root: str
    """What the tree hangs from: "loss", "output of net"; empty when there is no graph."""
    root_op: str
    recorded_at: int | None
    """Number of the stop at which the graph was walked; None: there is no graph (`note` says why)."""
    freed: bool
    """True once a backward has freed its buffers."""
    nodes: int
    edges: int
    """Exact counts of autograd nodes and of edges between them."""
    reach: tuple[Reach, ...]
    note: str = ""
    graph: int = 0
    """`GraphChoice.id` of the graph shown."""
    choices: tuple[GraphChoice, ...] = ()
    marks: tuple[tuple[str, int], ...] = ()
    """How many parameters have each of MARKS; those that none has are left out."""
    found: int | None = None
    """Position (among the visible rows) of what `GetGraph.seek` asked for; None: not asked, or there is none."""
    flows: str = ""
    """Why rows have no `flow`, one line; empty where they do."""
    unmeasured: bool = False
    """Whether bytes are still to be measured: asked for with `GetGraph.measure`."""


@dataclass(frozen=True)
class GraphEdges:
    """A page of the edges between visible rows, for drawing the graph elsewhere."""

    offset: int
    total: int
    edges: tuple[tuple[int, int, int], ...]
    """(`index` of the row nearer to the loss, `index` of the other, edges of the graph that this stands for)."""


@dataclass(frozen=True)
class GraphPath:
    """How the root leads to one row: names, the root first."""

    names: tuple[str, ...]
    left_out: int
    """Names left out in the middle, where the path is longer than can be read."""


@dataclass(frozen=True)
class Watching:
    """What is recorded about graphs beyond what is there to be read."""

    gradients: bool
    """Gradients are noted at each module call, by hooks that a BACKWARD phase puts in and takes out again."""
    stacks: bool
    """Nodes are made with the stack of the line that made them (as `detect_anomaly` does, without its checks)."""
    note: str = ""
    chain: str = ""
    """Name of the parameter whose chain is watched node by node, while gradients are; empty: none."""
