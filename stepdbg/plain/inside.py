"""Places inside a phase, and what is there to look at."""

from __future__ import annotations

from stepdbg.protocol.inside import Grain, HeldTensors, Place
from stepdbg.protocol.records import StopRecord


def place(at: Place) -> str:
    """Like "before net.2 Linear", "after AddmmBackward0 of net.2", "before add.Tensor of net"."""
    name = at.title
    if at.grain is Grain.MODULE:
        name = f"{at.name} {at.kind}" if at.kind != at.name else at.name
    elif at.grain is Grain.NODE:
        of = at.of or at.kind
        name = f"{at.name} of {of}" if of else at.name
    elif at.grain is Grain.OP:
        name = at.name.removeprefix("aten.").removesuffix(".default")
        name = f"{name} of {at.kind}" if at.kind else name
    elif at.grain is Grain.PARAMETER and at.kind:
        name = f"{at.title} of {at.kind}"
    return f"{at.when} {name}"


def where(stop: StopRecord) -> str:
    """Like "inside forward net: before net.2 Linear"; empty where the script is held between phases."""
    if stop.at is None:
        return ""
    around = " ▸ ".join(f"{run.phase.value} {run.subject or run.kind}".rstrip() for run in stop.inside)
    return f"inside {around}: {place(stop.at)}" if around else f"between phases: {place(stop.at)}"


def lines(stop: StopRecord, width: int = 100) -> list[str]:
    """Where inside a phase the script is held; nothing where it is not."""
    if stop.at is None:
        return []
    told = [where(stop)]
    told += [f"  {stop.at.detail}"] if stop.at.detail else []
    return [line[:width] for line in told]


def held(record: HeldTensors, width: int = 100) -> list[str]:
    """The tensors that are there to look at, in columns."""
    if not record.tensors:
        return [record.note[:width]] if record.note else []
    rows = []
    for tensor in record.tensors:
        shape = "×".join(map(str, tensor.shape)) or "scalar" if tensor.shape is not None else "none"
        kind = "" if tensor.shape is None else tensor.dtype
        rows.append((f"@{tensor.name}", shape, kind, tensor.note))
    columns = [max(len(row[at]) for row in rows) for at in range(3)]
    return [
        "  ".join([*(cell.ljust(columns[at]) for at, cell in enumerate(row[:3])), row[3]]).rstrip()[:width]
        for row in rows
    ]
