"""The demos over many iterations: what is held for training stays the same, and what accumulates is told."""

from __future__ import annotations

import asyncio
import gc
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from stepdbg.client.session import Exited
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.memory import GetOtherMemory, MemoryRecord, OtherMemory

DEMOS = Path(__file__).parents[2] / "demo_models"
SECONDS = 120.0


def iterations(demo: str, count: int) -> tuple[list[MemoryRecord], list[OtherMemory]]:
    """What is told at the first stop of each iteration."""
    path = str(DEMOS / f"{demo}.py")
    records: list[MemoryRecord] = []
    others: list[OtherMemory] = []

    def train() -> None:
        with patch.object(sys, "argv", [path]):
            runpy.run_path(path, {"print": lambda *_: None}, "__main__")

    async def run() -> None:
        session = ThreadSession(train)
        await session.start()
        try:
            async with asyncio.timeout(SECONDS):
                async for event in session.events():
                    if isinstance(event, Exited) or (isinstance(event, m.Stopped) and event.stop.next is None):
                        break
                    if isinstance(event, m.Stopped):
                        records.append(await session.request(m.GetMemory(0)))
                        if len(records) in (5, 9, count):
                            others.append(await session.request(GetOtherMemory(0)))
                        if len(records) == count:
                            break
                        session.resume(m.Action.ITERATION)
        finally:
            await session.close()

    gc.collect()
    asyncio.run(run())
    return records, others


@pytest.mark.parametrize(
    "demo",
    [
        "two_nets",
        *(
            pytest.param(d, marks=[pytest.mark.slow, pytest.mark.long])
            for d in ("digits_cnn", "char_gpt", "lstm_forecast")
        ),
        pytest.param("tiny_gan", marks=pytest.mark.slow),
    ],
)
def test_nothing_grows_in_a_healthy_demo(demo: str) -> None:
    records, others = iterations(demo, 30 if demo == "two_nets" else 12)
    held = [(r.parameters, r.gradients, r.optimizer, r.buffers, r.graph) for r in records]
    assert len(set(held[3:])) == 1
    most = [max(note.parameters + note.gradients + (note.graph or 0) for note in r.passed) for r in records[2:]]
    assert max(most) <= most[0]
    # Beside batches, which differ in length, nothing comes to stay.
    assert len(others) == 3
    assert others[-1].nbytes <= max(others[0].nbytes, others[1].nbytes)
    assert records[-1].own <= 128 << 20


def test_a_loop_without_zero_grad_is_told_what_it_does() -> None:
    records, _ = iterations("no_zero_grad", 8)
    passes = [record.summed.passes if record.summed else 0 for record in records]
    each = passes[1]
    assert each >= 1
    assert passes[1:] == [each * n for n in range(1, 8)]
    last = records[-1].summed
    assert last is not None
    assert last.nbytes == last.first_nbytes == records[-1].gradients
    assert last.norm is not None
    assert last.first_norm is not None
    assert last.norm > last.first_norm
