"""The registry of commands: keys, palette, prompt and help are generated from it."""

from stepdbg.commands.command import Argument, Command, Host
from stepdbg.commands.prompt import Parsed, asks, complete, find, parse
from stepdbg.commands.registry import BY_NAME, COMMANDS, PANES, RESERVED_KEYS

__all__ = [
    "BY_NAME",
    "COMMANDS",
    "PANES",
    "RESERVED_KEYS",
    "Argument",
    "Command",
    "Host",
    "Parsed",
    "asks",
    "complete",
    "find",
    "parse",
]
