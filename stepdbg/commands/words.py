"""The commands of gdb and pdb on frames, expressions and topics: print, bt, up, frame, display, info, source."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable

from stepdbg.commands.available import needs_live
from stepdbg.commands.command import Argument, Command, Host
from stepdbg.commands.info import TOPICS
from stepdbg.errors import UsageError

_TOPIC_WORDS = {word: name for name, topic in TOPICS.items() for word in (name, *topic.aliases)}


def read_info(text: str) -> tuple[str, str]:
    """The topic, and what follows it. Raises UsageError."""
    word, _, rest = text.strip().partition(" ")
    name = _TOPIC_WORDS.get(word)
    if name is None:
        starting = {topic for known, topic in _TOPIC_WORDS.items() if known.startswith(word)}
        if len(starting) > 1:
            raise UsageError(f"info {word} could be {', '.join(sorted(starting))}")
        name = starting.pop() if starting else None
    if name is None:
        near = difflib.get_close_matches(word, _TOPIC_WORDS, n=1, cutoff=0.5)
        hint = f"did you mean {_TOPIC_WORDS[near[0]]}?" if near else f"one of {', '.join(TOPICS)}"
        raise UsageError(f"info: no {word!r}, {hint}")
    if rest.strip() and not TOPICS[name].pattern:
        raise UsageError(f"info {name} takes no more words, so not {rest.strip()!r}")
    return name, rest.strip()


def _suggest_info(text: str) -> Iterable[str]:
    return [name for name in TOPICS if name.startswith(text)]


def read_frame(text: str) -> int:
    """The number of a frame. Raises UsageError."""
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise UsageError(f"frame: {text!r} is no number of a frame: bt lists them")
    return int(text)


def read_steps(text: str) -> int:
    """How many frames up or down. Raises UsageError."""
    if not text.isascii() or not text.isdecimal() or len(text) > 6 or not int(text):
        raise UsageError(f"{text!r} is no number of frames: up 2")
    return int(text)


def read_displayed(text: str) -> None:
    """Raise UsageError where it is no expression: it would be evaluated, in vain, at every stop."""
    try:
        ast.parse(text.strip(), "<display>", "eval")
    except SyntaxError as error:
        raise UsageError(f"display: {text.strip()[:60]!r} is no expression ({error.msg}): display loss") from None
    except (ValueError, RecursionError, MemoryError):
        raise UsageError(f"display: {text.strip()[:40]!r} cannot be read as an expression") from None


def read_display(text: str) -> int:
    """The number of a display. Raises UsageError."""
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise UsageError(f"undisplay: {text!r} is no number of a display: display lists them")
    return int(text)


def _run(host: Host, argument: str) -> None:
    if argument:
        host.words.evaluate(argument, statement=True)
    else:
        host.open_prompt("! ")


def _source(host: Host, argument: str) -> None:
    if argument:
        host.words.run_file(argument)
    else:
        host.words.list_source()


def _file(text: str) -> None:
    if "\0" in text:
        raise UsageError("source: that is no name of a file")


SOURCE = Command(
    "source",
    "Panes",
    "Focus the source pane; with a file: run the commands in it, one a line.",
    _source,
    keys=("5",),
    aliases=("list", "l"),
    argument=Argument("file", "a file of commands", required=False, kind="file", check=_file),
)
"""In its place among the panes: gdb's word is the name of a pane of ours."""

FRAMES = (
    Command(
        "bt",
        "Frames",
        "List the call stack, innermost first.",
        lambda host, _argument: host.words.show_stack(),
        aliases=("where", "w", "backtrace"),
        available=needs_live,
    ),
    Command(
        "frame",
        "Frames",
        "Select the frame of that number: expressions run there.",
        lambda host, argument: host.words.select_frame(read_frame(argument) if argument else None),
        aliases=("f",),
        argument=Argument("number", "a number of bt", required=False, kind="number", check=read_frame),
        available=needs_live,
    ),
    Command(
        "up",
        "Frames",
        "Select the frame that called this one, or so many further out.",
        lambda host, argument: host.words.select_frame(None, read_steps(argument) if argument else 1),
        argument=Argument("count", "how many", required=False, kind="number", check=read_steps),
        available=needs_live,
    ),
    Command(
        "down",
        "Frames",
        "Select the frame that this one called, or so many further in.",
        lambda host, argument: host.words.select_frame(None, -(read_steps(argument) if argument else 1)),
        argument=Argument("count", "how many", required=False, kind="number", check=read_steps),
        available=needs_live,
    ),
)

WORDS = (
    Command(
        "print",
        "Words",
        "Tell what an expression gives in the selected frame.",
        lambda host, argument: host.words.evaluate(argument, statement=False),
        aliases=("p", "pp"),
        argument=Argument("expression", "any expression", kind="expression"),
        available=needs_live,
    ),
    Command(
        "exec",
        "Words",
        "Run a statement in the selected frame, as in ! x = 3.",
        _run,
        keys=("exclamation_mark",),
        aliases=("!",),
        argument=Argument("statement", "any statement", required=False, kind="statement"),
        available=needs_live,
    ),
    Command(
        "traceback",
        "Words",
        "Tell where the last error of an expression came from.",
        lambda host, _argument: host.words.show_traceback(),
    ),
    Command(
        "answers",
        "Words",
        "List what was answered before, the newest first, with the stops it was answered at.",
        lambda host, _argument: host.words.show_answers(),
    ),
    Command(
        "display",
        "Words",
        "Show what an expression gives, now and at every stop.",
        lambda host, argument: host.words.display(argument),
        argument=Argument("expression", "any expression", required=False, kind="expression", check=read_displayed),
    ),
    Command(
        "undisplay",
        "Words",
        "Show that display no longer; no number: none of them.",
        lambda host, argument: host.words.undisplay(read_display(argument) if argument else None),
        argument=Argument("number", "a number of display", required=False, kind="number", check=read_display),
    ),
    Command(
        "info",
        "Words",
        "Tell of a topic in words: params, graph, memory, locals …; help info lists them.",
        lambda host, argument: host.words.info(*read_info(argument)),
        argument=Argument("topic", "and for some a pattern", check=read_info, suggest=_suggest_info),
        available=needs_live,
    ),
    Command(
        "detach",
        "Words",
        "Take everything out of the script, let it run on bare, and leave.",
        lambda host, _argument: host.words.detach(),
    ),
)
