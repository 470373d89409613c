"""What is typed behind `/` in the parameter pane: globs, predicates and marks, joined by "and" or a comma. Pure.

    encoder.* and g.norm > 10        owner = none, numel >= 1e6        is:unreached        bias

A term with a comparison is a predicate, `is:` begins a mark, anything else is a glob (with * ? or [) or a part of a
name, owner or dtype. Both sides read it: the screen to say what is wrong with it, the agent to apply it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stepdbg.errors import UsageError
from stepdbg.protocol.graph import MARKS
from stepdbg.protocol.naming import called, has, is_glob
from stepdbg.protocol.quantities import COSTS, FLAG, NUMBER, Quantity, find

Value = float | int | str | bool | tuple[str, ...] | None
"""What a quantity is; several texts are names for one thing. None, "" or (): unknown, or not there."""

MARK = "is:"

_JOINT = re.compile(r"\s*,\s*|\s+and(?:\s+|$)", re.IGNORECASE)
_COMPARISON = re.compile(r"(.*?)(<=|>=|==|!=|≤|≥|≠|<|>|=)(.*)", re.DOTALL)
_SAME = {"≤": "<=", "≥": ">=", "≠": "!=", "==": "="}
_FLAGS = {"yes": True, "true": True, "no": False, "false": False}
_EXAMPLE = {NUMBER: "10", FLAG: "yes"}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@dataclass(frozen=True)
class Predicate:
    """A comparison of one quantity."""

    quantity: Quantity
    operator: str
    value: Value
    """None: `none`, which is compared with what is not there."""
    written: str

    @property
    def text(self) -> str:
        """As it is written plainly."""
        return f"{self.quantity.name} {self.operator} {self.written}"

    def holds(self, actual: Value) -> bool:
        """Whether it holds of a tensor whose quantity is `actual`. What is unknown is neither more nor less."""
        if self.value is None:
            return (actual is None or actual in ("", ())) == (self.operator == "=")
        if actual is None:
            return False
        if isinstance(self.value, str):
            texts = actual if isinstance(actual, tuple) else (str(actual),)
            return any(called(text.lower(), self.value) for text in texts) == (self.operator == "=")
        if isinstance(actual, (str, tuple)) or isinstance(self.value, tuple):
            return False
        return _COMPARE[self.operator](actual, self.value)


@dataclass(frozen=True)
class Filter:
    """Terms that must all hold."""

    globs: tuple[str, ...] = ()
    """Lower case. With * ? or [ the whole of a text must match, else a part of one."""
    marks: tuple[str, ...] = ()
    predicates: tuple[Predicate, ...] = ()
    """The cheapest first."""
    text: str = ""
    """The same, written plainly: two texts that mean the same are the same."""

    @property
    def needs(self) -> frozenset[str]:
        """What must be read of tensors to apply it: `quantities.COSTS`, without what is free."""
        return frozenset(p.quantity.needs for p in self.predicates) - {""}

    def named(self, texts: Iterable[str]) -> bool:
        """Whether one of `texts` (a tensor's names, owner, dtype) matches every glob."""
        lower = [text.lower() for text in texts]
        return all(any(called(text, glob) or _contains(text, glob) for text in lower) for glob in self.globs)


def _contains(text: str, part: str) -> bool:
    return has(text, part) and not is_glob(part)


def parse(text: str) -> Filter:
    """What `text` asks for; an empty one, everything. Raises UsageError with one line that names the right form."""
    terms = [term.strip() for term in _JOINT.split(text)]
    globs: list[str] = []
    marks: list[str] = []
    predicates: list[Predicate] = []
    words: list[str] = []
    for term in terms:
        comparison = _COMPARISON.fullmatch(term)
        if not term:
            continue
        if term.lower().startswith(MARK):
            marks.append(_mark(term))
            words.append(MARK + marks[-1])
        elif comparison is not None:
            predicates.append(_predicate(*comparison.groups()))
            words.append(predicates[-1].text)
        elif re.search(r"\s(or|not|&&?|\|\|?)\s", f" {term} ", re.IGNORECASE):
            raise UsageError(f"“{_short(term)}”: terms are joined by and, or by a comma: bias and g.norm > 10")
        else:
            globs.append(term.lower())
            words.append(term)
    predicates.sort(key=lambda p: COSTS.index(p.quantity.needs))
    return Filter(tuple(globs), tuple(marks), tuple(predicates), " and ".join(words))


def _predicate(left: str, operator: str, right: str) -> Predicate:
    if not left.strip():
        raise UsageError(f"what is to be {operator} {_short(right) or '10'}? For example: g.norm {operator} 10")
    try:
        quantity = find(left)
    except UsageError as error:
        raise UsageError(f"{_short(str(error), 300)}") from None
    operator, written = _SAME.get(operator, operator), right.strip()
    form = f"{quantity.name} {operator if quantity.kind == NUMBER else '='} {_EXAMPLE.get(quantity.kind, 'TEXT')}"
    if not written:
        raise UsageError(f"{quantity.name} {operator} what? For example: {form}")
    if quantity.kind != NUMBER and operator not in ("=", "!="):
        raise UsageError(f"{quantity.name} is no number, so it is not {operator} anything: {form}")
    if written.lower() == "none":
        if operator not in ("=", "!="):
            raise UsageError(f"nothing is {operator} none: {quantity.name} = none, or {form}")
        return Predicate(quantity, operator, None, "none")
    if quantity.kind == NUMBER:
        return Predicate(quantity, operator, _number(written, form), written.lower())
    if quantity.kind == FLAG:
        if written.lower() not in _FLAGS:
            raise UsageError(f"{quantity.name} is yes or no, not “{_short(written)}”: {form}")
        return Predicate(quantity, operator, _FLAGS[written.lower()], "yes" if _FLAGS[written.lower()] else "no")
    return Predicate(quantity, operator, written.lower().replace("×", "x"), written)


def _number(written: str, form: str) -> float:
    text = written.removesuffix("%").strip().replace("−", "-")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        hint = "nan > 0 finds NaN, inf > 0 finds Inf" if text.lower().lstrip("+-") in ("nan", "inf") else form
        raise UsageError(f"“{_short(written)}” is no number to compare with: {hint}")
    return value


def _mark(term: str) -> str:
    begun = term[len(MARK) :].strip().lower()
    starting = [mark for mark in MARKS if mark.startswith(begun)]
    if begun in MARKS:
        return begun
    if len(starting) == 1:
        return starting[0]
    forms = _listed([MARK + mark for mark in starting or MARKS])
    raise UsageError(f"No mark “{_short(begun)}”: {forms}." if begun and not starting else f"{forms}?")


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)


def _short(text: str, most: int = 40) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
