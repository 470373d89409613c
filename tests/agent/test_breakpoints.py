"""Breakpoints on real loops: where they stop, what they say, and that nobody notices them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from stepdbg.agent.breakpoints import matching
from stepdbg.agent.breakpoints.armed import Armed
from stepdbg.agent.breakpoints.conditions import Expression, Text
from stepdbg.agent.work import NotThereError
from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.plain import breakpoints as plain
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import (
    Book,
    DeleteBreakpoint,
    EditBreakpoint,
    GetBreakpoints,
    Kind,
    SetBreakpoint,
    Spec,
)
from stepdbg.protocol.inside import Grain, Place
from stepdbg.protocol.records import StopReason, StopRecord

from .conftest import drive

ON = [m.Action.CONTINUE] * 50


def loop(iterations: int = 6, after: Callable[[torch.nn.Module, int], Any] = lambda _net, _i: None) -> Any:
    def train() -> list[float]:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 1))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
        x = torch.randn(5, 3)
        losses = []
        for i in range(iterations):
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            after(net, i)
            losses.append(loss.item())
        train.result = [*losses, *(p.detach().clone() for p in net.parameters()), torch.random.get_rng_state()]
        return losses

    return train


def armed(*specs: Spec) -> m.Settings:
    return m.Settings(stop_at="never", breakpoints=specs)


def why(run: Any) -> list[tuple[int, str, str]]:
    return [
        (s.iteration, s.next.phase.value if s.next is not None else "", s.why)
        for s in run.stops
        if s.reason is StopReason.BREAKPOINT
    ]


def test_conditions_hits_and_iterations() -> None:
    run = drive(
        loop(),
        ON,
        settings=armed(
            Spec(Kind.PHASE, "step", condition="iteration % 2 == 0"),
            Spec(Kind.ITERATION, line=5),
            Spec(Kind.PHASE, "backward", ignore=3, once=True),
            Spec(Kind.PHASE, "zero_grad", enabled=False),
        ),
    )
    assert run.error is None
    assert why(run) == [
        (2, "step", "breakpoint 1: iteration % 2 == 0"),
        (4, "backward", "breakpoint 3: backward"),
        (4, "step", "breakpoint 1: iteration % 2 == 0"),
        (5, "zero_grad", "breakpoint 2: iteration 5"),
        (6, "step", "breakpoint 1: iteration % 2 == 0"),
    ]


def test_the_loss_of_a_condition_is_the_loss() -> None:
    bare = loop()
    losses = bare()
    middle = sorted(losses)[3]
    run = drive(loop(), ON, settings=armed(Spec(Kind.PHASE, "backward", condition=f"loss >= {middle!r}")))
    assert [i for i, *_ in why(run)] == [i for i, loss in enumerate(losses, 1) if loss >= middle]
    assert all(s.loss is not None and s.loss.value >= middle for s in run.stops[:-1])


def test_grad_norm_lr_and_the_users_names() -> None:
    seen: list[float] = []

    def after(net: torch.nn.Module, _i: int) -> None:
        seen.append(torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item())

    bare = loop(after=after)
    bare()
    middle = sorted(seen)[3]
    run = drive(
        loop(),
        ON,
        settings=armed(
            Spec(Kind.PHASE, "step", condition=f"grad.norm > {middle * 0.999}"),
            Spec(Kind.PHASE, "step", condition="lr != 0.1"),
            Spec(Kind.PHASE, "zero_grad", condition="i == 3 and iteration == 4 and x.shape[0] == 5"),
        ),
    )
    assert [i for i, phase, _ in why(run) if phase == "step"] == [
        i for i, norm in enumerate(seen, 1) if norm > middle * 0.999
    ]
    assert [(i, text) for i, phase, text in why(run) if phase == "zero_grad"] == [
        (4, "breakpoint 3: i == 3 and iteration == 4 and x.shape[0] == 5")
    ]


def test_a_condition_that_raises_stops_once_and_says_so() -> None:
    run = drive(loop(), ON, settings=armed(Spec(Kind.PHASE, "step", condition="nowhere > 2")))
    (stop,) = why(run)
    assert stop[0] == 1
    assert "breakpoint 1: its condition failed: nowhere > 2: NameError" in stop[2]


def test_logpoints_write_and_go_on() -> None:
    spec = Spec(Kind.PHASE, "backward", log="{iteration}: {loss:.6f} {nope} {{}}", condition="iteration < 3")
    run = drive(loop(), ON, settings=armed(spec))
    losses = loop()()
    logged = [event for event in run.events if isinstance(event, m.Logged)]
    assert [event.text for event in logged] == [
        f"{i}: {loss:.6f} <nope: NameError: name 'nope' is not defined> {{}}" for i, loss in enumerate(losses[:2], 1)
    ]
    assert why(run) == []


def test_a_line_is_stopped_at_once_however_many_phases_it_calls() -> None:
    def train() -> None:
        net, criterion = torch.nn.Linear(2, 1), torch.nn.MSELoss()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            criterion(net(torch.ones(1, 2)), torch.zeros(1, 1)).backward()
            optimizer.step()

    line = train.__code__.co_firstlineno + 5
    run = drive(train, ON, settings=armed(Spec(Kind.LINE, __file__, line=line)))
    stops = [s for s in run.stops if s.reason is StopReason.BREAKPOINT]
    assert [s.iteration for s in stops] == [1, 2, 3]
    assert all(s.stack[s.here or 0].line == line for s in stops)


@pytest.mark.parametrize("watches", [False, True])
def test_nobody_notices(watches: bool) -> None:
    bare, seen = loop(), loop()
    bare()
    specs = [
        Spec(Kind.PHASE, "step", condition="grad.norm > 0.5 and loss > 0 and x.sum() > -100 and torch.rand(1) < 0"),
        Spec(Kind.PHASE, "backward", log="{loss} {torch.rand(1)}"),
        Spec(Kind.LINE, __file__, line=loop.__code__.co_firstlineno + 10),
    ]
    if watches:
        specs += [Spec(Kind.NAN), Spec(Kind.CHANGE, "net.*")]
    modes = torch._C._len_torch_dispatch_stack()

    async def visit(session: Any, stop: Any) -> None:
        await session.request(GetBreakpoints(0))
        if watches and stop.number == 1:
            for spec in specs[3:]:
                await session.request(SetBreakpoint(0, spec))

    run = drive(seen, ON, visit=visit, settings=armed(*specs[:3]))
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    for a, b in zip(bare.result, seen.result, strict=True):
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    assert torch._C._len_torch_dispatch_stack() == modes


def test_what_is_made_changed_and_refused_at_a_stop() -> None:
    said: list[str] = []
    books: list[Book] = []

    async def visit(session: Any, stop: Any) -> m.Action:
        if stop.number == 1:
            for query in (
                SetBreakpoint(0, Spec(Kind.NAME, "net[0]")),
                SetBreakpoint(0, Spec(Kind.NAME, "net[0].weight")),
                SetBreakpoint(0, Spec(Kind.NAME, "nett.0")),
                SetBreakpoint(0, Spec(Kind.GRADIENT, "net.9.weight")),
                SetBreakpoint(0, Spec(Kind.PHASE, "step", condition="loss = 2")),
                SetBreakpoint(0, Spec(Kind.PHASE, "step", log="{")),
                SetBreakpoint(0, Spec(Kind.NAN)),
                SetBreakpoint(0, Spec(Kind.NAN)),
                SetBreakpoint(0, Spec(Kind.EXPRESSION, "net[0].weight.norm()")),
                SetBreakpoint(0, Spec(Kind.LINE, "/nowhere.py", line=3)),
                EditBreakpoint(0, 1, condition="loss > 2", ignore=3, commands=("next",)),
                EditBreakpoint(0, 9, enabled=False),
                EditBreakpoint(0, 1, condition="loss >"),
                DeleteBreakpoint(0, 3),
                GetBreakpoints(0),
            ):
                try:
                    book = await session.request(query)
                    said.append(book.message)
                    books.append(book)
                except RequestError as error:
                    said.append(f"! {error}")
        return m.Action.CONTINUE

    run = drive(loop(2), visit=visit)
    assert run.error is None
    assert float(said[8].partition(" = ")[2]) > 0  # what it gives now is told at once
    said[8] = said[8].partition(" = ")[0]
    assert said[:10] == [
        "breakpoint 1: module net[0]",
        "breakpoint 2: grad net[0].weight",
        "! there is no module or parameter nett.0: did you mean net.0?",
        "! there is no parameter net.9.weight: did you mean net.2.weight?",
        "! 'loss = 2' assigns: did you mean loss == 2?",
        "! logpoint: Single '{' encountered in format string; a brace itself is written {{ or }}",
        "watch 3: nan",
        "! nan is watched already",
        "watch 4: net[0].weight.norm()",
        "! no code of nowhere.py is loaded",
    ]
    assert said[10] == "breakpoint 1: module net[0]: stops if loss > 2, lets 3 hits pass, runs next"
    assert said[11] == "! there is no breakpoint 9: 1, 2, 3, 4"
    assert said[12].startswith("! 'loss >' is no condition")
    assert said[13] == "deleted watch 3: nan"
    last = books[-1]
    assert [row.number for row in last.rows] == [1, 2, 4]
    assert last.rows[0].spec == Spec(
        Kind.MODULE, "net[0]", direction="forward", condition="loss > 2", ignore=3, commands=("next",)
    )
    torch.manual_seed(0)
    norm = torch.nn.Linear(3, 4).weight.norm().item()
    assert last.rows[2].number_value == pytest.approx(norm)
    assert plain.lines(last)[0].split() == ["num", "on", "hits", "where", "condition"]
    assert plain.lines(last)[1].split(maxsplit=3) == ["1", "yes", "0", "module net[0]               if loss > 2"]
    assert plain.lines(Book()) == ["no breakpoints and no watches"]


def test_what_is_not_there_is_kept_and_marked() -> None:
    books: list[Book] = []

    async def visit(session: Any, stop: Any) -> None:
        books.append(await session.request(GetBreakpoints(0)))

    settings = m.Settings(breakpoints=(Spec(Kind.MODULE, "gone.2"), Spec(Kind.PHASE, "step", condition="a b")))
    drive(loop(1), ON, visit=visit, settings=settings)
    stale, broken = books[0].rows
    assert (stale.stale, stale.note) == (True, "there is no module gone.2: did you mean net.2?")
    assert "is no condition" in broken.note


def test_without_evaluation_only_own_names_can_be_used() -> None:
    with pytest.raises(NotThereError, match="--no-eval turns that off"):
        Expression("x > 2", evaluation=False)
    with pytest.raises(NotThereError, match="--no-eval"):
        Text("{x}", evaluation=False)
    assert Expression("loss > 2 and abs(grad.norm) < 3", evaluation=False).own == ("grad.norm", "loss")


NODE = Place(Grain.NODE, "before", "AddmmBackward0", kind="net.2", seq=7)
ACCUMULATE = Place(Grain.NODE, "after", "AccumulateGrad", parameter="net.0.weight")
OP = Place(Grain.OP, "before", "aten.addmm.default")
MODULE = Place(Grain.MODULE, "before", "net.2", kind="Linear")


@pytest.mark.parametrize(
    ("spec", "place", "hit"),
    [
        (Spec(Kind.MODULE, "net[2]", direction="forward"), MODULE, True),
        (Spec(Kind.MODULE, "net.*", direction="forward"), MODULE, True),
        (Spec(Kind.MODULE, "net.1", direction="forward"), MODULE, False),
        (Spec(Kind.MODULE, "net.2", direction="backward"), NODE, True),
        (Spec(Kind.MODULE, "net.2", direction="backward"), MODULE, False),
        (Spec(Kind.OP, "addmm"), OP, True),
        (Spec(Kind.OP, "aten::addmm"), OP, True),
        (Spec(Kind.OP, "aten.mm"), OP, False),
        (Spec(Kind.NODE, "Addmm"), NODE, True),
        (Spec(Kind.NODE, "AddmmBackward0"), NODE, True),
        (Spec(Kind.NODE, "Mm*"), NODE, False),
        (Spec(Kind.GRADIENT, "net[0].weight"), ACCUMULATE, True),
        (Spec(Kind.GRADIENT, "net.0.bias"), ACCUMULATE, False),
    ],
)
def test_places(spec: Spec, place: Place, hit: bool) -> None:
    entered = ("net", "net.2") if place is NODE else ()
    assert matching.at(Armed(1, spec, evaluation=True), place, entered) is hit


def test_which_grains_are_wanted_and_what_a_place_says() -> None:
    said: list[Any] = []

    def train() -> None:
        from stepdbg import custom_phase

        book = custom_phase.observer.control.breakpoints
        said.append([book.wants(grain) for grain in Grain])
        said.append(book.armed_phases)
        places = ((MODULE, ()), (NODE, ("net", "net.2")), (NODE, ()), (OP, ()), (ACCUMULATE, ()))
        said.append([book.at_place(place, sys._getframe(), entered) for place, entered in places])
        loop(1)()

    specs = Spec(Kind.MODULE, "net.2", direction="forward"), Spec(Kind.MODULE, "net.2", direction="backward")
    drive(train, ON, settings=armed(*specs, Spec(Kind.GRADIENT, "net.0.weight", condition="iteration == 1")))
    assert said == [
        [True, False, True, False],
        False,
        ["breakpoint 1: module net.2", "breakpoint 2: module net.2 backward", None, None,
         "breakpoint 3: iteration == 1"],
    ]  # fmt: skip


def test_backward_comes_once_into_a_module_whatever_is_inside_of_it() -> None:
    def train() -> None:
        torch.manual_seed(0)
        inner = torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(3, 2))
        net = torch.nn.Sequential(torch.nn.Linear(2, 3), inner, torch.nn.Linear(2, 1))
        for _ in range(2):
            net(torch.ones(4, 2)).pow(2).sum().backward()

    names = ("net", "net[1]", "net.1.1", "net.*")
    specs = [Spec(Kind.MODULE, name, direction="backward") for name in names]
    run = drive(train, ON, settings=armed(*specs))
    hits = [(s.at.name, s.at.kind, s.why) for s in run.stops if s.at is not None]
    said = "breakpoint {}: module {} backward"
    first = [
        ("AddmmBackward0", "net.2", "; ".join(said.format(n, name) for n, name in ((1, "net"), (4, "net.*")))),
        ("AddmmBackward0", "net.1.1", "; ".join(said.format(n, names[n - 1]) for n in (2, 3, 4))),
        ("TanhBackward0", "net.1.0", said.format(4, "net.*")),
        ("AddmmBackward0", "net.0", said.format(4, "net.*")),
    ]
    assert hits == first * 2


def test_a_free_run_stays_free_where_nothing_is_armed() -> None:
    free: list[bool] = []

    def train() -> None:
        from stepdbg import custom_phase

        loop(1, lambda _net, _i: free.append(custom_phase.observer.free))()

    drive(train, ON, settings=armed(Spec(Kind.PHASE, "step", enabled=False), Spec(Kind.EXPRESSION, "1")))
    drive(train, ON, settings=armed(Spec(Kind.PHASE, "loss")))
    assert free == [True, False]


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Spec(Kind.OP, "addmm"), "breakpoint 1: op addmm"),
        (Spec(Kind.OP, "aten.add*"), "breakpoint 1: op aten.add*"),
        (Spec(Kind.OP, "aten::addmm"), "breakpoint 1: op aten::addmm"),
        (Spec(Kind.OP, "admm"), "! there is no operation admm: did you mean addmm?"),
        (Spec(Kind.OP, "aten.adddmm"), "! there is no operation aten.adddmm: did you mean aten.addmm?"),
        (Spec(Kind.OP, "my_ops::fused"), "breakpoint 1: op my_ops::fused (no operation is called so, so far)"),
        (Spec(Kind.NODE, "Addmm"), "breakpoint 1: node Addmm"),
        (Spec(Kind.NODE, "TwiceBackward"), "breakpoint 1: node TwiceBackward"),
        (Spec(Kind.NODE, "AdmmBackward0"), "! there is no autograd node AdmmBackward0: did you mean AddmmBackward0?"),
        (Spec(Kind.NODE, "Xyzzy"), "breakpoint 1: node Xyzzy (no autograd node is called so, so far)"),
        (Spec(Kind.NAME, "addmm"), "! there is no module or parameter addmm: did you mean op addmm?"),
        (Spec(Kind.NAME, "Addmm"), "! there is no module or parameter Addmm: did you mean node Addmm?"),
    ],
)
def test_an_operation_or_node_that_torch_has_not_is_told(spec: Spec, said: str) -> None:
    answers: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            try:
                answers.append((await session.request(SetBreakpoint(0, spec))).message)
            except RequestError as error:
                answers.append(f"! {error}")
            await session.request(DeleteBreakpoint(0, 0))
        return m.Action.CONTINUE

    run = drive(loop(1), visit=visit)
    assert run.error is None
    assert answers == [said]
