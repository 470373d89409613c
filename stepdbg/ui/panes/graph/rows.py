"""How a row of the graph reads: its label in the tree, its cells, and all that is known of it in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath

from stepdbg.protocol.graph import MARKS, NODE_MARKS, Flow, GraphRow, Reach
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import Span, Spans

SENTENCES = frozenset({"section", "reach", "unreached"})
"""Kinds of rows that have words to say, and no numbers."""

CHECKPOINT = "⟲ "
SEPARATOR = " · "
LEAST = 16
"""Columns below which a fact is rather left out than cut."""


# ── in the tree ─────────────────────────────────────────────────────────────────────────────────────────────


def label(row: GraphRow, width: int, reach: Mapping[str, Reach]) -> Spans:
    """The row behind its guides: a sign, the name, its marks, and what else there is room for."""
    sign, role = _sign(row, reach)
    room = max(width - fmt.columns(sign), 1)
    # The end of a dotted name tells most, of other names the beginning.
    name = fmt.head(row.title, room) if row.kind in ("op", "section") else fmt.tail(row.title, room)
    spans: list[Span] = [(sign, role), (name, "lit" if row.lit else _name_role(row))]
    words = "".join(f" ·{mark}" for mark in row.marks if mark not in ("reached", "unreached", "checkpoint"))
    if words:
        spans.append((words, "number"))
    if row.detail:
        spans.append((f" {row.detail}", "muted"))
    if row.cause:
        # "net2 … was not called": its name stands there already, and there is seldom room for it twice.
        spans.append((f"  {row.cause.removeprefix(f'{row.name} ')}", "muted"))
    return spans


def _sign(row: GraphRow, reach: Mapping[str, Reach]) -> Span:
    if row.kind == "parameter":
        return "● ", "good"
    if row.kind == "tensor":
        return "○ ", "muted"
    if row.kind == "reference":
        below = row.refers_to is not None and row.refers_to > row.index
        return ("↓ " if below else "↑ "), "muted"
    if row.kind == "unreached":
        return "✕ ", "muted"
    if row.kind == "reach":
        whole = reach.get(row.name)
        if whole is None or not whole.total:
            return "", ""
        return ("● ", "good") if whole.reached == whole.total else ("◐ ", "good") if whole.reached else ("○ ", "muted")
    return (CHECKPOINT, "muted") if "checkpoint" in row.marks else ("", "")


def _name_role(row: GraphRow) -> str:
    if row.kind in ("loss", "module"):
        return "name"
    return "muted" if row.kind in ("reference", "section", "tensor") else ""


def parameter_of(row: GraphRow) -> str:
    """The parameter that the row stands for; empty: none, or several."""
    if row.kind in ("parameter", "unreached") or (row.kind == "reference" and row.parameters == (row.name,)):
        return row.name
    return ""


def shape(row: GraphRow) -> Span:
    """Of its output."""
    return (fmt.shape(row.shape), "muted") if row.shape is not None else ("", "")


def kept(row: GraphRow, *, unmeasured: bool) -> Span:
    """Bytes kept for backward; in brackets once they have been let go."""
    if row.nbytes is None:
        return ("…", "muted") if unmeasured and row.kind in ("loss", "module", "op") else ("", "")
    text = fmt.byte_count(row.nbytes)
    return (f"({text})" if row.freed and row.nbytes else text), "muted"


def flow(row: GraphRow) -> Span:
    """Norm of the gradient that came through; what is not finite is what matters then."""
    if row.flow is None:
        return "", ""
    if row.flow.nonfinite:
        return f"{fmt.count(row.flow.nonfinite)} nan/inf", "bad"
    return fmt.number(row.flow.norm), "number"


# ── in words ────────────────────────────────────────────────────────────────────────────────────────────────


def facts(row: GraphRow) -> list[Span]:
    """All that is known of `row`, what tells most first."""
    found: list[Span] = [(row.title, "name" if row.kind in ("loss", "module") else "")]
    if row.detail:
        found.append((row.detail, ""))
    if row.kind == "unreached" and not row.cause:
        found.append(("not in this graph: nothing is known of why", "muted"))
    if row.cause:
        found.append((row.cause, ""))
    if row.kind not in SENTENCES:
        found += _output(row)
        found += _memory(row)
    if row.flow is not None:
        found.append((flow_text(row.flow), "bad" if row.flow.nonfinite else ""))
    if row.file:
        inside = f" in {row.function}" if row.function not in ("", "<module>") else ""
        found.append((f"{PurePath(row.file).name}:{row.line}{inside}", ""))
    found += [(f"{mark}: {words}", "muted") for mark in row.marks if (words := NODE_MARKS.get(mark) or MARKS.get(mark))]
    if row.kind in ("loss", "module") and row.nodes:
        found.append((fmt.plural(row.nodes, "node"), "muted"))
    if row.seq is not None:
        found.append((f"sequence {row.seq:,}", "muted"))
    return found


def _output(row: GraphRow) -> list[Span]:
    if row.shape is None:
        return [(row.dtype, "")] if row.dtype else []
    size = "scalar" if not row.shape else f"({fmt.shape(row.shape)})"
    return [(f"{size} {row.dtype}".rstrip(), "")]


def _memory(row: GraphRow) -> list[Span]:
    if row.nbytes is None:
        return []
    if not row.nbytes:
        return [("keeps nothing", "muted")]
    text = fmt.byte_count(row.nbytes)
    return [(f"kept {text}, freed by backward" if row.freed else f"keeps {text} for backward", "")]


def flow_text(flow: Flow) -> str:
    """A gradient's numbers: "∂ norm 0.31, −0.012 … 0.04, 3 of 32 not finite"."""
    parts = [f"∂ norm {fmt.number(flow.norm)}"] if flow.norm is not None else ["∂ without a finite number"]
    if flow.min is not None and flow.max is not None:
        parts.append(f"{fmt.number(flow.min)} … {fmt.number(flow.max)}")
    if flow.nonfinite:
        parts.append(f"{flow.nonfinite:,} of {flow.numel:,} nan or inf")
    if flow.times > 1:
        parts.append(f"the last of {flow.times:,} backwards")
    return ", ".join(parts)


def pack(spans: Iterable[Span], width: int, lines: int) -> list[list[Span]]:
    """Facts in at most `lines` lines of `width` columns, broken between facts where that can be; "…" where it ends."""
    packed: list[list[Span]] = [[]]
    used = 0
    for text, role in spans:
        lead = SEPARATOR if used else ""
        room = width - used - len(lead)
        # What fits on a line of its own gets one; what is longer begins here, to have all the room there is.
        if used and len(packed) < lines and (fmt.columns(text) > room) and (fmt.columns(text) <= width or room < LEAST):
            packed.append([])
            used, lead = 0, ""
        rest = text
        while rest:
            room = width - used - len(lead)
            last = len(packed) == lines
            if last and fmt.columns(rest) > room < LEAST:
                rest = fmt.ELLIPSIS
            part, rest = (fmt.head(rest, room), "") if last else _break(rest, max(room, 1))
            if part:
                packed[-1] += [(lead, "guide"), (part, role)] if lead else [(part, role)]
                used += len(lead) + fmt.columns(part)
            if rest:
                packed.append([])
                used, lead = 0, ""
        if len(packed) == lines and packed[-1] and packed[-1][-1][0].endswith(fmt.ELLIPSIS):
            break
    return packed


def _break(text: str, width: int) -> tuple[str, str]:
    """What fits into `width` columns, at a blank if there is one, and what is left."""
    if fmt.columns(text) <= width:
        return text, ""
    cut = text.rfind(" ", 0, width + 1)
    if cut <= 0:
        cut = width
    return text[:cut].rstrip(), text[cut:].lstrip()
