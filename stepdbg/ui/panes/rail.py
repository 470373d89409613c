"""The rail: the phases of this loop in the order learned from it, as a line, or a list if there is room."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive

from stepdbg.client.store import View
from stepdbg.protocol.breakpoints import Kind
from stepdbg.protocol.inside import Grain, Place
from stepdbg.protocol.records import RailStep
from stepdbg.ui import format as fmt
from stepdbg.ui.panes.pane import Pane
from stepdbg.ui.words import DIM, FAILED, NOW, phase_label

_MARKS = {"done": "✓", "next": "▶", "ahead": " ", "skipped": "⤼", "failed": "✗", "unknown": "?"}
_STYLES = {"done": "", "next": NOW, "ahead": DIM, "skipped": "italic", "failed": FAILED, "unknown": DIM}


def station(
    step: RailStep, steps: Sequence[RailStep], *, seconds: bool, at: Place | None = None, stops: Collection[str] = ()
) -> Content:
    """One phase of the line: "forward net ✓ 1.2 ms", "▶ step SGD", "zero_grad ⤼"; inside: "▶ forward net ▸ net.2"."""
    label = phase_label(step, steps)
    if at is not None and step.state == "next":
        label += f" ▸ {at.of or at.kind or at.name}" if at.grain is Grain.NODE else f" ▸ {at.title}"
    mark = _MARKS[step.state]
    text = f"{mark} {label}" if step.state == "next" else f"{label} {mark}".rstrip()
    if step.count > 1:
        text += f" ×{step.count}"
    if seconds and step.seconds is not None and step.state in {"done", "failed"}:
        text += f" {fmt.seconds(step.seconds)}"
    if step.phase.value in stops:
        text = f"●{text}"
    return Content.styled(text, _STYLES[step.state])


def rail_line(
    steps: Sequence[RailStep], *, seconds: bool, at: Place | None = None, stops: Collection[str] = ()
) -> tuple[Content, int]:
    """The whole line, and the middle column of the current phase (next, failed, or the last one done)."""
    parts: list[Content] = []
    length = depth = middle = 0
    current = _current(steps)
    for index, step in enumerate(steps):
        if index:
            opened = step.depth - depth
            link = " " + "( " * opened if opened > 0 else " )" * -opened + " ─ "
            parts.append(Content.styled(link, DIM))
            length += len(link)
        depth = step.depth
        part = station(step, steps, seconds=seconds, at=at, stops=stops)
        if index == current:
            middle = length + part.cell_length // 2
        parts.append(part)
        length += part.cell_length
    parts.append(Content.styled(" )" * depth, DIM))
    return Content("").join(parts), middle


def _current(steps: Sequence[RailStep]) -> int:
    for state in ("next", "failed"):
        for index, step in enumerate(steps):
            if step.state == state:
                return index
    past = [index for index, step in enumerate(steps) if step.state != "ahead"]
    return past[-1] if past else 0


def rail_row(step: RailStep, steps: Sequence[RailStep], stops: Collection[str] = ()) -> Content:
    """One phase of the list: mark, name, time and remark in columns; indented by what encloses it."""
    name = f"{'  ' * step.depth}{phase_label(step, steps)}"
    count = f"×{step.count}" if step.count > 1 else ""
    took = fmt.seconds(step.seconds) if step.seconds is not None else ""
    dot = "●" if step.phase.value in stops else " "
    text = f"{dot}{_MARKS[step.state]} {name:<34} {count:>5} {took:>11}  {step.state:<8} {step.detail}"
    return Content.styled(text.rstrip(), _STYLES[step.state])


def _stops_of(view: View | None) -> frozenset[str]:
    rows = view.book.rows if view is not None and view.book is not None else ()
    return frozenset(r.spec.target for r in rows if r.spec.kind is Kind.PHASE and r.spec.enabled)


class RailPane(Pane, can_focus=True):
    """Where in the loop the script is."""

    NUMBER = "7"
    TITLE = "Rail"
    HELP = """\
The phases of your training loop, in the order learned from it.

- `✓` done in this iteration, with the time it took where there is room
- `▶` next: about to run
- `▸` inside it: the module, operation, node or parameter that the script is held at
- dim, without a mark: ahead, it was there in the last iteration
- `⤼` skipped
- `✗` failed: it raised
- `×4` ran four times in this iteration (micro-batches)
- `●` a breakpoint is on it: `b` sets one on the phase that is next, or deletes it
- `( … )` inside the phase before it, such as a closure's phases inside step
- `‹` `›` there is more in that direction: the left and right keys, or the wheel, move the line

`z` turns the line into a list.
"""
    DEFAULT_CSS = """
    RailPane, RailPane:focus, RailPane:focus-within {
        height: 1;
        border: none;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-12)", "Move the rail left", show=False),
        Binding("right,l", "move(12)", "Move the rail right", show=False),
    ]

    start: reactive[int | None] = reactive(None)
    """The line's first column on screen, when the user has moved it; None: the current phase is in view."""

    def watch_view(self, before: View | None, after: View | None) -> None:
        """A new stop brings its phase back into view."""
        stops = [v.looking_at.stop if v is not None and v.looking_at is not None else None for v in (before, after)]
        if stops[0] is not stops[1]:
            self.start = None
            self.refresh()
        elif _stops_of(before) != _stops_of(after):
            self.refresh()

    def action_move(self, columns: int) -> None:
        """Move the line by that many columns, no further than its ends."""
        line, middle = self._line()
        last = max(line.cell_length - self._room, 0)
        self.start = min(max(self._first_column(line, middle) + columns, 0), last)

    def on_mouse_scroll_down(self) -> None:
        """The wheel moves the line too."""
        self.action_move(12)

    def on_mouse_scroll_up(self) -> None:
        """The wheel moves the line too."""
        self.action_move(-12)

    def render(self) -> Content:
        """One line with the current phase in view, or a line a phase when the pane is high enough."""
        steps = self._steps
        if not steps:
            return Content.styled(" 7  the phases of the loop appear here as they run", DIM)
        if self.size.height > 2:
            return Content("\n").join([rail_row(step, steps, self._stops) for step in steps])
        label = Content.styled(" 7 ", "reverse" if self.has_focus else DIM)
        line, middle = self._line()
        start = self._first_column(line, middle)
        end = start + self._room
        return Content.assemble(
            label,
            ("‹" if start else " ", DIM),
            line[start:end],
            ("›" if end < line.cell_length else "", DIM),
        )

    @property
    def _room(self) -> int:
        return max(self.size.width - 5, 1)

    @property
    def _steps(self) -> tuple[RailStep, ...]:
        recorded = self.view.looking_at if self.view is not None else None
        return recorded.stop.rail if recorded is not None else ()

    @property
    def _stops(self) -> frozenset[str]:
        """The phases that an enabled breakpoint is on."""
        return _stops_of(self.view)

    def _line(self) -> tuple[Content, int]:
        recorded = self.view.looking_at if self.view is not None else None
        at = recorded.stop.at if recorded is not None else None
        stops = self._stops
        line, middle = rail_line(self._steps, seconds=True, at=at, stops=stops)
        if line.cell_length > self._room:
            line, middle = rail_line(self._steps, seconds=False, at=at, stops=stops)
        return line, middle

    def _first_column(self, line: Content, middle: int) -> int:
        last = max(line.cell_length - self._room, 0)
        return min(max(middle - self._room // 2, 0), last) if self.start is None else min(self.start, last)
