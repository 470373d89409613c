"""Names of parameters and modules in the forms that users write them, and patterns of these. Pure.

`net[0].bias` and `net.0.bias` are one name, and so are `nets['a'].weight` and `nets.a.weight`. With `*` or `?` in it a
name stands for all that match; `{net,net2}.0.*` is `net.0.*` and `net2.0.*`.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from itertools import islice, product

MOST_CHOICES = 1_000
"""Names without braces that one with braces stands for, at most."""

_BRACKET = re.compile(r"""\[\s*(?:'([^']*)'|"([^"]*)"|(-?\d+|[*?]))\s*\]""")
_BRACES = re.compile(r"\{([^{}]*)\}")


def plain(name: str) -> str:
    """The name with dots for all its brackets: "net[0].bias" is "net.0.bias"."""
    if "[" not in name:
        return name
    dotted = _BRACKET.sub(lambda found: "." + next(text for text in found.groups() if text is not None), name)
    return dotted.lstrip(".") if name.startswith("[") else dotted


def is_glob(target: str) -> bool:
    """Whether it may stand for several names."""
    return any(sign in target for sign in "*?{")


@lru_cache(maxsize=256)
def pattern(target: str) -> re.Pattern[str]:
    """What matches the plain form of every name that `target` stands for."""
    parts = _BRACES.split(plain(target))  # every second one stood between braces
    choices = [part.split(",") if at % 2 else [part] for at, part in enumerate(parts)]
    wholes = ["".join(chosen) for chosen in islice(product(*choices), MOST_CHOICES)]
    return re.compile("|".join(f"(?:{fnmatch.translate(whole)})" for whole in wholes))


def within(name: str, root: str) -> str | None:
    """The plain form of `name` as in `named_parameters()` of the module called `root`; None: it is not in there."""
    whole, prefix = plain(name), f"{plain(root)}."
    return whole[len(prefix) :] if root and whole.startswith(prefix) else None


def entered(before: str, path: str) -> tuple[str, ...]:
    """The modules that one comes into with the module `path` after `before`: in the plain form, the outermost first."""
    left = _around(before)
    return tuple(module for module in _around(path) if module not in left)


def _around(path: str) -> list[str]:
    parts = plain(path).split(".") if path else []
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def called(name: str, wanted: str) -> bool:
    """Whether `name` is `wanted`, or one that this stands for as a glob. Both in lower case."""
    # "optimiser[0]" is a name before it is a glob.
    if name == wanted or fnmatch.fnmatchcase(name, wanted):
        return True
    return ("[" in wanted or "{" in wanted) and pattern(wanted).match(plain(name)) is not None


def has(name: str, part: str) -> bool:
    """Whether `part` is in `name`, in either way of writing indices. Both in lower case."""
    return part in name or ("[" in part and plain(part) in plain(name))
