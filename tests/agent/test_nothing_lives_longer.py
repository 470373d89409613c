"""No tensor of the script's lives longer because it is debugged, however much is asked."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.leaks import GetLeaks
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.whatif import GetWhatIf, WhatIfKind

from .conftest import drive


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.layers(x)
        return {"out": hidden * 2, "hidden": hidden}


def loop(iterations: int, counts: list[tuple[int, int]]) -> Callable[[], None]:
    """Notes after each iteration how many of the tensors of this one, and of all before it, are alive."""

    def train() -> None:
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.AdamW(net.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100)
        old: list[weakref.ref[Any]] = []
        gc.collect()
        gc.disable()  # what is freed only by a collection would hide what is kept
        try:
            for _ in range(iterations):
                x = torch.randn(16, 4)
                optimizer.zero_grad()
                out = net(x)
                loss = nn.functional.mse_loss(out["out"], x.sum(1, keepdim=True))
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                grads = [p.grad for p in net.parameters()]
                mine = [x, loss, *out.values(), *grads, x.untyped_storage(), out["hidden"].untyped_storage()]
                refs = [weakref.ref(one) for one in mine]
                del x, out, loss, grads, mine
                counts.append((sum(r() is not None for r in refs), sum(r() is not None for r in old)))
                old = [r for r in (*old, *refs) if r() is not None]
        finally:
            gc.enable()

    return train


async def look_at_all_panes(session: ThreadSession, stop: StopRecord) -> str:
    """What all panes ask, zoomed; returns the name of a parameter."""
    page = await session.request(m.GetParameters(0))
    await session.request(m.GetGraph(0))
    await session.request(m.GetMemory(0))
    await session.request(m.GetTrends(0))
    name = page.rows[0].name
    await _try(session, m.GetValues(0, name, sides=("value", "grad", "previous", "difference")))
    return name


async def ask_everything(session: ThreadSession, stop: StopRecord, name: str) -> None:
    """What else there is to ask, and what the commands do."""
    await session.request(GetLeaks(0))
    for subject in ("net.layers.0 output", "=loss", "=out"):
        await _try(session, m.GetValues(0, subject, sides=("value", "grad", "previous", "difference")))
    await _try(session, m.GetExplanation(0, name))
    await _try(session, m.GetChain(0, name))
    for query in (
        GetWhatIf(0, WhatIfKind.ZERO_GRAD),
        GetWhatIf(0, WhatIfKind.OPTIMIZER, "adam"),
        GetWhatIf(0, WhatIfKind.BATCH, factor=2),
        GetWhatIf(0, WhatIfKind.CHECKPOINT, "net.layers"),
    ):
        await _try(session, query)
    if stop.number == 3:
        await session.request(m.MarkModule(0, "net.layers.0"))
        await session.request(m.SetWatching(0, gradients=True))


async def _try(session: ThreadSession, query: Any) -> None:
    try:
        await session.request(query)
    except RequestError:  # not at every stop is there something to tell
        pass


def check(iterations: int, every: int) -> None:
    gc.collect()
    gc.freeze()  # what is there already is nobody's here, and need not be gone through again and again
    try:
        _check(iterations, every)
    finally:
        gc.unfreeze()


def _check(iterations: int, every: int) -> None:
    bare: list[tuple[int, int]] = []
    loop(iterations, bare)()
    debugged: list[tuple[int, int]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is not None:
            name = await look_at_all_panes(session, stop)
            if stop.iteration % every == 0 or stop.iteration < 4:
                await ask_everything(session, stop, name)

    run = drive(loop(iterations, debugged), visit=visit)
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    assert len(debugged) == iterations
    assert debugged == bare
    assert {before for _, before in bare} == {0}


def test_no_tensor_lives_longer() -> None:
    check(30, every=15)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(2500)
def test_no_tensor_lives_longer_over_a_thousand_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.agent.conftest.SECONDS", 2400.0)
    check(1000, every=50)
