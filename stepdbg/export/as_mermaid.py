"""A graph for Mermaid: what GitHub, GitLab and many editors draw where it stands in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from stepdbg.export.drawing import Drawing, clean
from stepdbg.export.writer import Edge
from stepdbg.protocol.graph import GraphRow

SHAPES = {
    "loss": ("([", "])"),
    "module": ("[", "]"),
    "op": ("(", ")"),
    "parameter": ("[(", ")]"),
    "tensor": ("((", "))"),
    "unreached": ("[(", ")]"),
    "reference": (">", "]"),
}
"""Brackets by kind."""

CLASSES = """\
  classDef loss fill:#dcebf2,stroke:#00607a,stroke-width:2px,color:#22282f
  classDef module fill:#eceff3,stroke:#8a94a0,color:#22282f
  classDef op fill:#ffffff,stroke:#8a94a0,color:#22282f
  classDef parameter fill:#dff0df,stroke:#2e6b34,color:#22282f
  classDef tensor fill:#f4f4f4,stroke:#8a94a0,color:#22282f
  classDef unreached fill:#fbfaf7,stroke:#8a94a0,stroke-dasharray:4,color:#5a6168
  classDef reference fill:#fbfaf7,stroke:#c3beb3,color:#5a6168
"""

_MEANT = re.compile(
    r"[^\w .,:/()×·↑→=+-]|style|classDef|(?<=\d)[.](?= )|:(?=fa-)|(?<![^\W_])_|_(?![^\W_])|^[-+=:]", re.IGNORECASE
)
"""What Mermaid may take for something else than text, even inside quotes: quotes, brackets, entities (`#`, `;`, `&`),
HTML, Markdown (`*`, backticks, `_` around words, "1. "), icons (`fa:fa-x`), and lines with `style` or `classDef`, which
it rewrites before it parses.
"""


class MermaidWriter(Drawing):
    """One `flowchart`, a `subgraph` for each unfolded module. Ids are a letter and `GraphRow.index`, so that none is a
    word of the language (`end`) and no arrow grows a head from one that begins with o or x.
    """

    def begin(self) -> str:
        # A string of JSON is one of YAML; a fence of Markdown around all this must not end in it.
        title = json.dumps(clean(" · ".join(self.caption()))).replace("`", "\\u0060")
        return f"---\ntitle: {title}\n---\nflowchart TD\n{CLASSES}"

    def _enter(self, row: GraphRow, lines: list[str], inside: str) -> str:
        return f"{inside}subgraph g{row.index} [{quoted(lines)}]\n"

    def _exit(self, inside: str) -> str:
        return f"{inside}end\n"

    def _node(self, row: GraphRow, lines: list[str], inside: str) -> str:
        kind = row.kind if row.kind in SHAPES else "reference"
        left, right = SHAPES[kind]
        return f"{inside}n{row.index}{left}{quoted(lines)}{right}:::{kind}\n"

    def _edge(self, edge: Edge) -> str:
        nearer, other, count = edge
        arrow = f"-->|{quoted([f'×{count}'])}|" if count > 1 else "-->"
        return f"  n{nearer} {arrow} n{other}\n"


class MarkdownWriter(MermaidWriter):
    """The same in a fenced block."""

    def begin(self) -> str:
        return f"```mermaid\n{super().begin()}"

    def end(self) -> Iterator[str]:
        yield from super().end()
        yield "```\n"


def quoted(lines: Iterable[str]) -> str:
    """A quoted string of Mermaid that reads as these lines."""
    return '"' + "<br/>".join(_MEANT.sub(_coded, clean(line).strip()) or " " for line in lines) + '"'


def _coded(found: re.Match[str]) -> str:
    """The first character as its number, which also takes a word apart that the rest is part of."""
    text = found[0]
    return f"#{ord(text[0])};{text[1:]}"
