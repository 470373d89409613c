"""Statements of the user's, run in a frame of the stopped script: what they assign reaches the frame.

In a function the text becomes the body of a function of its own, with the frame's variables as its parameters: its
comprehensions, lambdas and nested functions see them, and its globals are the script's. What it has bound when it ends
(also by an exception) is written back: from Python 3.13 through `frame.f_locals`, before by `PyFrame_LocalsToFast`.
A variable that the script has already read is read anew only where its code names it again.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import symtable
import sys
from types import FrameType
from typing import Any

import torch

from stepdbg.agent import frames
from stepdbg.agent.cancelling import Cancelling
from stepdbg.agent.tensors.elements import one_line
from stepdbg.agent.tracker import Tracker
from stepdbg.agent.values.show import Outcome, raised, undisturbed
from stepdbg.agent.work import GivenUpError, NotThereError

_MISSING = object()
_OPTIMIZED = 0x1
_VALUE, _OUT, _LOCALS = " value", " out", " locals"  # no name of the script's has a space in it


class Executed(Outcome):
    """What a statement gave, and what it set."""

    def __init__(self) -> None:
        super().__init__()
        self.has_value = False
        """Whether its last part is an expression: `value` is what that gave."""
        self.assigned: list[str] = []
        self.own: dict[str, Any] = {}
        """Names that it set which are no variables of the frame's."""


def execute(text: str, frame: FrameType | None, tracker: Tracker, own: dict[str, Any], *, grad: bool) -> Executed:
    """Run `text` in `frame` (None: in the main module). `own`: names set before that are no variables of the frame's;
    `grad`: whether graphs are recorded. Raises NotThereError where it cannot be run; then nothing has been.
    """
    tree = _parsed(text)
    outcome = Executed()
    try:
        with torch.set_grad_enabled(grad), undisturbed(tracker) as states:
            if frame is not None and frame.f_code.co_flags & _OPTIMIZED:
                _in_function(text, tree, frame, own, outcome, tracker.cancelling)
            else:
                _in_namespace(tree, frame, own, outcome, tracker.cancelling)
        outcome.drew = states.changed
    except (NotThereError, GivenUpError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the user's own code may raise anything
        raised(outcome, error)
    return outcome


def _parsed(text: str) -> ast.Module:
    try:
        tree = ast.parse(text, "<stepdbg>", "exec")
        compile(tree, "<stepdbg>", "exec", dont_inherit=True)  # `return` and `await` belong in functions
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else one_line(error)
        raise NotThereError(f"{text!r} cannot be run: {problem}") from None
    if not tree.body:
        raise NotThereError("! needs a statement or an expression: ! x = 3")
    return tree


# ── modules and class bodies: their variables are a dictionary ───────────────────────────────────────────────────


def _in_namespace(
    tree: ast.Module, frame: FrameType | None, own: dict[str, Any], outcome: Executed, cancelling: Cancelling
) -> None:
    if frame is None:
        main = sys.modules.get("__main__")
        scope = names = vars(main) if main is not None else {}
    else:
        scope, names = frame.f_globals, frame.f_locals
    before = dict(names)
    registry = "__warningregistry__" in scope
    try:
        last = tree.body[-1]
        body = tree.body[:-1] if isinstance(last, ast.Expr) else tree.body
        code = compile(ast.Module(body, []), "<stepdbg>", "exec", dont_inherit=True)
        cancelling.run(lambda: exec(code, scope, names))
        if isinstance(last, ast.Expr):
            value = compile(ast.Expression(last.value), "<stepdbg>", "eval", dont_inherit=True)
            outcome.value = cancelling.run(lambda: eval(value, scope, names))
            outcome.has_value = True
    finally:
        if not registry:
            scope.pop("__warningregistry__", None)
        outcome.assigned = [
            name for name, value in names.items() if before.get(name, _MISSING) is not value and name != "__builtins__"
        ]
        before.clear()
    del own


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────


def _in_function(
    text: str, tree: ast.Module, frame: FrameType, own: dict[str, Any], outcome: Executed, cancelling: Cancelling
) -> None:
    code = frame.f_code
    fast = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
    global_names = _check(text, tree, frame, fast)
    variables = {**own, **frames.variables(frame)}
    given = {
        name: value
        for name, value in variables.items()
        if name.isidentifier() and not keyword.iskeyword(name) and name not in global_names
    }
    variables.clear()
    function = _function(tree, list(given), frame, outcome)
    out: dict[str, Any] = {}
    try:
        cancelling.run(lambda: function(**{_OUT: out.update, _LOCALS: builtins.locals}, **given))
    finally:
        outcome.value = out.pop(_VALUE, None)
        changes = {
            name: value
            for name, value in out.items()
            if not name.startswith(" ") and given.get(name, _MISSING) is not value
        }
        frames.write(frame, {name: value for name, value in changes.items() if name in fast})
        outcome.own = {name: value for name, value in changes.items() if name not in fast}
        outcome.assigned = [*changes, *sorted(global_names)]
        out.clear()
        given.clear()


def _check(text: str, tree: ast.Module, frame: FrameType, fast: set[str]) -> set[str]:
    """Names that the text declares global. Raises NotThereError for what cannot reach the frame."""
    table = symtable.symtable(text, "<stepdbg>", "exec")
    declared = {
        name for node in tree.body for part in ast.walk(node) if isinstance(part, ast.Global) for name in part.names
    }
    function = frame.f_code.co_name
    for symbol in table.get_symbols():
        name = symbol.get_name()
        sets = symbol.is_assigned() or symbol.is_imported()
        if sets and name not in fast and name not in declared and name in frame.f_globals:
            raise NotThereError(f"{name} is a global, no variable of {function}(): ! global {name}; {text}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del) and node.id not in declared:
            raise NotThereError(
                f"{node.id} cannot be deleted: a function's variables can only be set, ! {node.id} = None"
            )
    return declared


def _function(tree: ast.Module, names: list[str], frame: FrameType, outcome: Executed) -> Any:
    body = list(tree.body)
    if isinstance(body[-1], ast.Expr):
        body[-1] = ast.Assign([ast.Name(_VALUE, ast.Store())], body[-1].value)
        outcome.has_value = True
    keep = ast.Expr(ast.Call(_name(_OUT), [ast.Call(_name(_LOCALS), [], [])], []))
    arguments = ast.arguments([], [ast.arg(name) for name in (_OUT, _LOCALS, *names)], None, [], [], None, [])
    definition = ast.parse("def _(): pass")
    function = definition.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.name = frame.f_code.co_name if frame.f_code.co_name.isidentifier() else "_"
    function.args = arguments
    function.body = [ast.Try(body, [], [], [keep])]
    made: dict[str, Any] = {}
    try:
        code = compile(ast.fix_missing_locations(definition), "<stepdbg>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else one_line(error)
        raise NotThereError(f"cannot be run inside a function: {problem}") from None
    exec(code, frame.f_globals, made)
    return made[function.name]


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())
