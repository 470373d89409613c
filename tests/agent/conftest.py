"""Drives a real training function in a thread, over the real protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from stepdbg.client.session import Exited
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import StopReason, StopRecord

SECONDS = 60.0

Visit = Callable[[ThreadSession, StopRecord], Awaitable[m.Action | None]]


@dataclass
class Drive:
    """What happened in one run."""

    stops: list[StopRecord] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    exited: Exited | None = None
    error: BaseException | None = None

    @property
    def path(self) -> list[str]:
        """The phase about to run at each stop, ">" for each enclosing one; the reason where there is none."""
        return [
            ">" * len(s.inside) + (s.next.phase.value if s.next is not None else s.reason.value) for s in self.stops
        ]


def drive(
    train: Callable[[], Any],
    actions: Sequence[m.Action] = (),
    visit: Visit | None = None,
    settings: m.Settings | None = None,
    heard: Callable[[ThreadSession, Any], None] = lambda _session, _event: None,
) -> Drive:
    """Run `train` under the agent: at each stop `visit`, then the next of `actions` (NEXT once they are used up);
    `heard`: told of each event.
    """

    async def run() -> Drive:
        session = ThreadSession(train, settings)
        result = Drive()
        waiting = list(actions)
        await session.start()
        try:
            async with asyncio.timeout(SECONDS):
                async for event in session.events():
                    result.events.append(event)
                    heard(session, event)
                    if isinstance(event, m.Stopped):
                        result.stops.append(event.stop)
                        chosen = await visit(session, event.stop) if visit is not None else None
                        over = event.stop.reason in (StopReason.EXCEPTION, StopReason.FINISHED)
                        action = waiting.pop(0) if waiting and not over else m.Action.NEXT
                        if session.stop is not None:  # else `visit` has let it go on
                            session.resume(chosen or action)
                    elif isinstance(event, Exited):
                        result.exited = event
                        break
        finally:
            await session.close()
        result.error = session.error
        return result

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
