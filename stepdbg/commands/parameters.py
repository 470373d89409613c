"""The commands on the parameter pane, and the columns that it can have. Keys for these are the pane's own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from stepdbg.commands.available import needs_live
from stepdbg.commands.command import Argument, Command, Host
from stepdbg.errors import UsageError
from stepdbg.protocol.quantities import BY_NAME, QUANTITIES, read_sort

COLUMNS: dict[str, str] = {
    "name": "as in named_parameters()",
    "module": "class of the module that holds it",
    "shape": "sizes of its dimensions",
    "dtype": "type of its elements",
    "device": "where it lies",
    "numel": "number of elements",
    "bytes": "bytes of its elements",
    "trainable": "whether it takes a gradient",
    "|w|": "2-norm of the value",
    "|g|": "2-norm of the gradient",
    "g is": "gradient as it is, scaled, unscaled, clipped",
    "|Δw|": "2-norm of w now − w before the last step",
    "Δw/w": "|Δw| / |w|",
    "changed": "since the stop before; |w| rose ▲ or fell ▼",
    "trend": "|g| as it was seen at the last stops",
    "passes": "backwards in .grad since it was cleared",
    "owner": "the optimizer and its parameter group",
    "lr": "learning rate of that group",
    "wd": "weight decay of that group",
    "mean": "mean of the value",
    "std": "standard deviation of the value",
    "min": "smallest element of the value",
    "max": "largest element of the value",
    "zeros": "percentage of zeros in the value",
    "g.mean": "mean of the gradient",
    "g.std": "standard deviation of the gradient",
    "g.min": "smallest element of the gradient",
    "g.max": "largest element of the gradient",
    "g.zeros": "percentage of zeros in the gradient",
    "reached": "whether the loss's graph arrives at it",
    "nan/inf": "NaN and Inf elements in value and gradient",
    "remark": "why it is not reached, other names, what is odd",
}
"""Titles of the columns there can be, and what they show."""

_ALSO = {"norm": "|w|", "g.norm": "|g|", "delta": "|Δw|", "ratio": "Δw/w", "nan": "nan/inf", "inf": "nan/inf"}

_WORDS: dict[str, str] = {
    **{title.lower(): title for title in COLUMNS},
    **{
        word: _ALSO.get(quantity.name, quantity.name)
        for word, quantity in BY_NAME.items()
        if _ALSO.get(quantity.name, quantity.name) in COLUMNS
    },
}


def read_columns(text: str) -> tuple[str, ...]:
    """Titles of the columns named in `text`, separated by commas, the name first; "default" is no title at all.

    Raises UsageError.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if [word.lower() for word in words] == ["default"]:
        return ()
    titles = [_column(word) for word in words]
    if not titles:
        raise UsageError("columns needs names, separated by commas: columns name, |w|, mean; or columns default")
    return tuple(dict.fromkeys(("name", *titles)))


def _column(word: str) -> str:
    known = _WORDS.get(word.lower())
    if known is not None:
        return known
    starting = {title for name, title in _WORDS.items() if name.startswith(word.lower())}
    if len(starting) == 1:
        return starting.pop()
    near = difflib.get_close_matches(word.lower(), _WORDS, n=1, cutoff=0.5)
    hint = f"did you mean {_WORDS[near[0]]}?" if near else f"one of {', '.join(COLUMNS)}"
    raise UsageError(f"no column “{word}”: {hint}")


def _suggest_columns(text: str) -> Iterable[str]:
    done, comma, begun = text.rpartition(",")
    head = f"{done}{comma}{' ' if comma else ''}"
    return [head + title for title in COLUMNS if title.lower().startswith(begun.strip().lower())]


def _suggest_sort(text: str) -> Iterable[str]:
    sign = text[:1] if text[:1] in ("-", "+") else ""
    return [sign + q.name for q in QUANTITIES if q.name.startswith(text.removeprefix(sign).lower())]


def _columns(host: Host, argument: str) -> None:
    host.parameters.show_columns(read_columns(argument) if argument else None)


def _sort(host: Host, argument: str) -> None:
    host.parameters.sort(*read_sort(argument))


def _tree(host: Host, argument: str) -> None:
    host.parameters.show_tree({"on": True, "off": False}.get(argument))


PARAMETERS = (
    Command(
        "columns",
        "Parameters",
        "Show these columns, as in columns name, |w|, mean; default: as at first; no word: choose from a list.",
        _columns,
        aliases=("cols",),
        argument=Argument("list", "titles of columns", required=False, check=read_columns, suggest=_suggest_columns),
    ),
    Command(
        "sort",
        "Parameters",
        "Sort parameters by a quantity, the largest first with a minus: sort -g.norm; no word: as in the model.",
        _sort,
        argument=Argument("key", "a quantity", required=False, check=read_sort, suggest=_suggest_sort),
        available=needs_live,
    ),
    Command(
        "names",
        "Parameters",
        "Show names as net.0.weight always (full), or only where two modules would clash (short); no word: tell.",
        lambda host, argument: host.parameters.show_names({"full": True, "short": False}.get(argument)),
        argument=Argument("how", "full or short", ("full", "short"), required=False),
        available=needs_live,
    ),
    Command(
        "tree",
        "Parameters",
        "Group parameters by module with totals, on or off; no word: the other of the two.",
        _tree,
        argument=Argument("what", "on or off", ("on", "off"), required=False),
        available=needs_live,
    ),
)
