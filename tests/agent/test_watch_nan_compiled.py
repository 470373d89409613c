"""`watch nan` where code is compiled: the operation where it is seen, else the module as a whole, and which it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stepdbg.protocol.inside import Grain

from .inside_runs import modes
from .test_watch_nan import stops

HERE = Path(__file__).name
APART = "inside compiled code: not told apart"
COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler for inductor")
BACKENDS = [
    "eager",
    pytest.param("inductor", marks=[COMPILER, pytest.mark.slow, pytest.mark.timeout(170)]),
]


class Forward(nn.Module):
    """Makes -inf of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return torch.log(h - h.detach())


class Backward(Forward):
    """Finite, but its gradient is not."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(torch.sqrt(h - h.detach()))


class Healthy(Forward):
    def forward(self, x: Tensor) -> Tensor:
        mask = torch.ones(2, 2).triu(1).bool()
        h = torch.relu(self.first(x))
        return self.second((h @ h.T).masked_fill(mask, float("-inf")).softmax(-1) @ h)


def runs(make: Callable[[], nn.Module], compile_it: Callable[[nn.Module], nn.Module], times: int = 1) -> Any:
    def train() -> list[bytes]:
        torch.manual_seed(0)
        net = make()
        compiled = compile_it(net)
        for _ in range(times):
            out = compiled(torch.ones(2, 3))
            (out * 1).sum().backward()
        return [p.grad.numpy().tobytes() for p in net.parameters() if p.grad is not None]

    return train


def line_of_the_call(train: Callable[[], Any]) -> int:
    return train.__code__.co_firstlineno + 5


def by_torch_compile(backend: str) -> Callable[[nn.Module], nn.Module]:
    return lambda net: torch.compile(net, backend=backend)


def in_place(backend: str) -> Callable[[nn.Module], nn.Module]:
    def compile_it(net: nn.Module) -> nn.Module:
        net.compile(backend=backend)
        return net

    return compile_it


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", [by_torch_compile, pytest.param(in_place, marks=pytest.mark.slow)])
def test_forward(backend: str, how: Any) -> None:
    train = runs(Forward, how(backend))
    first, *others = stops(train)
    line = line_of_the_call(train)
    assert first.at is not None
    if backend == "eager":  # its operations are seen one by one
        assert [stop.at.name for stop in (first, *others) if stop.at] == ["aten.log.default", "LogBackward0"]
        return
    assert first.why == (
        f"watch 1: net ({HERE}:{line}) made 6 of 6 elements not finite (6 -inf), first -inf at [0, 0]; "
        f"its inputs and parameters are finite; {APART}"
    )
    assert (first.at.grain, first.at.when, first.at.name, first.at.kind) == (Grain.MODULE, "after", "net", "Forward")
    assert [run.phase.value for run in first.inside] == ["forward"]
    assert first.stack[first.here or 0].line == line


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_backward(backend: str) -> None:
    train = runs(Backward, by_torch_compile(backend))
    first, *_ = stops(train)
    assert first.at is not None
    if backend == "eager":
        assert first.at.name == "SqrtBackward0"
        return
    assert first.at.name == "CompiledFunctionBackward"
    assert f" (net, {HERE}:{line_of_the_call(train)}; {APART}) hands on " in first.why
    assert first.why.endswith("; the gradients it was given are finite")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_none_where_all_is_well_and_the_run_is_the_bare_one(backend: str) -> None:
    train = runs(Healthy, by_torch_compile(backend), 3)
    bare = train()
    torch.compiler.reset()
    found: list[Any] = []
    assert stops(lambda: found.append((train(), modes()))) == []
    assert found == [(bare, 1)]  # the watch's own mode


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("make", [Forward, Backward])
def test_a_script_module(make: type[nn.Module]) -> None:
    # Its operations are seen one by one; of the gradient only its first call, which is profiled, knows its nodes.
    train = runs(make, torch.jit.script, 3)
    whys = [stop.why for stop in stops(train)]
    place = f"{HERE}:{line_of_the_call(train)}"
    if make is Forward:
        made = [why for why in whys if "made" in why]
        assert [why.partition(" made ")[0] for why in made] == [f"watch 1: aten.log.default ({place} in compiled)"] * 3
        return
    assert whys[0].startswith("watch 1: SqrtBackward0 (")
    assert len(whys) == 3
    for why in whys[1:]:
        assert why.startswith("watch 1: CppFunction (")
        assert f"{place}; {APART}) hands on " in why


@COMPILER
@pytest.mark.slow
@pytest.mark.timeout(170)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_compiled_function_is_told_of_where_its_nan_is_used() -> None:
    @torch.compile
    def compute(h: Tensor) -> Tensor:
        return torch.sqrt(h - h.detach() - 1) * 2

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(3, 3)
        out = compute(net(torch.ones(2, 3)))
        (out + 1).sum().backward()

    first, *_ = stops(train)
    line = train.__code__.co_firstlineno + 4
    assert first.why == (
        f"watch 1: a compiled function (called at or before {HERE}:{line}) made 6 of 6 elements not finite (6 nan), "
        f"first nan at [0, 0]; its inputs are not known; {APART}"
    )


@COMPILER
@pytest.mark.slow
@pytest.mark.timeout(170)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_compiled_module_in_another_whose_input_is_bad_is_not_the_first() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.compile(nn.Sequential(nn.Linear(3, 3), nn.Tanh()))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(torch.log(x - 1))

    first, *others = stops(runs(Outer, lambda net: net))
    assert first.why.startswith("watch 1: aten.log.default (")
    assert all(APART not in stop.why or "hands on" in stop.why for stop in others)
