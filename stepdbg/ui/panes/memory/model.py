"""What the memory pane says of a stop, as text: rows and sentences. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepdbg.client.memory import Moment, peak
from stepdbg.client.store import Recorded
from stepdbg.plain import leaks
from stepdbg.plain.memory import cleared, process_peak, statement
from stepdbg.protocol.memory import TRAINING, Category, MemoryRecord
from stepdbg.ui import format as fmt

HELD = "held for training"
MAKES_GRAPH = ("forward", "loss")
"""Phases in which what is saved only grows: it is the most at the module that saved last."""

PRESS = "press 4"
"""Instead of a number that is counted only while the pane has the keys."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    label: str
    text: str
    """The bytes, or what stands there instead."""
    change: str = ""
    category: int | None = None
    """Its place in TRAINING."""
    known: bool = True


def size(count: int) -> str:
    """Bytes with a unit."""
    return fmt.byte_count(count)


def rows(recorded: Recorded, before: Recorded | None) -> list[Row]:
    """The table of one stop; `before`: the stop before it."""
    memory, earlier = recorded.memory, before.memory if before is not None else None
    found = []
    for place, category in enumerate(TRAINING):
        now, then = (m.of(category) if m is not None else None for m in (memory, earlier))
        found.append(_row(category.value, now, then, place))
    held = memory.held if memory is not None else None
    found.append(_row(HELD, held, earlier.held if earlier is not None else None))
    found.append(_row("process (RSS)", recorded.rss, before.rss if before is not None else None))
    others = recorded.others
    if others is not None:
        then = before.others.nbytes if before is not None and before.others is not None else None
        found.append(_row(Category.OTHER.value, others.nbytes, then))
    else:
        working, failed = recorded.working.get("GetOtherMemory"), recorded.failed.get("GetOtherMemory")
        why = "counting…" if working else "not counted" if failed else PRESS
        found.append(Row(Category.OTHER.value, why, known=False))
    if memory is None:
        return found
    # Without what its records take, where that is not estimated, it is only a lower bound.
    own = f"≈{size(memory.own + others.own_rest)}" if others is not None else f"≥ {size(memory.own)}"
    found.append(Row("debugger's own", own))
    found.append(Row("  earlier values", size(memory.own_copies), f"≤ {size(memory.own_limit)}"))
    found.append(_row("process, peak", process_peak(memory, recorded.rss), None))
    for device in memory.devices:
        found.append(Row(f"{device.device} allocated", size(device.allocated), f"▲{size(device.peak_allocated)}"))
        found.append(Row(f"{device.device} reserved", size(device.reserved), f"▲{size(device.peak_reserved)}"))
    return found


def _row(label: str, now: int | None, then: int | None, category: int | None = None) -> Row:
    if now is None:
        return Row(label, "unknown", category=category, known=False)
    change = ""
    if then is not None:
        sign = "+" if now > then else fmt.MINUS
        change = "=" if now == then else f"{sign}{size(abs(now - then))}"
    return Row(label, size(now), change, category)


def findings(recorded: Recorded) -> list[str]:
    """What is wrong with the memory, one sentence each, the worst first: shown above all else."""
    found = [leak for leak in recorded.leaks.leaks if leak.growing] if recorded.leaks is not None else []
    return [f"{leaks.title(leak)}{f', {place}' if (place := leaks.place(leak)) else ''} (:leaks)" for leak in found]


def sentences(recorded: Recorded, moments: Sequence[Moment]) -> list[str]:
    """What is happening, below the table."""
    memory = recorded.memory
    if memory is None:
        return []
    found = [cleared(memory.clearing, size)] if memory.clearing is not None else []
    top = peak_sentence(moments)
    found += [top] if top else []
    if memory.modules and memory.graph:
        found.append(saved_sentence(recorded))
    if recorded.graph is not None and recorded.graph.page.freed and memory.graph == 0:
        found.append("saved for backward: freed by backward.")
    if memory.note:
        found.append(f"{memory.note.rstrip('.')}.")
    if memory.unread:
        found.append(f"{fmt.plural(memory.unread, 'tensor')} of an opaque layout: bytes unknown, not counted.")
    others = recorded.others
    if others is not None and others.hidden:
        found.append("other tensors: without those that gc.freeze() hides.")
    if others is not None and others.checkpoints:
        found.append(f"other tensors: {size(others.checkpoints)} are inputs that checkpointed calls keep.")
    return found


def headline(recorded: Recorded) -> str:
    """The one line on gradients."""
    return statement(recorded.memory, size) if recorded.memory is not None else ""


def peak_sentence(moments: Sequence[Moment]) -> str:
    """Where the peak of what is shown was reached, and how that is known; empty where nothing was counted."""
    top = peak(moments)
    if top is None:
        return ""
    moment = moments[top]
    lacking = "at least " if None in moment.values or moment.at_least else ""
    how, about = ("estimated", "≈") if moment.inside else ("counted", "")
    phase = moment.ran.partition(" ")[0]
    within = moment.inside or (phase in MAKES_GRAPH and moment.values[-1])
    where = f" {'in' if within else 'after'} {moment.ran}" if moment.ran else ""
    by = f", at {moment.module}" if within and moment.module else ""
    return f"▲ peak {lacking}{about}{size(moment.total or 0)}{where}{by}, iteration {moment.iteration} ({how})."


def saved_sentence(recorded: Recorded, most: int = 3) -> str:
    """The modules that saved the most."""
    memory = recorded.memory
    assert memory is not None
    largest = sorted(memory.modules, key=lambda row: -row.nbytes)
    parts = [f"{row.path or 'no module'} {size(row.nbytes)}" for row in largest[:most]]
    left = len(largest) + memory.modules_left_out - most
    more = f", {left:,} more" if left > 0 else ""
    return f"saved by {', '.join(parts)}{more} (M: all)."


def at_least(memory: MemoryRecord) -> str:
    """What stands before a sum that lacks the graph."""
    return "" if memory.graph is not None else "at least "
