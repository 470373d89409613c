"""How a row's cells read: text and role, from a record. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stepdbg.protocol.records import ParameterRow, TensorStats
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import Span

LARGE, SMALL = 0.1, 1e-5
"""Update ratios |Δw|/|w| above and below which a step is remarked on; about 1e-3 is usual."""

UNKNOWN: Span = ("?", "muted")
NONE: Span = ("–", "muted")
EMPTY: Span = ("", "")


def is_tensor(row: ParameterRow) -> bool:
    """Whether it stands for one tensor, not for all below a module or in a section."""
    return row.kind in ("parameter", "buffer", "state")


def short_name(row: ParameterRow, *, tree: bool) -> str:
    """Its name; in a tree, what it is called under the row that it hangs from."""
    if row.kind == "section":
        return f"{row.name} ({row.rows_below:,})"
    if not tree or not row.depth:
        return row.title
    return row.name.rpartition("]." if row.kind == "state" else ".")[2]


def module(row: ParameterRow) -> Span:
    """The class of the module."""
    return row.module, "muted"


def shape(row: ParameterRow) -> Span:
    """Sizes of the dimensions; of a module or section, the elements of all together."""
    return (fmt.shape(row.shape) if is_tensor(row) else f"Σ {fmt.count(row.numel)}"), "muted"


def numel(row: ParameterRow) -> Span:
    """Elements; of a lazy parameter unknown."""
    return UNKNOWN if is_tensor(row) and row.shape is None else (fmt.count(row.numel), "number")


def nbytes(row: ParameterRow) -> Span:
    """Bytes of the elements."""
    return UNKNOWN if is_tensor(row) and row.shape is None else (fmt.byte_count(row.nbytes), "number")


def trainable(row: ParameterRow) -> Span:
    """Whether it takes a gradient."""
    if row.kind == "module":
        return f"{row.trainable:,} of {row.parameters:,}", "muted" if row.trainable == row.parameters else "name"
    if row.kind != "parameter":
        return EMPTY
    return ("yes", "muted") if row.requires_grad else ("no", "name")


def value_norm(row: ParameterRow) -> Span:
    """|w|."""
    if row.kind == "section":
        return EMPTY
    if row.numel and row.nonfinite == row.numel:
        return NONE  # nothing is left to make a norm of: 0 would be a lie
    if row.value_norm is None:
        return UNKNOWN
    return fmt.number(row.value_norm), "changed" if row.value_changed else "number"


def grad_norm(row: ParameterRow) -> Span:
    """|g|, or that there is none."""
    if row.kind not in ("parameter", "module"):
        return EMPTY
    if row.grad == "none":
        return "none", "muted"
    if row.numel and row.grad_nonfinite == row.numel:
        return NONE
    if row.grad_norm is None:
        return UNKNOWN
    return fmt.number(row.grad_norm), "changed" if row.grad_changed else "number"


def delta(row: ParameterRow) -> Span:
    """|Δw|; a zero is of a step that did nothing."""
    if row.delta_norm is None:
        return EMPTY
    return fmt.number(row.delta_norm), "changed" if row.delta_norm else "muted"


def ratio_of(row: ParameterRow) -> float | None:
    """|Δw| / |w|; None where one is unknown, or |w| is 0."""
    return row.delta_norm / row.value_norm if row.delta_norm is not None and row.value_norm else None


def ratio(row: ParameterRow) -> Span:
    """The update ratio, and whether it is unusual."""
    value = ratio_of(row)
    if value is None:
        return EMPTY
    if value > LARGE:
        return f"high {fmt.number(value)}", "bad"
    if 0 < value < SMALL:
        return f"low {fmt.number(value)}", "name"
    return fmt.number(value), "number" if value else "muted"


def lr(row: ParameterRow) -> Span:
    """Learning rate of its group."""
    return (fmt.number(row.lr), "number") if row.lr is not None else EMPTY


def weight_decay(row: ParameterRow) -> Span:
    """Weight decay of its group."""
    return (fmt.number(row.weight_decay), "number") if row.weight_decay is not None else EMPTY


def passes(row: ParameterRow) -> Span:
    """Backwards added into the gradient; "loop 2": the loop ran so many, of this gradient it is not known."""
    if row.kind != "parameter" or row.passes is None:
        return EMPTY
    if not row.passes_of_loop:
        return f"{row.passes:,}", "number" if row.passes else "muted"
    return f"loop {row.passes:,}", "muted"


def statistic(of: Callable[[ParameterRow], TensorStats | None], name: str) -> Callable[[ParameterRow], Span]:
    """The cell of one statistic of the value or the gradient."""

    def cell(row: ParameterRow) -> Span:
        stats = of(row)
        if stats is None:
            return EMPTY
        value: float | None = getattr(stats, name)
        return (fmt.number(value), "number") if value is not None else NONE

    return cell


def zeros(of: Callable[[ParameterRow], TensorStats | None]) -> Callable[[ParameterRow], Span]:
    """The cell of the percentage of zeros."""

    def cell(row: ParameterRow) -> Span:
        stats = of(row)
        if stats is None:
            return EMPTY
        return percentage(stats.zeros, stats.numel), "number" if stats.zeros else "muted"

    return cell


def percentage(part: int, whole: int) -> str:
    """A share in percent with one decimal; what is not nothing and not all is not rounded to it."""
    if not whole or not part:
        return "0 %" if whole else "–"
    share = 100 * part / whole
    if part == whole:
        return "100 %"
    return "<0.1 %" if share < 0.05 else ">99.9 %" if share >= 99.95 else f"{share:.1f} %"


def changed(row: ParameterRow) -> Span:
    """What changed since the stop before, in words."""
    if row.value_changed is None and row.grad_changed is None:
        return UNKNOWN
    words = [word for word, did in (("value", row.value_changed), ("grad", row.grad_changed)) if did]
    return (" ".join(words), "changed") if words else NONE


def reached(row: ParameterRow) -> Span:
    """Whether the loss's graph arrives at it, and what is special about that."""
    if row.kind != "parameter":
        return EMPTY
    word, role = "", "muted"
    if "frozen" in row.marks or not row.requires_grad:
        word = "– frozen"
    elif row.reached is not None:
        word, role = ("● yes", "good") if row.reached else ("○ no", "muted")
        for mark, sign in (("unowned", "●"), ("unused", "○")):
            if mark in row.marks:
                word, role = f"{sign} {mark}", "name"
    if "shared" in row.marks:
        word = f"{word}, shared" if word else "shared"
    return word, role


def nonfinite(row: ParameterRow) -> Span:
    """NaN and Inf elements, where there are any."""
    counts = (("w", row.nonfinite), ("g", row.grad_nonfinite))
    return " ".join(f"{count:,} in {where}" for where, count in counts if count), "bad"


def remark(row: ParameterRow, *, why_no_delta: bool = False) -> Span:
    """What is odd about it, and its other names; of a module, how much it holds. `why_no_delta`: also why it is not
    known what the last step changed, where other rows tell that.
    """
    parts = [row.cause] if row.cause else []
    if row.kind == "module":
        which = "" if row.trainable == row.parameters else f" ({row.trainable:,} trainable)"
        parts += [fmt.plural(row.parameters, "parameter") + which, fmt.byte_count(row.nbytes)]
    elif row.kind == "section":
        parts += [fmt.byte_count(row.nbytes)]
    parts += ["sparse grad"] if row.grad == "sparse" else ["unreadable grad"] if row.grad == "unreadable" else []
    parts += [row.note] if row.note else []
    parts += [f"no |Δw|: {row.delta_note}"] if why_no_delta and row.owner and row.delta_note else []
    parts += [f"also {', '.join(row.shown_aliases or row.aliases)}"] if row.aliases else []
    return ", ".join(parts), "muted"


def shared_kinds(rows: Iterable[ParameterRow]) -> frozenset[str]:
    """Optimizer classes of which there are several among `rows`: these are told apart by their names."""
    first: dict[str, str] = {}
    several = set()
    for row in rows:
        name = row.owner.rpartition("[")[0] or row.owner
        if row.owner and first.setdefault(row.owner_kind, name) != name:
            several.add(row.owner_kind)
    return frozenset(several)


def owner(row: ParameterRow, ambiguous: frozenset[str]) -> Span:
    """The optimizer that holds it, by its class where that tells it apart."""
    if not row.owner:
        return ("nobody", "muted") if row.kind == "parameter" else EMPTY
    if not row.owner_kind or row.owner_kind in ambiguous:
        return row.owner, ""
    bracket = row.owner.rfind("[")
    return row.owner_kind + (row.owner[bracket:] if bracket >= 0 else ""), ""
