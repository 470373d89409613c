"""Files of commands: one a line, as at the prompt; `#` begins a remark. Read whole before anything is run."""

from __future__ import annotations

from pathlib import Path

from stepdbg.commands.prompt import Parsed, parse
from stepdbg.errors import UsageError


def lines_of(name: str) -> list[tuple[int, str]]:
    """The lines that are commands, with their numbers. Raises UsageError with one line."""
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, RuntimeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is no text in UTF-8"
        raise UsageError(f"cannot read {name}: {reason}") from None
    numbered = enumerate(text.splitlines(), 1)
    return [(number, line.strip()) for number, line in numbered if line.strip() and not line.strip().startswith("#")]


def read_commands(name: str) -> list[Parsed]:
    """The commands in it. Raises UsageError naming file and line of the first that cannot be read."""
    made = []
    for number, line in lines_of(name):
        try:
            made.append(parse(line))
        except UsageError as error:
            raise UsageError(f"{name}:{number}: {error}") from None
    return made
