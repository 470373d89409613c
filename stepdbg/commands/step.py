"""The command that explains an optimizer's step."""

from __future__ import annotations

import re

from stepdbg.client.store import View
from stepdbg.commands.available import needs_stop
from stepdbg.commands.command import Argument, Command, Host
from stepdbg.errors import UsageError

_INDEXED = re.compile(r"(?P<name>.*?[^\s\[])\s*\[(?P<index>[^\[\]]*)\]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def element(text: str) -> tuple[str, tuple[int, ...] | None]:
    """The name and index in "net.0.weight[0, 0]"; None where there is no index.

    Raises UsageError in one line with the right form.
    """
    text = text.strip()
    if "[" not in text and "]" not in text:
        if " " in text:
            raise UsageError(f"explain: {text!r} is no parameter: write explain net.0.weight[0, 0]")
        return text, None
    match = _INDEXED.fullmatch(text)
    if match is None:
        if re.fullmatch(r".*\]\.[\w.]+", text):
            return text, None  # nets[0].weight
        raise UsageError(f"explain: {text!r} is no element: write explain net.0.weight[0, 0]")
    parts = [part.strip() for part in match["index"].split(",")]
    if parts[-1] == "" and len(parts) > 1:
        del parts[-1]
    if parts == [""]:
        return match["name"], ()
    for part in parts:
        if not _NUMBER.fullmatch(part):
            raise UsageError(f"explain: {part!r} in [{match['index']}] is no number: write {match['name']}[0, 0]")
    return match["name"], tuple(int(part) for part in parts)


def needs_a_stop_on_screen(view: View) -> str | None:
    """There is a stop to explain something at, the present one or an earlier one."""
    return None if view.history else needs_stop(view)


def _explain(host: Host, argument: str) -> None:
    name, index = element(argument) if argument else ("", None)
    host.step.explain(name, index)


STEP = (
    Command(
        "explain",
        "Step",
        "Explain what the optimizer's step does to one element: name[index].",
        _explain,
        keys=("e",),
        aliases=("why",),
        argument=Argument("element", "like net.0.weight[0, 0]", required=False, check=element),
        available=needs_a_stop_on_screen,
        footer="explain",
    ),
)
