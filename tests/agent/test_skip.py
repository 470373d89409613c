"""Skipping a phase does what leaving its line out of the script would do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase, StopRecord

from .conftest import drive

X = torch.linspace(-1, 1, 32).reshape(8, 4)


def loop(result: list[torch.Tensor], max_norm: float = 100.0, leave_out: Phase | None = None) -> Callable[[], None]:
    """A loop of three iterations; with `leave_out`, that line is not there in the second one."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        for index in range(3):
            out = leave_out if index == 1 else None
            if out is not Phase.ZERO_GRAD:
                optimizer.zero_grad()
            loss = F.mse_loss(net(X), torch.ones(8, 1))
            if out is not Phase.BACKWARD:
                loss.backward()
            if out is not Phase.CLIP:
                nn.utils.clip_grad_norm_(net.parameters(), max_norm)
            if out is not Phase.STEP:
                optimizer.step()
            if out is not Phase.SCHEDULER:
                scheduler.step()
        result.extend([p.detach() for p in net.parameters()])
        result.append(torch.tensor(optimizer.param_groups[0]["lr"]))

    return train


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("phase", [Phase.ZERO_GRAD, Phase.BACKWARD, Phase.CLIP, Phase.STEP, Phase.SCHEDULER])
def test_skipping_is_leaving_the_line_out(phase: Phase) -> None:
    # Clipping to so little that only the direction is left would hide that gradients were summed.
    max_norm = 0.01 if phase is Phase.CLIP else 100.0
    without: list[torch.Tensor] = []
    loop(without, max_norm, phase)()
    whole: list[torch.Tensor] = []
    loop(whole, max_norm)()
    skipped: list[torch.Tensor] = []
    seen: list[StopRecord] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if len(seen) == 1:
            seen.append(stop)
        if stop.next is not None and stop.next.phase is phase and stop.iteration == 2 and not seen:
            seen.append(stop)
            return m.Action.SKIP
        return None

    drive(loop(skipped, max_norm), visit=visit)
    assert all(torch.equal(a, b) for a, b in zip(skipped, without, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(skipped, whole, strict=True))
    after = seen[1]
    assert after.just_ran[0].skipped
    assert after.just_ran[0].phase is phase
    # A skipped scheduler is the last phase of its iteration: at the next stop it lies ahead again.
    expected = "ahead" if phase is Phase.SCHEDULER else "skipped"
    assert [step.state for step in after.rail if step.phase is phase] == [expected]


def test_a_skipped_clip_returns_the_norm_without_scaling() -> None:
    norms: list[tuple[float, float]] = []

    def train() -> None:
        weight = torch.ones(3, requires_grad=True)
        (weight * torch.tensor([3.0, 4.0, 0.0])).sum().backward()
        norm = nn.utils.clip_grad_norm_([weight], 1.0)
        assert weight.grad is not None
        norms.append((float(norm), float(weight.grad.norm())))

    drive(train, [m.Action.NEXT, m.Action.SKIP])
    assert norms == [(5.0, 5.0)]


def test_what_cannot_be_skipped_is_refused_before_anything_is_sent() -> None:
    refused: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is not None and not stop.next.skippable:
            with pytest.raises(RequestError) as error:
                session.resume(m.Action.SKIP)
            refused.append(str(error.value))

    run = drive(lambda: F.mse_loss(nn.Linear(4, 1)(X), torch.ones(8, 1)).backward(), visit=visit)
    assert run.path == ["forward", "loss", "backward", "finished"]
    assert refused[0].startswith("forward cannot be skipped")
