"""The app's part for plots (`commands.command.PlotHost`): what is recorded for them, and their screens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stepdbg.client import series
from stepdbg.client.series import Plots
from stepdbg.client.session import Event
from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol import messages as m
from stepdbg.protocol.trends import Trends
from stepdbg.ui.header import state_text
from stepdbg.ui.plots.look import Look
from stepdbg.ui.plots.screen import PlotScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp


class PlotCommands:
    """Keeps the curves of all runs, and asks for norms once the plots have been opened."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app = app
        self._ask = ask
        self.plots = Plots()
        self.opened = False
        """Whether the plots have been looked at: from then on steps are measured, over restarts too."""
        self._look = Look()
        self._generation = 0
        """Counts the sessions: an answer of an earlier one is not the present run's."""

    def event(self, event: Event) -> None:
        """Something has happened: record what of it is plotted."""
        self._show(series.apply_event(self.plots, event))
        if isinstance(event, m.Stopped) and self.opened:
            self._request()

    def restarted(self) -> None:
        """Another session is followed from now on."""
        self._generation += 1
        self._show(series.restarted(self.plots))

    def show_plots(self, what: str) -> None:
        """Open the screen at one of METRICS, or with all of them; empty: as it was left."""
        if what == "all":
            self._look = replace(self._look, alone=False)
        elif what:
            self._look = replace(self._look, metric=what, alone=True)
        self.opened = True
        screen = self._screen()
        if screen is not None:
            screen.look = self._look
            return
        assert self._app.view is not None
        screen = PlotScreen(self.plots, self._look, self._app.view.info.title)
        self._app.push_screen(screen, lambda _: self._closed(screen))
        self.tell_state()
        self._request()

    def tell_state(self) -> None:
        """The script has stopped, or goes on."""
        screen, view = self._screen(), self._app.view
        if screen is not None and view is not None:
            screen.state = state_text(view).plain

    def _screen(self) -> PlotScreen | None:
        return next((s for s in self._app.screen_stack if isinstance(s, PlotScreen)), None)

    def _closed(self, screen: PlotScreen) -> None:
        self._look = screen.look

    def _show(self, plots: Plots) -> None:
        self.plots = plots
        screen = self._screen()
        if screen is not None:
            screen.plots = plots

    def _request(self) -> None:
        self._app.run_worker(self._fetch(self._generation), group="trends")

    async def _fetch(self, generation: int) -> None:
        try:
            answer: Trends = await self._ask(m.GetTrends(0, self.plots.now.next_step))
        except (RequestError, SessionClosedError):
            return  # the script has gone on: what was noted is told at the next stop
        if generation == self._generation:
            self._show(series.apply_trends(self.plots, answer))
