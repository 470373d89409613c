"""The course of the memory: every boundary at which it was counted, from the stops that are remembered. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepdbg.client.store import Recorded
from stepdbg.protocol.memory import TRAINING, MemoryNote, MemoryRecord
from stepdbg.protocol.records import StopRecord


@dataclass(frozen=True)
class Moment:
    """One boundary."""

    iteration: int
    """That in which `ran` ran; where nothing is known to have run, that of the stop."""
    ran: str
    """What had just run: "forward net"; empty: nothing that is known."""
    values: tuple[int | None, ...]
    """Bytes by TRAINING; None: unknown. Empty: not counted at this stop."""
    module: str = ""
    """The module that saved last for the graph alive then."""
    stop: int | None = None
    """None: it was passed without a stop, or lies inside a phase."""
    inside: bool = False
    """Whether it is the peak inside the phase `ran`: an estimate."""
    at_least: bool = False
    """Whether more may have been held."""

    @property
    def total(self) -> int | None:
        """Bytes of all that is known; None: not counted."""
        return sum(value or 0 for value in self.values) if self.values else None


def timeline(history: Sequence[Recorded]) -> tuple[Moment, ...]:
    """Every boundary that was counted at or between these stops, and those stops at which it was not, oldest first."""
    moments: list[Moment] = []
    for recorded in history:
        memory = recorded.memory
        if memory is None:
            moments.append(Moment(*_ran(recorded.stop), (), stop=recorded.stop.number))
            continue
        moments.extend(
            Moment(note.iteration, note.ran, _values(note), note.module, None, note.inside, note.at_least)
            for note in memory.passed
        )
        moments.append(Moment(*_ran(recorded.stop), _values(memory), memory.module, recorded.stop.number))
    return tuple(moments)


def peak(moments: Sequence[Moment]) -> int | None:
    """Where the most bytes are held, the first time; None: nowhere anything."""
    totals = [moment.total or 0 for moment in moments]
    most = max(totals, default=0)
    return totals.index(most) if most else None


def _ran(stop: StopRecord) -> tuple[int, str]:
    """What ran last before a stop, "forward net", and in which iteration; empty where that is not recorded."""
    if not stop.just_ran:
        return stop.iteration, ""
    run = next((run for run in reversed(stop.just_ran) if run.seconds is not None), stop.just_ran[-1])
    return run.iteration or stop.iteration, f"{run.phase.value} {run.subject or run.kind}".rstrip()


def _values(record: MemoryNote | MemoryRecord) -> tuple[int | None, ...]:
    return tuple(record.of(category) for category in TRAINING)
