"""Going into phases and out of them, and running until a place."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from stepdbg.client.store import View
from stepdbg.commands.available import needs_next
from stepdbg.commands.command import Argument, Command
from stepdbg.commands.running import TIMES, resume
from stepdbg.commands.suggesting import module_names, parameter_names
from stepdbg.protocol.messages import Action
from stepdbg.protocol.records import Phase


def suggest(text: str, view: View) -> Iterable[str]:
    """Phases, and the modules and parameters on screen, that begin so."""
    recorded = view.looking_at
    names = [phase.value for phase in Phase]
    if recorded is not None and recorded.graph is not None:
        names += [row.name for _, row in sorted(recorded.graph.rows.items()) if row.kind in ("module", "op")]
    names += [*module_names(view), *parameter_names(view)]
    return [name for name in dict.fromkeys(names) if name.startswith(text)]


INSIDE = (
    Command(
        "step",
        "Run",
        "Go into what is next: a phase, then a module: what it calls and does itself; as next where nothing is inside.",
        partial(resume, Action.INTO),
        keys=("s",),
        aliases=("s", "into"),
        argument=TIMES,
        available=needs_next,
        footer="in",
    ),
    Command(
        "out",
        "Run",
        "Run to the end of the module around this place; else to the end of the phase.",
        partial(resume, Action.OUT),
        keys=("o",),
        aliases=("o", "finish"),
        argument=TIMES,
        available=needs_next,
        footer="out",
    ),
    Command(
        "until",
        "Run",
        "Run until a phase, module, op, node, parameter or line; no word: what is selected in the pane.",
        lambda host, argument: host.inside.until(argument),
        keys=("u",),
        aliases=("u", "unt", "advance"),
        argument=Argument("place", "step, net.2, addmm, net.2.weight, train.py:31", required=False, suggest_in=suggest),
        available=needs_next,
    ),
)
