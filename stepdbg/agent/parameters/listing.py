"""Answers what the parameter pane asks: filters and orders the whole model, reads what is on the page, makes rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from stepdbg.agent import tensors
from stepdbg.agent.graph.pages import Graphs
from stepdbg.agent.graph.record import GraphRecord
from stepdbg.agent.naming import Names
from stepdbg.agent.parameters import entries, plan, rows
from stepdbg.agent.parameters.entries import PARAMETER, Entry
from stepdbg.agent.parameters.facts import Facts, needs_of
from stepdbg.agent.parameters.marks import Marks
from stepdbg.agent.parameters.readings import Readings
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.work import NotThereError, Work
from stepdbg.errors import UsageError
from stepdbg.protocol import messages as m
from stepdbg.protocol import predicates, quantities
from stepdbg.protocol.parameters import Arrangement
from stepdbg.protocol.predicates import Filter, Predicate
from stepdbg.protocol.records import ParameterPage

MAX_ROWS = 2000
"""Rows of one page, at most."""

TOTALLED = frozenset({quantities.NORM, quantities.GRAD_NORM, quantities.DELTA})
"""What is told of all parameters below a module together."""

EVERY = 2000
"""Tensors looked at between two looks at whether the answer is still wanted."""

_DIGITS = re.compile(r"([0-9]+)")

Sortable = tuple[Any, ...]


class Parameters:
    """The parameters of one stop. Alive as long as the stop; refers to nothing that refers to it."""

    def __init__(
        self, tracker: Tracker, names: Names, graphs: Graphs, before: Marks | None, after: Marks, grad_label: str
    ) -> None:
        """`before`: what the last stop left; `after`: what this one leaves."""
        self._names = names
        self._graphs = graphs
        self._after = after
        self._passes = tracker.passes
        self.readings = Readings(tracker.before)
        self.facts = Facts(names, self.readings, before, tracker.passes, tracker.loop.known_backwards)
        self._maker = rows.Maker(names, self.facts, before, after, grad_label)
        self._parameters = entries.parameters(names)
        self._others: tuple[Sequence[Entry], Sequence[Entry]] | None = None
        self._plans: dict[tuple[str, str, bool, bool], plan.Plan] = {}

    def forget(self) -> None:
        """Read and arrange everything anew: tensors have been written to at this stop."""
        self.readings.forget()
        self._plans.clear()
        self._others = None

    def remember(self) -> None:
        """Leave the marks of all parameters to the next stop."""
        self._after.note_rest((p.name, p.tensor) for p in self._parameters)

    # ── a page ──────────────────────────────────────────────────────────────────────────────────────────────

    def page(self, query: m.GetParameters, stop: int, work: Work, *, returned: bool) -> ParameterPage:
        """The rows asked for. `returned`: the script's functions have. Raises NotThereError for a bad pattern."""
        arrangement = query.arrangement
        if "passes" in arrangement.columns:
            self._passes.watch(p.tensor for p in self._parameters)
        planned = self._plan(query.pattern, arrangement, work)
        shown = planned.shown(arrangement)
        start = max(0, query.offset)
        page = shown[start : start + min(max(0, query.count), MAX_ROWS)]
        needs = _known(arrangement.columns)
        self._read_page(planned, page, needs, work)
        recorded = self._graphs.recorded()
        made = tuple(self._maker.row(each, planned, recorded, needs) for each in page)
        gone = ""
        if not self._parameters:
            gone = "no parameters: no module or optimizer is reachable from the script's variables here"
            if returned:
                gone = "the script's functions have returned, and their variables with them: nothing is left to show"
        return ParameterPage(
            stop=stop,
            offset=start,
            total=len(shown),
            everything=len(self._parameters),
            rows=made,
            gone=gone,
            graph_at=recorded.stop if recorded is not None else None,
            matching=len(planned.parameters),
        )

    def _read_page(self, planned: plan.Plan, page: Sequence[plan.Shown], needs: frozenset[str], work: Work) -> None:
        """Read of the rows on a page what their columns need; of a module, the norms of all that is below it."""
        self.readings.read([s.line.entry.tensor for s in page if s.line.entry is not None], needs, work)
        modules = [s.line for s in page if s.line.kind == plan.MODULE and needs not in s.line.totals]
        below = {id(p.tensor): p.tensor for line in modules for p in planned.below(line)}
        self.readings.read(list(below.values()), needs & TOTALLED, work)

    # ── which rows there are ────────────────────────────────────────────────────────────────────────────────

    def _plan(self, pattern: str, arrangement: Arrangement, work: Work) -> plan.Plan:
        key = pattern, arrangement.sort, arrangement.falling, arrangement.tree
        if key not in self._plans:
            self._plans[key] = self._planned(pattern, arrangement, work)
        return self._plans[key]

    def _planned(self, pattern: str, arrangement: Arrangement, work: Work) -> plan.Plan:
        try:
            wanted = predicates.parse(pattern)
            sort = quantities.find(arrangement.sort).name if arrangement.sort else ""
        except UsageError as error:
            raise NotThereError(str(error)) from None
        if self._others is None:
            self._others = entries.buffers(self._names), entries.States(self._names)
        recorded = self._graphs.recorded()
        found = [self._matching(part, wanted, recorded, work) for part in (self._parameters, *self._others)]
        parameters, buffers, states = found
        if sort:
            parameters = self._sorted(parameters, sort, arrangement.falling, work)
        if arrangement.tree:
            paths = {path for path, _kind in self._names.paths.values()}
            return plan.tree(parameters, buffers, states, paths.__contains__)
        return plan.flat(parameters, buffers, states)

    def _matching(
        self, part: Sequence[Entry], wanted: Filter, recorded: GraphRecord | None, work: Work
    ) -> Sequence[Entry]:
        if wanted.globs:
            part = self._stepping(part, lambda e: wanted.named(self._texts(e)), work)
        if wanted.marks:
            part = [e for e in part if e.kind == PARAMETER and set(wanted.marks) <= set(rows.marks_of(e, recorded))]
        for predicate in wanted.predicates:  # the cheapest first: what they leave is all that is read for the others
            name = predicate.quantity.name
            self._read_for(part, name, work)
            part = self._stepping(part, partial(self._holds, predicate), work)
        return part

    def _holds(self, predicate: Predicate, entry: Entry) -> bool:
        return predicate.holds(self.facts.value(entry, predicate.quantity.name))

    def _stepping(self, part: Sequence[Entry], holds: Callable[[Entry], bool], work: Work) -> list[Entry]:
        found = []
        for at, entry in enumerate(part):
            if at % EVERY == EVERY - 1:
                work.step(at, len(part), "parameters")
            if holds(entry):
                found.append(entry)
        return found

    def _texts(self, entry: Entry) -> tuple[str, ...]:
        owner, kind = self.facts.owner(entry)
        if entry.kind == PARAMETER and not owner:
            owner = "nobody"
        return (entry.name, *entry.aliases, *self._short(entry), owner, kind, tensors.dtype_name(entry.tensor))

    def _short(self, entry: Entry) -> tuple[str, ...]:
        """The name as in `named_parameters()`, without the root module's variable."""
        roots = (title for title, _ in self._names.modules.values() if entry.name.startswith(f"{title}."))
        return tuple(entry.name.removeprefix(f"{title}.") for title in roots)

    def _sorted(self, part: Sequence[Entry], quantity: str, falling: bool, work: Work) -> list[Entry]:
        """In the order of that quantity, unknown ones last; equal ones stay in the model's order."""
        self._read_for(part, quantity, work)
        known: list[tuple[Sortable, Entry]] = []
        unknown: list[Entry] = []
        for entry in part:
            value = self.facts.value(entry, quantity)
            if value is None or value == "" or value != value:
                unknown.append(entry)
            else:
                known.append((_sortable(value), entry))
        known.sort(key=lambda pair: pair[0], reverse=falling)
        return [entry for _value, entry in known] + unknown

    def _read_for(self, part: Sequence[Entry], quantity: str, work: Work) -> None:
        """Read of all these what the quantity needs. NaN and Inf are looked for where norms say that there are some."""
        needs = needs_of((quantity,))
        if not needs:
            return
        values = [e.tensor for e in part]
        if quantity.rpartition(".")[2] in ("nan", "inf"):
            first = {quantities.STATS: quantities.NORM, quantities.GRAD_STATS: quantities.GRAD_NORM}
            self.readings.read(values, frozenset(first[need] for need in needs), work)
            self.readings.read_odd(values, needs, work)
        else:
            self.readings.read(values, needs, work)


def _known(columns: Sequence[str]) -> frozenset[str]:
    try:
        return needs_of(tuple(quantities.find(name).name for name in columns))
    except UsageError as error:
        raise NotThereError(str(error)) from None


def _sortable(value: Any) -> Sortable:
    """Texts by their first name, numbers in them by size: layers.2 comes before layers.10."""
    if isinstance(value, tuple):
        value = value[0]
    if isinstance(value, str):
        return tuple(
            (int(p), "") if p.isdecimal() and p.isascii() else (-1, p) for p in _DIGITS.split(value.lower()) if p
        )
    return (float(value),)
