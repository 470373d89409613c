"""Finding what the user points at: parameters and modules by their names, in any form.

A name is full, with the variable of the root module (`net.0.bias`), or as in `named_parameters()` and `named_modules()`
of it (`0.bias`); indices are written with dots or brackets (`net[0].bias`). With `*` or `?` in it a name stands for all
that match. What is called so in full goes before what is called so inside a root module; a glob without a root stands
for what matches in any of them. Everything that takes a name asks here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import naming
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.naming import is_glob, pattern, plain, within
from stepdbg.protocol.shown import MOST_KNOWN, KnownNames

__all__ = [
    "buffers",
    "finder",
    "is_glob",
    "known",
    "known_names",
    "module",
    "module_path",
    "module_target",
    "nearest",
    "one",
    "parameter_target",
    "parameters",
    "pattern",
    "plain",
    "root_of",
]

SEARCHED = 2_000
"""Names among which the nearest one is looked for: comparing takes some 50 µs each."""

MOST_NAMED = 6
"""Names that a sentence lists."""


# ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────


def parameters(names: naming.Names, target: str) -> list[naming.Named]:
    """The parameters that `target` names, by their first names or aliases; none where there is no such one.

    Raises NotThereError where it is no glob and several root modules have such a one.
    """
    matches = pattern(target).match if is_glob(target) else plain(target).__eq__
    found = [p for p in names.parameters if any(matches(plain(name)) for name in (p.name, *p.aliases))]
    if not found:
        found = [p for p in names.parameters if any(matches(name) for name in _short(p))]
    if len(found) > 1 and not is_glob(target):
        raise _ambiguous(target, [p.shown for p in found])
    return found


def _short(named: naming.Named) -> Iterator[str]:
    """The names as in `named_parameters()`, with dots for brackets: "0.weight" for "net.0.weight"."""
    for name in (named.name, *named.aliases):
        if (short := within(name, named.root)) is not None:
            yield short


def one(names: naming.Names, target: str) -> naming.Named | None:
    """The one parameter that `target` names in any of its forms; None: there is none. Raises NotThereError where it
    could be several.
    """
    if not target or is_glob(target):
        return None
    found = parameters(names, target)
    return found[0] if found else None


def parameter_target(names: naming.Names, target: str) -> str:
    """`target` in full, for what compares it with full names later on. Raises NotThereError as `parameters` does."""
    return _in_full(target, [(name, p.root) for p in names.parameters for name in (p.name, *p.aliases)])


def known_names(names: naming.Names) -> list[str]:
    """All that a parameter may be called, for `nearest`: as they are shown, and in full."""
    every = [name for p in names.parameters for name in (p.name, *p.aliases)]
    return list(dict.fromkeys((*map(names.shown, every), *every)))


def known(names: naming.Names, stop: int) -> KnownNames:
    """All that can be pointed at."""
    modules = dict.fromkeys(path for path, _ in names.paths.values())
    return KnownNames(stop, tuple(known_names(names)[:MOST_KNOWN]), tuple(modules)[:MOST_KNOWN])


def buffers(names: naming.Names, target: str) -> list[naming.Named]:
    """The buffer that `target` names, such as a BatchNorm's running_mean; none where there is no such one."""
    path, _, key = plain(target).rpartition(".")
    holder = module(names, path) if path else None
    buffer = holder.__dict__.get("_buffers", {}).get(key) if holder is not None else None
    if holder is None or not isinstance(buffer, Tensor):
        return []
    whole = names.paths.get(id(holder), (path, ""))[0]
    return [naming.Named(f"{whole}.{key}", buffer, root_of(names, whole), (), names.shown)]


# ── modules ─────────────────────────────────────────────────────────────────────────────────────────────────


def root_of(names: naming.Names, path: str) -> str:
    """The root module that the module of that full path is in; empty for none."""
    roots = (title for title, _ in names.modules.values() if path == title or path.startswith(f"{title}."))
    return max(roots, key=len, default="")


def module(names: naming.Names, target: str) -> Module | None:
    """The module that `target` names, if there is one under a root. Raises NotThereError where it could be several."""
    wanted = plain(target)
    for title, root in names.modules.values():
        if wanted == plain(title):
            return root
    for title, root in names.modules.values():
        below = within(wanted, title)
        if below is not None and (found := _below(root, below.split("."))) is not None:
            return found
    inside = {title: found for title, root in names.modules.values() if (found := _below(root, wanted.split(".")))}
    if len({id(found) for found in inside.values()}) > 1:
        raise _ambiguous(target, [f"{title}.{wanted}" for title in inside])
    return next(iter(inside.values()), None)


def module_path(names: naming.Names, target: str) -> str:
    """The full path of the module that `target` names; empty where there is none. Raises as `module` does."""
    found = module(names, target)
    return names.paths.get(id(found), (plain(target), ""))[0] if found is not None else ""


def module_target(names: naming.Names, target: str) -> str:
    """`target`, which may be a glob, in full; empty where no module is called so. Raises as `module` does."""
    if not is_glob(target):
        return module_path(names, target)
    return _in_full(target, [(path, root_of(names, path)) for path, _ in names.paths.values()])


def _below(root: Module, path: Sequence[str]) -> Module | None:
    current: Module | None = root
    for part in path:
        current = current.__dict__.get("_modules", {}).get(part) if current is not None else None
    return current if isinstance(current, Module) else None


# ── both ────────────────────────────────────────────────────────────────────────────────────────────────────


def _in_full(target: str, known: Iterable[tuple[str, str]]) -> str:
    """`target` with the roots in which something is called so in front, if nothing is called so in full; empty where
    nothing is at all. `known`: full names, and their roots.
    """
    matches = pattern(target).match
    roots: dict[str, str] = {}
    for name, root in known:
        if matches(plain(name)):
            return target
        short = within(name, root)
        if short is not None and matches(short):
            roots.setdefault(plain(root), name)
    if not roots:
        return ""
    if len(roots) > 1 and not is_glob(target):
        raise _ambiguous(target, list(roots.values()))
    return f"{next(iter(roots))}.{target}" if len(roots) == 1 else f"{{{','.join(roots)}}}.{target}"


def _ambiguous(target: str, found: Sequence[str]) -> NotThereError:
    shown = list(found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    listed = f"{', '.join(shown)}{more}" if more else f"{', '.join(shown[:-1])} and {shown[-1]}"
    return NotThereError(f"{target} is {listed}: say which")


def finder(names: naming.Names, wanted: str) -> Callable[[str], bool]:
    """Whether a name has `wanted` in it, in any case; or, where that is a glob, is called so (in full or in a root)."""
    text = plain(wanted.strip().lower())
    if not is_glob(text) and "[" not in text:
        return lambda name: text in plain(name.lower())
    match, roots = pattern(text).match, [title.lower() for title, _ in names.modules.values()]

    def fits(name: str) -> bool:
        name = plain(name.lower())
        return bool(match(name)) or any(match(short) for root in roots if (short := within(name, root)) is not None)

    return fits


def nearest(wanted: str, known: Iterable[str]) -> str:
    """The end of a sentence, ": did you mean net.0.bias?", where something comes near `wanted`; else nothing."""
    last = plain(wanted).rpartition(".")[2]
    # Those that end alike come first: there may be too many to compare with all.
    candidates = sorted(known, key=lambda name: not plain(name).endswith(last))[:SEARCHED]
    near = difflib.get_close_matches(plain(wanted), candidates, n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else ""
