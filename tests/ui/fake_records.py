"""Deterministic records of a run like `two_nets.py`: `net` learns with BCELoss and SGD, `net2` does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fake_graph

from stepdbg.protocol import messages as m
from stepdbg.protocol.chain import ChainPage, ChainStep
from stepdbg.protocol.graph import Flow
from stepdbg.protocol.memory import GetGradients, GetOtherMemory, GradientPage, MemoryRecord, OtherMemory
from stepdbg.protocol.records import (
    ExceptionInfo,
    Frame,
    LossValue,
    ParameterPage,
    ParameterRow,
    Phase,
    PhaseRun,
    RailStep,
    SourceText,
    StopReason,
    StopRecord,
    TensorStats,
    TensorView,
    ValuesRecord,
)
from stepdbg.protocol.shown import GetNames, KnownNames
from stepdbg.protocol.step import Explanation, Given, StepLine
from stepdbg.protocol.trends import StepTrend, Trends
from stepdbg.protocol.values import ElementFound, Marked, MarkedModules, PythonText

FILE = "/home/user/two_nets.py"

_LOOP: tuple[tuple[PhaseRun, int], ...] = (
    (PhaseRun(Phase.ZERO_GRAD, "optimiser", "SGD", seconds=21e-6, skippable=True), 8),
    (PhaseRun(Phase.FORWARD, "net", "Sequential", seconds=182e-6), 9),
    (PhaseRun(Phase.LOSS, "criterion", "BCELoss", seconds=48e-6), 10),
    (PhaseRun(Phase.BACKWARD, seconds=410e-6, skippable=True), 11),
    (PhaseRun(Phase.STEP, "optimiser", "SGD", seconds=66e-6, skippable=True), 12),
)

SOURCE = """\
import torch
from torch import nn

net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())
optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
criterion = nn.BCELoss()
for inputs, labels in batches():
    optimiser.zero_grad()
    output = net(inputs)
    loss = criterion(output, labels)
    loss.backward()
    optimiser.step()
"""


def rail(position: int, *, failed: bool = False) -> tuple[RailStep, ...]:
    """The rail when the phase at `position` is next (all done when past the end)."""
    steps = []
    for index, (run, _line) in enumerate(_LOOP):
        state = "done" if index < position else "next" if index == position else "ahead"
        if failed and state == "next":
            state = "failed"
        seconds = run.seconds if state == "done" else None
        steps.append(RailStep(run.phase, run.subject, run.kind, state, seconds))
    return tuple(steps)


def stop(number: int) -> StopRecord:
    """Stop `number` of the run, from 1: five to an iteration."""
    iteration, position = divmod(number - 1, len(_LOOP))
    upcoming, line = _LOOP[position]
    before = () if number == 1 else (_LOOP[position - 1][0],)
    loss = None
    seen = iteration if position < 3 else iteration + 1
    if seen:
        value = 0.6931 / (1 + 0.03 * (seen - 1))
        previous = 0.6931 / (1 + 0.03 * (seen - 2)) if seen > 1 else None
        loss = LossValue(round(value, 4), previous and round(previous, 4), "BCELoss", seen, source="loss")
    return StopRecord(
        number=number,
        reason=StopReason.ENTRY if number == 1 else StopReason.STEP,
        iteration=iteration + 1,
        micro_batch=1,
        just_ran=before,
        next=replace(upcoming, seconds=None),
        inside=(),
        rail=rail(position),
        loss=loss,
        stack=(Frame(FILE, line, "<module>", is_user=True),),
        here=0,
        thread="MainThread",
        elapsed=1.5 + 0.0007 * number,
        rate=412.3 if iteration > 1 else None,
        lrs=(("optimiser", 0.1),),
    )


def two_nets(count: int = 13, *, last: StopReason = StopReason.FINISHED, note: str = "") -> list[StopRecord]:
    """`count` stops, the last one of that reason."""
    stops = [stop(number) for number in range(1, count + 1)]
    final = replace(stops[-1], reason=last, note=note)
    if last is StopReason.EXCEPTION:
        error = ExceptionInfo("ValueError", "Using a target size that is different", "Traceback …\nValueError: …\n")
        position = (count - 1) % len(_LOOP)
        final = replace(final, next=None, exception=error, rail=rail(position, failed=True))
    elif last is StopReason.FINISHED:
        final = replace(final, next=None, rail=rail(len(_LOOP)))
    stops[-1] = final
    return stops


_SHAPES = (
    ("net.0.weight", (6, 4)),
    ("net.0.bias", (6,)),
    ("net.2.weight", (1, 6)),
    ("net.2.bias", (1,)),
    ("net2.0.weight", (6, 4)),
    ("net2.0.bias", (6,)),
    ("net2.2.weight", (1, 6)),
    ("net2.2.bias", (1,)),
)


def parameter_rows(number: int) -> list[ParameterRow]:
    """All eight; those of `net` have gradients from the first backward on."""
    has_grad, stepped = number > 4, number > 5
    rows = []
    for index, (name, dims) in enumerate(_SHAPES):
        mine = name.startswith("net.")
        numel = 1
        for size in dims:
            numel *= size
        rows.append(
            ParameterRow(
                name=name,
                aliases=(),
                shape=dims,
                dtype="float32",
                device="cpu",
                numel=numel,
                nbytes=4 * numel,
                requires_grad=True,
                owner="optimiser[0]" if mine else "",
                owner_kind="SGD" if mine else "",
                value_norm=1.412 / (index + 1),
                grad_norm=0.031 * (index + 1) if mine and has_grad else None,
                grad="dense" if mine and has_grad else "none",
                value_changed=mine and stepped,
                grad_changed=mine and has_grad,
                reached=mine if number > 3 else None,
            )
        )
    return rows


def tensor(dims: tuple[int, ...], scale: float) -> TensorView:
    """A small tensor with numbers that can be told apart."""
    columns = dims[-1] if dims else 1
    rows = 1
    for size in dims[:-1]:
        rows *= size
    cells = tuple(tuple(f"{scale * (r * columns + c - 5):.4g}" for c in range(columns)) for r in range(rows))
    stats = TensorStats(rows * columns, -5 * scale, 18 * scale, 0.004, 0.062, 0.71, 1, 0, 0, 0, (1, 2, 5, 9, 5, 2, 1))
    stats = replace(stats, low=-5 * scale, high=18 * scale)
    return TensorView(dims, "float32", "cpu", 4 * rows * columns, stats, rows, columns, 0, 0, cells)


def explanation(query: m.GetExplanation, number: int) -> Any:
    """What the first step did to an element of `net`, from stop 6 on."""
    dims = dict(_SHAPES).get(query.name)
    if dims is None:
        return f"no parameter is called {query.name} at this stop"
    names = [name for name, _ in _SHAPES]
    at = names.index(query.name)
    index = query.index if query.index is not None else (0,) * len(dims)
    known = Explanation(
        number, query.name, index, dims, "float32", at, len(names),
        names[at - 1] if at else "", names[at + 1] if at + 1 < len(names) else "",
    )  # fmt: skip
    if not query.name.startswith("net."):
        return replace(known, note=f"nobody owns {query.name}: no optimizer was given it, so no step changes it")
    known = replace(known, optimizer="optimiser", kind="SGD", groups=1)
    if number < 6:
        return replace(known, note="optimiser has not stepped yet")
    return replace(
        known,
        tells="did",
        owned_by="it was given net.parameters(): group 0 of 1, 4 parameters",
        iteration=1,
        hyper=(Given("", "lr", "0.1"), Given("μ", "momentum", "0")),
        given=(Given("p", "value", "0.5"), Given("g", "gradient", "-0.25")),
        rule="p ← p - lr·g",
        lines=(StepLine("p ← p - lr·g", "0.5 - 0.1·(-0.25)", "0.525"),),
        before="0.5",
        after="0.525",
        change="0.025",
        predicted="0.525",
        exact=True,
        ulps=0.0,
        within=True,
        tolerance="bit for bit",
    )


_CHAIN = (
    ("BinaryCrossEntropyBackward0", "criterion", (), 0),
    ("SigmoidBackward0", "net.3", (32, 1), 1),
    ("AddmmBackward0", "net.2", (32, 1), 1),
    ("ReluBackward0", "net.1", (32, 6), 1),
    ("AddmmBackward0", "net.0", (32, 6), 1),
    ("TBackward0", "net.0", (4, 6), 1),
    ("AccumulateGrad", "net.0.weight", (6, 4), 2),
)


def chain(query: m.GetChain, number: int) -> ChainPage | str:
    """The way to `net.0.weight`; nothing leads to `net2`. From stop 5 on a backward has come through."""
    name = query.name or "net.0.weight"
    if not name.startswith("net"):
        return f"no parameter is called {name} at this stop"
    if name.startswith("net2"):
        return ChainPage(number, name, query.way, 0, 0, (), note=f"the graph of loss does not reach {name}")
    ran = number > 4
    steps = []
    for at, (op, module, shape, joins) in enumerate(_CHAIN):
        leaf = op == "AccumulateGrad"
        into = Flow(1 / (at + 1), -0.5, 0.5, 32, 0) if ran else None
        out = Flow(1 / (at + 2), -0.5, 0.5, 32, 0) if ran and not leaf else None
        steps.append(ChainStep(op, module, "", shape, None if leaf else 90 - at, joins, into, out))
    page = ChainPage(number, name, query.way, 0, len(steps), tuple(steps), "loss", "2", 9, accumulated=int(ran))
    if not ran:
        return replace(page, why_no_flows="off: gradients are not watched", grad_label="none")
    known = {"grad_after": 0.1429, "grad_now": 0.1429, "had_grad": False}
    return replace(page, watched=True, iteration=1, micro_batch=1, times=1, **known)


def trends(query: m.GetTrends, number: int) -> Trends:
    """One step of `optimiser` an iteration, noted from the first one on."""
    taken = list(range(query.since, (number - 1) // 5))
    steps = tuple(StepTrend(at, 0, at + 1, "optimiser", 0.2 / (at + 1), 0, "", 2.0, 0.02 / (at + 1)) for at in taken)
    return Trends(number, steps, since=1, note="" if number > 5 else "no optimizer step has run")


MEMORY: dict[Any, Any] = {
    GetOtherMemory: lambda _, number: OtherMemory(number, 768, 3, (), 0, 0, 0, 100_000),
    GetGradients: lambda _, number: GradientPage(number, 0, 0, ()),
    GetNames: lambda _, number: KnownNames(number, tuple(dict(_SHAPES)), ("net", "net.0", "net.2", "net2")),
}


def answer(query: Any, number: int) -> Any:
    """What the agent says to `query` at stop `number`; a string is its reason to refuse."""
    if isinstance(query, m.GetParameters):
        rows = [row for row in parameter_rows(number) if query.pattern in row.name]
        page = tuple(rows[query.offset : query.offset + query.count])
        graph_at = fake_graph.recorded_at(number)
        return ParameterPage(number, query.offset, len(rows), len(_SHAPES), page, graph_at=graph_at)
    if isinstance(query, m.GetValues):
        dims = dict(_SHAPES).get(query.name)
        if dims is None:
            return f"no parameter {query.name!r}"
        grad = tensor(dims, 0.0021) if query.name.startswith("net.") and number > 4 else None
        return ValuesRecord(number, query.name, tensor(dims, 0.11), grad, "" if grad else "none")
    if isinstance(query, m.GetGraph):
        return fake_graph.page(query, number) if number > 2 else replace(fake_graph.NO_GRAPH, stop=number)
    if isinstance(query, m.GetGraphEdges):
        return fake_graph.edges(query)
    if isinstance(query, m.GetGraphPath):
        return fake_graph.path(query)
    if isinstance(query, m.SetWatching):
        return fake_graph.watching(query)
    if isinstance(query, m.GetMemory):
        grads = 4 if number > 4 else 0
        return MemoryRecord(number, 296, 37 * grads, grads, 0, 0, 1024 if number == 4 else 0, 1 if grads else 0)
    if isinstance(query, m.SeekElement):
        return ElementFound((0,) * len(dict(_SHAPES).get(query.name, ())), "0.25")
    if isinstance(query, m.CopyValues):
        return PythonText("torch.tensor([0.25], dtype=torch.float32)", 1, 1)
    if isinstance(query, m.MarkModule):
        return MarkedModules((Marked(query.module, 0, 0),) if query.module and query.on is not False else (), 64 << 20)
    told = {m.GetExplanation: explanation, m.GetChain: chain, m.GetTrends: trends, **MEMORY}.get(type(query))
    if told is not None:
        return told(query, number)
    assert isinstance(query, m.GetSource)
    return SourceText(query.file, SOURCE, changed=False)
