"""The two sides of a comparison: which tensors they are, and which belongs to which."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import naming, pointing
from stepdbg.agent.compare import files
from stepdbg.agent.compare.files import Source
from stepdbg.agent.compare.snapshots import Snapshots
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.compare import Side, SideKind

Pair = tuple[str, str, "Source | None", "Source | None"]
"""Name in A, name in B, and the two tensors; None: only on the other side."""


@dataclass(frozen=True)
class Tensors:
    """One side."""

    kind: SideKind
    title: str
    tensors: Mapping[str, Source]
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Name → why its values are not known."""
    owners: Mapping[str, weakref.ref[Tensor]] = field(default_factory=dict)
    """Name → the script's tensor whose values they are. References to one tensor are one object."""
    single: bool = False
    """Whether it is one parameter, to be compared with whatever one the other side is."""


@dataclass(frozen=True)
class Pairs:
    """Both, matched by their names."""

    a: Tensors
    b: Tensors
    pairs: tuple[Pair, ...]
    note: str = ""


@dataclass(frozen=True)
class Known:
    """What can be named at this stop."""

    stop: int
    names: naming.Names
    snapshots: Snapshots


def pairs(a: Side, b: Side, known: Known) -> Pairs:
    """Match the two. Raises NotThereError where one of them is not there, or they have nothing in common."""
    kinds = {a.kind, b.kind}
    if SideKind.FILE in kinds and kinds != {SideKind.FILE}:
        of_file, other = (a, b) if a.kind is SideKind.FILE else (b, a)
        matched = _with_file(_side(of_file, known), other, known)
        return matched if a.kind is SideKind.FILE else _turned(matched)
    if SideKind.NAME in kinds and kinds & {SideKind.STOP, SideKind.NOW}:
        named = a if a.kind is SideKind.NAME else b
        return _paired(_within(_side(a, known), named, known), _within(_side(b, known), named, known))
    one, other_one = _side(a, known), _side(b, known)
    if one.single != other_one.single:
        what = one if one.single else other_one
        raise NotThereError(f"{what.title} is one parameter, and the other side is a module: compare two of a kind")
    if one.single:
        ((name, tensor),), ((other_name, other_tensor),) = one.tensors.items(), other_one.tensors.items()
        return Pairs(one, other_one, ((name, other_name, tensor, other_tensor),))
    return _paired(one, other_one)


def _paired(a: Tensors, b: Tensors, note: str = "") -> Pairs:
    """As values of the same tensor, where both are of the script's: inside a function it goes by that function's
    variables, and so may another. Else by equal names. In A's order, then what only B has.
    """
    of = {id(owner): name for name, owner in b.owners.items()}
    same = {name: of[id(owner)] for name, owner in a.owners.items() if id(owner) in of}
    matched = set(same.values())
    both: list[Pair] = []
    for name, tensor in a.tensors.items():
        other = same.get(name, name)
        there = b.tensors.get(other) if name in same or other not in matched else None
        both.append((name, other, tensor, there))
    taken = {other for _, other, _, there in both if there is not None}
    only_b: list[Pair] = [(name, name, None, tensor) for name, tensor in b.tensors.items() if name not in taken]
    return Pairs(a, b, (*both, *only_b), note)


def _turned(matched: Pairs) -> Pairs:
    turned = tuple((there, here, y, x) for here, there, x, y in matched.pairs)
    return Pairs(matched.b, matched.a, turned, matched.note)


def _side(side: Side, known: Known) -> Tensors:
    if side.kind is SideKind.NOW:
        return _now(known)
    if side.kind is SideKind.STOP:
        return _at_stop(side.number, known)
    if side.kind is SideKind.FILE:
        tensors, key = files.load(side.name)
        if not tensors:
            raise NotThereError(f"{side.name}: there are no tensors in it")
        return Tensors(side.kind, f"{side.name} ({key})" if key else side.name, tensors)
    return _named(side.name, known)


def _now(known: Known) -> Tensors:
    named = {p.name: p.tensor for p in known.names.parameters}
    owners = {name: weakref.ref(tensor) for name, tensor in named.items()}
    return Tensors(SideKind.NOW, f"stop {known.stop}, now", named, owners=owners)


def _at_stop(number: int, known: Known) -> Tensors:
    """A stop by its number; 0 and less: so many before this one."""
    wanted = number if number > 0 else known.stop + number
    if wanted > known.stop:
        raise NotThereError(f"there is no stop {wanted} yet: this is stop {known.stop}")
    if wanted < 1:
        raise NotThereError(f"there is no stop {-number} before this one: it is stop {known.stop}")
    snapshot, why = known.snapshots.at(wanted)
    if snapshot is None:
        if wanted == known.stop:  # nothing was set at it, so it is as it was
            return replace(_now(known), title=f"stop {wanted}")
        raise NotThereError(why)
    values = {name: kept.copy for name, kept in snapshot.values.items()}
    owners = {name: kept.ref for name, kept in snapshot.values.items()}
    return Tensors(SideKind.STOP, f"stop {wanted} (iteration {snapshot.iteration})", values, snapshot.left_out, owners)


def _named(name: str, known: Known) -> Tensors:
    if pointing.is_glob(name):
        raise NotThereError(f"{name}: diff takes the name of one parameter or module, not a glob")
    found = pointing.parameters(known.names, name)
    if found:
        return Tensors(SideKind.NAME, found[0].shown, {found[0].name: found[0].tensor}, single=True)
    module = pointing.module(known.names, name)
    if module is not None:
        return Tensors(SideKind.NAME, pointing.module_path(known.names, name), dict(contents(module)))
    titles = [title for title, _ in known.names.modules.values()]
    paths = [path for path, _ in known.names.paths.values()]
    near = pointing.nearest(name, [*titles, *paths, *pointing.known_names(known.names)])
    raise NotThereError(f"there is no parameter or module {name}{near}")


def contents(root: Module) -> Iterator[tuple[str, Tensor]]:
    """What `root.state_dict()` has, by the same names: read from dictionaries, without running a line of it."""
    waiting = [("", root)]
    while waiting:
        path, module = waiting.pop()
        own = module.__dict__
        passing = own.get("_non_persistent_buffers_set", ())
        for kind in ("_parameters", "_buffers"):
            for key, tensor in own.get(kind, {}).items():
                if isinstance(tensor, Tensor) and not (kind == "_buffers" and key in passing):
                    yield f"{path}{key}", tensor
        children = [(f"{path}{key}.", m) for key, m in own.get("_modules", {}).items() if isinstance(m, Module)]
        waiting.extend(reversed(children))


def _within(side: Tensors, name: Side, known: Known) -> Tensors:
    """Of a whole stop, only what the other side names: under the names that it has there."""
    if side.kind is SideKind.NAME:
        return side
    named = _named(name.name, known)
    prefix = "" if named.single else f"{pointing.plain(named.title)}."
    plain = {pointing.plain(full): full for full in side.tensors}
    of = {id(owner): full for full, owner in side.owners.items()}
    own = {key: weakref.ref(tensor) for key, tensor in named.tensors.items() if isinstance(tensor, Tensor)}
    found = {key: of.get(id(ref), plain.get(pointing.plain(f"{prefix}{key}"))) for key, ref in own.items()}
    chosen = {key: side.tensors[full] for key, full in found.items() if full is not None}
    if not chosen:
        why = next((why for full, why in side.left_out.items() if pointing.plain(full).startswith(prefix)), "")
        raise NotThereError(f"{side.title}: nothing is recorded of {name.name}" + (f", {why}" if why else ""))
    return replace(side, title=f"{side.title}, {name.name}", tensors=chosen)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────


Make = Callable[[], Mapping[str, Source]]


@dataclass(frozen=True)
class _Fit:
    """One way to read a file's names as those of something here."""

    score: int
    title: str
    own: Mapping[str, Source]
    stored: Mapping[str, tuple[str, Source]]
    """Name here → name in the file, and its tensor."""


def _with_file(file: Tensors, other: Side, known: Known) -> Pairs:
    """A is the file. Its names are read as those of the module that they fit best, with or without a first part that
    all of them have ("module.", "_orig_mod.").
    """
    candidates = _candidates(other, known)
    fits = [_fit(title, own(), stripped) for title, own in candidates for stripped in _readings(file.tensors)]
    fits.sort(key=lambda fit: -fit.score)
    best = fits[0] if fits else None
    if best is None or not best.score:
        some = ", ".join(list(file.tensors)[:3])
        raise NotThereError(
            f"no name in {file.title} is one here: it has {some}{', …' if len(file.tensors) > 3 else ''}"
        )
    as_well = dict.fromkeys(fit.title for fit in fits if fit.score == best.score and fit.title != best.title)
    note = f"compared with {best.title}"
    if as_well:
        note += f"; its names fit {', '.join(as_well)} as well: name it to compare with that"
    right = Tensors(SideKind.NAME, best.title, best.own)
    both = [(stored_name, name, tensor, best.own.get(name)) for name, (stored_name, tensor) in best.stored.items()]
    only_b: list[Pair] = [(name, name, None, tensor) for name, tensor in best.own.items() if name not in best.stored]
    return Pairs(file, right, (*both, *only_b), note)


def _candidates(other: Side, known: Known) -> list[tuple[str, Make]]:
    """What the file may be compared with, by title: each made when it is tried."""
    if other.kind is SideKind.NAME:
        named = _named(other.name, known)
        if not named.single:
            return [(named.title, partial(dict, named.tensors))]
        # A file may call it by its whole name, or by any end of it.
        (tensor,), parts = named.tensors.values(), pointing.plain(other.name).split(".")
        return [(named.title, partial(dict, {".".join(parts[at:]): tensor})) for at in range(len(parts))]
    whole = _side(other, known)
    roots: list[tuple[str, Make]] = []
    for title, root in known.names.modules.values():
        if other.kind is SideKind.NOW:
            roots.append((title, partial(_contents, root)))
        else:
            roots.append((f"{title} at {whole.title}", partial(_below, whole.tensors, title)))
    return [*roots, (whole.title, partial(dict, whole.tensors))]


def _contents(root: Module) -> Mapping[str, Source]:
    return dict(contents(root))


def _below(tensors: Mapping[str, Source], title: str) -> Mapping[str, Source]:
    prefix = f"{title}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _readings(tensors: Mapping[str, Source]) -> Iterator[Mapping[str, tuple[str, Source]]]:
    """The file's tensors by their names, and by what is left without a first part that all have, twice at most."""
    current = {name: (name, tensor) for name, tensor in tensors.items()}
    yield current
    for _ in range(2):
        firsts = {name.partition(".")[0] for name in current}
        if len(firsts) != 1 or not all("." in name for name in current):
            return
        current = {name.partition(".")[2]: pair for name, pair in current.items()}
        yield current


def _fit(title: str, own: Mapping[str, Source], stored: Mapping[str, tuple[str, Source]]) -> _Fit:
    common = [name for name in stored if name in own]
    alike = sum(tuple(stored[name][1].shape) == tuple(own[name].shape) for name in common)
    return _Fit(len(common) + alike, title, own, stored)
