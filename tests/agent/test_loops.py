"""Which loop a frame is in, and whether it writes tensors in place."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.inside.loops import Loops


class Probe:
    """Notes what `Loops` says of the line that calls it."""

    def __init__(self) -> None:
        self.loops, self.seen = Loops(), {}
        self.outermost: FrameType = sys._getframe(1)

    seen: dict[str, bool | None]

    def __call__(self, name: str) -> None:
        found = self.loops.around(sys._getframe(1), self.outermost)
        self.seen[name] = found.writes if found is not None else None


def test_loops_of_updates_are_told_from_those_that_only_read() -> None:  # noqa: C901  (one loop of each kind)
    def helper(tensor: Tensor) -> Tensor:
        probe("called from a loop")
        return tensor * 2

    def run(ps: list[Tensor]) -> None:
        probe("no loop")
        total: Any = 0
        for p in ps:
            probe("a sum")
            total += p.sum()
        state = {"step": 0}
        for p in ps:
            if p is None:
                continue
            probe("a count")
            state["step"] += 1
            p.requires_grad_(False)
        for p in ps:
            probe("a method")
            p.add_(1)
        for _, p in enumerate(ps):
            probe("minus")
            p -= helper(p)
        for p in ps:
            probe("data")
            p.data = p.data - 1
        for p in ps:
            probe("data minus")
            p.data -= 1
        left = list(ps)
        while left:
            probe("while")
            left.pop().mul_(2)
        for _ in range(1):
            for _p in ps:
                probe("reads inside one that writes")
            for p in ps:
                probe("writes inside")
                try:
                    p.zero_()
                except RuntimeError:
                    continue
        [probe("a comprehension") for _ in ps]

    probe = Probe()
    run([torch.zeros(2), torch.ones(2)])
    assert probe.seen == {
        "no loop": None,
        "a sum": False,
        "a count": False,
        "a method": True,
        "called from a loop": True,
        "minus": True,
        "data": True,
        "data minus": True,
        "while": True,
        "reads inside one that writes": False,
        "writes inside": True,
        "a comprehension": False,
    }


def test_code_with_operations_on_lists_is_known() -> None:
    def at_once(ps: list[Tensor]) -> FrameType:
        torch._foreach_add_(ps, 1)
        return sys._getframe()

    def one_by_one(ps: list[Tensor]) -> FrameType:
        for p in ps:
            p.add_(1)
        return sys._getframe()

    loops = Loops()
    assert loops.at_once(at_once([torch.zeros(1)]))
    assert not loops.at_once(one_by_one([torch.zeros(1)]))
