"""Outputs of marked modules: which are kept, how long, and what they cost when nothing is marked."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stepdbg.agent.values import outputs
from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase, StopRecord, ValuesRecord
from stepdbg.protocol.values import Marked, MarkedModules

from .conftest import drive
from .watched_runs import tracker

X = torch.linspace(-1, 1, 32).reshape(8, 4)


def numbers(record: ValuesRecord) -> Tensor:
    assert record.value is not None
    return torch.tensor([[float(text) for text in line] for line in record.value.cells])


class Net(nn.Module):
    """Its middle module is called twice; the last one puts out two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.act = nn.ReLU(inplace=True)
        self.rnn = nn.GRU(5, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        found: Tensor = self.rnn(self.act(-x).unsqueeze(1))[0]
        return found


def train(seen: dict[str, list[Tensor]] | None = None) -> list[Tensor]:
    """Two iterations; `seen` gets what the modules put out, by hooks of its own."""
    net = Net()
    if seen is not None:
        for name in ("first", "act", "rnn"):
            module = getattr(net, name)
            module.register_forward_hook(
                lambda _m, _i, out, name=name: seen.setdefault(name, []).extend(
                    o.detach().clone() for o in (out if isinstance(out, tuple) else (out,))
                )
            )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()
    return [p.detach().clone() for p in net.parameters()]


Visit = Callable[[ThreadSession, StopRecord], Any]


def run(visit: Visit, loop: Callable[[], Any] = train) -> None:
    async def checked(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        chosen: m.Action | None = await visit(session, stop)
        return chosen

    result = drive(loop, visit=checked)
    if result.error is not None:
        raise result.error
    assert not [event for event in result.events if isinstance(event, m.Warned)]


async def refused(session: ThreadSession, query: m.Query) -> str:
    with pytest.raises(RequestError) as caught:
        await session.request(query)
    return str(caught.value)


def is_next(stop: StopRecord, phase: Phase, iteration: int = 1) -> bool:
    return stop.next is not None and (stop.next.phase, stop.iteration) == (phase, iteration)


def test_what_is_shown_is_what_the_module_put_out() -> None:
    torch.manual_seed(0)
    seen: dict[str, list[Tensor]] = {}
    bare = train(seen)
    results: list[list[Tensor]] = []
    told: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            for module in ("net.first", "net.act", "net.rnn"):
                await session.request(m.MarkModule(0, module))
            told.append(await refused(session, m.GetValues(0, "net.first output")))
        elif is_next(stop, Phase.BACKWARD):
            first = await session.request(m.GetValues(0, "=net.first output"))
            # The activation wrote into it since: the copy is as it was put out.
            assert numbers(first).equal(seen["first"][0])
            assert first.note == "call 1 of 1 in this iteration"
            for call in (1, 2):
                act = await session.request(m.GetValues(0, f"net.act output #{call}"))
                assert numbers(act).equal(seen["act"][call - 1])
            last = await session.request(m.GetValues(0, "net.act output"))
            assert numbers(last).equal(seen["act"][1])
            for item in (0, 1):
                both = await session.request(m.GetValues(0, f"net.rnn output[{item}]"))
                assert numbers(both).equal(seen["rnn"][item].reshape(-1, 5))
                assert both.note == f"call 1 of 1 in this iteration, tensor {item} of 2: output[0] to output[1]"
            stats = first.value.stats
            assert stats.max == pytest.approx(seen["first"][0].max().item())
            told.extend(
                [
                    await refused(session, m.GetValues(0, "net.act output #3")),
                    await refused(session, m.GetValues(0, "net.rnn output[2]")),
                    await refused(session, m.GetValues(0, "net.flat output")),
                ]
            )
        elif is_next(stop, Phase.ZERO_GRAD, 2):
            told.append(await refused(session, m.GetValues(0, "net.first output")))

    torch.manual_seed(0)
    run(visit, lambda: results.append(train()))
    assert all(a.equal(b) for a, b in zip(results[0], bare, strict=True))
    assert told == [
        "net.first has not been called in this iteration since it was marked",
        "call 3 of net.act is not kept: 1 to 2 of this iteration is",
        "net.rnn put out 2 tensors in call 1",
        "no parameter is called net.flat output at this stop",
        "net.first has not been called in this iteration since it was marked",
    ]


def test_marking_listing_and_unmarking() -> None:
    answers: list[MarkedModules] = []
    told: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            asked = (m.MarkModule(0), m.MarkModule(0, "net.rnn"), m.MarkModule(0, "net.rnn", None),
                     m.MarkModule(0, "net.first", None), m.MarkModule(0, "net"))  # fmt: skip
            answers.extend([await session.request(query) for query in asked])
            told.extend(
                [
                    await refused(session, m.MarkModule(0, "net.secnd")),
                    await refused(session, m.MarkModule(0, "nett.first")),
                    await refused(session, m.MarkModule(0, "net.rnn", False)),
                ]
            )
        elif is_next(stop, Phase.BACKWARD):
            answers.append(await session.request(m.MarkModule(0)))
            answers.append(await session.request(m.MarkModule(0, "net.first", False)))

    run(visit)
    assert [[one.module for one in a.modules] for a in answers] == [
        [], ["net.rnn"], [], ["net.first"], ["net.first", "net"], ["net.first", "net"], ["net"],
    ]  # fmt: skip
    assert answers[5].modules == (Marked("net.first", 1, 160), Marked("net", 1, 160))
    assert answers[5].limit == 64 << 20
    assert told == [
        "net has no module secnd: first, act, rnn",
        "no module is called nett.first: net",
        "net.rnn is not marked",
    ]


def test_nothing_lives_longer_than_the_iteration() -> None:
    alive: list[Any] = []

    class Held(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            out = x * 2
            alive.append(weakref.ref(out))
            return out

    def loop() -> None:
        net = nn.Sequential(Held(), nn.Linear(4, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        gc.disable()
        try:
            for _ in range(2):
                optimizer.zero_grad()
                net(X).sum().backward()
                alive[-1] = alive[-1]() is None  # in a bare run it is gone with the graph
                optimizer.step()
        finally:
            gc.enable()

    copies: list[weakref.ref[Tensor]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            await session.request(m.MarkModule(0, "net.0"))
        kept = tracker().watched.outputs
        if is_next(stop, Phase.STEP):
            record = await session.request(m.GetValues(0, "net.0 output"))
            assert numbers(record).equal(X * 2)
            copies.extend(
                weakref.ref(o.copy)
                for one in kept.by_id.values()
                for _, outs in one.log or ()
                for o in outs
                if o.copy is not None
            )
        elif is_next(stop, Phase.ZERO_GRAD, 2):
            assert [copy() for copy in copies] == [None]

    run(visit, loop)
    assert alive == [True, True]
    assert len(copies) == 1


def test_a_free_run_keeps_nothing() -> None:
    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        kept = tracker().watched.outputs
        if stop.number == 1:
            await session.request(m.MarkModule(0, "net.first"))
            return None
        if is_next(stop, Phase.BACKWARD):
            assert [one.calls for one in kept.listed()] == [1]
            return m.Action.CONTINUE
        if stop.next is None:
            assert [(one.calls, one.kept) for one in kept.listed()] in ([], [(0, 0)])
        return None

    run(visit)


def test_over_the_limit_the_tensor_itself_is_shown_while_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "LIMIT", 2 << 20)
    rows = torch.ones(80_000, 4)
    told: list[str] = []

    def loop() -> None:
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
        with torch.no_grad():
            net(rows)
        net(rows).sum().backward()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            for module in ("net.0", "net.1"):
                await session.request(m.MarkModule(0, module))
        elif is_next(stop, Phase.BACKWARD):
            told.append((await session.request(m.GetValues(0, "net.0 output #1"))).note)
            told.append(await refused(session, m.GetValues(0, "net.1 output #1")))
            told.append((await session.request(m.GetValues(0, "net.1 output #2"))).note)

    run(visit, loop)
    assert told == [
        "call 1 of 2 in this iteration",
        "call 1 of 2 in this iteration: not copied, over the limit of 2 MiB, and the script has let go of it",
        "call 2 of 2 in this iteration: not copied, over the limit of 2 MiB, shown as it is now",
    ]


def test_only_the_last_calls_are_kept() -> None:
    def loop() -> None:
        net = nn.Sequential(nn.Linear(4, 4))
        out = X
        for _ in range(12):
            out = net[0](out)
        out.sum().backward()

    seen: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            await session.request(m.MarkModule(0, "net.0"))
        elif is_next(stop, Phase.BACKWARD):
            seen.append(await refused(session, m.GetValues(0, "net.0 output #4")))
            seen.append((await session.request(m.GetValues(0, "net.0 output #5"))).note)
            seen.append((await session.request(m.MarkModule(0))).modules)
            assert tracker().watched.outputs.nbytes == 8 * 128

    run(visit, loop)
    assert seen[:2] == [
        "call 4 of net.0 is not kept: 5 to 12 of this iteration is",
        "call 5 of 12 in this iteration",
    ]
    assert seen[2] == (Marked("net.0", 12, 8 * 128),)


def test_what_puts_out_no_tensor_and_what_cannot_be_copied() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> dict[str, str]:
            return {"no": "tensor"}

    class Sub(Tensor):
        pass

    class Subclass(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.as_subclass(Sub)

    def loop() -> None:
        odd, sub, net = Odd(), Subclass(), nn.Linear(4, 1)
        odd(X)
        kept = sub(X)
        inside = torch.func.vmap(net)(X)
        net(X).sum().backward()
        assert kept.shape == (8, 4)
        assert inside.shape == (8, 1)

    seen: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            for module in ("odd", "sub", "net"):
                await session.request(m.MarkModule(0, module))
        elif is_next(stop, Phase.BACKWARD):
            seen.append((await session.request(m.MarkModule(0))).modules[0].note)
            record = await session.request(m.GetValues(0, "sub output"))
            seen.append(record.note)
            assert numbers(record).equal(X)
            seen.append(await refused(session, m.GetValues(0, "net output #1")))
            assert numbers(await session.request(m.GetValues(0, "net output #2"))).shape == (8, 1)

    run(visit, loop)
    assert seen == [
        "puts out no tensor",
        "call 1 of 1 in this iteration: a Sub is not copied, shown as it is now",
        "call 1 of 2 in this iteration: not copied inside a torch.func transform, and the script has let go of it",
    ]


def test_nothing_is_done_where_nothing_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_args: Any) -> None:
        raise AssertionError("noted")

    monkeypatch.setattr(outputs.Outputs, "note", never)

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        assert tracker().watched.outputs.by_id == {}

    run(visit)
