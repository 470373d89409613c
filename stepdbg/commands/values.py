"""The commands on single tensors. Keys for these are the values pane's own."""

from __future__ import annotations

from functools import partial

from stepdbg.commands.available import needs_live
from stepdbg.commands.command import Argument, Command, Host
from stepdbg.errors import UsageError
from stepdbg.protocol.slices import SliceError, read_slice

DISPLAYS = ("numbers", "heatmap", "histogram", "log-histogram", "summary")

PLACES = ("max", "min", "nan")
"""What `goto` takes beside an index."""

SIDES = {"value": "value", "grad": "grad", "gradient": "grad", "previous": "previous", "difference": "difference"}
"""Words for the sides of a tensor."""

MOST_DIGITS = 17


def _slice(text: str) -> None:
    try:
        read_slice(text)
    except SliceError as error:
        raise UsageError(f"slice: {error}") from None


def _digits(text: str) -> None:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MOST_DIGITS:
        raise UsageError(f"precision: {text!r} is no number of significant digits: 1 to {MOST_DIGITS}")


def _place(text: str) -> None:
    word, _, side = text.partition(" ")
    if word in PLACES:
        if side.strip() and side.strip() not in SIDES:
            raise UsageError(f"goto: no side {side.strip()!r}: value, grad, previous or difference")
        return
    try:
        wanted = read_slice(text)
    except SliceError:
        wanted = None
    if wanted is None or wanted.open or not all(isinstance(item, int) for item in wanted.head):
        raise UsageError(f"goto: {text!r} is no place: an index as in 3, 0, 2, or max, min or nan")


def _mark(on: bool, host: Host, argument: str) -> None:
    host.values.mark(argument, on=on)


VALUES = (
    Command(
        "show",
        "Values",
        "Show any expression of the stopped frame as numbers; - returns to the selected parameter.",
        lambda host, argument: host.values.show(argument),
        argument=Argument("expression", "an expression, a parameter, `net.2 output`, or -", kind="expression"),
        available=needs_live,
    ),
    Command(
        "slice",
        "Values",
        "Show a part of the tensor, as in 0, :, 3; nothing: the whole.",
        lambda host, argument: host.values.slice(argument),
        argument=Argument("slice", "an index, a range a:b or ... for each dimension", required=False, check=_slice),
        available=needs_live,
    ),
    Command(
        "form",
        "Values",
        "Show numbers, a heatmap, a histogram, a log-histogram or a summary; nothing: the next.",
        lambda host, argument: host.values.display(argument),
        argument=Argument("kind", "a form", DISPLAYS, required=False),
    ),
    Command(
        "precision",
        "Values",
        "Show so many significant digits.",
        lambda host, argument: host.values.precision(int(argument)),
        argument=Argument("digits", "1 to 17", check=_digits),
    ),
    Command(
        "goto",
        "Values",
        "Go to an element, as in 3, 0, 2, or to max, min or nan (the first NaN or Inf).",
        lambda host, argument: host.values.go_to(argument),
        argument=Argument("place", "an index, or max, min or nan", check=_place),
        available=needs_live,
    ),
    Command(
        "mark",
        "Values",
        "Keep what a module puts out, to show it; nothing: which are kept.",
        partial(_mark, True),
        argument=Argument("module", "a module, as in net.2", required=False),
        available=needs_live,
    ),
    Command(
        "unmark",
        "Values",
        "Keep no longer what that module puts out.",
        partial(_mark, False),
        argument=Argument("module", "a module, as in net.2"),
        available=needs_live,
    ),
)
