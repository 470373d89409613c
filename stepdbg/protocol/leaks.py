"""What the script keeps alive from earlier iterations, and by which name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

STEADY = 3
"""Iterations in a row that something must have grown in before it is a finding."""


class LeakKind(str, Enum):
    """What is kept."""

    GRAPH = "graph"
    """One tensor whose graph reaches back into earlier iterations: `total_loss += loss`."""
    LIST = "list"
    """A container of tensors of earlier iterations, each with its graph: `losses.append(loss)`."""
    RETAINED = "retained"
    """A graph that a backward left whole (`retain_graph=True`) and nothing has freed since."""
    TENSORS = "tensors"
    """Tensors without a graph, some more in each iteration: `cache.append(output.detach())`."""


@dataclass(frozen=True)
class Leak:
    """Something that is held, and by whom. Iterations count from 1; 0 for before they were noted."""

    kind: LeakKind
    name: str
    """What holds it, as it is written in the script: "total_loss", "self.history['loss']". Empty: not found."""
    where: str
    """In words: "list of 12", "tensor ()", "dict of 3"; where no name was found, what was found of its holders."""
    file: str = ""
    line: int | None = None
    """Where the script binds that name or adds to it; None: not found in the source."""
    text: str = ""
    """That line."""
    function: str = ""
    """In which function the name is a variable; empty: of a module, or an attribute."""
    count: int = 1
    """Tensors held: of those that were found."""
    first: int = 0
    last: int = 0
    """Oldest and newest iteration of what is held."""
    iterations: int = 0
    """How many iterations' worth is held."""
    nodes: int = 0
    """Graph nodes that only this keeps, or this as well as something newer."""
    nbytes: int = 0
    """Of the storages of the tensors themselves, without parameters and buffers."""
    saved: int | None = None
    """Of what those nodes have saved for backward, beyond `nbytes`; None: cannot be told."""
    growing: bool = False
    """Whether it grew in each of the last three iterations: then it is a finding."""
    note: str = ""
    """Why it is none, or what is not known."""


@dataclass(frozen=True)
class LeakReport:
    """What was found at one stop."""

    stop: int
    iteration: int
    leaks: tuple[Leak, ...]
    """Findings first, then what is held but did not grow steadily."""
    since: int
    """Iteration in which the watching of live tensors began."""
    samples: int
    """Iterations at whose start live tensors were counted since."""
    tensors: int
    """The script's tensors that are alive now and known to Python."""
    counts: tuple[tuple[int, int], ...] = ()
    """(iteration, live tensors at its start), oldest first; the last ones."""
    free: bool = False
    """Whether a free run is watched too."""
    complete: bool = True
    """False: the time limit ended the search."""
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class GetLeaks:
    """What is kept alive from earlier iterations. The first one begins the watching of live tensors.

    Cost: one look at every object that Python's garbage collector knows (10–30 ms), a walk over the graphs alive, and
    only where something is older than the last iteration, a few more such looks for who refers to it, until `seconds`
    are over. From then on, while stepping, one look at the start of each iteration. With `free` a free run is watched
    too, for at most a twentieth of its time. Holds nothing, and collects nothing.
    """

    RESULT: ClassVar[type[Any]] = LeakReport
    id: int
    seconds: float = 2.0
    free: bool | None = None
    """Whether to watch a free run too from here on; None: as before."""
    off: bool = False
    """Watch no more."""
