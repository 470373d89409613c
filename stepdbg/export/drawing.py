"""What the two drawings (DOT, Mermaid) have in common: which rows are nodes, which are groups, and what they say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

from stepdbg.export.writer import Edge, Writer
from stepdbg.protocol.graph import GraphPage, GraphRow, Lens

DRAWN = frozenset({"loss", "module", "op", "parameter", "tensor", "unreached"})
"""Kinds of rows that are nodes. References are where an edge leads to them; headings are in the caption."""

GROUPS = frozenset({"module", "reach"})
"""Kinds of rows that hold what is below them. A raw graph is 50,000 deep, and its depth groups nothing."""

REACHES = 12
"""Root modules and optimizers named in the caption, at most."""


class Drawing(Writer):
    """Goes through the rows once, with a stack of the groups that are open: no recursion."""

    def __init__(self, page: GraphPage, lens: Lens, edges: Iterable[Edge]) -> None:
        super().__init__(page, lens, edges)
        self._ends = {end for edge in self._edges for end in edge[:2]}
        self._open: list[int] = []
        """Depths of the groups around the next row."""
        self._held: GraphRow | None = None
        """The last row: it is a group if the next one is below it."""
        self._cause = ""
        """Why nothing in the last group is reached, if that is so."""

    def rows(self, rows: Iterable[GraphRow]) -> str:
        lines: list[str] = []
        for row in rows:
            if self._held is not None:
                lines += self._row(self._held, row.depth)
            self._held = row
        return "".join(lines)

    def end(self) -> Iterator[str]:
        if self._held is not None:
            yield "".join(self._row(self._held, 0))
            self._held = None
        yield "".join(self._leave(0))
        yield from self._edge_pieces()

    def _row(self, row: GraphRow, next_depth: int) -> Iterator[str]:
        yield from self._leave(row.depth)
        inside = "  " * (len(self._open) + 1)
        if row.kind in GROUPS and next_depth > row.depth:
            self._cause = row.cause
            name = " ".join(part for part in (row.name, row.detail) if part)
            yield self._enter(row, [name, *(part for part in (_output(row), row.cause) if part)], inside)
            self._open.append(row.depth)
            if row.index in self._ends:
                # What the module itself computes between the modules inside it.
                self.nodes += 1
                yield self._node(row, [part for part in (row.name, row.detail) if part], inside + "  ")
        elif row.kind in DRAWN or row.index in self._ends:
            self.nodes += 1
            cause = [row.cause] if row.cause not in ("", self._cause) else []
            yield self._node(row, [*label(row), *cause], inside)

    def _leave(self, depth: int) -> Iterator[str]:
        while self._open and self._open[-1] >= depth:
            self._open.pop()
            yield self._exit("  " * (len(self._open) + 1))

    @abstractmethod
    def _enter(self, row: GraphRow, lines: list[str], inside: str) -> str:
        """The opening of a group under this title, `inside` as far to the right as the groups around it want."""

    @abstractmethod
    def _exit(self, inside: str) -> str:
        """Its closing line."""

    @abstractmethod
    def _node(self, row: GraphRow, lines: list[str], inside: str) -> str:
        """The line of one node."""

    def caption(self) -> list[str]:
        """What this is a picture of, in a few lines."""
        page = self.page
        choice = next((choice for choice in page.choices if choice.id == page.graph), None)
        what = choice.title if choice is not None else page.root
        counts = f"{_plural(page.nodes, 'node')}, {_plural(page.edges, 'edge')}"
        freed = ", freed by backward" if page.freed else ""
        lines = [f"{what}: {counts}{freed} (by {self.lens.view.value})"]
        if self.lens.pattern:
            lines.append(f"only what matches {self.lens.pattern}")
        reaches = [f"{r.name} {r.reached} of {r.total}" + (f" ({r.cause})" if r.cause else "") for r in page.reach]
        more = len(reaches) - REACHES
        if reaches:
            lines.append(f"reaches {' · '.join(reaches[:REACHES])}" + (f" and {more:,} more" if more > 0 else ""))
        return lines


def label(row: GraphRow) -> list[str]:
    """The lines of a node: name, what it is, what it put out and keeps, what is special."""
    name = f"↑ {row.title}" if row.kind == "reference" else row.title
    marks = ", ".join(mark for mark in row.marks if mark not in ("reached", row.kind))
    return [line for line in (name, row.detail, _output(row), marks) if line]


def _output(row: GraphRow) -> str:
    shape = "" if row.shape is None else "×".join(map(str, row.shape)) or "scalar"
    output = " ".join(part for part in (shape, row.dtype) if part)
    kept = f"{byte_count(row.nbytes)} {'freed' if row.freed else 'kept'}" if row.nbytes else ""
    return " · ".join(part for part in (output, kept) if part)


def byte_count(count: int) -> str:
    """With a binary unit: "128 B", "1.9 KiB"."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1023.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def clean(text: str) -> str:
    """`text` without what no file of text may hold: control characters, and halves of characters."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in text)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
