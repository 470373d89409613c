"""How the user looks at graphs: the lens, what each view has folded, and places that are being sought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stepdbg.client.store import GraphTree
from stepdbg.protocol.graph import GraphView, Lens
from stepdbg.protocol.inside import Grain, Place

OTHER = {GraphView.MODULES: GraphView.RAW, GraphView.RAW: GraphView.MODULES}


@dataclass(frozen=True)
class Seek:
    """A place that is asked for, while the answer has not come."""

    where: str
    """As in `GetGraph.seek`."""
    missing: str = ""
    """What to tell the user if there is no such place; empty: nothing."""
    began: int | None = None
    """Index of the row that a jump came from."""
    by_user: bool = False
    """Whether the user moved the cursor there: what it comes to is selected then."""
    count: int = 0
    failed: Mapping[str, str] | None = None
    """What had failed before it was asked."""

    @property
    def stays(self) -> bool:
        """Whether the cursor stays where it is if there is no such place."""
        return self.where.startswith(("parameter:", "node:", "module:"))


class Places:
    """What is sought now, and where the jumps began that can be gone back."""

    def __init__(self) -> None:
        self.sought: Seek | None = None
        self.jumps: list[int] = []
        """Rows (by index) where jumps began."""
        self._started = 0

    def start(self, seek: Seek, count: int, failed: Mapping[str, str] | None) -> None:
        """Seek that from now on, with `count` rows. `failed`: what has failed so far."""
        # Two seeks of the same place are two questions: the count tells them apart.
        self._started += 1
        self.sought = replace(seek, count=count + self._started % 2, failed=failed)

    def arrived(self, tree: GraphTree, lens: Lens) -> Seek | None:
        """What was sought, where `tree` is the answer to it; then it is no more."""
        seek = self.sought
        if seek is None or tree.seek != seek.where or tree.lens != lens:
            return None
        self.sought = None
        if tree.page.found is not None and seek.began is not None:
            self.jumps.append(seek.began)
        return seek

    def give_up(self, failed: Mapping[str, str], failure: str) -> None:
        """Seek nothing any more, where it has failed since it was asked for."""
        if self.sought is not None and failure and failed is not self.sought.failed:
            self.sought = None


def row_of(place: Place | None) -> str:
    """Where in the graph a place inside a phase is, as `GetGraph.seek`; empty: nowhere."""
    if place is None:
        return ""
    if place.parameter:
        return f"parameter:{place.parameter}"
    if place.grain is Grain.NODE:
        return f"node:{place.seq}" if place.seq is not None else ""
    return f"module:{place.name}" if place.grain is Grain.MODULE else ""


class Look:
    """The lens, and how it changes."""

    def __init__(self) -> None:
        self.lens = Lens()
        self._other: tuple[int, tuple[tuple[int, int], ...]] = 1, ()
        """Base and levels of the view that is not shown."""
        self._graph: tuple[int, int, str] | None = None
        """Nodes, edges and root of the graph that was folded."""

    def select(self, name: str) -> None:
        """Light the paths of that parameter."""
        self.lens = replace(self.lens, selected=name)

    def search(self, pattern: str) -> None:
        """Only rows that match."""
        self.lens = replace(self.lens, pattern=pattern)

    def level(self, index: int, level: int) -> None:
        """Fold or unfold one row."""
        levels = {**dict(self.lens.levels), index: level}
        if level == self.lens.base:
            del levels[index]
        self.lens = replace(self.lens, levels=tuple(sorted(levels.items())))

    def base(self, level: int) -> None:
        """Fold or unfold every row."""
        self.lens = replace(self.lens, base=level, levels=())

    def other_view(self) -> None:
        """By module, or node by node: each as it was left."""
        base, levels = self._other
        self._other = self.lens.base, self.lens.levels
        self.lens = replace(self.lens, view=OTHER[self.lens.view], base=base, levels=levels)

    def enter(self, graph: int) -> None:
        """Another graph, as first shown."""
        self._other, self._graph = (1, ()), None
        self.lens = replace(self.lens, graph=graph, base=1, levels=())

    def newest(self) -> None:
        """The newest graph, where a chosen one cannot be shown."""
        if self.lens.graph:
            self.enter(0)

    def fit(self, tree: GraphTree) -> bool:
        """Let go of what does not fit the graph that is there now: a choice that is gone, rows of another build.

        False: rows that were known by their index are others now.
        """
        page, lens = tree.page, self.lens
        if lens.graph and tree.lens.graph == lens.graph and all(c.id != lens.graph for c in page.choices):
            self.enter(0)
            return False
        if page.recorded_at is not None and tree.lens.graph == lens.graph:
            graph = page.nodes, page.edges, page.root_op
            same = self._graph in (None, graph)
            if not same:
                self._other = self._other[0], ()
                self.lens = replace(lens, levels=())
            self._graph = graph
            return same
        return True
