"""Which graph to look at: those of this iteration and before, and those of gradients."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.protocol.graph import GraphChoice
from stepdbg.ui import format as fmt
from stepdbg.ui.widgets.line_list import LineList, Span
from stepdbg.ui.widgets.line_table import Column, LineTable

NEWEST = GraphChoice(0, "", "the newest, stop by stop", 0, None, freed=False, nodes=None, alive=True)
"""The way back, once a graph has been chosen."""


def state(choice: GraphChoice) -> Span:
    """Whether it is still there, and can be walked backward."""
    if choice is NEWEST:
        return "", ""
    if choice.freed:
        return "freed by backward", "muted"
    return ("alive", "good") if choice.alive else ("gone: as it was recorded", "muted")


def recorded(choice: GraphChoice) -> Span:
    """At which stop it was walked."""
    if choice is NEWEST:
        return "", ""
    return ("not yet", "muted") if choice.recorded_at is None else (f"stop {choice.recorded_at}", "")


def _nodes(choice: GraphChoice) -> Span:
    if choice is NEWEST:
        return "", ""
    return fmt.count(choice.nodes) if choice.nodes is not None else "?", ""


class GraphPicker(ModalScreen[int | None]):
    """A short list over the panes. Dismissed with the id of the chosen graph, or None."""

    CSS = """
    GraphPicker { align: center middle; background: $background 60%; }
    GraphPicker > Vertical {
        width: 84; max-width: 94%; height: auto; max-height: 80%;
        border: round $border; background: $surface; border-title-color: $foreground; border-title-style: bold;
    }
    GraphPicker LineTable { height: auto; max-height: 100%; background: $surface; }
    GraphPicker Static { height: 1; text-align: center; background: $panel; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,w", "dismiss", "Close", show=False)]

    def __init__(self, choices: tuple[GraphChoice, ...], current: int, *, chosen: bool) -> None:
        """`current`: id of the graph on screen; `chosen`: whether it was chosen, and stays from stop to stop."""
        super().__init__()
        self._choices = (*choices, NEWEST) if chosen else choices
        self._current = current
        self.table: LineTable[GraphChoice] = LineTable(
            (
                Column("graph", self._title),
                Column(
                    "iteration",
                    lambda choice: (f"{choice.iteration:,}" if choice.iteration else "", ""),
                    priority=1,
                    right=True,
                ),
                Column("nodes", _nodes, 2, right=True),
                Column("recorded", recorded, priority=3),
                Column("state", state, priority=4),
            )
        )

    def compose(self) -> ComposeResult:
        """The list, and how to leave it."""
        with Vertical() as box:
            box.border_title = "Which graph"
            yield self.table
            yield Static("↑ ↓ move   enter shows it   escape closes")

    def on_mount(self) -> None:
        """The graph that is on screen is the one under the cursor."""
        rows = len(self._choices)
        self.table.styles.height = rows + 1
        self.table.show(dict(enumerate(self._choices)), rows)
        self.table.go_to(next((at for at, c in enumerate(self._choices) if c.id == self._current), 0))
        self.table.focus()

    def on_line_list_row_chosen(self, event: LineList.RowChosen) -> None:
        """That one it is."""
        event.stop()
        if isinstance(event.row, GraphChoice):
            self.dismiss(event.row.id)

    def _title(self, choice: GraphChoice) -> Span:
        return f"{'●' if choice.id == self._current else ' '} {choice.title}", ""
