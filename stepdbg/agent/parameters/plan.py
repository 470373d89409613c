"""Which rows there are, in pre-order, and which of them are shown as they are folded.

Rows below a parameter (its optimizer state) and the buffers of a module are numbers in the plan until they are
unfolded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stepdbg.agent.parameters.entries import PARAMETER, Entry
from stepdbg.protocol.parameters import Arrangement
from stepdbg.protocol.records import ParameterRow

MODULE, SECTION = "module", "section"
BUFFERS, STATES = "buffers", "optimizer state"
"""Names of the two sections of the flat list."""


@dataclass
class Line:
    """One row before anything is told of it."""

    kind: str
    name: str
    depth: int
    index: int
    above: int
    """Index of the line that it hangs from; -1 for none."""
    entry: Entry | None = None
    below: int = 0
    """Lines of its subtree."""
    extra: Sequence[Entry] = ()
    """What hangs from it and is not among the lines: buffers of a module, state of a parameter, all of a section."""
    children: list[Line] = field(default_factory=list)
    first: int = 0
    """Parameters before it in the plan, and those below it: their place in `Plan.parameters`."""
    count: int = 0
    totals: dict[frozenset[str], ParameterRow] = field(default_factory=dict)
    """Rows with the totals of all that is below it, by what they needed."""

    @property
    def key(self) -> str:
        """What its level is kept by."""
        return f"{self.kind}:{self.name}"

    def level(self, levels: Mapping[str, int], base: int) -> int:
        """How far it is unfolded. What is not a module has nothing between folded and unfolded."""
        level = levels.get(self.key)
        if level is not None:
            return level
        return base if self.kind == MODULE else 1 if base > 1 and (self.below or self.extra) else 0


@dataclass(frozen=True)
class Shown:
    """A line as it is folded, and the position of the shown one that it hangs from."""

    line: Line
    level: int
    above: int | None


@dataclass
class Plan:
    """All rows of one arrangement, but for how they are folded."""

    roots: list[Line]
    parameters: list[Entry]
    """Those that match, in the order of their lines."""
    _folded: tuple[object, list[Shown]] | None = None

    def below(self, line: Line) -> list[Entry]:
        """All parameters below a module's line."""
        return self.parameters[line.first : line.first + line.count]

    def shown(self, arrangement: Arrangement) -> list[Shown]:
        """The rows that are shown with these folds, in order."""
        folds = arrangement.base, arrangement.levels
        if self._folded is None or self._folded[0] != folds:
            self._folded = folds, self._unfolded(dict(arrangement.levels), arrangement.base)
        return self._folded[1]

    def _unfolded(self, levels: Mapping[str, int], base: int) -> list[Shown]:
        found: list[Shown] = []
        waiting: list[tuple[Line, int | None]] = [(line, None) for line in reversed(self.roots)]
        while waiting:
            line, above = waiting.pop()
            level = line.level(levels, base)
            at = len(found)
            found.append(Shown(line, level, above))
            if level and (line.children or line.extra):
                below = list(line.children)
                if line.extra and (line.kind != MODULE or level > 1):
                    below = _unfolded(line) + below if line.kind == MODULE else _unfolded(line)
                waiting.extend((child, at) for child in reversed(below))
        return found


def _unfolded(line: Line) -> list[Line]:
    """What hangs from it and is not among the lines, as lines: they come first of what is below it."""
    return [
        Line(entry.kind, entry.name, line.depth + 1, line.index + 1 + at, line.index, entry)
        for at, entry in enumerate(line.extra)
    ]


def flat(parameters: Sequence[Entry], buffers: Sequence[Entry], states: Sequence[Entry]) -> Plan:
    """A list of parameters, with two sections at its end that unfold."""
    roots = [Line(PARAMETER, entry.name, 0, at, -1, entry) for at, entry in enumerate(parameters)]
    index = len(roots)
    for name, entries in ((BUFFERS, buffers), (STATES, states)):
        if entries:
            roots.append(Line(SECTION, name, 0, index, -1, None, len(entries), entries))
            index += 1 + len(entries)
    return Plan(roots, list(parameters))


def tree(
    parameters: Sequence[Entry],
    buffers: Sequence[Entry],
    states: Sequence[Entry],
    is_module: Callable[[str], bool],
) -> Plan:
    """Modules with what they hold, in the order in which `parameters` come to them.

    `is_module`: whether a path is that of a module.
    """
    roots: list[Line] = []
    modules: dict[str, Line] = {}
    by_parameter: dict[str, list[Entry]] = {}
    for entry in states:
        by_parameter.setdefault(entry.of, []).append(entry)

    def module(path: str) -> Line | None:
        """The line of the module at `path`, with those above it; made when first wanted."""
        missing: list[str] = []
        while path and path not in modules and is_module(path):
            missing.append(path)
            path = path.rpartition(".")[0]
        line = modules.get(path)
        for each in reversed(missing):
            line = modules[each] = _hang(roots, line, Line(MODULE, each, 0, 0, -1))
        return line

    for entry in parameters:
        line = _hang(roots, module(entry.place), Line(PARAMETER, entry.name, 0, 0, -1, entry))
        line.extra = by_parameter.pop(entry.name, ())
    loose: list[Entry] = []
    for entry in buffers:
        holder = module(entry.place)
        if holder is None:
            loose.append(entry)
        else:
            holder.extra = [*holder.extra, entry]
    for name, rest in ((BUFFERS, loose), (STATES, [e for kept in by_parameter.values() for e in kept])):
        if rest:
            roots.append(Line(SECTION, name, 0, 0, -1, None, 0, rest))
    return Plan(roots, _number(roots))


def _hang(roots: list[Line], above: Line | None, line: Line) -> Line:
    (above.children if above is not None else roots).append(line)
    return line


def _number(roots: list[Line]) -> list[Entry]:
    """Give every line its index, depth and extent. Returns the parameters in the order of their lines."""
    order: list[Line] = []
    parameters: list[Entry] = []
    index = 0
    waiting: list[tuple[Line, int, int]] = [(line, 0, -1) for line in reversed(roots)]
    while waiting:
        line, depth, above = waiting.pop()
        line.index, line.depth, line.above, line.first = index, depth, above, len(parameters)
        order.append(line)
        index += 1 + len(line.extra)
        if line.kind == PARAMETER and line.entry is not None:
            parameters.append(line.entry)
            line.count = 1
        waiting.extend((child, depth + 1, line.index) for child in reversed(line.children))
    for line in reversed(order):
        line.below = len(line.extra) + sum(1 + child.below for child in line.children)
        line.count += sum(child.count for child in line.children)
    return parameters
