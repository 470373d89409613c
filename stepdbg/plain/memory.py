"""The memory in words: bytes by category, and what is happening to gradients."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from stepdbg.protocol.memory import TRAINING, Category, Clearing, MemoryNote, MemoryRecord, OtherMemory, Summed

Size = Callable[[int], str]
LABEL = 24
MODULES = 12
"""Modules listed, at most: those that saved the most."""


def exactly(count: int) -> str:
    """Bytes to the byte: "1,408 B"."""
    return f"{count:,} B"


def lines(
    record: MemoryRecord,
    width: int = 100,
    *,
    rss: int | None = None,
    others: OtherMemory | None = None,
    size: Size = exactly,
) -> list[str]:
    """All that is known: a table, then sentences."""
    rows = [(category.value, _known(record.of(category), size)) for category in TRAINING]
    at_least = "at least " if record.graph is None else ""
    rows.append(("held for training", at_least + size(record.held)))
    if others is not None:
        rows.append((Category.OTHER.value, f"{size(others.nbytes)} in {_plural(others.storages, 'storage')}"))
    rows.append(("process (RSS)", _known(rss, size)))
    rows.append(("process, at its peak", _known(process_peak(record, rss), size)))
    for device in record.devices:
        rows.append((f"{device.device} allocated", f"{size(device.allocated)}, peak {size(device.peak_allocated)}"))
        rows.append((f"{device.device} reserved", f"{size(device.reserved)}, peak {size(device.peak_reserved)}"))
    own = f"about {size(record.own + others.own_rest)}" if others is not None else f"at least {size(record.own)}"
    rows.append(("the debugger's own", own))
    limit = f"at most {size(record.own_limit)} (--previous-values)"
    rows.append(("  of it earlier values", f"{size(record.own_copies)}, {limit}"))
    result = [f"{label:<{LABEL}}{value}" for label, value in rows]
    for text in sentences(record, size):
        result += textwrap.wrap(text, max(width, 20))
    most = sorted(record.modules, key=lambda row: -row.nbytes)[:MODULES]
    if most:
        result.append("saved for backward, by module:")
        result += [f"  {row.path or '(no module)':<{LABEL - 2}}{size(row.nbytes)}  {row.kind}".rstrip() for row in most]
        if len(record.modules) + record.modules_left_out > len(most):
            result.append(f"  and {len(record.modules) + record.modules_left_out - len(most)} more")
    return result


def sentences(record: MemoryRecord, size: Size = exactly) -> list[str]:
    """What is happening, the gradients first."""
    found = [statement(record, size)]
    if record.clearing is not None:
        found.append(cleared(record.clearing, size))
    found += [peak_inside(note, size) for note in record.passed if note.inside]
    if record.note:
        found.append(f"{record.note.rstrip('.')}.")
    if record.unread:
        found.append(f"{_plural(record.unread, 'tensor')} of an opaque layout: bytes unknown, not counted.")
    return found


def process_peak(record: MemoryRecord, rss: int | None) -> int | None:
    """The most that the process has held; None: unknown. `rss` is read after the peak, and may be above it."""
    return record.process_peak if record.process_peak is None else max(record.process_peak, rss or 0)


def peak_inside(note: MemoryNote, size: Size = exactly) -> str:
    """The peak inside a phase, where that is above what was held before and after it."""
    least = "at least " if note.at_least else ""
    at = f", at {note.module}" if note.module else ""
    held = sum(note.of(category) or 0 for category in TRAINING)
    return f"peak {least}≈{size(held)} in {note.ran}{at}, iteration {note.iteration} (estimated)."


def statement(record: MemoryRecord, size: Size = exactly) -> str:
    """What the gradients are the sum of, and whether that takes memory: one sentence."""
    if not record.gradient_count:
        return "gradients: none (.grad is None everywhere)."
    of = f"gradients of {_plural(record.gradient_count, 'parameter')}"
    if not record.in_backward:
        return _passes(record, of, size)
    if record.backwards == 0 and record.summed is None:
        return f"{of}: of the backward pass that runs."
    return f"{_passes(record, of, size)} One more runs."


def _passes(record: MemoryRecord, of: str, size: Size) -> str:
    summed = record.summed
    if summed is not None and summed.passes > 1:
        passes = f"{summed.passes:,} backward passes"
        if summed.fewest < summed.passes:
            passes = f"{summed.fewest:,} to {passes}"
        return f"gradients of {passes} are summed in place: {_memory(summed, size)}{_growth(summed)}."
    if record.backwards is None and summed is None:
        return f"{of}: of how many backward passes is not known, they may be older than this session."
    if record.backwards is not None and record.backwards > 1 and summed is None:
        return f"{of}: {record.backwards:,} backward passes are summed in place."
    if record.backwards == 0 and summed is None:
        return f"{of}: cleared, no backward pass since."
    return f"{of}: of 1 backward pass."


def cleared(clearing: Clearing, size: Size = exactly) -> str:
    """How gradients were cleared last, and what that cost or saved."""
    who = "the script itself" if clearing.by_hand else "zero_grad"
    when = f" in iteration {clearing.iteration}"
    parts = []
    if clearing.to_none:
        held = "" if clearing.freed else " (something else still holds them)"
        given = f"{size(clearing.freed)} given back, allocated anew by the next backward"
        parts.append(f"set {_plural(clearing.to_none, '.grad')} to None{when}: {given}{held}")
    if clearing.to_zeros:
        kept = f"{size(clearing.kept)} stay allocated and were written once; None would give them back"
        parts.append(f"filled {_plural(clearing.to_zeros, '.grad')} with zeros{when}: {kept}")
    if not parts:
        return f"{who} found no gradient to clear{when}."
    return f"{who} {' and '.join(parts)}."


def _memory(summed: Summed, size: Size) -> str:
    if summed.nbytes == summed.first_nbytes:
        return "memory constant"
    return f"{size(summed.first_nbytes)} have become {size(summed.nbytes)}"


def _growth(summed: Summed) -> str:
    if summed.norm is None or not summed.first_norm:
        return ""
    ratio = summed.norm / summed.first_norm
    text = f"{ratio:.1f}" if 0.05 <= ratio < 1000 else f"{ratio:.1e}"
    return f", |g| {'grew' if ratio >= 1 else 'shrank'} ×{text}"


def _known(count: int | None, size: Size) -> str:
    return "unknown" if count is None else size(count)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 or noun.startswith('.') else 's'}"
