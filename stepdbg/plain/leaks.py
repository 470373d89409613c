"""What is kept alive from earlier iterations, as lines."""

from __future__ import annotations

import textwrap
from pathlib import PurePath

from stepdbg.plain.sizes import byte_count
from stepdbg.protocol.leaks import STEADY, Leak, LeakKind, LeakReport

Line = tuple[str, str]
"""Role ("finding", "held", "place", "code", "text", "fix", "muted", "good" or "") and text."""

INDENT = "    "

_FIXES = {
    LeakKind.GRAPH: "add the number without its graph: .item(), or .detach()",
    LeakKind.LIST: "keep the number without its graph: .item(), or .detach()",
    LeakKind.RETAINED: "leave out retain_graph=True, unless the graph is used again",
    LeakKind.TENSORS: "keep fewer of them, smaller ones, or the last ones only: deque(maxlen=…)",
}

_CREATES = "leave out create_graph=True, or set the gradients to None once they are used"


def title(leak: Leak) -> str:
    """What is kept, in one line."""
    name = leak.name or "something without a name"
    if leak.kind is LeakKind.RETAINED:
        return f"the backward of {leak.name or 'a loss'} leaves its graph whole, and nothing frees it"
    if leak.kind is LeakKind.TENSORS:
        verb = "grows by" if leak.growing else "holds"
        return f"{name} {verb} tensors without a graph: {leak.count:,} now"
    if leak.kind is LeakKind.LIST:
        return f"{name} keeps {leak.count:,} tensors with their graphs, of {_iterations(leak)}"
    return f"{name} keeps the graphs of {_iterations(leak)} alive"


def _iterations(leak: Leak) -> str:
    if leak.iterations == 1:
        return "one iteration"
    first = f"{leak.first:,}" if leak.first else "the start"
    return f"{leak.iterations:,} iterations ({first} to {leak.last:,})"


def place(leak: Leak) -> str:
    """Where: "train.py:31"; empty where no line was found."""
    return f"{PurePath(leak.file).name}:{leak.line}" if leak.file and leak.line else ""


def amounts(leak: Leak) -> str:
    """How much of what it holds."""
    parts = [leak.where]
    if leak.nbytes or leak.kind is LeakKind.TENSORS:
        parts.append(f"{byte_count(leak.nbytes)} of tensors")
    if leak.kind is not LeakKind.TENSORS:
        saved = "an unknown size" if leak.saved is None else byte_count(leak.saved) if leak.saved else "nothing"
        parts.append(f"{saved} saved for backward")
        parts.append(f"{leak.nodes:,} graph node{'' if leak.nodes == 1 else 's'}")
    if leak.kind is LeakKind.TENSORS and leak.first:
        parts.append(f"of iterations {leak.first:,} to {leak.last:,}" if leak.last > leak.first else "")
    return ", ".join(part for part in parts if part)


def summary(report: LeakReport) -> str:
    """How many findings, in one line."""
    found = sum(leak.growing for leak in report.leaks)
    if found:
        return f"{found:,} finding{'' if found == 1 else 's'}: growing in each of the last {STEADY} iterations"
    if report.leaks:
        return "no finding: what is kept from earlier iterations did not grow steadily"
    return "nothing is kept from earlier iterations"


def watched(report: LeakReport) -> str:
    """Since when live tensors are counted, and how many there were."""
    if not report.since:
        return f"Live tensors ({report.tensors:,} now) are not watched."
    left = STEADY + 1 - report.samples
    text = f"Watched since iteration {report.since:,}"
    if left > 0:
        more = "one more iteration" if left == 1 else f"{left} more iterations"
        text += f": what grows without a graph, or is retained, is told after {more}."
    elif report.counts:
        counts = ", ".join(f"{count:,}" for _, count in report.counts[-8:])
        text += f"; tensors alive at the start of the last iterations: {counts}; now {report.tensors:,}."
    free = "A free run is watched too." if report.free else ""
    return " ".join(part for part in (text, free) if part)


def styled(report: LeakReport, width: int = 100) -> list[Line]:
    """Every line with its role. None is wider than `width`."""
    found: list[Line] = []

    def say(role: str, text: str, indent: str = INDENT) -> None:
        found.extend((role, line) for line in _wrap(text, width, indent, indent))

    say("finding" if any(leak.growing for leak in report.leaks) else "good", summary(report).capitalize() + ".", "")
    for leak in report.leaks:
        found.append(("", ""))
        mark = "● " if leak.growing else "○ "
        role = "finding" if leak.growing else "held"
        found.extend((role, line) for line in _wrap(mark + title(leak), width, "", "  "))
        where = place(leak)
        if where:
            inside = f"{where}  {leak.text}"
            found.append(("code", INDENT + (inside if len(inside) + 4 <= width else inside[: width - 5] + "…")))
        else:
            say("muted", "line unknown: nothing in the source that was found binds this name or adds to it")
        say("text", amounts(leak))
        if leak.growing:
            create = leak.kind is LeakKind.RETAINED and "create_graph" in leak.text
            say("fix", f"fix: {_CREATES if create else _FIXES[leak.kind]}")
        if leak.note:
            say("muted", leak.note if leak.growing else f"no finding: {leak.note}")
    found.append(("", ""))
    say("muted", watched(report), "")
    if report.note:
        say("muted", f"{report.note}.", "")
    return found


def lines(report: LeakReport, width: int = 100) -> list[str]:
    """All of it as text."""
    return [text for _, text in styled(report, width)]


def _wrap(text: str, width: int, first: str, further: str) -> list[str]:
    return textwrap.wrap(text, max(width, 20), initial_indent=first, subsequent_indent=further)
