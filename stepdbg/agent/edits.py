"""Writing into the held script: what a careful user would do by hand, and a refusal where that would break the run.

Everything that can be wrong is found before anything is written: a command over several tensors is done as a whole or
not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepdbg.agent import naming, pointing, settings
from stepdbg.agent.changes import Change, Flag, Live, Setting, Write, look
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol.edits import Edit, Edited, Pick, SetRequiresGrad, SetValue

NOTED = 200
"""Edits that one command answers with, at most: those of a glob over more parameters are summed up."""


@dataclass
class Place:
    """The stop at which it happens, and what can be named there."""

    names: naming.Names
    watch: LossWatch
    stop: int
    iteration: int
    over: bool
    """Whether nothing runs any more after this stop."""


def apply(query: SetValue | SetRequiresGrad, place: Place, work: Work) -> Edited:
    """Do what `query` asks. Raises NotThereError with one line, and has changed nothing then."""
    if place.over:
        raise NotThereError("nothing of the script runs after this stop, so there is nothing to change anything for")
    changes = _flags(query, place) if isinstance(query, SetRequiresGrad) else _writes(query, place)
    made: list[Live] = []

    def live() -> Live:
        if not made:
            made.append(look(place.watch, work))
        return made[0]

    for change in changes:
        change.check(live)
    return _done(changes, place)


def _flags(query: SetRequiresGrad, place: Place) -> Sequence[Change]:
    return [Flag(named, query.on) for named in _parameters(place.names, query.target)]


def _writes(query: SetValue, place: Place) -> Sequence[Change]:
    """What a target stands for: a parameter or buffer first, then a gradient, a setting."""
    names, target, picks, amount = place.names, query.target, query.picks, query.amount
    whole = pointing.parameters(names, _with_index(target, picks))
    if whole:  # the bracket belongs to the name: optimiser[0].params[3]
        return [Write(named, amount, ()) for named in whole]
    chosen = pointing.parameters(names, target) or pointing.buffers(names, target)
    if not chosen and target.endswith(".grad"):
        owners = _parameters(names, target.removesuffix(".grad"))
        return [Write(named, amount, picks, of_grad=True) for named in owners]
    if not chosen and not pointing.is_glob(target):
        slots = settings.find(names, target)
        if slots:
            return [Setting(slot, amount, picks) for slot in slots]
    indexed = _with_index(target, picks)
    if indexed and pointing.module(names, indexed) is not None:
        target = indexed  # for what is said of it: net[0] is a module
    return [Write(named, amount, picks) for named in chosen or _parameters(names, target)]


def _with_index(target: str, picks: Sequence[Pick]) -> str:
    """The target with its bracket as a part of the name; nothing where that can be none."""
    return f"{target}[{picks[0].at}]" if len(picks) == 1 and picks[0].at is not None else ""


def _parameters(names: naming.Names, target: str) -> list[naming.Named]:
    """The parameters of that name. Raises NotThereError that names what comes near."""
    found = pointing.parameters(names, target)
    if found:
        return found
    if pointing.is_glob(target):
        raise NotThereError(f"no parameter matches {target}")
    if pointing.module(names, target) is not None:
        raise NotThereError(f"{target} is a module: {target}.* means all parameters in it")
    if not names.parameters and not names.optimizers:
        raise NotThereError("nothing can be named here: no module or optimizer is within the script's reach")
    near = pointing.nearest(target, [*pointing.known_names(names), *settings.known(names)])
    raise NotThereError(f"there is no parameter or setting {target}{near}")


def _done(changes: Sequence[Change], place: Place) -> Edited:
    """Do all of it. What torch refuses in spite of the checks ends it there, and is told."""
    edits: list[Edit] = []
    cut_short = ""
    for number, change in enumerate(changes):
        try:
            edits.append(change.do(place.stop, place.iteration))
        except (RuntimeError, NotImplementedError, TypeError, ValueError, OverflowError) as error:
            why = f"{change.title}: torch refuses: {_one_line(error)}"
            if not edits:
                raise NotThereError(why) from None
            cut_short = f"{len(changes) - number} of {len(changes)} left as they were: {why}"
            break
    return Edited(place.stop, _summed_up(edits), cut_short)


def _summed_up(edits: list[Edit]) -> tuple[Edit, ...]:
    if len(edits) <= NOTED:
        return tuple(edits)
    rest = edits[NOTED - 1 :]
    changed, numel = sum(e.changed or 0 for e in rest), sum(e.numel or 0 for e in rest)
    more = Edit(rest[0].stop, rest[0].iteration, f"{len(rest):,} more", "", "", "", changed, numel)
    return (*edits[: NOTED - 1], more)


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
