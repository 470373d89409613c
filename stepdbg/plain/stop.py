"""A stop in a few lines, its rail, its call stack and its lines of source."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from stepdbg.plain import text
from stepdbg.protocol.records import Frame, PhaseRun, SourceText, StopReason, StopRecord

AROUND = 5
"""Lines of source before and after the one about to run."""

_STATES = {"done": "✓", "next": "▶", "ahead": "·", "skipped": "–", "failed": "✗", "unknown": "?"}


def lines(stop: StopRecord, width: int = 100) -> list[str]:
    """Where the script is held, and why; what stopped it has lines of its own where it is long, and is never cut."""
    here = f"stop {stop.number} · {iteration(stop)} · "
    whole = here + where(stop)
    if len(whole) <= width or not stop.why:
        made = [text.cut(whole, width)]
    else:
        made = [text.cut(here + where(replace(stop, why="")), width), *_why(stop.why, width)]
    if stop.at is not None and stop.at.detail:
        made.append(text.cut(f"  how   {stop.at.detail}", width))
    if stop.just_ran:
        made.append(text.cut("  ran   " + ", ".join(run(one) for one in stop.just_ran), width))
    if stop.loss is not None:
        value = text.number(stop.loss.value) or "unknown"
        earlier = f"of iteration {stop.loss.iteration}" if stop.loss.iteration != stop.iteration else ""
        remark = ", ".join(part for part in (stop.loss.name, earlier) if part)
        made.append(f"  loss  {value}" + (f" ({remark})" if remark else ""))
    if stop.here is not None:
        thread = f", thread {stop.thread}" if stop.thread != "MainThread" else ""
        made.append(text.cut(f"  at    {frame(stop.stack[stop.here])}{thread}", width))
    if stop.exception is not None:
        made += [f"  {line}" for line in stop.exception.text.rstrip().split("\n")]
    if stop.note:
        made.append(f"  {stop.note}")
    return made


def _why(why: str, width: int) -> list[str]:
    lines = textwrap.wrap(why, max(width - 8, 20), break_on_hyphens=False)
    return [f"  {'why' if number == 0 else '':<6}{line}" for number, line in enumerate(lines)]


def iteration(stop: StopRecord) -> str:
    """As "iteration 3", "iteration 3, micro-batch 2"."""
    micro = f", micro-batch {stop.micro_batch}" if stop.micro_batch > 1 else ""
    return f"iteration {stop.iteration}{micro}"


def where(stop: StopRecord) -> str:
    """What is about to run, or why nothing is; what stopped it."""
    if stop.reason is StopReason.EXCEPTION and stop.exception is not None:
        return f"{stop.exception.type}: {stop.exception.message}".split("\n")[0]
    if stop.reason is StopReason.FINISHED:
        return "the script has run to its end"
    place = ""
    if stop.at is not None:
        of = stop.at.kind or (stop.at.of if stop.at.parameter != stop.at.name else "")
        place = f"{stop.at.when} {stop.at.title}" + (f" ({of})" if of else "")
    elif stop.next is not None:
        place = f"before {run(stop.next)}"
    inside = f" in {run(stop.inside[-1])}" if stop.inside else ""
    why = f" · {stop.why}" if stop.why else " · paused" if stop.reason is StopReason.PAUSE else ""
    return f"{place}{inside}{why}".strip(" ·") or "held"


def run(one: PhaseRun) -> str:
    """As "backward of loss", "step of optimiser (0.4 ms)"."""
    subject = f" of {one.subject}" if one.subject else ""
    remarks = [one.detail, "skipped" if one.skipped else "", text.seconds(one.seconds)]
    remark = ", ".join(part for part in remarks if part)
    return f"{one.phase.value}{subject}" + (f" ({remark})" if remark else "")


def frame(one: Frame) -> str:
    """As "train.py:12 in main"."""
    return f"{os.path.basename(one.file)}:{one.line} in {one.function}"  # noqa: PTH119  (of the script's machine)


def stack(stop: StopRecord, selected: int | None = None, width: int = 100) -> list[str]:
    """The call stack, innermost first; "▶" marks the selected frame."""
    if not stop.stack:
        return ["no line of the script is running at this stop"]
    chosen = stop.here if selected is None else selected
    made = []
    for number, one in enumerate(stop.stack):
        mark = "▶" if number == chosen else " "
        library = "" if one.is_user else "  (library)"
        made.append(text.cut(f"{mark} {number:>2}  {frame(one)}{library}", width))
    return made


def chosen(stop: StopRecord, now: int | None, number: int | None, step: int) -> int | str:
    """The index that `frame NUMBER`, or `up` and `down` by `step`, lead to; or why there is none, in one line."""
    count = len(stop.stack)
    if not count:
        return "no line of the script is running at this stop: there are no frames"
    if number is not None and number >= count:
        there = "0 is the only one" if count == 1 else f"bt lists the {count} there are"
        return f"there is no frame {number}: {there}"
    at = (stop.here or 0) if now is None else now
    found = number if number is not None else at + step
    if found < 0:
        return "down: this is the innermost frame"
    return found if found < count else "up: this is the outermost frame"


def rail(stop: StopRecord, width: int = 100) -> list[str]:
    """The phases of this iteration, in the loop's order."""
    if not stop.rail:
        return ["no phase of a training loop has been seen yet"]
    rows = [
        (
            "  " * step.depth + f"{_STATES.get(step.state, ' ')} {step.phase.value}",
            step.subject or step.kind,
            step.state,
            text.seconds(step.seconds),
            f"×{step.count}" if step.count > 1 else "",
            step.detail,
        )
        for step in stop.rail
    ]
    return text.table(("phase", "of", "state", "time", "times", "remark"), rows, right=(3, 4), width=width)


def rates(lrs: Sequence[tuple[str, float]]) -> list[str]:
    """Learning rates."""
    if not lrs:
        return ["no optimizer is known at this stop"]
    return text.table(("optimizer", "lr"), [(name, f"{rate:.6g}") for name, rate in lrs], right=(1,))


def source(record: SourceText, line: int, width: int = 100) -> list[str]:
    """The lines around `line`, which "▶" marks."""
    if record.text is None:
        return [record.note or f"{record.file}: its source cannot be read"]
    every = record.text.expandtabs(8).split("\n")
    first = max(line - AROUND, 1)
    made = [
        text.cut(f"{'▶' if number == line else ' '} {number:>5}  {content}".rstrip(), width)
        for number, content in enumerate(every[first - 1 : line + AROUND], first)
    ]
    return [*made, "changed on disk since the run began"] if record.changed else made
