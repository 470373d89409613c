"""Phases named by the phase map, among them the built-in ones, on the real libraries."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.protocol import messages as m

from .conftest import drive


class Duck:
    """An optimizer that is none of torch's."""

    def __init__(self, params: Any) -> None:
        self.params = list(params)

    def step(self) -> None:
        with torch.no_grad():
            for p in self.params:
                p -= 0.1 * p.grad

    def clear(self) -> None:
        for p in self.params:
            p.grad = None


@pytest.fixture
def duck_module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("ducks")
    module.Duck = Duck  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ducks", module)
    return module


def train() -> None:
    net = nn.Linear(2, 1)
    duck = Duck(net.parameters())
    for _ in range(2):
        net(torch.ones(1, 2)).sum().backward()
        duck.step()
        duck.clear()


def test_without_a_map_such_an_optimizer_is_not_seen() -> None:
    assert drive(train).path == ["forward", "backward"] * 2 + ["finished"]


@pytest.mark.usefixtures("duck_module")
def test_mapped_functions_are_phases_that_can_be_skipped() -> None:
    settings = m.Settings(phases={"step": ("ducks:Duck.step",), "zero_grad": ("ducks:Duck.clear",)})
    run = drive(train, settings=settings)
    assert run.path == ["forward", "backward", "step", "zero_grad"] * 2 + ["finished"]
    assert [s.iteration for s in run.stops] == [1, 1, 1, 2, 2, 2, 2, 3, 3]
    step = run.stops[2].next
    assert step is not None
    assert (step.subject, step.kind, step.skippable) == ("duck", "Duck", True)


@pytest.mark.usefixtures("duck_module")
def test_a_mapped_function_that_does_not_exist_is_told_of() -> None:
    run = drive(train, settings=m.Settings(phases={"step": ("ducks:Duck.walk",)}))
    assert [e.text for e in run.events if isinstance(e, m.Warned)] == ["phase step: ducks has no function Duck.walk"]


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_keras_steps_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "torch")
    monkeypatch.setitem(os.environ, "KERAS_HOME", str(tmp_path))

    def fit() -> None:
        import keras

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
        model.fit(torch.ones(8, 4).numpy(), torch.ones(8, 1).numpy(), batch_size=4, epochs=1, verbose=0)

    run = drive(fit)
    assert run.error is None
    assert run.path.count("step") == 2
    assert run.path[run.path.index("step") - 1] == "backward"
