"""Which formats there are: the suffix of a file's name decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from stepdbg.errors import UsageError
from stepdbg.export.as_dot import DotWriter
from stepdbg.export.as_json import JsonWriter
from stepdbg.export.as_mermaid import MarkdownWriter, MermaidWriter
from stepdbg.export.writer import Writer

MERMAID = 500, 50_000
"""Its defaults of `maxEdges` and `maxTextSize`, which a file cannot raise by itself."""


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    name: str
    suffixes: tuple[str, ...]
    writer: type[Writer]
    limits: tuple[int, int] | None = None
    """Edges and characters that what draws it takes at most, as it comes; None: any number."""

    def remark(self, edges: int, characters: int) -> str:
        """What to say of a file of that size, empty for nothing."""
        if self.limits is None or (edges <= self.limits[0] and characters <= self.limits[1]):
            return ""
        return f"more than Mermaid draws as it comes, {self.limits[0]:,} edges and {self.limits[1]:,} characters"


FORMATS = (
    Format("Graphviz DOT", (".dot", ".gv"), DotWriter),
    Format("Mermaid", (".mmd", ".mermaid"), MermaidWriter, limits=MERMAID),
    Format("Mermaid in Markdown", (".md",), MarkdownWriter, limits=MERMAID),
    Format("JSON", (".json",), JsonWriter),
)

SUFFIXES: dict[str, Format] = {suffix: each for each in FORMATS for suffix in each.suffixes}


def format_of(name: str) -> Format:
    """The format that the suffix of that file name stands for. Raises UsageError naming those there are."""
    suffix = PurePath(name).suffix.lower()
    found = SUFFIXES.get(suffix)
    if found is None:
        stem = PurePath(name).stem.strip(".") or "graph"
        wrong = f"no format for {suffix}" if suffix else f"{name!r} needs a suffix"
        raise UsageError(f"{wrong}: {stem}.dot, {stem}.mmd, {stem}.md or {stem}.json")
    return found


def suggestions(name: str) -> list[str]:
    """What a file name that has been begun may become."""
    path = PurePath(name)
    if name and not name.endswith("/") and path.suffix.lower() in SUFFIXES:
        return [name]
    stem, dot, begun = name.rpartition(".")
    if not dot or "/" in begun:
        stem, begun = name, ""
    folder = not stem or stem.endswith("/")
    return [f"{stem}{'graph' if folder else ''}{suffix}" for suffix in SUFFIXES if suffix.startswith(f".{begun}")]
