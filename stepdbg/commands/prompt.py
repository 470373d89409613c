"""Commands as words: reading a line of the `:` prompt, and completing one. No I/O."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from stepdbg.client.store import View
from stepdbg.commands.command import Command
from stepdbg.commands.registry import BY_NAME, COMMANDS
from stepdbg.errors import UsageError

FEW = 5
"""Choices that are listed in a line."""

_WORDS: dict[str, Command] = {word: command for command in COMMANDS for word in (command.name, *command.aliases)}


@dataclass(frozen=True)
class Parsed:
    """A line that can be run."""

    command: Command
    argument: str


def parse(line: str) -> Parsed:
    """The command that `line` names, by its name, an alias, or the beginning of one name only (as in gdb).

    Raises UsageError with one line that names the nearest right form, and nothing else whatever `line` is.
    """
    try:
        return _read(line)
    except UsageError as error:
        lines = str(error).splitlines()
        if len(lines) < 2:
            raise
        raise UsageError(" ".join(lines)) from None  # something pasted has line ends in it


def _read(line: str) -> Parsed:
    word, rest = _split(line.strip().removeprefix(":").strip())
    command = find(word)
    argument = rest.strip()
    if command.argument is None:
        if argument:
            instead = f": did you mean which {argument}?" if command.name == "graph" and argument.isdecimal() else ""
            raise UsageError(f"{command.name} takes no argument, so not {argument!r}{instead}")
        return Parsed(command, "")
    if not argument:
        if command.argument.required:
            choices = command.argument.choices
            form = _listed(list(choices)) if 0 < len(choices) <= FEW else command.usage
            if command.argument.name == "topic" and command.argument.suggest is not None:
                form = f"{form}, one of {', '.join(command.argument.suggest(''))}"
            raise UsageError(f"{command.name} needs one argument: {form}")
        return Parsed(command, "")
    return Parsed(command, _checked(command, argument))


def _split(line: str) -> tuple[str, str]:
    """The word of a command and the rest: `!x = 3` needs no blank."""
    if line.startswith("!"):
        return "!", line[1:]
    word, _, rest = line.partition(" ")
    return word, rest


def find(word: str) -> Command:
    """The command of that name, alias or unique beginning. Raises UsageError naming the nearest one."""
    if not word:
        raise UsageError("type the name of a command, ? lists them")
    if word in _WORDS:
        return _WORDS[word]
    if word.endswith("!"):
        plain = find(word[:-1])
        raise UsageError(f"there is no {plain.name}!, only {plain.usage}")
    # What `export!` does is only done when it is written out.
    matches = [command.name for command in COMMANDS if command.name.startswith(word) and command.name[-1] != "!"]
    if len(matches) == 1:
        return BY_NAME[matches[0]]
    if matches:
        raise UsageError(f"{word!r} could be {_listed(matches)}")
    near = difflib.get_close_matches(word.lower(), _WORDS, n=1, cutoff=0.6)
    if near:
        name = _WORDS[near[0]].name
        # One letter for another command is no likely slip, and an alias says nothing without its command.
        meant = name if near[0] == name or len(near[0]) < 3 else f"{near[0]} ({name})"
        raise UsageError(f"no command {word!r}: did you mean {meant}?")
    raise UsageError(f"no command {word!r}: ? lists all commands")


def complete(line: str, view: View | None = None) -> list[str]:
    """Whole lines that `line` may become: names of commands, or of their argument's choices, with what `view` shows."""
    line = line.lstrip()
    if asks(line) is not None:
        return []  # the agent knows what there is
    word, space, rest = line.partition(" ")
    if not space:
        return [command.name for command in COMMANDS if command.name.startswith(word)]
    command = _WORDS.get(word)
    if command is None or command.argument is None:
        return []
    if command.argument.suggest_in is not None:
        texts = command.argument.suggest_in(rest.lstrip(), view) if view is not None else ()
        return [f"{word} {text}" for text in texts]
    if command.argument.suggest is not None:
        return [f"{word} {text}" for text in command.argument.suggest(rest.lstrip())]
    choices = command.argument.choices or (tuple(BY_NAME) if command.argument.name == "command" else ())
    return [f"{word} {choice}" for choice in choices if choice.startswith(rest.lstrip())]


def asks(line: str) -> tuple[str, str] | None:
    """Where the argument of `line` is completed from the frame's names: what stands before it, and it. None: not."""
    line = line.lstrip().removeprefix(":").lstrip()
    word, rest = _split(line)
    command = _WORDS.get(word)
    if command is None or command.argument is None or command.argument.kind not in ("expression", "statement"):
        return None
    if word != "!" and line == word:
        return None
    text = rest.lstrip()
    return line[: len(line) - len(text)], text


def _checked(command: Command, text: str) -> str:
    argument = command.argument
    if argument is None or argument.check is not None:
        if argument is not None and argument.check is not None:
            argument.check(text)
        return text
    words = {**{choice: choice for choice in argument.choices}, **argument.also}
    if not argument.choices or text in words:
        return words.get(text, text)
    starting = {choice for word, choice in words.items() if word.startswith(text)}
    if len(starting) == 1:
        return starting.pop()
    near = difflib.get_close_matches(text, words, n=1, cutoff=0.4)
    hint = f"did you mean {words[near[0]]}?" if near else f"one of {', '.join(argument.choices)}"
    raise UsageError(f"{command.name}: no {text!r}, {hint}")


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
