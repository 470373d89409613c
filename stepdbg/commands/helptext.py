"""Help in words, written from the registry: of all commands, or of one."""

from __future__ import annotations

from itertools import groupby

from stepdbg.commands.command import Command
from stepdbg.commands.info import TOPICS


def all_commands(commands: tuple[Command, ...], width: int = 100) -> list[str]:
    """Every command with its one line, by groups."""
    del width
    made = []
    for group, members in groupby(commands, key=lambda command: command.group):
        made.append(f"{group}:")
        made += [f"  {command.usage:<22}{command.help}" for command in members]
    return made


def one_command(command: Command) -> list[str]:
    """How it is written, what it does, its argument and its other words."""
    made = [command.usage, f"  {command.help}"]
    if command.argument is not None:
        argument = command.argument
        choices = f": {', '.join(argument.choices)}" if argument.choices else ""
        kind = "choice" if argument.choices else argument.kind
        made.append(f"  {argument.name.upper()} ({kind}): {argument.help}{choices}")
    if command.name == "info":
        made += [f"  {name:<9}{topic.help}" for name, topic in TOPICS.items()]
    if command.aliases:
        made.append(f"  also: {', '.join(command.aliases)}")
    return made
