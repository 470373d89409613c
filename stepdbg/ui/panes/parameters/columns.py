"""The columns of the parameter pane: what is in each, who leaves first, and what it takes to fill them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stepdbg.protocol import quantities as q
from stepdbg.protocol.records import ParameterRow, TensorStats
from stepdbg.ui.panes.parameters import cells
from stepdbg.ui.widgets.line_list import Span
from stepdbg.ui.widgets.line_table import Column

DEFAULT = (
    "name", "shape", "dtype", "|w|", "|g|", "g is", "|Δw|", "Δw/w", "changed", "trend", "owner", "reached", "nan/inf",
    "remark",
)  # fmt: skip
"""Titles of the columns as at first."""

LAST = "remark"
"""The column of sentences, which takes what room is left."""

MAY_BE_EMPTY = frozenset({"g is", "trend", "reached", "nan/inf", "remark"})
"""Columns that have no room, though they were chosen, until they have something to say."""

Cell = Callable[[ParameterRow], Span]


@dataclass(frozen=True)
class Spec:
    """A column, and what it takes to fill it."""

    column: Column[ParameterRow]
    quantity: str = ""
    """Name of the quantity that it can be sorted by."""
    needs: tuple[str, ...] = ()
    """Of `quantities.COSTS`."""


def specs(special: dict[str, Cell]) -> dict[str, Spec]:
    """All columns by title. `special`: the cells that need to know more than their row."""

    def spec(
        title: str, cell: Cell, priority: int, quantity: str = "", needs: tuple[str, ...] = (), **looks: int | bool
    ) -> Spec:
        return Spec(Column(title, cell, priority, **looks), quantity, needs)  # type: ignore[arg-type]

    number = {"right": True, "least": 7, "most": 12}
    norms = (q.NORM, q.GRAD_NORM)
    found = [
        spec("name", special["name"], 0, "name"),
        spec("module", cells.module, 5, "module", most=20),
        spec("shape", cells.shape, 7, "shape", right=True, most=16),
        spec("dtype", lambda row: (row.dtype, "muted"), 9, "dtype"),
        spec("device", lambda row: (row.device, "muted"), 9, "device"),
        spec("numel", cells.numel, 5, "numel", right=True, least=6),
        spec("bytes", cells.nbytes, 5, "bytes", right=True, least=7),
        spec("trainable", cells.trainable, 5, "trainable"),
        spec("|w|", cells.value_norm, 1, "norm", (q.NORM,), right=True, least=7, most=10),
        spec("|g|", cells.grad_norm, 1, "g.norm", (q.GRAD_NORM,), right=True, least=7, most=10),
        spec("g is", lambda row: (row.grad_label, "muted"), 8, optional=True),
        spec("|Δw|", special["|Δw|"], 2, "delta", (q.NORM, q.DELTA), right=True, most=10, optional=True),
        spec("Δw/w", special["Δw/w"], 4, "ratio", (q.NORM, q.DELTA), right=True, most=14, optional=True),
        spec("changed", special["changed"], 3, "moved", norms),
        spec("trend", special["trend"], 6, "", (q.GRAD_NORM,), optional=True),
        spec("passes", cells.passes, 5, "passes", right=True),
        spec("owner", special["owner"], 3, "owner", most=18),
        spec("lr", cells.lr, 5, "lr", right=True, most=10),
        spec("wd", cells.weight_decay, 5, "wd", right=True, most=10),
        *(spec(name, cells.statistic(_value, name), 5, name, (q.STATS,), **number) for name in _STATISTICS),
        spec("zeros", cells.zeros(_value), 5, "zeros", (q.STATS,), right=True, least=6),
        *(spec(f"g.{n}", cells.statistic(_grad, n), 5, f"g.{n}", (q.GRAD_STATS,), **number) for n in _STATISTICS),
        spec("g.zeros", cells.zeros(_grad), 5, "g.zeros", (q.GRAD_STATS,), right=True, least=6),
        spec("reached", cells.reached, 5, optional=True, most=24),
        spec("nan/inf", cells.nonfinite, 0, "nan", norms, optional=True, most=22),
        spec("remark", special["remark"], 10, optional=True, most=72),
    ]
    return {each.column.title: each for each in found}


_STATISTICS = ("mean", "std", "min", "max")


def _value(row: ParameterRow) -> TensorStats | None:
    return row.stats


def _grad(row: ParameterRow) -> TensorStats | None:
    return row.grad_stats


_ASKED = {q.NORM: "norm", q.GRAD_NORM: "g.norm", q.DELTA: "delta", q.STATS: "mean", q.GRAD_STATS: "g.mean"}
"""One quantity for each cost: rows that have been paid for it have all of that cost."""


def wanted(shown: Iterable[Spec]) -> tuple[str, ...]:
    """What is to be asked for, as `Arrangement.columns`, to fill these columns."""
    shown = list(shown)
    needs = {need for spec in shown for need in spec.needs}
    asked = [name for need, name in _ASKED.items() if need in needs]
    return (*asked, *(["passes"] if any(spec.column.title == "passes" for spec in shown) else []))
