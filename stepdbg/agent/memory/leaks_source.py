"""The line of the user's source that binds a name, or adds to what it holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from stepdbg.agent import sources

GROWING = frozenset({"append", "appendleft", "extend", "insert", "add", "update", "setdefault", "put", "push"})
"""Methods that put something into a container."""

GROWS, BINDS = 2, 1


def identifier(name: str) -> str:
    """The last plain name in "trainer.history['loss'][3]": what the source mentions where it is added to."""
    head = re.sub(r"\[.*", "", name)
    return head.rpartition(".")[2]


def find_line(file: str, name: str, function: str = "", first_line: int = 0) -> tuple[int, str] | None:
    """Line number and text of where `name` is added to, or else bound, in that file. None: nowhere, or unreadable.

    `function`, `first_line`: of the code object in which it is a variable; empty: look everywhere. Where several lines
    do it, the first one inside a loop; one that adds stands before one that binds.
    """
    text = sources.read(file).text
    word = identifier(name)
    if text is None or not word:
        return None
    try:
        tree: ast.AST = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    scope = _function(tree, function.rpartition(".")[2], first_line) if function else None
    found = list(_lines(scope or tree, word, in_loop=False))
    if not found:
        return None
    found.sort(key=lambda one: (-one[0], not one[1], one[2]))
    number = found[0][2]
    lines = text.splitlines()
    return number, lines[number - 1].strip() if number <= len(lines) else ""


def root_in(line: str) -> str:
    """What a backward on this line starts from, as it is written there; empty where that cannot be told."""
    try:
        tree = ast.parse(line.strip())
    except (SyntaxError, ValueError):
        return ""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("backward", "grad")
        ):
            of = node.func.value
            plain = isinstance(of, ast.Name) and of.id == "torch"
            function = plain or (isinstance(of, ast.Attribute) and of.attr == "autograd")
            return ast.unparse(node.args[0] if function and node.args else of)
    return ""


def find_retaining(file: str, function: str = "", first_line: int = 0) -> tuple[int, str, str] | None:
    """Line, text and function of a backward that is told to keep its graph; None: there is none, or several.

    `function`, `first_line`: of the code object to look in; empty: everywhere in that file.
    """
    text = sources.read(file).text
    if text is None or not ("retain_graph" in text or "create_graph" in text):
        return None
    try:
        tree: ast.AST | None = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    if function and tree is not None:
        tree = _function(tree, function.rpartition(".")[2], first_line)
    found: list[tuple[int, str]] = []
    waiting: list[tuple[ast.AST, str]] = [(tree, "")] if tree is not None else []
    while waiting:
        node, within = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            within = node.name
        elif isinstance(node, ast.Call) and any(_keeps(keyword) for keyword in node.keywords):
            found.append((node.lineno, within))
        waiting.extend((child, within) for child in ast.iter_child_nodes(node))
    if len(found) != 1:
        return None
    number, within = found[0]
    return number, text.splitlines()[number - 1].strip(), within


def _keeps(keyword: ast.keyword) -> bool:
    off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
    return keyword.arg in ("retain_graph", "create_graph") and not off


def _function(tree: ast.AST, name: str, first_line: int) -> ast.AST | None:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if not first_line or first_line in (first, node.lineno):
                return node
    return None


def _lines(tree: ast.AST, word: str, *, in_loop: bool) -> Iterator[tuple[int, bool, int]]:
    """(how, whether in a loop, line) of every place that binds `word` or adds to it. Without recursion."""
    waiting = [(tree, in_loop)]
    while waiting:
        node, looped = waiting.pop()
        how = _how(node, word)
        if how:
            yield how, looped, getattr(node, "lineno", 1)
        inside = looped or isinstance(node, (ast.For, ast.AsyncFor, ast.While))
        waiting.extend((child, inside) for child in ast.iter_child_nodes(node))


def _how(node: ast.AST, word: str) -> int:
    if isinstance(node, ast.AugAssign):
        return GROWS if _is(node.target, word) else 0
    if isinstance(node, ast.Call):
        method = node.func
        return GROWS if isinstance(method, ast.Attribute) and method.attr in GROWING and _is(method.value, word) else 0
    if isinstance(node, ast.Assign):
        for target in node.targets:
            for one in _targets(target):
                if isinstance(one, ast.Subscript) and _is(one.value, word):
                    return GROWS
                if _is(one, word):
                    return GROWS if any(_is(part, word) for part in ast.walk(node.value)) else BINDS
        return 0
    if isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
        return BINDS if _is(node.target, word) else 0
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return BINDS if any(_is(one, word) for one in _targets(node.target)) else 0
    return 0


def _targets(target: ast.AST) -> Iterator[ast.AST]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for part in target.elts:
            yield from _targets(part)
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value)
    else:
        yield target


def _is(node: ast.AST, word: str) -> bool:
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        return node.id == word
    return isinstance(node, ast.Attribute) and node.attr == word
