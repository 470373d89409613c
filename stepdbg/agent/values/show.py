"""Expressions of the user's, evaluated in the stopped frame so that the run goes on as if they had not been.

What is evaluated is an expression, never a statement; names that it binds are its own. Paths through modules are
followed in their dictionaries, so that reading `net[0].weight` runs nothing. A call in it runs the user's code, with
whatever that does to the user's own objects: only random states, warnings and our own records of calls are put back.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import random
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch.nn import Module

from stepdbg.agent import frames
from stepdbg.agent.tensors.elements import one_line
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.work import GivenUpError, NotThereError

UNKNOWN = object()
"""What a path that cannot be followed without running code leads to."""


@dataclass
class Outcome:
    """What a line of the user's gave. Holds the value, and no frame."""

    value: Any = None
    problem: str = ""
    """What it raised, in one line."""
    trace: str = ""
    """The same as Python prints it, without frames of ours."""
    drew: bool = False
    """Whether it changed a random state, which has been put back."""


def evaluate(text: str, frame: FrameType | None, tracker: Tracker) -> Any:
    """What `text` gives in the variables of `frame` (None: of the main module). Raises NotThereError with one line.

    Costs what it computes, and a copy of the frame's dictionary of names.
    """
    outcome = compute(text, frame, tracker)
    if outcome.problem:
        raise NotThereError(f"{text}: {outcome.problem}")
    return outcome.value


def compute(text: str, frame: FrameType | None, tracker: Tracker, more: Mapping[str, Any] | None = None) -> Outcome:
    """The same, with what it raised as text; `more`: names to use beside the frame's. Raises NotThereError where
    `text` is no expression.
    """
    tree, problem = _parsed(text)
    if tree is None:
        raise NotThereError(problem)
    scope = _scope(frame)
    for name, value in (more or {}).items():
        scope.setdefault(name, value)
    outcome = Outcome()
    try:
        tree = ast.fix_missing_locations(_Paths(scope, _bound(tree)).visit(tree))
        code = compile(tree, "<show>", "eval", dont_inherit=True)
        with undisturbed(tracker) as states:
            # It is the user who asks, of their own program.
            outcome.value = tracker.cancelling.run(lambda: eval(code, scope))
        outcome.drew = states.changed
    except (NotThereError, GivenUpError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raised(outcome, error)
    finally:
        scope.clear()
    return outcome


def raised(outcome: Outcome, error: BaseException) -> None:
    """Note what a line of the user's raised, as text only: the error itself holds frames."""
    outcome.problem = f"{type(error).__name__}: {one_line(error)}"
    trace = frames.clean_traceback(error.__traceback__)
    outcome.trace = "".join(traceback.format_exception(type(error), error, trace))


def is_expression(text: str) -> bool:
    """Whether it can be read as one."""
    return _parsed(text)[0] is not None


def follow(path: str, frame: FrameType | None, more: Mapping[str, Any]) -> Any:
    """What `path` leads to in the frame, found without running code; UNKNOWN where that cannot be told."""
    tree, _problem = _parsed(path)
    if tree is None:
        return UNKNOWN
    scope = {**more, **_scope(frame)}
    try:
        found = _Paths(scope, set())._follow(tree.body)
        return vars(builtins).get(path, UNKNOWN) if found is UNKNOWN else found
    finally:
        scope.clear()


def _parsed(text: str) -> tuple[ast.Expression | None, str]:
    try:
        return ast.parse(text, "<show>", "eval"), ""
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else one_line(error)
    if text.lstrip().startswith("@"):
        return None, f"{text.strip()!r} is not one of the frame's names: show {text.strip()}"
    try:
        ast.parse(text, "<show>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None, f"{text!r} is no expression: {problem}"
    return (
        None,
        f"{text!r} is a statement: only an expression can be shown, as in loss or net[0].weight.grad; ! {text} runs it",
    )


def _scope(frame: FrameType | None) -> dict[str, Any]:
    """The names that can be used: a copy, so that nothing binds one in the script, and inner scopes see them all."""
    if frame is None:
        main = sys.modules.get("__main__")
        scope = dict(vars(main)) if main is not None else {}
    else:
        scope = {**frame.f_globals, **frames.variables(frame)}
    scope.pop("__warningregistry__", None)
    return scope


def _bound(tree: ast.AST) -> set[str]:
    """Names that the expression binds itself, in comprehensions and lambdas."""
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return stored | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


class _Paths(ast.NodeTransformer):
    """Puts in place of each path that can be followed without running code what it leads to.

    Raises NotThereError at an attribute that a parametrization computes: reading it would change the run.
    """

    def __init__(self, scope: dict[str, Any], bound: set[str]) -> None:
        self._scope, self._bound = scope, bound
        self._count = 0

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self._follow(node.value)
        if isinstance(owner, Module):
            own = owner.__dict__.get("_modules", {}).get("parametrizations")
            if own is not None and node.attr in own.__dict__.get("_modules", {}):
                path = ast.unparse(node.value)
                raise NotThereError(
                    f"{path}.{node.attr} is computed each time it is read (a parametrization), and that may change "
                    f"the run: {path}.parametrizations.{node.attr}.original is what it is made from"
                )
        return self._known(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self._known(node)

    def _known(self, node: ast.Attribute | ast.Subscript) -> ast.AST:
        value = self._follow(node)
        if value is UNKNOWN or not isinstance(node.ctx, ast.Load):
            return self.generic_visit(node)
        self._count += 1
        name = f" {self._count}"  # no name of the script's has a space in it
        self._scope[name] = value
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def _follow(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Name):
            return UNKNOWN if node.id in self._bound else self._scope.get(node.id, UNKNOWN)
        if isinstance(node, ast.Attribute):
            return _attribute(self._follow(node.value), node.attr)
        if isinstance(node, ast.Subscript):
            key = _constant(node.slice)
            return UNKNOWN if key is UNKNOWN else _item(self._follow(node.value), key)
        return UNKNOWN


def _constant(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _constant(node.operand)
        return -inner if type(inner) is int else UNKNOWN
    return UNKNOWN


def _attribute(owner: Any, name: str) -> Any:
    """What is kept under that name in the dictionaries of a module or of an instance, found without running code."""
    kind: Any = type(owner)
    if owner is UNKNOWN or kind.__getattribute__ is not object.__getattribute__:
        return UNKNOWN
    try:
        own = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return UNKNOWN
    if isinstance(owner, Module):
        for place in ("_parameters", "_buffers", "_modules"):
            if name in own.get(place, {}):
                return own[place][name]
    if any(name in vars(base) for base in kind.__mro__):
        return UNKNOWN  # a property, or a class's own: Python's rules decide
    return own.get(name, UNKNOWN) if type(own) is dict else UNKNOWN


def _item(owner: Any, key: Any) -> Any:
    kind = type(owner)
    try:
        if kind in (torch.nn.Sequential, torch.nn.ModuleList) and type(key) is int:
            return list(owner.__dict__["_modules"].values())[key]
        if kind is torch.nn.ModuleDict and type(key) is str:
            return owner.__dict__["_modules"][key]
        if kind in (list, tuple) and type(key) is int:
            return owner[key]
        if kind is dict and type(key) in (int, str):
            return owner[key]
    except (LookupError, TypeError):
        pass  # said by what evaluates it
    return UNKNOWN


@dataclass
class _States:
    """What became of the random states."""

    changed: bool = False


@contextlib.contextmanager
def undisturbed(tracker: Tracker) -> Iterator[_States]:
    """Random states are put back, warnings are shown to nobody, and what is called is no call of the loop's."""
    numpy = sys.modules.get("numpy.random")
    cuda = sys.modules.get("torch.cuda")
    generators = [torch.default_generator]
    if cuda is not None and cuda.is_initialized():
        generators += cuda.default_generators
    states = [generator.get_state() for generator in generators]
    pythons = random.getstate()
    numpys = numpy.get_state() if numpy is not None else None
    shows = getattr(warnings, "_showwarnmsg", None)
    armed, tracker.armed = tracker.armed, False
    result = _States()
    try:
        if shows is not None:
            # A `catch_warnings` would make the script's own warnings be shown a second time.
            warnings._showwarnmsg = lambda _message: None  # type: ignore[attr-defined]
        yield result
    finally:
        tracker.armed = armed
        if shows is not None:
            warnings._showwarnmsg = shows  # type: ignore[attr-defined]
        for generator, state in zip(generators, states, strict=True):
            if not torch.equal(generator.get_state(), state):
                result.changed = True
                generator.set_state(state)
        if random.getstate() != pythons:
            result.changed = True
            random.setstate(pythons)
        if numpy is not None:
            result.changed = result.changed or not _same_state(numpys, numpy.get_state())
            numpy.set_state(numpys)


def _same_state(one: Any, other: Any) -> bool:
    """Whether two states of NumPy's global generator are one."""
    return repr(one[2:]) == repr(other[2:]) and bytes(one[1]) == bytes(other[1])
