"""A graph for Graphviz: `dot -Tsvg graph.dot > graph.svg`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stepdbg.export.drawing import Drawing, clean
from stepdbg.export.writer import Edge
from stepdbg.protocol.graph import GraphRow

STYLES = {
    "loss": 'shape=box style="rounded,filled,bold" fillcolor="#dcebf2"',
    "module": 'shape=box style="filled" fillcolor="#eceff3"',
    "op": 'shape=box style="rounded,filled" fillcolor="#ffffff"',
    "parameter": 'shape=ellipse style="filled" fillcolor="#dff0df"',
    "tensor": 'shape=ellipse style="filled" fillcolor="#f4f4f4"',
    "unreached": 'shape=ellipse style="dashed" fontcolor="#5a6168"',
    "reference": 'shape=plain fontcolor="#5a6168"',
}
"""By kind. A shape, a fill and the text tell the kinds apart: no two by colour alone."""

GROUP = 'style="rounded" color="#8a94a0" fontcolor="#3a4552"'
UNREACHED = 'style="rounded,dashed" color="#8a94a0" fontcolor="#5a6168"'


class DotWriter(Drawing):
    """One `digraph`, a `subgraph cluster_N` for each unfolded module; N and the `nN` of nodes are `GraphRow.index`."""

    def begin(self) -> str:
        return (
            "digraph stepdbg {\n"
            f"  graph [label={quoted(self.caption())} labelloc=t fontname=Helvetica fontsize=11];\n"
            "  node [fontname=Helvetica fontsize=10];\n"
            "  edge [fontname=Helvetica fontsize=9 arrowsize=0.6];\n"
        )

    def end(self) -> Iterator[str]:
        yield from super().end()
        yield "}\n"

    def _enter(self, row: GraphRow, lines: list[str], inside: str) -> str:
        style = UNREACHED if row.kind == "reach" else GROUP
        return f"{inside}subgraph cluster_{row.index} {{\n{inside}  label={quoted(lines)} {style}\n"

    def _exit(self, inside: str) -> str:
        return f"{inside}}}\n"

    def _node(self, row: GraphRow, lines: list[str], inside: str) -> str:
        style = STYLES.get(row.kind, STYLES["reference"])
        place = f" tooltip={quoted([f'{row.file}:{row.line}'])}" if row.file else ""
        lit = ' color="#00607a" penwidth=2' if row.lit else ""
        return f"{inside}n{row.index} [label={quoted(lines)} {style}{lit}{place}];\n"

    def _edge(self, edge: Edge) -> str:
        nearer, other, count = edge
        times = f" [label={quoted([f'×{count}'])}]" if count > 1 else ""
        return f"  n{nearer} -> n{other}{times};\n"


def quoted(lines: Iterable[str]) -> str:
    """A double-quoted string of DOT that reads as these lines.

    Graphviz gives meaning to backslashes (`\\N` is the node's name) and to `&entities;` in labels.
    """
    escaped = (clean(line).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"' + "\\n".join(escaped) + '"'
