"""Finds where to run until, from the user's word for it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from stepdbg.agent import frames, pointing
from stepdbg.agent.breakpoints import known_names, lines
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.breakpoints import Kind
from stepdbg.protocol.inside import Target
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from stepdbg.agent.naming import Names

PHASES = {phase.value for phase in Phase}
SHORTEST = 3
"""Letters that the name of an operation or node has at least."""


def find(text: str, names: Names, stack: Sequence[tuple[FrameType, int]]) -> Target:
    """The target that `text` names here: see `FindTarget`. Raises NotThereError with one line."""
    text = text.strip()
    if not text:
        raise NotThereError("until what? a phase (step), a module (net.2), a parameter, an op (addmm) or a line (31)")
    if text.lower() in PHASES:
        return Target("phase", text.lower(), words=f"{text.lower()} is next")
    if text.startswith("node ") and text[5:].strip().isdecimal():
        number = text[5:].strip()
        return Target("node", number, words=f"the node of number {number}")
    file, colon, number = text.rpartition(":")
    if number.isascii() and number.isdecimal():
        return _line(file if colon else "", int(number), stack)
    if text.startswith("op "):
        known_names.check(Kind.OP, text[3:].strip())
        return Target("op", text[3:].strip(), words=f"the operation {text[3:].strip()}")
    path = pointing.module_path(names, text.removeprefix("module ").strip())
    if path:
        return Target("module", path, words=f"{path} is called")
    named = pointing.one(names, text.removesuffix(".grad"))
    if named is not None:
        return Target("parameter", named.name, words=f"the gradient of {named.shown} arrives, or its update")
    return _op_or_node(text, names)


def _line(file: str, line: int, stack: Sequence[tuple[FrameType, int]]) -> Target:
    known = [f.f_code.co_filename for f, _ in stack if frames.is_user(f.f_code.co_filename)]
    whole = [f if f.startswith("<") else os.path.abspath(f) for f in known]  # noqa: PTH100
    if not file:
        if not whole:
            raise NotThereError("no file of yours is on the stack here: write FILE:LINE")
        chosen = whole[0]
    else:
        fitting = [f for f in whole if f == file or f.endswith(os.sep + file)]
        chosen = fitting[0] if fitting else os.path.abspath(file)  # noqa: PTH100
    if line < 1 or (not chosen.startswith("<") and not os.path.exists(chosen)):  # noqa: PTH110
        raise NotThereError(f"there is no line {line} in {file or chosen}")
    name = os.path.basename(chosen)  # noqa: PTH119
    codes = lines.codes_of(chosen, [frame for frame, _ in stack], line)
    nearest = lines.nearest_line(codes, line) if codes else line
    if nearest is None:
        raise NotThereError(f"{name} has no code at line {line} or after it")
    moved = f" (line {line} has no code)" if nearest != line else ""
    return Target("line", str(nearest), chosen, f"line {nearest} of {name}{moved}")


def _op_or_node(text: str, names: Names) -> Target:
    import torch

    if text.startswith("aten."):
        known_names.check(Kind.OP, text)
        name = text.split(".")[1]
    elif "Backward" in text or text == "AccumulateGrad":
        known_names.check(Kind.NODE, text)
        return Target("node", text, words=f"a node {text}")
    else:
        name = text
    if name.isidentifier() and len(name) >= SHORTEST and name in dir(torch._C._VariableFunctions):
        return Target("op", text, words=f"the operation {text}")
    paths = [path for path, _ in names.paths.values()]
    every = [*PHASES, *paths, *pointing.known_names(names)]
    near = difflib.get_close_matches(text, every, 1, 0.5)
    hint = f": did you mean {near[0]}?" if near else ": name a phase, a module, a parameter, an op or a line"
    raise NotThereError(f"nothing here is called {text!r}{hint}")
