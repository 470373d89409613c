"""Finding what the user points at: parameters by their names, however their indices are written.

`net[0].bias` and `net.0.bias` are one name, and so are `nets['a'].weight` and `nets.a.weight`. With `*` or `?` in it a
name stands for all that match.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import naming
from stepdbg.agent.work import NotThereError

SEARCHED = 2_000
"""Names among which the nearest one is looked for: comparing takes some 50 µs each."""

_BRACKET = re.compile(r"""\[\s*(?:'([^']*)'|"([^"]*)"|(-?\d+))\s*\]""")


def plain(name: str) -> str:
    """The name with dots for all its brackets: "net[0].bias" is "net.0.bias"."""
    dotted = _BRACKET.sub(lambda found: "." + next(text for text in found.groups() if text is not None), name)
    return dotted.lstrip(".") if name.startswith("[") else dotted


def is_glob(target: str) -> bool:
    """Whether it may stand for several names."""
    return any(sign in target for sign in "*?")


def parameters(names: naming.Names, target: str) -> list[naming.Named]:
    """The parameters that `target` names, by their first names or aliases; none where there is no such one.

    Where none is called so, what is meant is a name as in `named_parameters()`, without the root module's variable.
    Raises NotThereError where several root modules have such a one.
    """
    wanted = plain(target)
    if is_glob(wanted):
        match = re.compile(fnmatch.translate(wanted)).match
        found = [p for p in names.parameters if any(match(plain(name)) for name in (p.name, *p.aliases))]
        return found or [p for p in names.parameters if match(without_root(p))]
    found = [p for p in names.parameters if any(plain(name) == wanted for name in (p.name, *p.aliases))]
    found = found or [p for p in names.parameters if without_root(p) == wanted]
    if len(found) > 1:
        raise NotThereError(f"{target} could be {', '.join(p.name for p in found[:6])}: write one of these")
    return found


def without_root(named: naming.Named) -> str:
    """The name as in `named_parameters()`, with dots for brackets: "0.weight" for "net.0.weight"."""
    return plain(named.name).removeprefix(f"{plain(named.root)}.") if named.root else plain(named.name)


def one(names: naming.Names, target: str) -> naming.Named | None:
    """The one parameter that `target` names in any of its forms; None: there is none. Raises NotThereError where it
    could be several.
    """
    if not target or is_glob(target):
        return None
    found = parameters(names, target)
    return found[0] if found else None


def buffers(names: naming.Names, target: str) -> list[naming.Named]:
    """The buffer that `target` names, such as a BatchNorm's running_mean; none where there is no such one."""
    path, _, key = plain(target).rpartition(".")
    holder = module(names, path)
    buffer = holder.__dict__.get("_buffers", {}).get(key) if holder is not None else None
    return [naming.Named(f"{path}.{key}", buffer, path.partition(".")[0])] if isinstance(buffer, Tensor) else []


def module(names: naming.Names, target: str) -> Module | None:
    """The module of that path, if there is one under a root."""
    wanted = plain(target)
    for title, root in names.modules.values():
        root_name = plain(title)
        if wanted == root_name:
            return root
        if wanted.startswith(f"{root_name}."):
            found = _below(root, wanted[len(root_name) + 1 :].split("."))
            if found is not None:
                return found
    # As in `named_modules()` of the one root that has such a module.
    below = [found for _, root in names.modules.values() if (found := _below(root, wanted.split("."))) is not None]
    return below[0] if len(below) == 1 else None


def _below(root: Module, path: Sequence[str]) -> Module | None:
    current: Module | None = root
    for part in path:
        current = current.__dict__.get("_modules", {}).get(part) if current is not None else None
    return current if isinstance(current, Module) else None


def nearest(wanted: str, known: Iterable[str]) -> str:
    """The end of a sentence, ": did you mean net.0.bias?", where something comes near `wanted`; else nothing."""
    last = plain(wanted).rpartition(".")[2]
    # Those that end alike come first: there may be too many to compare with all.
    candidates = sorted(known, key=lambda name: not plain(name).endswith(last))[:SEARCHED]
    near = difflib.get_close_matches(plain(wanted), candidates, n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else ""
