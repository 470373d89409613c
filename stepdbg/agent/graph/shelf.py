"""Which graphs there are: those behind the tensors that are alive, and those recorded in the last iterations."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from stepdbg.agent.graph.record import GraphRecord, Span
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.naming import Names
from stepdbg.protocol.graph import GraphChoice

MOST = 24
"""Graphs offered, at most."""

MOST_NODES = 300_000
"""Nodes of all recorded graphs together, at most: older records are dropped first."""

MOST_SPANS = 20_000
"""Module calls looked through for the one that made an output, at most."""


@dataclass
class Entry:
    """One graph: its roots, weakly, and its record once it has been walked."""

    id: int
    kind: str
    refs: list[weakref.ref[Tensor]]
    detail: str
    iteration: int
    of: str = ""
    """What it is the output or the gradient of."""
    variable: str = ""
    """The user's name for the root; empty where it has none, or is called as its kind."""
    record: GraphRecord | None = None
    freed: bool = False
    """As last known."""

    def roots(self) -> list[Tensor]:
        """The root tensors that are alive and have a graph."""
        return [t for ref in self.refs if (t := ref()) is not None and t.grad_fn is not None]

    @property
    def name(self) -> str:
        """What the first row says: "loss", or the user's name for it; "output of netG"."""
        if len(self.refs) > 1:
            return f"{len(self.refs)} roots"
        if self.kind == "loss":
            return self.variable or self.kind
        return f"{self.kind} of {self.of}" if self.of else self.kind

    @property
    def title(self) -> str:
        """What it is called among others: "loss lossD BCELoss"."""
        kind = self.kind if self.name == self.variable else ""
        return " ".join(part for part in (kind, self.name, self.detail) if part)

    def choice(self) -> GraphChoice:
        """As one of those to choose from."""
        record = self.record
        return GraphChoice(
            id=self.id,
            kind=self.kind,
            title=self.title,
            iteration=self.iteration,
            recorded_at=record.stop if record else None,
            freed=self.freed,
            nodes=record.count if record else None,
            alive=bool(self.roots()),
        )


@dataclass
class Shelf:
    """All graphs known, oldest first. Lives as long as the session; holds no tensor and no node."""

    entries: list[Entry] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def find(self, roots: Sequence[Tensor]) -> Entry | None:
        """The entry of exactly these roots."""
        for entry in reversed(self.entries):
            if len(entry.refs) == len(roots) and all(r() is t for r, t in zip(entry.refs, roots, strict=True)):
                return entry
        return None

    def by_id(self, number: int) -> Entry | None:
        """The entry of that number, if it is still there."""
        return next((entry for entry in self.entries if entry.id == number), None)

    def add(self, kind: str, roots: Sequence[Tensor], detail: str, iteration: int, of: str = "") -> Entry:
        """The entry of these roots, made if there is none."""
        known = self.find(roots)
        if known is None:
            known = Entry(next(self._ids), kind, [weakref.ref(t) for t in roots], detail, iteration, of)
            self.entries.append(known)
        elif kind == "loss":
            known.kind, known.detail, known.of = kind, detail or known.detail, ""
        elif of and known.kind == kind:
            known.of = of
        return known

    def tidy(self, iteration: int) -> None:
        """Drop what is of no use any more: dead roots without a record, records of older iterations, and too many."""
        kept: list[Entry] = []
        nodes = 0
        newest = max((e.iteration for e in self.entries if e.record is not None), default=iteration)
        for entry in reversed(self.entries):
            record = entry.record
            alive = any(ref() is not None for ref in entry.refs)
            recent = record is not None and entry.iteration >= min(iteration - 1, newest)
            # What made of an output a loss has its graph in it: nobody can come back to one that is gone.
            recent = recent and not (entry.kind == "output" and kept and not alive)
            if not (alive or recent) or len(kept) >= MOST:
                continue
            if record is not None:
                nodes += record.count
                if nodes > MOST_NODES and kept:
                    entry.record = None
                    if not alive:
                        continue
            kept.append(entry)
        self.entries = kept[::-1]


def gather(shelf: Shelf, watch: LossWatch, names: Names, spans: Sequence[Span], iteration: int) -> Entry | None:
    """Put every graph on the shelf that can be found at this stop. Returns the newest root's.

    The newest: what the backward about to run starts from, else the loss or output that was made last.
    """
    first: Entry | None = None
    roots = [t for ref in watch.roots if (t := ref()) is not None and t.grad_fn is not None]
    seen = watch.seen
    loss = seen.ref() if seen is not None else None
    made = {id(gradient): of for ref, of in watch.gradients if (gradient := ref()) is not None}
    for ref in watch.outputs:
        output = ref()
        if output is None or output.grad_fn is None:
            continue
        if output is loss and seen is not None:
            kind = "loss" if output.numel() == 1 else "output"
            first = shelf.add(
                kind, [output], seen.name, iteration, "" if kind == "loss" else _maker(output, names, spans)
            )
        elif id(output) in made:
            first = shelf.add("gradient", [output], "", iteration, _label(made[id(output)], names))
        else:
            first = shelf.add("output", [output], "", iteration, _maker(output, names, spans))
    if len(roots) > 1 and any(root is loss for root in roots):
        first = shelf.add("loss", roots, "", iteration)
    for entry in shelf.entries:
        root = entry.refs[0]()
        variable = names.labels.get(id(root), "") if root is not None else ""
        if variable and variable != entry.kind:
            entry.variable = variable
    for named in names.parameters:
        grad = named.tensor.grad
        if grad is not None and grad.grad_fn is not None and len(shelf.entries) < MOST:
            shelf.add("gradient", [grad], "", iteration, named.shown)
    return first


def _label(ref: weakref.ref[Tensor] | None, names: Names) -> str:
    tensor = ref() if ref is not None else None
    if tensor is None:
        return "an input"
    named = names.by_id().get(id(tensor))
    return named.shown if named else names.labels.get(id(tensor), "an input")


def _maker(output: Tensor, names: Names, spans: Sequence[Span]) -> str:
    """The outermost module call that made `output`, by its number; empty where none is known."""
    node = output.grad_fn
    if node is None or len(spans) > MOST_SPANS:
        return ""
    number = node._sequence_nr()
    around: Iterable[Span] = (span for span in spans if span[0] <= number < span[1])
    # Noted when they ended: of several around it the last is the outermost.
    outermost = max(around, key=lambda span: span[1] - span[0], default=None)
    return names.paths.get(outermost[2], ("", ""))[0] if outermost is not None else ""
