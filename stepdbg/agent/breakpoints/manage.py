"""Answers to what the user asks about breakpoints: make, change, delete, list. Only while the script is held."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from stepdbg.agent import frames, pointing
from stepdbg.agent.breakpoints import known_names, lines
from stepdbg.agent.breakpoints.armed import Armed
from stepdbg.agent.breakpoints.conditions import as_number, failure, short
from stepdbg.agent.naming import Names
from stepdbg.agent.values import show
from stepdbg.agent.work import GivenUpError, NotThereError
from stepdbg.protocol.breakpoints import (
    WATCHES,
    Book,
    DeleteBreakpoint,
    EditBreakpoint,
    GetBreakpoints,
    Kind,
    SetBreakpoint,
    Spec,
    described,
    title,
)

if TYPE_CHECKING:
    from stepdbg.agent.breakpoints.book import Breakpoints
    from stepdbg.agent.tracker import Tracker

PASSING = ("its condition ", "its text ", "cancelled")
"""How notes begin that an edit makes void."""

Query = SetBreakpoint | EditBreakpoint | DeleteBreakpoint | GetBreakpoints


PLACES = "a phase, a module, a parameter, FILE:LINE, iteration N, op NAME or node NAME"


class Desk:
    """What an answer needs of the stop. Lives as long as the answer."""

    def __init__(
        self, book: Breakpoints, tracker: Tracker, names: Callable[[], Names], stack: list[tuple[FrameType, int]]
    ) -> None:
        self.book, self.tracker, self.names = book, tracker, names
        self.stack = [frame for frame, _ in stack]

    def answer(self, query: Query) -> Book:
        """Do it. Raises NotThereError with one line, and changes nothing then."""
        book = self.book
        if isinstance(query, SetBreakpoint):
            return self._set(query.spec)
        if isinstance(query, EditBreakpoint):
            return self._edit(query)
        if isinstance(query, DeleteBreakpoint):
            gone = self._chosen(query.number)
            for armed in gone:
                del book.rows[armed.number]
            self._arm()
            said = f"deleted {_words(gone)}" if gone else "there is nothing to delete"
            return self._told(0, said)
        self._resolve_all()
        self._evaluate()
        return self._told(0, "")

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _set(self, spec: Spec) -> Book:
        book = self.book
        note = ""
        if spec.kind is Kind.NAN and any(a.spec.kind is Kind.NAN for a in book.rows.values()):
            raise NotThereError("nan is watched already")
        if spec.kind is Kind.EXPRESSION:
            for armed in book.rows.values():
                if armed.spec.kind is Kind.EXPRESSION and armed.spec.target == spec.target:
                    raise NotThereError(f"{spec.target} is watched already: watch {armed.number}")
        if spec.kind is Kind.EXPRESSION:
            self._check_expression(spec)
        spec, note, missing = self._resolved(spec)
        if missing:
            raise NotThereError(missing)
        Armed(0, spec, evaluation=book.evaluation)  # raises where it cannot be: then no number is used up
        armed = Armed(book.next_number(), spec, evaluation=book.evaluation)
        armed.note = note
        self._show(armed)
        book.rows[armed.number] = armed
        self._arm()
        word = "watch" if spec.kind in WATCHES else "logpoint" if spec.log else "breakpoint"
        said = f"{word} {armed.number}: {described(armed.as_shown).removeprefix('watch ')}"
        if spec.kind is Kind.EXPRESSION:
            self._evaluate()
            said = f"{said} = {armed.value}" if armed.value else said
            note = _meant(spec.target, armed.note) if armed.enabled else armed.note
        note = "; ".join(text for text in (note, armed.remark) if text)
        return self._told(armed.number, f"{said} ({note})" if note else said)

    def _edit(self, query: EditBreakpoint) -> Book:
        book = self.book
        chosen = self._chosen(query.number)
        made = []
        for armed in chosen:
            spec = replace(armed.spec, ignore=armed.ignore, enabled=armed.enabled)
            for field in ("enabled", "condition", "ignore", "commands", "log"):
                value = getattr(query, field)
                if value is not None:
                    spec = replace(spec, **{field: value})
            Armed(armed.number, spec, evaluation=book.evaluation, broken=armed.broken)  # raises where it cannot be
            made.append((armed, spec))
        for armed, spec in made:
            armed.set(spec, evaluation=book.evaluation)
            armed.note = "" if armed.note.startswith(PASSING) else armed.note
        self._arm()
        if query.enabled:
            self._evaluate()
        return self._told(query.number, _edited(query, chosen))

    def _chosen(self, number: int) -> list[Armed]:
        rows = self.book.rows
        if not number:
            return list(rows.values())
        if number not in rows:
            known = ", ".join(map(str, rows)) or "there are none"
            raise NotThereError(f"there is no breakpoint {number}: {known}")
        return [rows[number]]

    def _arm(self) -> None:
        needs_names = any(a.spec.kind is Kind.CHANGE for a in self.book.rows.values())
        self.book.arm(self.stack, self.names() if needs_names else None)

    def _told(self, changed: int, message: str) -> Book:
        return Book(tuple(armed.told() for armed in self.book.rows.values()), changed, message)

    def _check_expression(self, spec: Spec) -> None:
        if not self.book.evaluation:
            raise NotThereError(f"{spec.target} would be evaluated in your script, and --no-eval turns that off")
        if not show.is_expression(spec.target):
            raise NotThereError(f"{spec.target!r} is no expression: as in watch net[0].weight.grad.norm()")

    def _resolve_all(self) -> None:
        """Mark those whose module, parameter or line is not there (any more), and those that are again not."""
        for armed in self.book.rows.values():
            if armed.spec.kind in (Kind.MODULE, Kind.GRADIENT, Kind.CHANGE, Kind.LINE, Kind.NAME):
                spec, _, missing = self._resolved(armed.spec)
                if spec.kind is not armed.spec.kind and not missing:
                    armed.spec = spec
                if armed.stale != bool(missing):
                    armed.stale = bool(missing)
                    armed.note = missing
                    self._arm()
                self._show(armed)

    def _show(self, armed: Armed) -> None:
        """Find out how its target is shown, where that is a parameter's name."""
        if armed.spec.kind in (Kind.GRADIENT, Kind.CHANGE):
            armed.shown = self.names().shown.other(armed.spec.target)

    def _resolved(self, spec: Spec) -> tuple[Spec, str, str]:
        """The Spec with its name looked up; a remark; and why it cannot be hit."""
        kind = spec.kind
        if kind is Kind.LINE:
            return self._line(spec)
        if kind in (Kind.OP, Kind.NODE):
            return spec, known_names.check(kind, spec.target), ""
        if kind not in (Kind.NAME, Kind.MODULE, Kind.GRADIENT, Kind.CHANGE):
            return spec, "", ""
        names = self.names()
        modules = [path for path, _ in names.paths.values()]
        try:
            module = pointing.module_target(names, spec.target) if kind in (Kind.NAME, Kind.MODULE) else ""
            found = pointing.parameters(names, spec.target) if kind is not Kind.MODULE and not module else []
        except NotThereError as error:  # it could be several
            return spec, "", str(error)
        if module:
            spec = replace(spec, target=module if _is_short(spec.target, module) else spec.target)
            return replace(spec, kind=Kind.MODULE, direction=spec.direction or "forward"), "", ""
        if found:
            full = pointing.parameter_target(names, spec.target)
            spec = replace(spec, target=full if _is_short(spec.target, full) else spec.target)
            if kind is Kind.CHANGE:
                return spec, f"{len(found)} parameters" if len(found) > 1 else "", ""
            frozen = [p for p in found if not p.tensor.requires_grad]
            note = f"{frozen[0].shown} requires no grad: none arrives" if len(frozen) == len(found) else ""
            return replace(spec, kind=Kind.GRADIENT), note, ""
        parameters = pointing.known_names(names)
        known = modules if kind is Kind.MODULE else parameters if kind is not Kind.NAME else [*modules, *parameters]
        what = {Kind.MODULE: "module", Kind.NAME: "module or parameter"}.get(kind, "parameter")
        hint = pointing.nearest(spec.target, known)
        if kind is Kind.NAME and not hint and (torchs := known_names.kind_of(spec.target)):
            hint = f": did you mean {torchs} {spec.target}?"
        elif kind is Kind.NAME and not hint:
            hint = f": break takes {PLACES}"
        return spec, "", f"there is no {what} {spec.target}{hint}"

    def _line(self, spec: Spec) -> tuple[Spec, str, str]:
        codes = lines.codes_of(spec.target, self.stack, spec.line)
        name = spec.target.rpartition("/")[2]
        if not codes:
            return spec, "", f"no code of {name} is loaded"
        line = lines.nearest_line(codes, spec.line)
        if line is None:
            return spec, "", f"{name} has no code at line {spec.line} or after it"
        note = "" if line == spec.line else f"line {spec.line} has no code, so line {line}"
        return replace(spec, line=line), note, ""

    def _evaluate(self) -> None:
        innermost = self.stack[0] if self.stack else None
        frame = next((f for f in self.stack if frames.is_user(f.f_code.co_filename)), innermost)
        for armed in self.book.rows.values():
            if armed.spec.kind is Kind.EXPRESSION and armed.enabled:
                armed.note, armed.number_value = "", None
                try:
                    value: Any = show.evaluate(armed.spec.target, frame, self.tracker)
                    armed.value = self.tracker.cancelling.run(partial(short, value))
                    armed.number_value = as_number(value)
                    del value
                except GivenUpError as error:
                    armed.value = ""
                    armed.switch_off(str(error))
                except Exception as error:
                    text = failure(error)
                    armed.value, armed.note = "", text.removeprefix(f"{armed.spec.target}: ")


def _meant(target: str, note: str) -> str:
    """Why it has no value now, and the word that may have been meant: a variable could have that name as well."""
    near = difflib.get_close_matches(target, ("nan", "grads", "stacks", "change"), n=1, cutoff=0.8)
    return f"{note}; did you mean watch {near[0]}?" if note.startswith("NameError") and near else note


def _is_short(written: str, full: str) -> bool:
    """Whether the root is missing in what the user wrote: what places are compared with has it."""
    return pointing.plain(written) != pointing.plain(full)


def _words(rows: list[Armed]) -> str:
    if len(rows) == 1:
        spec = rows[0].as_shown
        word = "watch" if spec.kind in WATCHES else "breakpoint"
        return f"{word} {rows[0].number}: {title(spec).removeprefix('watch ')}"
    return f"{len(rows)} breakpoints and watches"


def _edited(query: EditBreakpoint, chosen: list[Armed]) -> str:
    if not chosen:
        return "there are no breakpoints"
    what = _words(chosen)
    parts = []
    if query.enabled is not None:
        parts.append("enabled" if query.enabled else "disabled")
    if query.condition is not None:
        parts.append(f"stops if {query.condition}" if query.condition else "has no condition any more")
    if query.ignore is not None:
        parts.append(f"lets {query.ignore} hits pass" if query.ignore else "ignores no hit")
    if query.commands is not None:
        parts.append(f"runs {'; '.join(query.commands)}" if query.commands else "runs no commands")
    if query.log is not None:
        parts.append(f"writes {query.log!r} and goes on" if query.log else "stops")
    return f"{what}: {', '.join(parts)}" if parts else what
