"""Keeping torch.compile's frame evaluator away from our own frames.

While compiled code runs, dynamo looks at every Python frame that is entered and compiles it if it can: after a graph
break that would be our wrappers, and behind them the whole agent. Each of our entry points is told to be stepped over
with all that it calls; a wrapper is stepped over alone, as torch's own `Module.__call__` is, since what it wraps is
the script's. These are the C functions under `torch._dynamo`, used without importing it (that would take a second).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def step_over(function: Callable[..., Any], *, and_what_it_calls: bool) -> None:
    """Have dynamo neither compile nor break at the frames of `function`. Does nothing on a torch without dynamo."""
    compiled: Any = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)
    code = function.__code__
    if hasattr(compiled, "set_code_exec_strategy"):
        action = compiled._FrameAction
        below = action.SKIP if and_what_it_calls else action.DEFAULT
        compiled.set_code_exec_strategy(code, compiled._FrameExecStrategy(action.SKIP, below))
    elif hasattr(compiled, "skip_code"):  # before torch 2.7: one frame only
        compiled.skip_code(code)
