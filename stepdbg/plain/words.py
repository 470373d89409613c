"""What a line of the user's gave, and the variables of a frame."""

from __future__ import annotations

from stepdbg.plain import text
from stepdbg.protocol.words import Evaluated, TensorTold, Variables


def lines(record: Evaluated, width: int = 100) -> list[str]:
    """The value, or what was raised, in one line."""
    made = []
    if record.error:
        made.append(f"{record.text}: {record.error}")
    elif record.tensor is not None:
        made += tensor(record.tensor, width)
    else:
        made += record.lines
    if record.assigned:
        made.append(f"set {', '.join(record.assigned)}")
    if record.note:
        made.append(record.note)
    return made


def brief(record: Evaluated, width: int = 100) -> str:
    """The value in one line, or what was raised."""
    if record.error:
        return record.error
    told = record.tensor
    if told is None:
        more = f"  … {len(record.lines) - 1} more lines" if len(record.lines) > 1 else ""
        return text.cut((record.lines or ("None",))[0], width) + more
    stats = told.stats
    if stats.numel == 1 and told.first:
        return told.first[0]
    head = f"{told.dtype} {text.shape(told.shape)}"
    if stats.mean is None:
        return text.cut(f"{head}  {told.note or stats.note}".rstrip(), width)
    bad = stats.nan + stats.posinf + stats.neginf
    odd = f", {bad:,} not finite" if bad else ""
    numbers = f"min {text.number(stats.min)}, max {text.number(stats.max)}, mean {text.number(stats.mean)}"
    return f"{head}: {numbers}{odd}"


def tensor(told: TensorTold, width: int = 100) -> list[str]:
    """Shape, dtype and device; statistics; the first numbers."""
    parts = [f"{told.kind} {told.dtype} {text.shape(told.shape)} on {told.device}"]
    parts += [told.made_by] if told.made_by else ["requires grad"] if told.requires_grad else []
    stats = told.stats
    if stats.numel == 1 and told.first:
        made = [f"{told.first[0]}  ({', '.join(parts)})"]
    else:
        made = [", ".join(parts)]
        if stats.mean is not None:
            made.append(
                f"  min {text.number(stats.min)}   max {text.number(stats.max)}   mean {text.number(stats.mean)}"
                f"   std {text.number(stats.std)}   norm {text.number(stats.norm)}"
            )
        bad = [("NaN", stats.nan), ("+Inf", stats.posinf), ("-Inf", stats.neginf)]
        counted = [f"{count:,} {name}" for name, count in bad if count]
        if counted:
            made.append(f"  {', '.join(counted)} of {stats.numel:,} elements")
        if told.first:
            more = " …" if stats.numel > len(told.first) else ""
            made.append(text.cut(f"  [{', '.join(told.first)}{more}]", width))
    note = told.note or stats.note
    return [*made, f"  {note}"] if note else made


def variables(record: Variables, width: int = 100) -> list[str]:
    """One a line."""
    if not record.items:
        return [f"{record.function} has no variables yet"]
    widest = max(text.columns(name) for name, _ in record.items)
    made = [text.cut(f"{name}{' ' * (widest - text.columns(name))} = {value}", width) for name, value in record.items]
    return [*made, f"… {record.left_out:,} more"] if record.left_out else made
