"""Phases, losses and ends in words: pure functions from records to styled text."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence

from textual.content import Content

from stepdbg.client.session import Exited
from stepdbg.plain.inside import place
from stepdbg.protocol.inside import Place
from stepdbg.protocol.records import LossValue, Phase, PhaseRun, RailStep
from stepdbg.ui import format as fmt

NOW = "bold $accent"
DIM = "$foreground 72%"
FAILED = "bold $error"

_BY_SUBJECT = frozenset({Phase.FORWARD, Phase.CUSTOM, Phase.DATA})
"""Phases known by the name of what they concern; the others by its class, where that tells them apart."""


def phase_label(run: PhaseRun | RailStep, rail: Sequence[RailStep] = ()) -> str:
    """Like "forward net", "step SGD"; "step optimizerD" where `rail` has two steps of one class."""
    if run.phase is Phase.CUSTOM:
        return run.subject or "custom"
    twins = {step.subject for step in rail if step.phase is run.phase and step.kind == run.kind}
    by_subject = run.phase in _BY_SUBJECT or len(twins) > 1
    what = (run.subject or run.kind) if by_subject else (run.kind or run.subject)
    return f"{run.phase.value} {what}".rstrip()


BRIEFLY = {"inf/nan gradients: step left out by GradScaler": "left out: inf/nan gradients"}
"""Shorter forms of details, for narrow screens."""


def ran(run: PhaseRun, rail: Sequence[RailStep] = (), *, brief: bool = False) -> str:
    """A phase that has run: "backward 0.4 ms", "loss (inline)", "clip skipped"."""
    parts = [phase_label(run, rail)]
    if run.detail:
        parts.append(f"({BRIEFLY.get(run.detail, run.detail) if brief else run.detail})")
    if run.skipped:
        parts.append("skipped ⤼")
    elif run.seconds is not None:
        parts.append(fmt.seconds(run.seconds))
    return " ".join(parts)


def upcoming(run: PhaseRun, rail: Sequence[RailStep] = ()) -> str:
    """A phase about to run: "step SGD", "forward net (no grad)"."""
    label = phase_label(run, rail)
    return f"{label} ({run.detail})" if run.detail else label


def held_at(at: Place) -> Content:
    """Where inside a phase: "▶ before net.2 Linear", "✓ after net.2 Linear"."""
    mark, style = ("▶", NOW) if at.when == "before" else ("✓", "bold")
    return Content.styled(f"{mark} {place(at)}", style)


def detail_of(at: Place) -> list[Content]:
    """The remark on a place, and the number of a node."""
    told = [f"#{at.seq}"] if at.seq is not None else []
    return [Content.styled(text, DIM) for text in (*told, at.detail) if text]


def loss_text(loss: LossValue) -> str:
    """Like "loss 0.6712 ▼0.0219", with the change since the previous one where both are finite."""
    if loss.value is None:
        return "loss unknown"
    return f"loss {loss_number(loss.value)}{_change(loss.value, loss.previous)}"


def loss_number(value: float) -> str:
    """A loss to four significant digits."""
    return (f"{value:.4g}" if math.isfinite(value) else str(value)).replace("-", fmt.MINUS)


def _change(value: float, previous: float | None) -> str:
    if previous is None or not (math.isfinite(value) and math.isfinite(previous)):
        return ""
    if value == previous:
        return " ="
    return f" {'▼' if value < previous else '▲'}{abs(value - previous):.3g}"


def rate_text(rate: float) -> str:
    """Iterations per second, or seconds per iteration where that says more."""
    if rate >= 1 or rate <= 0:
        return f"{rate:.0f} it/s" if rate >= 10 else f"{rate:.1f} it/s"
    return f"{1 / rate:.1f} s/it"


def exit_text(exited: Exited) -> str:
    """Like "exited with code 3", "killed by SIGTERM"."""
    if exited.signal is not None:
        try:
            name = signal.Signals(exited.signal).name
        except ValueError:
            name = f"signal {exited.signal}"
        return f"killed by {name}"
    return f"exited with code {exited.code or 0}"


def fit(left: Content, right: Content, width: int) -> Content:
    """`left` and `right` at the two ends of `width` columns; the left one gives way where both do not fit."""
    room = width - right.cell_length - 2
    if left.cell_length > room:
        left = left.truncate(max(room, 0), ellipsis=True)
    gap = max(width - left.cell_length - right.cell_length, 0)
    return Content.assemble(left, " " * gap, right)


def joined(parts: Sequence[Content], separator: str = " · ") -> Content:
    """`parts` with a dim separator between them."""
    return Content.styled(separator, DIM).join(parts)
