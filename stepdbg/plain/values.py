"""Single tensors: their numbers, and which modules' outputs are kept."""

from __future__ import annotations

from stepdbg.plain import text
from stepdbg.protocol.records import TensorView, ValuesRecord
from stepdbg.protocol.values import ElementFound, MarkedModules


def lines(record: ValuesRecord, width: int = 100) -> list[str]:
    """Value and gradient, each with statistics and its first cells."""
    made = []
    sides = (("value", record.value), ("grad", record.grad), ("previous", record.previous))
    for name, view in (*sides, ("difference", record.difference)):
        if view is not None:
            made += _side(name, view, width)
    if record.grad is None and record.grad_label == "none" and "grad" in record.sides:
        made.append("grad: none")
    if record.note:
        made.append(record.note)
    return made or [f"{record.title}: nothing to show"]


def _side(name: str, view: TensorView, width: int) -> list[str]:
    made = [f"{name}: {view.dtype} {text.shape(view.shape)} on {view.device}, {text.byte_count(view.nbytes)}"]
    stats = view.stats
    bad = stats.nan + stats.posinf + stats.neginf if stats is not None else 0
    if stats is not None and stats.mean is None and bad:
        made.append(f"  not finite {bad:,}, all of them")
    elif stats is not None and stats.mean is not None:
        made.append(
            f"  min {text.number(stats.min)}   max {text.number(stats.max)}   mean {text.number(stats.mean)}"
            f"   std {text.number(stats.std)}   norm {text.number(stats.norm)}   zeros {stats.zeros:,}"
            + (f"   not finite {bad:,}" if bad else "")
        )
    rows = [[_cell(cell) for cell in row] for row in view.cells]
    if rows:
        across = max(map(len, rows))
        table = text.table([""] * across, rows, right=range(across), width=width)[1:]
        made += [f"  {line}" for line in table]
        if view.rows > len(rows) or view.columns > across:
            made.append(f"  … of {view.rows:,} rows × {view.columns:,} columns")
    return [*made, f"  {view.note}"] if view.note else made


def _cell(cell: str) -> str:
    try:
        return f"{float(cell):.4g}" if "." in cell or "e" in cell else cell
    except ValueError:
        return cell


def found(what: str, record: ElementFound) -> list[str]:
    """Where an element is."""
    return [f"{what}: {record.value} at [{', '.join(map(str, record.index))}]"]


def marked(record: MarkedModules) -> list[str]:
    """Which modules' outputs are kept."""
    if not record.modules:
        return ["no module is marked"]
    return [
        f"{one.module}: {text.plural(one.calls, 'call')}, {one.note or text.byte_count(one.kept)}"
        for one in record.modules
    ]
