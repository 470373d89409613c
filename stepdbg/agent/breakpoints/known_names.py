"""Which operations and autograd nodes there are: a name that is none of them is told, with the nearest that is."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from stepdbg.agent.breakpoints import matching
from stepdbg.agent.work import NotThereError
from stepdbg.protocol.breakpoints import Kind


def check(kind: Kind, target: str) -> str:
    """A remark on the name of an operation or a node where none is called so; empty: there is one.

    Raises NotThereError where one comes near. Else it may be of an operation or a Function that is defined later.
    """
    names, fits, what = (
        (operations, matching.is_op, "operation") if kind is Kind.OP else (nodes, matching.is_node, "autograd node")
    )
    if any(fits(target, name) for name in names()):
        return ""
    near = _nearest(target, names, kind)
    if near:
        raise NotThereError(f"there is no {what} {target}: did you mean {near}?")
    return f"no {what} is called so, so far"


def kind_of(name: str) -> str:
    """What torch has that is called so: "op", "node"; empty: nothing."""
    if any(matching.is_op(name, one) for one in operations()):
        return "op"
    return "node" if any(matching.is_node(name, one) for one in nodes()) else ""


def operations() -> Iterator[str]:
    """All that are registered, as "aten::addmm", "aten::add.Tensor"."""
    yield from torch._C._dispatch_get_all_op_names()


def nodes() -> Iterator[str]:
    """Classes of torch's own nodes, and of the custom Functions that are defined."""
    yield from (name for name in dir(torch._C._functions) if not name.startswith("_"))
    waiting: list[Any] = [torch.autograd.Function]
    while waiting:
        for function in type.__subclasses__(waiting.pop()):
            waiting.append(function)
            yield f"{function.__name__}Backward"


def _nearest(target: str, names: Callable[[], Iterator[str]], kind: Kind) -> str:
    wanted = target.replace("::", ".")
    if kind is Kind.OP:
        short = {".".join(name.replace("::", ".").split(".")[:2]) for name in names()}
        if "." not in wanted:
            short = {name.partition(".")[2] for name in short if name.startswith("aten.")}
        known = sorted(short)
    else:
        known = sorted(set(names()))
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.75)
    return near[0] if near else ""
