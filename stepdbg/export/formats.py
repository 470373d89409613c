"""Which formats there are: the suffix of a file's name decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from stepdbg.errors import UsageError
from stepdbg.export.as_dot import DotWriter
from stepdbg.export.as_json import JsonWriter
from stepdbg.export.as_mermaid import MarkdownWriter, MermaidWriter
from stepdbg.export.writer import Writer


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    name: str
    suffixes: tuple[str, ...]
    writer: type[Writer]
    draws: int | None = None
    """Edges that what draws it takes at most, as it comes; None: any number."""


FORMATS = (
    Format("Graphviz DOT", (".dot", ".gv"), DotWriter),
    Format("Mermaid", (".mmd", ".mermaid"), MermaidWriter, draws=500),
    Format("Mermaid in Markdown", (".md",), MarkdownWriter, draws=500),
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
