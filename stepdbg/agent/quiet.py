"""A context in which the agent may use torch without the script noticing."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

import torch
from torch.utils import _python_dispatch


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No graph is recorded, no mode or autocast of the script's sees our operations, no tracer our lines.

    Nothing in here draws random numbers, and no cycles are collected: the script's own finalizers run when its own
    objects are due, and what is made for an answer is not gone through again and again. Costs about 20 µs.
    """
    collects = gc.isenabled()
    trace, profile = sys.gettrace(), sys.getprofile()
    if not callable(profile):
        profile = None  # cProfile's: Python code cannot put it back, so it stays and counts us too
    try:  # a Ctrl-C may come at any line: what was there is put back all the same
        gc.disable()
        if trace is not None:
            sys.settrace(None)
        if profile is not None:
            sys.setprofile(None)
        with contextlib.ExitStack() as stack:
            # First of all: switching grad mode is itself an operation that a mode of the script's would see.
            stack.enter_context(torch._C.DisableTorchFunction())
            stack.enter_context(torch.no_grad())
            stack.enter_context(_python_dispatch._disable_current_modes())
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        if profile is not None:
            sys.setprofile(profile)
        if trace is not None:
            sys.settrace(trace)
        if collects:
            gc.enable()
