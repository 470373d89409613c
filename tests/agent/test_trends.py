"""What is noted at optimizer steps for the plots, held against torch; and learning rates at each stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepdbg.agent.trends import NO_GRADIENT, NO_STEP
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import MOST_RATES, Phase, StopRecord
from stepdbg.protocol.trends import StepTrend, Trends

from .conftest import drive
from .watched_runs import X, Y, plain_loop, tracker

Visit = Callable[[StopRecord], m.Action | None]


def noted(train: Callable[[], Any], visit: Visit | None = None, *, ask_at: int = 1) -> list[Trends]:
    """What is told at each stop from number `ask_at` on, each step once."""
    answers: list[Trends] = []

    async def look(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number >= ask_at:
            since = 1 + max((step.number for answer in answers for step in answer.steps), default=-1)
            answers.append(await session.request(m.GetTrends(0, since)))
        return visit(stop) if visit is not None else None

    run = drive(train, visit=look)
    if run.error is not None:
        raise run.error
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return answers


def steps(answers: list[Trends]) -> list[StepTrend]:
    found = [step for answer in answers for step in answer.steps]
    assert [step.number for step in found] == list(range(len(found)))
    return found


def total(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.detach().double().square().sum()) for t in tensors))


def grads(net: nn.Module) -> list[Tensor]:
    return [p.grad for p in net.parameters() if p.grad is not None]


def test_each_step_tells_the_norms_that_it_was_given() -> None:
    truth: list[tuple[float, float]] = []

    def train() -> None:
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            F.mse_loss(net(X), Y).backward()
            truth.append((total(grads(net)), total(list(net.parameters()))))
            optimizer.step()

    answers = noted(train)
    found = steps(answers)
    assert [(s.iteration, s.optimizer, s.segment, s.grad_label, s.grad_nonfinite) for s in found] == [
        (1, "optimizer", 0, "", 0), (2, "optimizer", 0, "", 0), (3, "optimizer", 0, "", 0),
    ]  # fmt: skip
    for step, (grad, value) in zip(found, truth, strict=True):
        assert step.grad_norm == pytest.approx(grad, rel=1e-5)
        assert step.value_norm == pytest.approx(value, rel=1e-5)
    assert answers[0].since == answers[-1].since == 1
    # Before it runs, the step that is next is told as it will be.
    ahead = [answer.upcoming for answer in answers if answer.upcoming is not None]
    assert [(a.number, a.iteration, a.grad_norm) for a in ahead] == [
        (s.number, s.iteration, s.grad_norm) for s in found
    ]
    assert (answers[0].note, answers[-1].note) == (NO_STEP, "")
    assert {answer.why_no_ratio for answer in answers} == {NO_STEP, ""}


def test_nothing_is_noted_before_it_is_asked_for() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            net(X).sum().backward()
            optimizer.step()

    answers = noted(train, ask_at=5)
    assert [step.iteration for step in steps(answers)] == [2, 3]
    assert answers[0].since == 2


def test_two_optimizers_are_told_apart() -> None:
    truth: list[tuple[str, float]] = []

    def train() -> None:
        net, other = nn.Linear(4, 1), nn.Linear(4, 1)
        first, second = torch.optim.SGD(net.parameters(), 0.1), torch.optim.Adam(other.parameters(), 0.2)
        for _ in range(2):
            for name, model, optimizer in (("first", net, first), ("second", other, second)):
                optimizer.zero_grad()
                model(X).square().sum().backward()
                truth.append((name, total(grads(model))))
                optimizer.step()

    found = steps(noted(train))
    assert [(s.optimizer, s.grad_norm) for s in found] == [(n, pytest.approx(v, rel=1e-5)) for n, v in truth]
    assert [s.iteration for s in found] == [1, 1, 2, 2]


def test_clipped_scaled_and_summed_gradients_are_called_so() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        net(X).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for _ in range(3):
            net(X).sum().backward()
        optimizer.step()
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        optimizer.zero_grad()
        scaler.scale(net(X).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    found = steps(noted(train))
    assert [step.grad_label for step in found] == ["clipped", "sum of 3 backwards", "unscaled"]
    assert found[0].grad_norm == pytest.approx(1.0, rel=1e-4)


def test_gradients_that_are_not_finite_are_counted_and_missing_ones_told() -> None:
    def train() -> None:
        net = nn.Linear(4, 1, bias=False)
        optimizer = torch.optim.SGD(net.parameters(), 0.0)
        optimizer.step()
        net.weight.grad = torch.tensor([[3.0, math.nan, 4.0, math.inf]])
        optimizer.step()

    answers = noted(train)
    first, second = steps(answers)
    assert (first.grad_norm, first.grad_nonfinite) == (None, 0)
    assert (second.grad_norm, second.grad_nonfinite) == (5.0, 2)
    assert [answer.note for answer in answers] == [NO_GRADIENT, "", ""]  # before each step, and at the end


def test_a_closure_is_told_with_its_last_gradients() -> None:
    kept: list[float] = []

    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), Y)
            loss.backward()
            return loss

        optimizer.step(closure)
        kept.append(total(grads(net)))

    (step,) = steps(noted(train))
    assert step.grad_norm == pytest.approx(kept[0], rel=1e-5)
    assert step.grad_label == "of the last backward inside the step"


def test_a_free_run_is_a_gap_and_costs_nothing() -> None:
    measured: list[int] = []

    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for turn in range(60):
            net(X).sum().backward()
            optimizer.step()
            measured.append(len(tracker().trends._steps))
            if turn == 40:
                control = tracker().control
                assert control is not None
                control._pause = True
                tracker().next_look = 0.0

    def visit(stop: StopRecord) -> m.Action | None:
        return m.Action.CONTINUE if stop.iteration == 3 and stop.number < 20 else None

    answers = noted(train, visit)
    found = steps(answers)
    assert [step.iteration for step in found][:2] == [1, 2]
    assert found[2].iteration > 40
    assert [step.segment for step in found][:2] == [0, 0]
    assert {step.segment for step in found[2:]} == {found[2].segment} != {0}
    assert measured[2:40] == [2] * 38


@pytest.mark.parametrize("limit", [1 << 27, 0])
def test_the_update_ratio_is_that_of_the_values_before_and_after(limit: int) -> None:
    truth: list[tuple[float, float]] = []

    def train() -> None:
        net = nn.Linear(4, 3)
        optimizer = torch.optim.Adam(net.parameters(), 0.1)
        for _ in range(2):
            net(X).square().sum().backward()
            start = [p.detach().clone() for p in net.parameters()]
            optimizer.step()
            moved = [p.detach() - s for p, s in zip(net.parameters(), start, strict=True)]
            truth.append((total(moved), total(start)))

    def visit(stop: StopRecord) -> None:
        tracker().before.limit = limit

    answers = noted(train, visit)
    if not limit:
        assert [step.update_norm for step in steps(answers)] == [None, None]
        assert answers[-1].why_no_ratio == "over the limit of 0 MiB"
        return
    for step, (moved, start) in zip(steps(answers), truth, strict=True):
        assert step.update_norm == pytest.approx(moved, rel=1e-5)
        assert step.value_norm == pytest.approx(start, rel=1e-5)
    assert answers[-1].why_no_ratio == ""


def test_a_skipped_step_is_none() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        net(X).sum().backward()
        optimizer.step()

    def skip(stop: StopRecord) -> m.Action | None:
        return m.Action.SKIP if stop.next is not None and stop.next.phase is Phase.STEP else None

    assert steps(noted(train, skip)) == []


def test_parameters_gradients_and_random_numbers_are_those_of_a_bare_run() -> None:
    torch.manual_seed(0)
    bare = plain_loop()
    results: list[Any] = []
    torch.manual_seed(0)
    assert len(steps(noted(lambda: results.append(plain_loop())))) == 3
    assert results == [bare]


# ── learning rates ──────────────────────────────────────────────────────────────────────────────────────────


def rates(train: Callable[[], Any]) -> list[tuple[int, tuple[tuple[str, float], ...]]]:
    run = drive(train)
    if run.error is not None:
        raise run.error
    return [(stop.iteration, stop.lrs) for stop in run.stops if stop.next is not None]


def test_a_stop_tells_the_learning_rates_as_they_are_then() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        for _ in range(2):
            net(X).sum().backward()
            optimizer.step()
            scheduler.step()

    found = [(iteration, dict(lrs).get("optimizer")) for iteration, lrs in rates(train)]
    # forward, backward, step, scheduler of each iteration.
    assert found[-8:] == [*[(1, 0.1)] * 4, *[(2, 0.05)] * 4]


def test_groups_with_rates_of_their_own_are_told_one_by_one() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        groups = [{"params": [net.weight], "lr": torch.tensor(0.25)}, {"params": [net.bias], "lr": 0.5}]
        optimizer = torch.optim.SGD(groups)
        many = torch.optim.SGD([{"params": [torch.ones(1)], "lr": 0.1 * n} for n in range(1, 40)])
        net(X).sum().backward()
        optimizer.step()
        del many

    lrs = rates(train)[-1][1]
    assert lrs[:2] == (("optimizer[0]", 0.25), ("optimizer[1]", 0.5))
    assert len(lrs) == MOST_RATES


def test_a_rate_that_is_no_number_is_left_out() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        optimizer.param_groups[0]["lr"] = "warm"
        net(X).sum().backward()

    assert rates(train)[-1][1] == ()
