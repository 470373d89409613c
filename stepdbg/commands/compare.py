"""The command that compares two stops, parameters, modules or files. Reading a line is pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stepdbg.client.store import View
from stepdbg.commands.available import needs_live
from stepdbg.commands.command import Argument, Command
from stepdbg.commands.suggesting import module_names, parameter_names
from stepdbg.errors import UsageError
from stepdbg.protocol.compare import GetDiff, Side, SideKind

FORM = "diff -3, diff 12, diff net net2, diff ckpt.pt"

FILES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl", ".tar")
"""How the names of files end; others are told by a `/`."""

NOW = Side(SideKind.NOW)

_WORD = re.compile(r""""([^"]*)"|'([^']*)'|((?:\[\s*(?:"[^"]*"|'[^']*')\s*\]|[^\s"'])+)""")


def read_diff(text: str) -> GetDiff:
    """What `diff TEXT` asks for. Raises UsageError with one line that says what is wrong."""
    words = _words(text)
    if not words:
        raise UsageError(f"diff needs something to compare: {FORM}")
    if len(words) > 2:
        raise UsageError(f"diff compares two, not {len(words)}: {FORM}; a file name with blanks goes in quotes")
    sides = [_side(word) for word in words]
    if len(sides) == 2:
        if sides[0] == sides[1]:
            raise UsageError(f"diff: {words[0]} is on both sides")
        return GetDiff(0, sides[0], sides[1])
    if sides[0].kind is SideKind.NAME:
        raise UsageError(
            f"diff {words[0]}: with what? As in: diff net net2, diff {words[0]} -1; a file has a suffix or a /"
        )
    if sides[0] == NOW:
        raise UsageError(f"diff now: with what? As in: {FORM}")
    return GetDiff(0, sides[0], NOW)


def _words(text: str) -> list[str]:
    words = []
    end = 0
    for found in _WORD.finditer(text):
        if text[end : found.start()].strip():
            break
        words.append(next(group for group in found.groups() if group is not None))
        end = found.end()
    if text[end:].strip():
        raise UsageError(f"diff: a quote is open in {text.strip()!r}")
    return words


def _side(word: str) -> Side:
    if re.fullmatch(r"[+-]?\d+", word, re.ASCII):
        if len(word) > 12:
            raise UsageError(f"diff: {word} is no number of a stop")
        number = int(word)
        if word[0] == "+" or not number:
            raise UsageError(f"diff: {word} is no stop: -3 is three stops ago, 12 is the stop of that number")
        return Side(SideKind.STOP, number=number)
    if word == "now":
        return NOW
    if not word.strip() or "\0" in word:
        raise UsageError(f"diff: {word!r} is no name")
    if "/" in word or word.lower().endswith(FILES):
        return Side(SideKind.FILE, name=word)
    return Side(SideKind.NAME, name=word)


def suggest(text: str, view: View) -> Iterable[str]:
    """Names that are on screen and begin as the last word does, and the stop before this one."""
    before, blank, last = text.rpartition(" ")
    return [
        f"{before}{blank}{word}"
        for word in ("-1", *module_names(view), *parameter_names(view))
        if word.startswith(last)
    ]


COMPARE = (
    Command(
        "diff",
        "Edit",
        "Compare two stops, parameters, modules or files: diff -3, diff net net2, diff ckpt.pt.",
        lambda host, argument: host.compare.diff(read_diff(argument)),
        aliases=("compare",),
        argument=Argument("a [b]", f"as in {FORM}", check=read_diff, suggest_in=suggest),
        available=needs_live,
    ),
)
