"""Bytes held for training, by category."""

from __future__ import annotations

from stepdbg.plain import text
from stepdbg.protocol.records import MemoryRecord


def lines(record: MemoryRecord, width: int = 100) -> list[str]:
    """One category a line."""
    rows = [
        ("parameters", text.byte_count(record.parameters)),
        ("gradients", text.byte_count(record.gradients)),
        ("optimizer state", text.byte_count(record.optimizer)),
        ("buffers", text.byte_count(record.buffers)),
        ("graph", text.byte_count(record.graph)),
    ]
    made = text.table(("memory", "bytes"), rows, right=(1,), width=width)
    return [*made, record.note] if record.note else made
