"""The commands on graphs. Keys for these are the graph pane's own."""

from __future__ import annotations

from functools import partial

from stepdbg.commands.available import needs_graph, needs_live
from stepdbg.commands.command import Argument, Command, Host
from stepdbg.errors import UsageError
from stepdbg.export import format_of, suggestions

LEVELS = {"all": 0, "none": 2, "default": 1}
"""What `fold` takes, as `Lens.base`."""

_FILE = Argument("file", "a file: .dot, .mmd, .md or .json", check=format_of, suggest=suggestions)


def _number(text: str) -> None:
    if not text.isascii() or not text.isdecimal():
        raise UsageError(f"{text!r} is no number of a graph: which alone lists them")


def _export(replace: bool, host: Host, argument: str) -> None:
    host.graph.export(argument, replace=replace)


def _which(host: Host, argument: str) -> None:
    host.graph.choose(int(argument) if argument else None)


GRAPH = (
    Command(
        "view",
        "Graph",
        "Show the graph by modules or raw; no word: the other of the two.",
        lambda host, argument: host.graph.show_view(argument),
        aliases=("layout",),
        argument=Argument("what", "a view", ("modules", "raw"), required=False),
        available=needs_live,
    ),
    Command(
        "fold",
        "Graph",
        "Fold all, none, or what is folded by default.",
        lambda host, argument: host.graph.fold(LEVELS[argument]),
        argument=Argument("what", "how much", tuple(LEVELS)),
        available=needs_live,
    ),
    Command(
        "which",
        "Graph",
        "Look at the graph of that number; no number: choose from a list.",
        _which,
        aliases=("graphs",),
        argument=Argument("number", "number of a graph", required=False, check=_number),
        available=needs_graph,
    ),
    Command(
        "export",
        "Graph",
        "Write the graph as shown: .dot, .mmd, .md (Mermaid) or .json.",
        partial(_export, False),
        aliases=("save",),
        argument=_FILE,
        available=needs_graph,
    ),
    Command(
        "export!",
        "Graph",
        "The same, and replace the file if there is one.",
        partial(_export, True),
        argument=_FILE,
        available=needs_graph,
    ),
)
