"""The plots over the panes: four at once where there is room, else one, and the others by tab."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from stepdbg.client.series import METRICS, Plots
from stepdbg.ui import format as fmt
from stepdbg.ui.plots import look as looks
from stepdbg.ui.plots.look import Look
from stepdbg.ui.plots.view import PlotView

FOUR = (100, 30)
"""Columns and rows from which four stand side by side."""

KEYS = (
    "← → cursor",
    "+ − zoom",
    "= all",
    "< > pan",
    "tab next plot",
    "enter one or four",
    "l log",
    "n i c p r run",
    "escape close",
)
"""Told in the last line, as many as there is room for."""

PLOTS_HELP = """\
Loss, gradient norm before each optimizer step, learning rates and update ratio |Δw|/|w| over iterations. Joined
points were recorded one after the other; where the script ran free there is a gap, and single dots are losses read
now and then meanwhile. × is a value that is not finite. Norms are measured from the time when the plots are opened
first, at steps that are stepped through. After a restart the run before stays, in its own colour and marker.
"""


class PlotScreen(ModalScreen[None]):
    """Shows `plots`. The run goes on under it: its keys work here too."""

    CSS = """
    PlotScreen { background: $background; }
    PlotScreen #plots-title, PlotScreen #plots-keys { height: 1; background: $panel; text-wrap: nowrap; }
    PlotScreen #plots-keys { color: $text-muted; text-overflow: ellipsis; }
    PlotScreen Grid { grid-size: 2 2; height: 1fr; }
    PlotScreen.-alone Grid { grid-size: 1 1; }
    PlotScreen.-alone PlotView { display: none; }
    PlotScreen.-alone PlotView.-current { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,T", "dismiss", "Close", show=False),
        Binding("left", "cursor(-1)", "Cursor left", show=False),
        Binding("right", "cursor(1)", "Cursor right", show=False),
        Binding("home", "cursor(-1000000)", "First point", show=False),
        Binding("end", "cursor(1000000)", "Newest point", show=False),
        Binding("shift+left,less_than_sign", "pan(-1)", "Pan left", show=False),
        Binding("shift+right,greater_than_sign", "pan(1)", "Pan right", show=False),
        Binding("plus", "zoom(0.5)", "Zoom in", show=False),
        Binding("minus", "zoom(2.0)", "Zoom out", show=False),
        Binding("equals_sign,0", "whole", "All iterations", show=False),
        Binding("tab", "next_plot(1)", "Next plot", show=False),
        Binding("shift+tab", "next_plot(-1)", "Previous plot", show=False),
        Binding("enter,z", "alone", "One or four", show=False),
        Binding("l", "log", "Logarithmic", show=False),
        Binding("n,space", "app.command('next')", "Next", show=False, id="next"),
        Binding("i", "app.command('iteration')", "Iteration", show=False, id="iteration"),
        Binding("c", "app.command('continue')", "Continue", show=False, id="continue"),
        Binding("p", "app.command('pause')", "Pause", show=False, id="pause"),
        Binding("r", "app.command('restart')", "Restart", show=False, id="restart"),
    ]

    plots: reactive[Plots] = reactive(Plots(), repaint=False)
    look: reactive[Look] = reactive(Look(), repaint=False)
    state: reactive[str] = reactive("", repaint=False)
    """What the script is doing, in words."""

    def __init__(self, plots: Plots, look: Look, title: str) -> None:
        super().__init__()
        self._title = title
        self.set_reactive(PlotScreen.plots, plots)
        self.set_reactive(PlotScreen.look, look)

    def compose(self) -> ComposeResult:
        """Title, four plots, keys."""
        yield Static(id="plots-title")
        with Grid():
            for metric in METRICS:
                yield PlotView(metric)
        yield Static(id="plots-keys")

    def on_mount(self) -> None:
        """Draw what there is."""
        self._redraw()

    def on_resize(self) -> None:
        """Four, or one."""
        self._redraw()

    @property
    def alone(self) -> bool:
        """Whether one plot has all the room."""
        return self.look.alone or self.size.width < FOUR[0] or self.size.height < FOUR[1]

    def watch_plots(self) -> None:
        """More was recorded."""
        self._redraw()

    def watch_look(self) -> None:
        """The user looks elsewhere."""
        self._redraw()

    def watch_state(self) -> None:
        """The script does something else."""
        self._redraw()

    def _redraw(self) -> None:
        if not self.is_mounted:
            return
        self.set_class(self.alone, "-alone")
        for view in self.query(PlotView):
            view.show(self.plots, self.look)
        first, last = looks.window(self.look, self.plots)
        whole = looks.extent(self.plots) == (first, last)
        shown = f"iterations {first:,}–{last:,}{'' if whole else f' of {looks.extent(self.plots)[1]:,}'}"
        runs = [run.number for run in self.plots.runs]
        overlaid = (
            f"runs {', '.join(map(str, runs))}" if len(runs) > 1 else "run 1" if runs == [1] else f"run {runs[0]}"
        )
        left = Content.assemble((" plots ", "bold $accent"), f" {self._title} · {overlaid} · {shown}")
        at = METRICS.index(self.look.metric) + 1
        right = f"{f'plot {at} of {len(METRICS)} · ' if self.alone else ''}{self.state} "
        gap = self.size.width - left.cell_length - fmt.columns(right)
        self.query_one("#plots-title", Static).update(Content.assemble(left, " " * max(gap, 1), right))
        self.query_one("#plots-keys", Static).update(Content(self._keys()))

    def _keys(self) -> str:
        line = ""
        for keys in (*KEYS[-1:], *KEYS[:-1]):
            more = f"{line}   {keys}" if line else f" {keys}"
            if fmt.columns(more) > self.size.width - 1:
                break
            line = more
        return line

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def action_cursor(self, by: int) -> None:
        """Read another point."""
        self.look = looks.moved(self.look, self.plots, by)

    def action_pan(self, direction: int) -> None:
        """Look at earlier or later iterations."""
        self.look = looks.panned(self.look, self.plots, direction)

    def action_zoom(self, factor: float) -> None:
        """Look closer, or from further away."""
        self.look = looks.zoomed(self.look, self.plots, factor)

    def action_whole(self) -> None:
        """All iterations again."""
        self.look = replace(self.look, span=None, right=None)

    def action_next_plot(self, by: int) -> None:
        """Give the keys to another plot."""
        at = (METRICS.index(self.look.metric) + by) % len(METRICS)
        self.look = replace(self.look, metric=METRICS[at])

    def action_alone(self) -> None:
        """All the room for one, or shared again."""
        self.look = replace(self.look, alone=not self.look.alone)

    def action_log(self) -> None:
        """Logarithmic scales, or plain ones."""
        self.look = replace(self.look, log=not self.look.log)
