"""Pictures are the same everywhere. The helpers of real runs lie beside the other tests of the app."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import plain_kernels  # first: what it sets is read once, when torch is imported
import psutil
import pytest

import stepdbg.agent
from stepdbg import inprocess
from stepdbg.agent import frames, sources
from stepdbg.agent.memory import answers
from stepdbg.protocol.memory import LiveTensor, OtherMemory

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))

from pictures import SCRIPTS


@pytest.fixture(autouse=True, scope="session")
def _plain_kernels() -> None:
    """Tests of other folders need torch as it is everywhere else, so these have a process of their own."""
    if not plain_kernels.IN_TIME:
        pytest.fail("pictures are compared by themselves (pytest tests/snapshots): torch was imported before them")


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs from run to run and from machine to machine: times, resident memory, frames above the script, and
    where Python lies.
    """
    ticks = itertools.count()
    for found in pkgutil.walk_packages(stepdbg.agent.__path__, "stepdbg.agent."):
        if "inject" in found.name or "wrap_" in found.name:
            continue
        module = importlib.import_module(found.name)
        if hasattr(module, "perf_counter"):
            # A third of a millisecond a reading: the times on screen follow from what was run, not from how fast.
            monkeypatch.setattr(module, "perf_counter", lambda: next(ticks) / 3000)
    monkeypatch.setattr(sources, "_STARTED", float("inf"))
    memory = psutil.Process().memory_info()
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _self: memory._replace(rss=231 << 20))
    tensors = tuple(LiveTensor(name, (32, n), "float32", "cpu", 128 * n) for name, n in (("x", 4), ("y", 1), ("", 1)))
    others = OtherMemory(0, 768, 3, tensors, 0, 0, 888, 150 << 10)  # other tests leave tensors of theirs
    monkeypatch.setattr(answers, "peak_resident", lambda: 240 << 20)
    monkeypatch.setattr(answers.Memory, "others", lambda memory, _work: replace(others, stop=memory._stop))
    monkeypatch.setattr(inprocess, "sys", SimpleNamespace(executable="/usr/bin/python3", version="3.11.7 (main)"))
    described = frames.describe

    def as_started_natively(stack: list[tuple[FrameType, int]]) -> Any:
        """Without what runs the script in a thread here: above a script's own module there is nothing."""
        scripts = {str(script) for script in SCRIPTS}
        own = [index for index, (frame, _line) in enumerate(stack) if frame.f_code.co_filename in scripts]
        return described(stack[: own[-1] + 1] if own else [])

    monkeypatch.setattr(frames, "describe", as_started_natively)
