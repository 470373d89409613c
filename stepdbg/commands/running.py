"""Running on, some number of times."""

from __future__ import annotations

from stepdbg.commands.command import Argument, Host
from stepdbg.errors import UsageError
from stepdbg.protocol.messages import Action

MOST_TIMES = 10_000


def read_times(text: str) -> int:
    """How many times; none said: once. Raises UsageError."""
    if not text:
        return 1
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= MOST_TIMES:
        raise UsageError(f"{text!r} is no count: a number from 1 to {MOST_TIMES:,}, as in next 3")
    return int(text)


TIMES = Argument("count", "how many times", required=False, check=read_times, kind="number")


def resume(action: Action, host: Host, argument: str) -> None:
    """Let the script go on, and again at each stop that is the end of a step."""
    host.resume_script(action, times=read_times(argument))
