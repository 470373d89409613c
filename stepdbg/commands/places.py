"""Reading what the commands on breakpoints are given. Pure: nothing but UsageError is raised, in one line."""

from __future__ import annotations

import ast
import difflib
import os
import re
from dataclasses import replace
from string import Formatter

from stepdbg.errors import UsageError
from stepdbg.protocol.breakpoints import EditBreakpoint, Kind, Spec, described, title
from stepdbg.protocol.records import Phase

FORM = "break backward if loss > 2, break train.py:12, break net.2, break iteration 50"
WATCH_FORM = "watch nan, watch change net.2.*, watch net[0].weight.grad.norm()"
LOG_FORM = 'logpoint step "loss {loss} at {iteration}"'
COMMANDS_FORM = "commands 2 info params; continue"

RECORDED = {"grads": "grads", "gradients": "grads", "stacks": "stacks", "traces": "stacks"}
"""What else can be watched: gradients at module boundaries, stacks that nodes are made with (`GraphHost.watch`)."""

PHASES = tuple(phase.value for phase in Phase)
_KINDS = {"module": Kind.MODULE, "op": Kind.OP, "node": Kind.NODE, "grad": Kind.GRADIENT, "gradient": Kind.GRADIENT}
_PLACE = re.compile(r"(?P<file>.*?):(?P<line>\d{1,9})")
_NAME = re.compile(r"""[\w*?{][\w.*?{},]*(?:\[\s*(?:'[^']*'|"[^"]*"|-?\d+|\*)\s*\]|[\w.*?{},])*""")
_OP = re.compile(r"(?:aten|prims|torchvision|quantized)[.:]{1,2}[\w.*?]+|[\w*?]+::[\w.*?]+")
_NODE = re.compile(r"[A-Za-z_*?][\w*?]*Backward\d*|AccumulateGrad")


def read_break(text: str, *, once: bool = False, command: str = "break", file: str = "") -> Spec:
    """What `break TEXT` asks for. `file`: the one that is shown, absolute. Raises UsageError."""
    target, condition = split_condition(text)
    if condition is not None:
        check_expression(condition, command)
    words = target.split()
    if not words:
        raise UsageError(f"{command} needs a place: {FORM}")
    spec = _place(words, target, command, file)
    return replace(spec, condition=condition or "", once=once)


def split_condition(text: str) -> tuple[str, str | None]:
    """The place, and the condition after the word `if`; None where there is none."""
    found = re.search(r"(?:^|\s)if(?:\s|$)", text)
    if found is None:
        return text.strip(), None
    return text[: found.start()].strip(), text[found.end() :].strip()


def check_expression(text: str, command: str) -> None:
    """Raise UsageError where it is no expression."""
    if not text:
        raise UsageError(f"{command}: the condition after if is empty: as in {command} backward if loss > 2")
    if "\0" in text:
        raise UsageError(f"{command}: the condition has a null character in it")
    try:
        ast.parse(text.strip(), "<condition>", "eval")
    except SyntaxError as error:
        name, equals, rest = text.partition("=")
        if equals and name.strip().isidentifier() and rest.strip() and "=" not in rest:
            raise UsageError(f"{command}: {text!r} assigns: did you mean {name.strip()} == {rest.strip()}?") from None
        raise UsageError(f"{command}: {text!r} is no condition ({error.msg}): as in loss > 2") from None
    except (ValueError, RecursionError, MemoryError):
        raise UsageError(f"{command}: {text[:40]!r} cannot be read as a condition") from None


def _place(words: list[str], target: str, command: str, file: str) -> Spec:
    first, rest = words[0], words[1:]
    if first in ("iteration", "i", "iter"):
        if len(rest) != 1 or not _positive(rest[0]):
            raise UsageError(f"{command} {first} needs the number of an iteration, from 1: {command} iteration 50")
        return Spec(Kind.ITERATION, line=int(rest[0]))
    if first in _KINDS and rest:
        return _named(_KINDS[first], rest, command)
    if found := _PLACE.fullmatch(target):
        return _line(found["file"].strip(), found["line"], command, file)
    if target.isascii() and target.isdecimal():
        return _line("", target, command, file)
    if first in PHASES:
        if rest:
            if first in ("forward", "backward") and len(rest) == 1 and _NAME.fullmatch(rest[0]):
                form = f"{command} {rest[0]} {first}"
                raise UsageError(f"{command} {first}: nothing can follow but if; in a module: {form}")
            raise UsageError(f"{command} {first}: nothing can follow but if: {command} {first} if loss > 2")
        return Spec(Kind.PHASE, first)
    if len(words) == 1 and (near := difflib.get_close_matches(first, PHASES, n=1, cutoff=0.8)):
        raise UsageError(f"{command}: no phase {first!r}: did you mean {near[0]}?")
    if first in _KINDS:
        raise UsageError(f"{command} {first} needs a name: {command} {first} {_example(_KINDS[first])}")
    if _OP.fullmatch(first) and not rest:
        return Spec(Kind.OP, first)
    if _NODE.fullmatch(first) and not rest:
        return Spec(Kind.NODE, first)
    if first.endswith(".grad") and _NAME.fullmatch(first) and not rest:
        return Spec(Kind.GRADIENT, first.removesuffix(".grad"))
    return _named(Kind.NAME, words, command)


def _example(kind: Kind) -> str:
    return {Kind.OP: "aten.addmm", Kind.NODE: "AddmmBackward0", Kind.GRADIENT: "net.0.weight"}.get(kind, "net.2")


def _named(kind: Kind, words: list[str], command: str) -> Spec:
    direction = ""
    if len(words) == 2 and kind in (Kind.MODULE, Kind.NAME) and words[1] in ("forward", "backward"):
        direction = words.pop()
        kind = Kind.MODULE
    name = words[0]
    if len(words) > 1:
        near = difflib.get_close_matches(words[1], ("if", "forward", "backward"), n=1, cutoff=0.5)
        hint = f"did you mean {command} {name} {near[0]}?" if near else f"as in {FORM}"
        raise UsageError(f"{command}: {words[1]!r} cannot follow {name}: {hint}")
    if "::" not in name and not _NAME.fullmatch(name):
        raise UsageError(f"{command}: {name!r} is no place: {FORM}")
    if kind is Kind.GRADIENT:
        name = name.removesuffix(".grad")
    return Spec(kind, name, direction=direction or ("forward" if kind is Kind.MODULE else ""))


def _line(name: str, number: str, command: str, file: str) -> Spec:
    line = int(number)
    if line < 1:
        raise UsageError(f"{command}: lines count from 1")
    if "\0" in name:
        raise UsageError(f"{command}: a file's name has no null character")
    if not name:
        if not file:
            raise UsageError(f"{command} {number}: of which file? As in {command} train.py:{number}")
        name = file
    elif file and file.rpartition("/")[2] == name:
        name = file  # as the source pane calls it
    return Spec(Kind.LINE, os.path.abspath(name), line=line)  # noqa: PTH100


def _positive(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < len(text) <= 12 and int(text) > 0


def read_watch(text: str) -> Spec:
    """What `watch TEXT` asks for. Raises UsageError."""
    target, condition = split_condition(text)
    words = target.split()
    if not words:
        raise UsageError(f"watch needs something to watch: {WATCH_FORM}")
    if condition is not None:
        if words[0] not in ("nan", "change"):
            # `a if b else c` is an expression.
            target, condition = text.strip(), None
        else:
            check_expression(condition, "watch")
    if words[0] == "nan":
        if len(words) > 1:
            raise UsageError(f"watch nan takes no name: it watches everything, so not {words[1]!r}")
        return Spec(Kind.NAN, condition=condition or "")
    if words[0] == "change":
        if len(words) != 2 or not _NAME.fullmatch(words[1]):
            raise UsageError("watch change needs one name or glob of parameters: watch change net2.*")
        return Spec(Kind.CHANGE, words[1], condition=condition or "")
    try:
        check_expression(target, "watch")
    except UsageError:
        raise UsageError(f"watch: {target[:60]!r} is no expression: {WATCH_FORM}") from None
    return Spec(Kind.EXPRESSION, " ".join(target.split()))


def read_log(text: str, file: str = "") -> Spec:
    """What `logpoint PLACE "TEXT" [if CONDITION]` asks for. Raises UsageError."""
    found = re.fullmatch(r"""\s*(?P<place>[^"]*?)\s*"(?P<text>[^"]*)"\s*(?:if\s+(?P<condition>.*))?""", text, re.DOTALL)
    if found is None:
        raise UsageError(f"logpoint needs a place and a text in quotes: {LOG_FORM}")
    if not found["text"].strip():
        raise UsageError(f"logpoint: the text is empty: {LOG_FORM}")
    place = found["place"] if found["condition"] is None else f"{found['place']} if {found['condition']}"
    _check_braces(found["text"])
    return replace(read_break(place, command="logpoint", file=file), log=found["text"])


def _check_braces(text: str) -> None:
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
    except ValueError as error:
        raise UsageError(f"logpoint: {str(error).lower()}; a brace itself is written {{{{ or }}}}") from None
    for field in fields:
        check_expression(field, "logpoint")


def read_number(command: str, text: str, *, all_of_them: bool = True) -> int:
    """The number of one, 0 for all. Raises UsageError."""
    word = text.strip().lstrip("#")
    if word in ("", "all") and all_of_them:
        return 0
    if not _positive(word):
        raise UsageError(f"{command} takes the number of a breakpoint, as B lists them, so not {text.strip()[:40]!r}")
    return int(word)


def read_condition(text: str) -> EditBreakpoint:
    """What `condition N [EXPRESSION]` asks for. Raises UsageError."""
    word, _, rest = text.strip().partition(" ")
    number = read_number("condition", word, all_of_them=False)
    rest = rest.strip()
    rest = rest.removeprefix("if ").strip()
    if rest:
        check_expression(rest, "condition")
    return EditBreakpoint(0, number, condition=rest)


def read_ignore(text: str) -> EditBreakpoint:
    """What `ignore N COUNT` asks for. Raises UsageError."""
    words = text.split()
    if len(words) != 2 or not (words[1].isascii() and words[1].isdecimal() and len(words[1]) <= 12):
        raise UsageError("ignore takes the number of a breakpoint and how many hits to let pass: ignore 2 10")
    return EditBreakpoint(0, read_number("ignore", words[0], all_of_them=False), ignore=int(words[1]))


def read_commands(text: str) -> EditBreakpoint:
    """What `commands N [COMMAND; COMMAND]` asks for. Raises UsageError."""
    word, _, rest = text.strip().partition(" ")
    number = read_number("commands", word, all_of_them=False)
    lines = tuple(line.strip() for line in rest.split(";") if line.strip())
    if lines:
        from stepdbg.commands.prompt import parse

        for line in lines:
            try:
                parse(line)
            except UsageError as error:
                raise UsageError(f"commands: {error}") from None
    return EditBreakpoint(0, number, commands=lines)


def as_line(spec: Spec) -> str:
    """The command line that makes it."""
    if spec.kind in (Kind.NAN, Kind.CHANGE, Kind.EXPRESSION):
        return described(spec)
    place = f"{spec.target}:{spec.line}" if spec.kind is Kind.LINE else title(spec)
    if spec.log:
        return f'logpoint {place} "{spec.log}"' + (f" if {spec.condition}" if spec.condition else "")
    return f"{'tbreak' if spec.once else 'break'} {place}" + (f" if {spec.condition}" if spec.condition else "")
