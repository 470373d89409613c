"""What every format does alike: rows come in page by page, text goes out piece by piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from stepdbg.protocol.graph import GraphPage, GraphRow, Lens

Edge = tuple[int, int, int]
"""As in `GraphEdges`: `index` of the row nearer to the loss, `index` of the other, edges of the graph."""

PIECE = 500
"""Lines of text in one piece, about."""


class Writer(ABC):
    """Writes one graph: `begin`, `rows` for every page in order, `end`. The text is what these return, joined.

    `page` is any page of the graph, for its counts and what it is the graph of. All edges are known before the first
    row: which rows they lead to decides what is drawn.
    """

    def __init__(self, page: GraphPage, lens: Lens, edges: Iterable[Edge]) -> None:
        self.page = page
        self.lens = lens
        self._edges: Sequence[Edge] = sorted(edges)
        self.nodes = 0
        """Written so far."""

    @property
    def edges(self) -> int:
        """How many edges the file has."""
        return len(self._edges)

    @abstractmethod
    def begin(self) -> str:
        """What stands before the first row."""

    @abstractmethod
    def rows(self, rows: Iterable[GraphRow]) -> str:
        """The next rows, in the order of the tree."""

    @abstractmethod
    def end(self) -> Iterator[str]:
        """What follows the last row: the edges, in pieces."""

    def _edge_pieces(self) -> Iterator[str]:
        """The lines of all edges."""
        for start in range(0, len(self._edges), PIECE):
            yield "".join(self._edge(edge) for edge in self._edges[start : start + PIECE])

    @abstractmethod
    def _edge(self, edge: Edge) -> str:
        """The line of one edge."""


def exported(writer: Writer, rows: Iterable[GraphRow]) -> str:
    """The whole text at once."""
    return "".join([writer.begin(), writer.rows(rows), *writer.end()])
