"""What the user says in words about a frame of the stopped script: expressions, statements, completions, variables."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import Any

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import frames
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.values import show, statements, told
from stepdbg.agent.values.pages import OFF
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.words import Completions, Evaluate, Evaluated, GetCompletions, GetVariables, Variables

MOST_COMPLETIONS = 200
MOST_VARIABLES = 100

_LAST = re.compile(r"(?P<path>(?:[^\W\d]\w*|\[\s*(?:-?\d+|'[^']*'|\"[^\"]*\")\s*\]|\.)*?)(?P<name>(?:[^\W\d]\w*)?)$")


class Words:
    """Answers for one stop. Names that statements set which are no variables of the frame's live as long as it."""

    def __init__(
        self, tracker: Tracker, stack: Sequence[tuple[FrameType, int]], number: int, *, allowed: bool, grad: bool
    ) -> None:
        self._tracker, self._stack, self._number = tracker, stack, number
        self._allowed, self._grad = allowed, grad
        self._own: dict[str, Any] = {}

    def frame(self, index: int | None) -> FrameType | None:
        """The frame of that index into the stack; None: the innermost one of the user's. Raises NotThereError."""
        if index is not None:
            if not 0 <= index < len(self._stack):
                raise NotThereError(f"there is no frame {index}: bt lists the {len(self._stack)} there are")
            return self._stack[index][0]
        users = (frame for frame, _ in self._stack if frames.is_user(frame.f_code.co_filename))
        return next(users, self._stack[0][0] if self._stack else None)

    def evaluate(self, query: Evaluate) -> Evaluated:
        """Run it, and tell what came of it. Raises NotThereError where it cannot be run."""
        if not self._allowed:
            raise NotThereError(OFF)
        frame, text = self.frame(query.frame), query.text.strip()
        assigned: list[str] = []
        note = ""
        outcome: show.Outcome
        if query.statement:
            done = statements.execute(text, frame, self._tracker, self._own, grad=self._grad)
            assigned, outcome, has_value = done.assigned, done, done.has_value
            self._own.update(done.own)
            if done.own:
                names = ", ".join(done.own)
                where = frame.f_code.co_name if frame is not None else "the script"
                note = f"{names}: no variable of {where}(), kept for this stop only"
        else:
            outcome, has_value = show.compute(text, frame, self._tracker, self._own), True
        if outcome.drew:
            note = f"{note}; random states were put back".removeprefix("; ")
        if outcome.problem:
            return Evaluated(
                self._number, text, assigned=tuple(assigned), note=note, error=outcome.problem, traceback=outcome.trace
            )
        if not has_value or (query.statement and outcome.value is None):
            return Evaluated(self._number, text, assigned=tuple(assigned), note=note)
        value = outcome.value
        kind = type(value).__name__
        if isinstance(value, Tensor):
            return Evaluated(self._number, text, kind, (), told.tensor(value), tuple(assigned), note)
        lines = self._tracker.cancelling.run(lambda: told.lines(value))  # a `repr` of the user's may take long too
        return Evaluated(self._number, text, kind, lines, None, tuple(assigned), note)

    def variables(self, query: GetVariables) -> Variables:
        """All variables of the frame; of a module only those that are no modules, functions and dunders."""
        frame = self.frame(query.frame)
        if frame is None:
            raise NotThereError("no line of the script is running at this stop")
        values = frames.variables(frame)
        names = [name for name, value in values.items() if not name.startswith("__") and not _is_code(value)]
        items = tuple((name, told.variable(values[name])) for name in names[:MOST_VARIABLES])
        values.clear()
        return Variables(self._number, frame.f_code.co_name, items, max(len(names) - MOST_VARIABLES, 0))

    def completions(self, query: GetCompletions) -> Completions:
        """Names of the frame, or of what the path before the last dot leads to."""
        if not self._allowed:
            raise NotThereError(OFF)
        found = _LAST.search(query.text)
        assert found is not None  # it may match nothing at all
        path, begun = found["path"], found["name"]
        before = query.text[: found.start("name")]
        names = self._attributes(path[:-1], query.frame) if path.endswith(".") else self._names(query.frame)
        hidden = begun.startswith("_")
        fitting = sorted(name for name in names if name.startswith(begun) and (hidden or not name.startswith("_")))
        return Completions(tuple(before + name for name in fitting[:MOST_COMPLETIONS]))

    def _names(self, index: int | None) -> set[str]:
        frame = self.frame(index)
        known = {*keyword.kwlist, *dir(builtins), *self._own}
        if frame is not None:
            variables = frames.variables(frame)
            known |= {*variables, *frame.f_globals}
            variables.clear()
        return {name for name in known if name.isidentifier()}

    def _attributes(self, path: str, index: int | None) -> set[str]:
        """Names after a dot: what is in dictionaries, of the object, its class and (of a module) its parts."""
        owner = show.follow(path, self.frame(index), self._own)
        if owner is show.UNKNOWN:
            return set()
        names = {name for base in type(owner).__mro__ for name in vars(base)}
        try:
            own = object.__getattribute__(owner, "__dict__")
        except AttributeError:
            own = {}
        if isinstance(owner, (type, ModuleType)):
            names |= set(vars(owner))
        elif isinstance(own, dict):
            names |= {name for name in own if isinstance(name, str)}
        if isinstance(owner, Module):
            names |= {name for place in ("_parameters", "_buffers", "_modules") for name in own.get(place, {})}
        return {name for name in names if name.isidentifier()}


def _is_code(value: Any) -> bool:
    kind = type(value)  # not `isinstance`, which asks the object too
    return issubclass(kind, (ModuleType, type)) or (callable(value) and not issubclass(kind, Module))
