"""Expressions and statements run in the frames of a real loop."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.edits import Amount, How, SetValue
from stepdbg.protocol.messages import Settings
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.words import Completions, Evaluate, Evaluated, GetCompletions, GetVariables, Variables
from tests.agent.conftest import drive

SCALE = 2.0


class Box:
    """Something whose attributes cannot be read without a scene."""

    @property
    def loud(self) -> int:
        raise RuntimeError("read")


def train(seen: list[Any] | None = None) -> nn.Module:
    """Two iterations; what it saw of its own variables goes into `seen`."""
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    factor, limit, box = 1.0, 5, Box()

    def scaled(value: torch.Tensor) -> torch.Tensor:
        return value * factor

    for step in range(2):
        loss = scaled(net(torch.ones(4, 3)).pow(2).mean())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if seen is not None:
            seen.append((step, factor, limit, torch.rand(1).item(), box))
    return net


def at(phase: str, asked: list[Any], train: Any = train, settings: Settings | None = None) -> list[Any]:
    """The answers to `asked`, at the first stop before `phase`; a RequestError where there is none."""
    answers: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if answers or stop.next is None or stop.next.phase.value != phase:
            return None
        for query in asked:
            try:
                answers.append(await asyncio.wait_for(session.request(query), 20))
            except RequestError as error:
                answers.append(error)
        return m.Action.CONTINUE

    result = drive(train, visit=visit, settings=settings)
    assert result.error is None
    return answers


def p(text: str, frame: int | None = None) -> Evaluate:
    return Evaluate(0, text, frame)


def do(text: str, frame: int | None = None) -> Evaluate:
    return Evaluate(0, text, frame, statement=True)


def test_values_are_told_in_words_and_tensors_by_their_numbers() -> None:
    number, tensor, several, error = at(
        "backward", [p("limit + 1"), p("net[0].weight"), p("[loss, net[0].bias, 3]"), p("limit / 0")]
    )
    assert (number.kind, number.lines) == ("int", ("6",))
    torch.manual_seed(0)
    weight = nn.Linear(3, 2).weight.detach()
    told = tensor.tensor
    assert (told.kind, told.dtype, told.shape, told.device) == ("Parameter", "float32", (2, 3), "cpu")
    assert told.stats.min == pytest.approx(weight.min().item())
    assert told.stats.max == pytest.approx(weight.max().item())
    assert told.stats.mean == pytest.approx(weight.double().mean().item())
    assert [float(x) for x in told.first] == pytest.approx(weight[0].tolist(), rel=1e-5)
    assert several.lines[0] == "list of 3"
    assert several.lines[1].startswith("  [0] float32 scalar cpu: ")
    assert several.lines[3] == "  [2] 3"
    assert error.error == "ZeroDivisionError: division by zero"
    assert "Traceback (most recent call last)" in error.traceback
    assert "stepdbg" not in error.traceback


def test_what_a_statement_assigns_reaches_the_function() -> None:
    seen: list[Any] = []
    first, second, third = at(
        "step", [do("limit = limit * 2"), do("factor += 1; factor"), p("limit")], lambda: train(seen)
    )
    assert first.assigned == ("limit",)
    assert (second.assigned, second.lines) == (("factor",), ("2.0",))  # a variable that an inner function shares
    assert third.lines == ("10",)
    assert [(factor, limit) for _, factor, limit, _, _ in seen] == [(2.0, 10), (2.0, 10)]


def test_a_frame_further_out_can_be_chosen_and_set() -> None:
    def outer() -> None:
        kept = [1]
        inner(kept)
        assert kept == [1, 5]

    def inner(given: list[int]) -> None:
        given = list(given)
        train()

    answers = at("backward", [p("given", 1), do("kept.append(5)", 2), p("given", 9), p("kept")], outer)
    assert answers[0].lines == ("[1]",)
    assert isinstance(answers[1], Evaluated)
    assert str(answers[2]).startswith("there is no frame 9: bt lists the ")
    assert answers[3].error == "NameError: name 'kept' is not defined"


def test_lambdas_and_comprehensions_see_the_frame_and_outlive_the_stop() -> None:
    calls: list[int] = []

    def watched() -> None:
        heard = calls
        net = nn.Linear(2, 1)
        for _ in range(2):
            net(torch.ones(1, 2)).sum().backward()
        assert len(heard) == 1

    hook, listed = at(
        "backward",
        [do("net.register_forward_hook(lambda *a: heard.append(1))"), do("[n for n in range(3) if len(heard) < n]")],
        watched,
    )
    assert hook.kind == "RemovableHandle"
    assert listed.lines == ("[1, 2]",)
    assert calls == [1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SCALE = 3", "SCALE is a global, no variable of train(): ! global SCALE; SCALE = 3"),
        ("del limit", "limit cannot be deleted"),
        ("return 3", "'return 3' cannot be run: 'return' outside function"),
        ("x = = 3", "'x = = 3' cannot be run: invalid syntax"),
        ("# nothing", "! needs a statement"),
    ],
)
def test_what_cannot_be_run_is_refused_and_changes_nothing(text: str, words: str) -> None:
    (refused,) = at("backward", [do(text)])
    assert words in str(refused)
    assert SCALE == 2.0


def test_new_names_and_globals() -> None:
    own, used, glob, scale = at(
        "backward", [do("twice = loss * 2"), p("twice - loss * 2"), do("global SCALE; SCALE = 7.0"), p("SCALE")]
    )
    try:
        assert own.note == "twice: no variable of train(), kept for this stop only"
        assert used.tensor.stats.max == 0.0
        assert glob.assigned == ("SCALE",)
        assert scale.lines == ("7.0",)
        assert SCALE == 7.0  # type: ignore[comparison-overlap]
    finally:
        globals()["SCALE"] = 2.0


def test_what_was_set_before_an_exception_stays_set() -> None:
    seen: list[Any] = []
    (answer,) = at("step", [do("limit = 77; 1 / 0")], lambda: train(seen))
    assert answer.error.startswith("ZeroDivisionError")
    assert answer.assigned == ("limit",)
    assert seen[0][2] == 77


def test_random_numbers_are_as_if_nobody_had_asked() -> None:
    bare: list[Any] = []
    torch.manual_seed(0)
    train(bare)
    torch.manual_seed(0)
    seen: list[Any] = []
    drawn, quiet = at("step", [do("a = torch.rand(3)"), p("limit")], lambda: train(seen))
    assert drawn.note == "a: no variable of train(), kept for this stop only; random states were put back"
    assert quiet.note == ""
    assert [row[3] for row in seen] == [row[3] for row in bare]


def test_a_statement_records_a_graph_as_the_script_would_and_an_expression_does_not() -> None:
    shown, made = at("backward", [p("(net[0].weight * 2).requires_grad"), do("(net[0].weight * 2).requires_grad")])
    assert shown.lines == ("False",)
    assert made.lines == ("True",)


def test_completion_runs_none_of_the_users_code() -> None:
    names, attributes, parts, hidden, nothing = at(
        "backward",
        [
            GetCompletions(0, "1 + li"),
            GetCompletions(0, "box.l"),
            GetCompletions(0, "net[0].wei"),
            GetCompletions(0, "net._mod"),
            GetCompletions(0, "f(x).a"),
        ],
    )
    assert isinstance(names, Completions)
    assert {"1 + limit", "1 + list"} <= set(names.texts)
    assert attributes.texts == ("box.loud",)
    assert parts.texts == ("net[0].weight",)
    assert "net._modules" in hidden.texts
    assert nothing.texts == ()


def test_variables_are_listed_in_a_line_each() -> None:
    (listed,) = at("backward", [GetVariables(0)])
    assert isinstance(listed, Variables)
    found = dict(listed.items)
    assert found["limit"] == "5"
    assert found["net"] == "Sequential, a module"
    assert found["loss"].startswith("float32 scalar cpu: ")


def test_without_evaluation_everything_is_refused_in_one_line() -> None:
    seen: list[Any] = []
    answers = at(
        "step",
        [p("limit"), do("limit = 3"), GetCompletions(0, "li"), m.GetValues(0, "= loss * 2")],
        lambda: train(seen),
        Settings(evaluation=False),
    )
    assert [str(answer) for answer in answers] == ["expressions are switched off (--no-eval)"] * 4
    assert seen[0][2] == 5


def both() -> None:
    """Two modules whose parameters have the same names, and one that has others."""
    net, net2 = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimiser = torch.optim.SGD([*net.parameters(), *net2.parameters()], lr=0.1)
    for _ in range(2):
        net2(net(torch.ones(1, 2))).sum().backward()
        optimiser.step()


def test_parameters_are_found_with_and_without_the_variable_of_their_root_module() -> None:
    long, short, bracket, clash, listed, chain, explained, done = at(
        "step",
        [
            m.GetValues(0, "net2.1.weight"),
            m.GetValues(0, "1.weight"),
            m.GetValues(0, "[1].weight"),
            m.GetValues(0, "0.weight"),
            m.GetParameters(0, pattern="0.*"),
            m.GetChain(0, "1.weight"),
            m.GetExplanation(0, "net2.1.weight"),
            SetValue(0, "1.bias", Amount(How.SET, (3.0,))),
        ],
        both,
    )
    assert long.value.cells == short.value.cells == bracket.value.cells
    assert str(clash) == "0.weight is net.0.weight and net2.0.weight: say which"
    assert [row.name for row in listed.rows] == ["net.0.weight", "net.0.bias", "net2.0.weight", "net2.0.bias"]
    assert chain.name == explained.name == "net2.1.weight"
    assert done.edits[0].target == "net2.1.bias"


def test_nothing_that_was_evaluated_lives_longer_than_its_stop() -> None:
    alive: list[weakref.ref[Any]] = []

    class Mark:
        def __init__(self) -> None:
            alive.append(weakref.ref(self))

    def fails() -> None:
        kept = Mark()
        raise ValueError(kept is None)

    def loop() -> None:
        marks, broken = Mark, fails
        net = nn.Linear(1, 1)
        for _ in range(3):
            net(torch.ones(1, 1)).sum().backward()
        del marks, broken

    left: list[int] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 2:
            for query in (p("marks()"), p("broken()"), do("own = marks()"), do("marks(); broken()"), do("lambda: own")):
                await session.request(query)
        if stop.number == 3:
            left.append(sum(ref() is not None for ref in alive))

    gc.disable()
    try:
        assert drive(loop, visit=visit).error is None
    finally:
        gc.enable()
    assert (len(alive), left) == (5, [0])
