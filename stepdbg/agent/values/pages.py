"""Answers what is asked about single tensors at one stop. Alive only while the script is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import frames, naming, pointing
from stepdbg.agent.inside.held import SIGN, Held
from stepdbg.agent.losswatch import LossWatch
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.values import seek, show, subjects
from stepdbg.agent.values.outputs import LIMIT
from stepdbg.agent.values.sides import Side
from stepdbg.agent.values.subjects import EXPRESSION, Subject
from stepdbg.agent.work import NotThereError, Work
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import SIDES, TensorStats, TensorView, ValuesRecord
from stepdbg.protocol.values import ElementFound, MarkedModules, PythonText

OFF = "expressions are switched off (--no-eval)"

ROWS, COLUMNS, BINS = 500, 200, 200
"""Of one answer, at most."""


class Values:
    """The numbers of one stop. What an expression gave is kept until the stop ends, or another one is asked for."""

    def __init__(
        self,
        tracker: Tracker,
        watch: LossWatch,
        names: Callable[[], naming.Names],
        stack: Sequence[tuple[FrameType, int]],
        number: int,
        held: Held | None = None,
    ) -> None:
        """`held`: the tensors at the place inside a phase that the script is held at."""
        self._tracker, self._watch, self._names, self._held = tracker, watch, names, held
        self._stack, self._number = stack, number
        self._statistics: dict[tuple[str, str, str, int], TensorStats] = {}
        self._evaluated: tuple[str, Any] | None = None
        self.evaluation = True
        """Whether expressions may be evaluated; names of tensors are found all the same."""

    def forget(self) -> None:
        """Numbers have been changed at this stop: nothing that was computed from them holds any more."""
        self._statistics.clear()
        self._evaluated = None

    # ── pages ───────────────────────────────────────────────────────────────────────────────────────────────

    def page(self, query: m.GetValues) -> ValuesRecord:
        """The sides asked for, each with statistics and a page of cells. Raises NotThereError."""
        wrong = [side for side in query.sides if side not in SIDES]
        if wrong:
            raise NotThereError(f"no {wrong[0]!r} to look at: {', '.join(SIDES)}")
        subject = self._find(query.name, again=query.again)
        note = ""
        before: Tensor | None = None
        if subject.tensor is not None and ("previous" in query.sides or "difference" in query.sides):
            before, note = self._previous(subject.tensor)
        found: dict[str, TensorView | None] = {
            name: self._view(side, name, query) if (side := self._side(subject, name, before)) is not None else None
            for name in query.sides
        }
        label = subject.grad_label if subject.grad is None else self._watch.grad_label
        return ValuesRecord(
            self._number, query.name, found.get("value"), found.get("grad"), label, subject.note, query.slice,
            query.sides, found.get("previous"), found.get("difference"), note,
            subject.shown if subject.shown != query.name else "",
        )  # fmt: skip

    def _view(self, side: Side, name: str, query: m.GetValues) -> TensorView:
        """Statistics are made once a stop, however many pages are asked for."""
        if side.shape is None:
            return side.blank()
        key = (query.name, name, query.slice, query.bins)
        view = side.view(
            side.axes(query.slice),
            query.row,
            query.column,
            min(query.rows, ROWS),
            min(query.columns, COLUMNS),
            min(query.bins, BINS),
            self._statistics.get(key),
        )
        if view.stats is not None:
            self._statistics[key] = view.stats
        return view

    @staticmethod
    def _side(subject: Subject, name: str, before: Tensor | None) -> Side | None:
        now = subject.tensor
        if now is None:
            return None
        if name == "value":
            return Side(now)
        if name == "grad":
            return Side(subject.grad) if subject.grad is not None else None
        if before is None:
            return None
        return Side(before) if name == "previous" else Side(now, before)

    # ── what is looked at ───────────────────────────────────────────────────────────────────────────────────

    def _find(self, name: str, *, again: bool = False) -> Subject:
        if not name.startswith(EXPRESSION):
            return self._named(name)
        text = name.removeprefix(EXPRESSION).strip()
        if text.startswith(SIGN):
            return self._named(text)
        problem = ""
        if show.is_expression(text):
            # What a name means in the stopped frame goes before what is called so elsewhere.
            try:
                return subjects.of_value(self._value(name, text, again=again))
            except NotThereError as error:
                problem = str(error)  # the error itself holds frames, and so what is in their variables
        try:
            return self._named(text)  # `net.0.weight`, `net.2 output`
        except subjects.NoSuchNameError:
            pass
        if problem:
            raise NotThereError(problem)
        return subjects.of_value(self._value(name, text, again=again))  # says what is wrong with it

    def _value(self, name: str, text: str, *, again: bool) -> Any:
        if not self.evaluation:
            raise NotThereError(OFF)
        if again or self._evaluated is None or self._evaluated[0] != name:
            self._evaluated = None
            for key in [key for key in self._statistics if key[0].startswith(EXPRESSION)]:
                del self._statistics[key]
            self._evaluated = name, show.evaluate(text, self._frame(), self._tracker)
        return self._evaluated[1]

    def _named(self, name: str) -> Subject:
        if name.startswith(SIGN):
            in_full = self._held is not None and name.removeprefix(SIGN) not in self._held
            return subjects.of_held(
                self._held, SIGN + self._names().shown(name.removeprefix(SIGN)) if in_full else name
            )
        output = self._tracker.watched.outputs.find(name, lambda path: pointing.module_path(self._names(), path))
        if output is not None:
            return subjects.of_output(*output)
        return subjects.named(self._names(), name)

    def _frame(self) -> FrameType | None:
        """The innermost frame of the user's code, which the screen shows."""
        users = (frame for frame, _ in self._stack if frames.is_user(frame.f_code.co_filename))
        return next(users, self._stack[0][0] if self._stack else None)

    def _previous(self, tensor: Tensor) -> tuple[Tensor | None, str]:
        """The value before the optimizer's last step, and since when; or None and why there is none."""
        before = self._tracker.before
        value = before.value_of(tensor)
        if value is None:
            return None, before.why_not(tensor) or "not recorded"
        iteration = before.iteration
        return value, f"before the step of iteration {iteration:,}" if iteration is not None else "before the last step"

    # ── single elements, text ───────────────────────────────────────────────────────────────────────────────

    def seek(self, query: m.SeekElement, work: Work) -> ElementFound:
        """Where that element is. Raises NotThereError."""
        side = self._readable(query.name, query.side)
        return seek.seek(side, side.axes(query.slice), query.what, work)

    def copy(self, query: m.CopyValues) -> PythonText:
        """The text. Raises NotThereError."""
        side = self._readable(query.name, query.side)
        return seek.as_python(side, side.axes(query.slice))

    def _readable(self, name: str, which: str) -> Side:
        if which not in SIDES:
            raise NotThereError(f"no {which!r} to look at: {', '.join(SIDES)}")
        subject = self._find(name)
        if subject.tensor is None:
            raise NotThereError(f"{name.removeprefix(EXPRESSION)} is no tensor")
        before, note = None, "there is no gradient"
        if which in ("previous", "difference"):
            before, note = self._previous(subject.tensor)
        side = self._side(subject, which, before)
        if side is None:
            raise NotThereError(note)
        if side.shape is None:
            raise NotThereError(side.note)
        return side

    # ── outputs of modules ──────────────────────────────────────────────────────────────────────────────────

    def mark(self, query: m.MarkModule) -> MarkedModules:
        """Mark the module, or only list. Raises NotThereError where there is no such module."""
        outputs = self._tracker.watched.outputs
        path = query.module
        if path:
            module = find_module(self._names(), path)
            path = self._names().paths.get(id(module), (path, ""))[0]
            if query.on is False and not any(path == marked.module for marked in outputs.listed()):
                raise NotThereError(f"{path} is not marked")
            outputs.mark(module, path, query.on)
        return MarkedModules(outputs.listed(), LIMIT)


def find_module(names: naming.Names, path: str) -> Module:
    """The module of that path, "net.2", under the user's names. Raises NotThereError naming where it stops."""
    found = pointing.module(names, path)
    if found is not None:
        return found
    # Where it stops being one.
    parent, _, key = pointing.plain(path).rpartition(".")
    while parent and (above := pointing.module_path(names, parent)) == "":
        parent, _, key = parent.rpartition(".")
    if parent:
        children = pointing.module(names, parent).__dict__.get("_modules", {})
        there = ", ".join([name for name, child in children.items() if isinstance(child, Module)][:6]) or "none"
        raise NotThereError(f"{above} has no module {key}: {there}")
    there = ", ".join(name for name, _ in names.modules.values()) or "none is known here"
    raise NotThereError(f"no module is called {path}: {there}")
