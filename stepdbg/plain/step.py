"""What an optimizer's step does to one element, and what steps have done so far."""

from __future__ import annotations

from stepdbg.plain import text
from stepdbg.protocol.step import WILL, Explanation
from stepdbg.protocol.trends import Trends


def lines(record: Explanation, width: int = 100) -> list[str]:
    """The formula line by line, with this run's numbers."""
    name = f"{record.title}[{', '.join(map(str, record.index))}]"
    if record.before is None:
        return [f"{name}: {record.note or 'there is nothing to explain'}"]
    about = "will do to" if record.tells == WILL else "did to"
    made = [f"what {record.kind} {record.optimizer} {about} {name}"]
    made += [f"  {record.rule}"] if record.rule else []
    made += [f"  {given.name} {given.symbol} = {given.text}" for given in (*record.hyper, *record.given)]
    made += [
        text.cut(
            f"  {line.rule} = {line.numbers} = {line.result}" + (f"  ({line.remark})" if line.remark else ""), width
        )
        for line in record.lines
    ]
    after = record.after or record.predicted
    made.append(
        f"  before {record.before}, after {after}, change {record.change}" if after else f"  before {record.before}"
    )
    if record.exact is not None:
        said = "bit for bit" if record.exact else f"{text.number(record.ulps)} ulp apart"
        made.append(f"  the formula gives {record.predicted}: {said}")
    return [*made, f"  {record.note}"] if record.note else made


def trends(record: Trends, width: int = 100) -> list[str]:
    """One step a line."""
    if not record.steps:
        return [record.note or f"steps are noted from iteration {record.since} on: none has run since"]
    rows = [
        (
            f"{step.iteration}",
            step.optimizer,
            text.number(step.grad_norm) or "none",
            step.grad_label,
            text.number(step.value_norm),
            text.number(step.update_norm),
        )
        for step in record.steps
    ]
    made = text.table(("iteration", "optimizer", "|g|", "", "|w|", "|Δw|"), rows, right=(0, 2, 4, 5), width=width)
    return [*made, record.why_no_ratio] if record.why_no_ratio else made
