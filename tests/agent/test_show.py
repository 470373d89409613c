"""Expressions of the user's in the stopped frame: what they give, and what they leave as it was."""

from __future__ import annotations

import gc
import random
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import StopRecord, ValuesRecord

from .conftest import drive

LEFT: list[Any] = []
"""Weak references that the loops below leave behind."""


def train() -> list[bytes]:
    """Two iterations with everything that can be asked about in local variables."""
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    batch = [torch.arange(8.0).reshape(2, 4), "labels"]
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    settings = {"lr": 0.1, "shape": (2, 4)}
    del array, settings
    array, settings = np.arange(6, dtype=np.int16).reshape(2, 3), {"lr": 0.1, "shape": (2, 4)}
    for _ in range(2):
        optimizer.zero_grad()
        loss = net(batch[0]).square().mean() + 0 * torch.randn(1).sum()
        loss.backward()
        optimizer.step()
    assert array.size == 6
    assert settings["lr"] == 0.1
    states = [
        torch.get_rng_state().numpy().tobytes(),
        repr(random.getstate()).encode(),
        np.random.get_state()[1].tobytes(),
    ]
    return [p.detach().numpy().tobytes() for p in net.parameters()] + states


def shown(*expressions: str, at: int = 4, run: Callable[[], Any] = train, **options: Any) -> list[ValuesRecord | str]:
    """What is answered to each at that stop: a record, or the one line why not."""
    answers: list[ValuesRecord | str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == at:
            for expression in expressions:
                try:
                    answers.append(await session.request(m.GetValues(0, f"={expression}", **options)))
                except RequestError as error:
                    answers.append(str(error))

    result = drive(run, visit=visit)
    assert result.error is None
    assert not [event for event in result.events if isinstance(event, m.Warned)]
    return answers


def numbers(record: ValuesRecord | str) -> list[list[float]]:
    assert isinstance(record, ValuesRecord), record
    assert record.value is not None
    return [[float(text) for text in line] for line in record.value.cells]


def test_what_expressions_give() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.arange(8.0).reshape(2, 4)
    loss = net(x).square().mean()
    loss.backward()
    weight = net[0].weight
    assert weight.grad is not None
    torch.manual_seed(0)
    found = shown(
        "batch[0]", "net[0].weight.grad.T", "loss", "net.0.weight", "net[-1].bias", "batch[0][0, 1:] * 2",
        "[p.abs().max().item() for p in net.parameters()][0]", "array", "batch[0] > 3",
    )  # fmt: skip
    assert numbers(found[0]) == x.tolist()
    assert numbers(found[1]) == weight.grad.T.tolist()
    assert numbers(found[2]) == [[loss.item()]]
    assert numbers(found[3]) == weight.tolist()
    assert numbers(found[4]) == [net[2].bias.tolist()]
    assert numbers(found[5]) == [(x[0, 1:] * 2).tolist()]
    assert isinstance(found[6], ValuesRecord)
    assert (found[6].value, found[6].note) == (None, repr(weight.abs().max().item()))
    assert numbers(found[7]) == [[0, 1, 2], [3, 4, 5]]
    assert isinstance(found[7], ValuesRecord)
    assert found[7].note == "a NumPy array of int16"
    assert isinstance(found[8], ValuesRecord)
    assert found[8].value is not None
    assert found[8].value.cells == (("False",) * 4, ("True",) * 4)


def test_a_name_is_that_of_the_stopped_frame() -> None:
    def inner(net: nn.Module, x: torch.Tensor) -> None:
        net(x * 2).sum().backward()

    def outer() -> None:
        x = torch.ones(1, 4, requires_grad=True)
        inner(nn.Linear(4, 1), x * 3)

    (record, other) = shown("x", "net.weight", at=1, run=outer)
    assert numbers(record) == [[3.0] * 4]
    assert numbers(other)
    (loose,) = shown("w", at=1, run=loop_with_a_loose_parameter)
    assert numbers(loose) == [[1.0, 2.0]]


class Trainer:
    def __init__(self) -> None:
        self.fc = nn.Linear(1, 1)

    def train(self) -> None:
        self.fc(torch.ones(1, 1)).sum().backward()


def loop_with_a_loose_parameter() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    trainer = Trainer()
    trainer.train()
    assert w.numel() == 2


def test_names_that_are_no_variables_are_found_all_the_same() -> None:
    # In `train` there is no `w`, `fc` or `trainer`: these are names of parameters.
    fc, w = shown("fc.weight", "trainer.fc.weight", at=1, run=lambda: Trainer().train())
    assert numbers(fc)
    assert isinstance(w, str)
    assert w == "trainer.fc.weight: NameError: name 'trainer' is not defined"


def test_gradients_of_what_has_one() -> None:
    weight, loss, batch, grad = shown("net[0].weight", "loss", "batch[0]", "net[0].weight.grad")
    assert isinstance(weight, ValuesRecord)
    assert weight.grad is not None
    assert weight.grad_label == ""
    assert [r.grad_label for r in (loss, batch, grad) if isinstance(r, ValuesRecord)] == ["no", "no", "no"]


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        ("settings['lr']", "0.1"),
        ("batch", "list of 2: float32 2×4, 'labels'"),
        ("settings", "dict of 2: 'lr': 0.1, 'shape': tuple of 2: 2, 4"),
        ("net", "Sequential: a module, show one of its parameters"),
        ("None", "None"),
        ("()", "an empty tuple"),
        ("'a\\nb'", r"'a\nb'"),
        ("10 ** 5000", "a whole number of 16,610 bits"),
        ("'x' * 10000", f"'{'x' * 298}…"),
        ("optimizer.param_groups[0]['lr']", "0.1"),
        ("torch.Size([2])", "Size: torch.Size([2])"),
    ],
)
def test_what_is_no_tensor_is_one_line(expression: str, note: str) -> None:
    (record,) = shown(expression)
    assert isinstance(record, ValuesRecord), record
    assert (record.value, record.note) == (None, note)


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        ("nothing", "nothing: NameError: name 'nothing' is not defined"),
        ("batch[0] +", "'batch[0] +' is no expression: invalid syntax"),
        ("loss = 3", "'loss = 3' is a statement: only an expression can be shown, as in loss or net[0].weight.grad"),
        ("del loss", "'del loss' is a statement: only an expression can be shown"),
        ("import os", "'import os' is a statement: only an expression can be shown"),
        ("net[7]", "net[7]: IndexError: index 7 is out of range"),
        ("1 / 0", "1 / 0: ZeroDivisionError: division by zero"),
        ("exit()", "exit(): SystemExit: "),
        ("batch[0] @ batch[0]", "batch[0] @ batch[0]: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ("(" * 300 + ")" * 300, f"{'(' * 300 + ')' * 300!r} is no expression: too many nested parentheses"),
        ("net.0.waight", "'net.0.waight' is no expression: invalid syntax"),
        ("\x00", "'\\x00' is no expression: source code string cannot contain null bytes"),
    ],
)
def test_what_goes_wrong_is_one_line(expression: str, line: str) -> None:
    (said,) = shown(expression)
    assert isinstance(said, str)
    assert said.startswith(line), said
    assert "\n" not in said


def test_a_run_that_is_looked_at_ends_as_the_bare_one() -> None:
    def seeded() -> list[bytes]:
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)
        return train()

    bare = seeded()
    results: list[list[bytes]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is None:
            return  # the variables are gone
        for expression in (
            "torch.randn(3)", "torch.rand_like(net[0].weight)", "__import__('random').random()", "batch",
            "__import__('numpy').random.rand(3)", "nn.Dropout()(batch[0])", "net(batch[0])", "(net := 3)",
            "(x := loss)", "[batch for batch in range(3)]", "nothing_there", "torch.manual_seed(7)",
        ):  # fmt: skip
            query = m.GetValues(0, f"={expression}", again=True)
            try:
                await session.request(query)
            except RequestError:
                assert expression in ("nothing_there", "(x := loss)", "net(batch[0])")

    run = drive(lambda: results.append(seeded()), visit=visit)
    assert run.error is None
    assert results == [bare]


def test_what_is_called_is_no_call_of_the_loop() -> None:
    """Neither a phase, nor a reason why the graph does not arrive somewhere."""

    def loop() -> None:
        net, other = nn.Linear(4, 1), nn.Linear(4, 1)
        x = torch.ones(2, 4)
        net(x).sum().backward()
        assert other.in_features == 4

    causes: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is not None and stop.next.phase.value == "backward":
            await session.request(m.GetValues(0, "=other(x)"))
            await session.request(m.GetGraph(0))
            page = await session.request(m.GetParameters(0))
            causes.extend(row.cause for row in page.rows if row.name.startswith("other"))

    run = drive(loop, visit=visit)
    assert [path for path in run.path if path != "finished"] == ["forward", "backward"]
    assert causes
    assert all("not called" in cause for cause in causes), causes


def test_nothing_lives_longer_than_the_stop() -> None:
    def loop() -> None:
        net = nn.Linear(4, 1)
        for _ in range(2):
            x = torch.ones(2, 4)
            LEFT.append(weakref.ref(x))
            net(x).sum().backward()
            del x
            LEFT.append(LEFT[-1]())

    LEFT.clear()
    gc.disable()
    try:

        async def visit(session: ThreadSession, stop: StopRecord) -> None:
            for expression in ("x", "[x, x]", "x * 2", "x.nothing", "(lambda: x)", "[x for _ in range(2)]"):
                try:
                    await session.request(m.GetValues(0, f"={expression}", sides=("value", "grad")))
                except RequestError:
                    pass

        assert drive(loop, visit=visit).error is None
    finally:
        gc.enable()
    assert [alive for alive in LEFT if not isinstance(alive, weakref.ref)] == [None, None]


def test_an_expression_is_evaluated_once_a_stop() -> None:
    calls: list[int] = []

    def count() -> torch.Tensor:
        calls.append(1)
        return torch.arange(1000.0)

    def loop() -> None:
        counting = count
        nn.Linear(1, 1)(torch.ones(1, 1))
        assert counting is count

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            for row in range(3):
                await session.request(m.GetValues(0, "=counting()", column=row))
            await session.request(m.SeekElement(0, "=counting()", "max"))
            await session.request(m.CopyValues(0, "=counting()", "3:9"))
            assert len(calls) == 1
            await session.request(m.GetValues(0, "=counting()", again=True))

    assert drive(loop, visit=visit).error is None
    assert len(calls) == 2


def test_statistics_are_not_those_of_an_earlier_value() -> None:
    first, second, third = shown("torch.zeros(3)", "torch.ones(4)", "torch.zeros(3) + 7")
    assert [r.value.stats.max for r in (first, second, third) if isinstance(r, ValuesRecord)] == [0, 1, 7]


def test_reading_a_parametrized_weight_is_refused() -> None:
    def loop() -> list[torch.Tensor]:
        layer = spectral_norm(nn.Linear(4, 4))
        net = nn.Sequential(layer)
        net(torch.ones(1, 4)).sum().backward()
        return [b.clone() for b in net.buffers()]

    torch.manual_seed(0)
    bare = loop()
    results: list[list[torch.Tensor]] = []
    torch.manual_seed(0)
    said = shown(
        "net[0].weight", "layer.weight.grad", "net[0].parametrizations.weight.original", "[w.weight for w in net]",
        at=1, run=lambda: results.append(loop()),
    )  # fmt: skip
    assert said[0] == (
        "net[0].weight is computed each time it is read (a parametrization), and that may change the run: "
        "net[0].parametrizations.weight.original is what it is made from"
    )
    assert isinstance(said[1], str)
    assert said[1].startswith("layer.weight is computed")
    assert isinstance(said[2], ValuesRecord)
    # The last one is beyond what can be seen without running it: documented.
    assert len(results[0]) == len(bare)


def test_paths_through_objects_run_nothing() -> None:
    read: list[str] = []

    class Trainer:
        def __init__(self) -> None:
            self.net = nn.Sequential(spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 1))
            self.nets = {"one": [self.net]}

        @property
        def lr(self) -> float:
            read.append("lr")
            return 0.5

        def train(self) -> None:
            self.net(torch.ones(1, 4)).sum().backward()

    refused, weight, same, lr, none = shown(
        "self.net[0].weight", "self.net[1].weight", "self.nets['one'][0][-1].weight.T", "self.lr", "self.nothing",
        at=1, run=lambda: Trainer().train(),
    )  # fmt: skip
    assert isinstance(refused, str)
    assert refused.startswith("self.net[0].weight is computed each time it is read")
    assert numbers(weight) == [list(row) for row in zip(*numbers(same), strict=True)]
    assert isinstance(lr, ValuesRecord)
    assert (lr.note, read) == ("0.5", ["lr"])
    assert none == "self.nothing: AttributeError: 'Trainer' object has no attribute 'nothing'"


def test_no_warning_is_shown_and_none_is_used_up(capsys: pytest.CaptureFixture[str]) -> None:
    def loop() -> None:
        x = torch.ones(2, requires_grad=True) * 2
        nn.Linear(1, 1)(torch.ones(1, 1))
        warnings.warn("of the script", UserWarning, stacklevel=1)
        assert x.numel() == 2

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        (record,) = shown("x.grad", at=1, run=loop)
    assert isinstance(record, ValuesRecord)
    assert record.note == "None"
    assert [str(w.message) for w in told] == ["of the script"]


def test_at_the_end_the_main_module_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "left_over", torch.ones(2), raising=False)
    stops = drive(train).stops
    (record,) = shown("left_over", at=stops[-1].number)
    assert numbers(record) == [[1, 1]]


def test_random_states_of_devices_are_put_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as that can be seen without one: a generator that stands in for a device's."""
    own = torch.Generator().manual_seed(5)
    before = own.get_state()

    def draw() -> torch.Tensor:
        return torch.rand(2, generator=own)

    def loop() -> None:
        drawn = draw
        nn.Linear(1, 1)(torch.ones(1, 1))
        assert drawn is draw

    (record,) = shown("drawn()", at=1, run=loop)
    assert isinstance(record, ValuesRecord)
    assert not own.get_state().equal(before)  # the user's own generator: documented
    own.set_state(before)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "default_generators", (own,))
    monkeypatch.setattr("stepdbg.agent.control.Control.capturing", staticmethod(lambda: False))
    (record,) = shown("drawn()", at=1, run=loop)
    assert isinstance(record, ValuesRecord)
    assert own.get_state().equal(before)
