"""What gradients are the sum of, how they were cleared, and what is noted where nobody stops."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType

from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.memory import (
    Clearing,
    GetGradients,
    GetOtherMemory,
    GradientPage,
    MemoryNote,
    MemoryRecord,
    Summed,
)
from stepdbg.protocol.records import StopReason, StopRecord

from .conftest import Drive, drive

NEXT, SKIP, ITERATION, CONTINUE = m.Action.NEXT, m.Action.SKIP, m.Action.ITERATION, m.Action.CONTINUE


def looked(
    train: Callable[[], Any], actions: Sequence[m.Action] = (), also: Any = None
) -> tuple[Drive, dict[int, MemoryRecord]]:
    """The memory at every stop, by number; `also` is called with the session first."""
    found: dict[int, MemoryRecord] = {}

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if also is not None:
            await also(session, stop)
        found[stop.number] = await session.request(m.GetMemory(0))

    return drive(train, actions, visit), found


def phase_of(stop: StopRecord) -> str:
    return stop.next.phase.value if stop.next else stop.reason.value


def loop(iterations: int, *, to_none: bool = True, norms: list[float] | None = None) -> Callable[[], None]:
    def train() -> None:
        net = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        x = torch.randn(8, 4)
        for _ in range(iterations):
            optimizer.zero_grad(set_to_none=to_none)
            net(x).square().sum().backward()
            if norms is not None:
                norms.append(math.hypot(*(float(p.grad.norm()) for p in net.parameters() if p.grad is not None)))
            optimizer.step()

    return train


def test_passes_summed_in_place_with_what_they_grew_to() -> None:
    norms: list[float] = []
    # zero_grad is left out three times: four passes are summed.
    actions = [NEXT, NEXT, NEXT, NEXT, *[SKIP, NEXT, NEXT, NEXT] * 3]
    result, found = looked(loop(4, norms=norms), actions)
    steps = [stop.number for stop in result.stops if phase_of(stop) == "step"]
    nbytes = (12 + 3) * 4
    for passes, number in enumerate(steps, 1):
        summed = found[number].summed
        assert summed is not None
        assert (summed.passes, summed.parameters, summed.fewest) == (passes, 2, passes)
        assert (summed.first_nbytes, summed.nbytes) == (nbytes, nbytes)
        assert summed.first_norm == pytest.approx(norms[0], rel=1e-5)
        assert summed.norm == pytest.approx(norms[passes - 1], rel=1e-5)
    assert len(steps) == 4


@pytest.mark.parametrize("to_none", [True, False])
def test_how_gradients_were_cleared_and_what_that_gave_back(to_none: bool) -> None:
    pages: list[GradientPage] = []

    async def also(session: ThreadSession, stop: StopRecord) -> None:
        pages.append(await session.request(GetGradients(0)))

    result, found = looked(loop(2, to_none=to_none), also=also)
    nbytes = (12 + 3) * 4
    by_phase = [(phase_of(stop), found[stop.number].clearing) for stop in result.stops]
    # Nothing was cleared before the first iteration's zero_grad, which found no gradient.
    assert [clearing for phase, clearing in by_phase if phase == "forward"] == [
        Clearing(1, 0, 0, 0, 0),
        Clearing(2, 2, 0, nbytes, 0) if to_none else Clearing(2, 0, 2, 0, nbytes),
    ]
    last = [page for page, stop in zip(pages, result.stops, strict=True) if phase_of(stop) == "forward"][-1]
    assert [(row.name, row.cleared) for row in last.rows] == [
        ("net.weight", "none" if to_none else "zeros"),
        ("net.bias", "none" if to_none else "zeros"),
    ]
    assert [row.nbytes for row in last.rows] == ([0, 0] if to_none else [48, 12])
    assert {row.passes for row in last.rows} == {0}


def test_gradients_set_to_none_by_hand_are_seen_and_those_that_the_script_holds_are_not_freed() -> None:
    kept: list[Any] = []

    def train() -> None:
        net = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            net(torch.ones(2, 4)).sum().backward()
            optimizer.step()
            kept.append(net.weight.grad)
            for p in net.parameters():
                p.grad = None

    result, found = looked(train)
    backward = [found[stop.number] for stop in result.stops if phase_of(stop) == "backward"]
    assert backward[1].clearing == Clearing(2, 2, 0, 12, 0, by_hand=True)  # the bias's; the weight's is kept
    assert [record.summed for record in backward] == [None, None]
    step = [found[stop.number].summed for stop in result.stops if phase_of(stop) == "step"]
    assert [summed and summed.passes for summed in step] == [1, 1]


def test_parameters_with_other_numbers_of_passes() -> None:
    def train() -> None:
        first, second = nn.Linear(4, 1, bias=False), nn.Linear(4, 1, bias=False)
        optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
        first(torch.ones(1, 4)).sum().backward()
        (first(torch.ones(1, 4)) * 3 + second(torch.ones(1, 4))).sum().backward()
        optimizer.step()

    result, found = looked(train)
    summed = next(found[stop.number].summed for stop in result.stops if phase_of(stop) == "step")
    assert summed == Summed(2, 1, 1, 16, 16, pytest.approx(2.0), pytest.approx(8.0))


def test_after_a_free_run_nothing_is_claimed() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        for _ in range(3):
            net(torch.ones(1, 4)).sum().backward()

    _, found = looked(train, [NEXT, NEXT, CONTINUE])
    last = found[max(found)]
    assert last.gradient_count == 2 or last.gradient_count == 0
    assert (last.summed, last.clearing) == (None, None)


def test_clipped_gradients_are_not_compared_with_what_they_were() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(torch.ones(1, 4)).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.01)
        optimizer.step()

    result, found = looked(train)
    summed = next(found[stop.number].summed for stop in result.stops if phase_of(stop) == "step")
    assert summed is not None
    assert (summed.passes, summed.first_norm, summed.norm) == (1, None, None)


# ── boundaries that are passed ──────────────────────────────────────────────────────────────────────────────


def test_boundaries_that_are_passed_are_noted_as_a_stop_there_counts_them() -> None:
    def train() -> None:
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        criterion = nn.MSELoss()
        optimizer = torch.optim.Adam(net.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            loss = criterion(net(torch.ones(8, 4)), torch.zeros(8, 1))
            loss.backward()
            optimizer.step()

    result, stepped = looked(train)
    expected: list[tuple[Any, ...]] = []
    for stop in result.stops:
        if stop.iteration == 2:
            record = stepped[stop.number]
            state = record.parameters, record.gradients, record.optimizer, record.buffers, record.graph, record.module
            expected.append(state)
    _, passed = looked(train, [ITERATION, ITERATION])
    notes = passed[3].passed  # the second iteration but its first stop
    assert [(n.parameters, n.gradients, n.optimizer, n.buffers, n.graph, n.module) for n in notes] == expected[1:]
    assert [note.ran for note in notes] == ["zero_grad optimizer", "forward net", "loss criterion", "backward"]
    assert {note.iteration for note in notes} == {2}
    assert notes[2].module == "criterion"


def test_nothing_is_noted_before_anybody_has_looked() -> None:
    found: list[MemoryNote] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.reason is StopReason.FINISHED:
            found.extend((await session.request(m.GetMemory(0))).passed)

    drive(loop(3), [ITERATION] * 3, visit)
    assert found == []


def test_no_tensor_lives_longer_for_being_looked_at() -> None:
    alive: list[int] = []
    refs: list[weakref.ref[Tensor]] = []

    def train() -> None:
        net = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(6):
            out = net(torch.ones(2, 4))
            out.sum().backward()
            refs.extend(weakref.ref(t) for t in (out, net.weight.grad, net.bias.grad) if t is not None)
            optimizer.step()
            optimizer.zero_grad()
            del out
            alive.append(sum(ref() is not None for ref in refs))

    async def also(session: ThreadSession, stop: StopRecord) -> None:
        await session.request(GetOtherMemory(0))
        await session.request(GetGradients(0))

    looked(train, [NEXT] * 8 + [ITERATION] * 2, also=also)
    assert alive == [0] * 6


# ── against torch's own tracker ─────────────────────────────────────────────────────────────────────────────


def test_categories_agree_with_torchs_memory_tracker_on_a_real_model() -> None:
    """On a transformer. Activations are not compared: it counts all that a forward makes and that is still alive,
    outputs included, we what the graph keeps; that is at most as much.
    """
    truth: dict[str, dict[str, int]] = {}
    tracker = MemTracker()

    def snapshot(name: str) -> None:
        kinds = tracker.get_tracker_snapshot("current")[torch.device("cpu")]
        found = {kind.name: kinds[kind] for kind in _MemRefType if kind in kinds}
        truth[name] = found

    def train() -> None:
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        net = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.BatchNorm1d(10))
        optimizer = torch.optim.AdamW(net.parameters(), foreach=False)
        x = torch.randn(4, 10, 32)
        del layer  # what was copied: a module of its own
        tracker.track_external(net, optimizer, x)
        with tracker:
            for _ in range(2):
                loss = net(x).square().mean()
                snapshot("backward")
                loss.backward()
                snapshot("step")
                optimizer.step()
                snapshot("zero_grad")
                optimizer.zero_grad()

    result, found = looked(train)
    ours = {phase_of(stop): found[stop.number] for stop in result.stops}
    for phase in ("backward", "step", "zero_grad"):
        record, expected = ours[phase], truth[phase]
        assert record.parameters == expected["PARAM"], phase
        assert record.buffers == expected["BUFFER"], phase
        assert record.gradients == expected["GRAD"], phase
        assert record.optimizer == expected["OPT"], phase
    saved = ours["backward"].graph
    assert saved is not None
    assert 0 < saved <= truth["backward"]["ACT"]


def test_a_key_is_heard_while_all_tensors_are_measured() -> None:
    """A key is never made to wait for as long as that takes."""
    from stepdbg.agent.memory.others import others
    from stepdbg.agent.naming import Names
    from stepdbg.agent.work import GivenUpError

    class Overtaken:
        steps = 0

        def step(self, _done: int, total: int, what: str) -> None:
            assert (total >= len(many), what) == (True, "tensors")
            self.steps += 1
            if self.steps == 2:
                raise GivenUpError("cancelled")

    work: Any = Overtaken()
    many = [torch.empty(0) for _ in range(10_000)]
    with pytest.raises(GivenUpError):
        others(Names(), (), (), 1, work)
    assert work.steps == 2


def test_a_step_is_of_the_iteration_it_ran_in_though_the_next_stop_begins_another() -> None:
    result, found = looked(loop(4), [NEXT] * 4 + [ITERATION])
    fifth, last = result.stops[4], result.stops[5]
    assert (fifth.iteration, phase_of(fifth)) == (2, "zero_grad")
    assert [(run.phase.value, run.iteration) for run in fifth.just_ran] == [("step", 1)]
    assert fifth.next is not None
    assert fifth.next.iteration == 0
    assert [(note.ran, note.iteration) for note in found[last.number].passed] == [
        ("zero_grad optimizer", 2),
        ("forward net", 2),
        ("backward", 2),
    ]
    assert (last.iteration, [(run.phase.value, run.iteration) for run in last.just_ran]) == (3, [("step", 2)])
