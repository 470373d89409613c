"""Conditions and texts of logpoints: read once, and told at a boundary from what is known there for nothing.

`loss`, `iteration`, `micro_batch`, `phase`, `lr` and `grad.norm` are stepdbg's own; a condition of only these never
touches the user's frame. `grad.norm` reads every gradient. In any other expression these are put in as numbers and the
rest is evaluated in the user's frame as `show` does it (20 µs for the surroundings and whatever it computes).
`loss.shape` and other attributes of that name are the user's variable.
"""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable, Mapping
from string import Formatter
from types import FrameType
from typing import Any, Protocol

from stepdbg.agent.tracker import Tracker
from stepdbg.agent.values import show
from stepdbg.agent.work import GivenUpError, NotThereError

OWN = ("loss", "iteration", "micro_batch", "phase", "lr", "grad.norm")
"""What is told without the user's frame."""

_FUNCTIONS: dict[str, Any] = {
    **{f.__name__: f for f in (abs, min, max, round, len, int, float, bool, sum, any, all, str, range, sorted)},
    **{f.__name__: f for f in (math.isnan, math.isinf, math.isfinite, math.sqrt, math.log, math.exp)},
    "math": math,
}


_LOOPS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
"""What may take long with nothing of the user's in it."""


class Known(Protocol):
    """Finds out what each of OWN is."""

    def value(self, name: str) -> Any:
        """None where it is not known here."""


_CONVERT: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}


class UnknownError(Exception):
    """A number that is not known here (the loss before the first backward): the condition is not true."""


class Expression:
    """One expression. Raises NotThereError with one line where it is none, or may not be evaluated."""

    def __init__(self, text: str, *, evaluation: bool) -> None:
        self.text = text.strip()
        tree = _parsed(self.text)
        bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        finder = _Own(bound)
        tree = finder.visit(tree)
        self.own: tuple[str, ...] = tuple(sorted(finder.found))
        """Those of OWN that it needs."""
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id[-1] != " "}
        self.users = sorted(names - bound - set(_FUNCTIONS))
        """Names that only the user's frame knows."""
        self._tree = ast.fix_missing_locations(tree)
        self._loops = any(isinstance(node, _LOOPS) for node in ast.walk(tree))
        self.computes = self._loops or bool(self.users) or "grad.norm" in self.own
        """Whether its value takes operations of torch's, or may take long: ask for it inside `quiet()`."""
        self._function: Callable[..., Any] | None = None
        """Of the values of `own`: names of ours only."""
        if not self.users:
            arguments = [ast.arg(f"{name} ") for name in self.own]
            self._tree.body = ast.Lambda(ast.arguments([], arguments, None, [], [], None, []), self._tree.body)
            code = compile(ast.fix_missing_locations(self._tree), "<condition>", "eval", dont_inherit=True)
            self._function = eval(code, {"__builtins__": _FUNCTIONS})
        elif not evaluation:
            raise NotThereError(
                f"{self.text}: {self.users[0]} would be evaluated in your script, and --no-eval turns that off: "
                f"only {', '.join(OWN[:-1])} and {OWN[-1]} can be used"
            )

    def value(self, known: Known, frame: FrameType | None, tracker: Tracker) -> Any:
        """What it gives now. Raises what it raises; UnknownError where a number is not known, GivenUpError where it was
        cancelled.

        Call inside `quiet()` where it `computes`.
        """
        values = [known.value(name) for name in self.own]
        if None in values:
            raise UnknownError(f"{self.own[values.index(None)]} is not known here")
        function = self._function
        if function is not None:
            return tracker.cancelling.run(lambda: function(*values)) if self._loops else function(*values)
        own = {f"{name} ": value for name, value in zip(self.own, values, strict=True)}
        return show.evaluate(ast.unparse(_Filled(own).visit(copy.deepcopy(self._tree))), frame, tracker)


class Text:
    """A logpoint's text: "loss {loss:.3f} at {iteration}"."""

    def __init__(self, text: str, *, evaluation: bool) -> None:
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            raise NotThereError(f"logpoint: {error}; a brace itself is written {{{{ or }}}}") from None
        self._parts: list[tuple[str, Expression | None, str, str | None]] = []
        for literal, field, form, conversion in parts:
            if field is None:
                self._parts.append((literal, None, "", None))
                continue
            if not field.strip():
                raise NotThereError("logpoint: {} is empty; write {loss} or another expression in it")
            if "{" in (form or ""):
                raise NotThereError("logpoint: braces inside a format cannot be used")
            self._parts.append((literal, Expression(field, evaluation=evaluation), form or "", conversion))
        self.own = tuple(name for _, expression, *_ in self._parts if expression for name in expression.own)
        self.users = [name for _, expression, *_ in self._parts if expression for name in expression.users]

    def filled(self, known: Known, frame: FrameType | None, tracker: Tracker) -> str:
        """The text with values in it; what cannot be told is said in its place. Raises GivenUpError."""
        made = []
        for literal, expression, form, conversion in self._parts:
            made.append(literal)
            if expression is not None:
                made.append(_told(expression, form, conversion, known, frame, tracker))
        return "".join(made)


def _told(
    expression: Expression, form: str, conversion: str | None, known: Known, frame: FrameType | None, tracker: Tracker
) -> str:
    try:
        value = expression.value(known, frame, tracker)
        if conversion is not None:
            value = _CONVERT[conversion](value)
        return format(value, form) if form else short(value)
    except UnknownError:
        return "unknown"
    except GivenUpError:
        raise
    except Exception as error:
        return f"<{_line(error)}>"


def short(value: Any) -> str:
    """One line of a value: tensors as a summary. At most 120 characters."""
    kind: Any = type(value)
    if kind is float:
        text = f"{value:.6g}"
    elif hasattr(value, "numel") and hasattr(value, "dtype"):
        if value.numel() == 1 and not value.is_meta:
            number = value.detach().item()
            text = f"{number:.6g}" if isinstance(number, float) else str(number)
        else:
            text = f"{kind.__name__} {'×'.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')}"
    else:
        text = " ".join(repr(value).split())
    return text if len(text) <= 120 else f"{text[:119]}…"


def as_number(value: Any) -> float | None:
    """The value as a number where it is one."""
    if hasattr(value, "numel") and hasattr(value, "dtype"):
        if value.numel() != 1 or value.is_meta or value.is_complex():
            return None
        value = value.detach().item()
    return float(value) if isinstance(value, (int, float)) else None


def failure(error: BaseException) -> str:
    """One line of what a condition raised."""
    return str(error) if isinstance(error, (NotThereError, GivenUpError)) else _line(error)


def _line(error: BaseException) -> str:
    if isinstance(error, NotThereError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _parsed(text: str) -> ast.Expression:
    if not text:
        raise NotThereError("a condition is empty; write one as in: loss > 2")
    try:
        return ast.parse(text, "<condition>", "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else str(error)
    name, equals, rest = text.partition("=")
    if equals and "=" not in rest and name.strip().replace(".", "").isidentifier():
        raise NotThereError(f"{text!r} assigns: did you mean {name.strip()} == {rest.strip()}?")
    raise NotThereError(f"{text!r} is no condition: {problem}; as in: loss > 2 and iteration % 50 == 0")


class _Names(ast.NodeTransformer):
    """Goes to the names that stand for themselves: `loss.shape`, `loss[0]` and `loss()` are the user's."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute):
            self._inside(node.func)
        elif not isinstance(node.func, ast.Name):
            node.func = self.visit(node.func)
        node.args = [self.visit(argument) for argument in node.args]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self._inside(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.slice = self.visit(node.slice)
        return self._inside(node)

    def _inside(self, node: Any) -> ast.AST:
        if not isinstance(node.value, ast.Name):
            node.value = self.visit(node.value)
        return node  # type: ignore[no-any-return]


class _Own(_Names):
    """Finds what is stepdbg's own, and adds a blank to its name: no name of the script's ends with one."""

    def __init__(self, bound: set[str]) -> None:
        self.found: set[str] = set()
        self._bound = bound

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        base = node.value
        if isinstance(base, ast.Name) and (base.id, node.attr) == ("grad", "norm") and "grad" not in self._bound:
            return self._own("grad.norm", node)
        return self._inside(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._own(node.id, node) if node.id in OWN and node.id not in self._bound else node

    def _own(self, name: str, node: ast.AST) -> ast.AST:
        self.found.add(name)
        return ast.copy_location(ast.Name(f"{name} ", ast.Load()), node)


class _Filled(_Names):
    """Puts values in the place of stepdbg's own names."""

    def __init__(self, own: Mapping[str, Any]) -> None:
        self._own = own

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id not in self._own:
            return node
        value = self._own[node.id]
        if isinstance(value, float) and not math.isfinite(value):
            return ast.parse(f"float('{value}')", mode="eval").body
        return ast.Constant(value)
