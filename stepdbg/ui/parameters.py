"""What the commands on the parameter pane do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.plain.parameters import names as plain_names
from stepdbg.protocol.messages import GetGraph, GetParameters, GetValues
from stepdbg.protocol.shown import GetNames, NamesShown, SetNames
from stepdbg.ui.graphs import GONE
from stepdbg.ui.messages import Wanted
from stepdbg.ui.panes.parameters import ParametersPane

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

NAMED = (GetParameters, GetValues, GetGraph)
"""What panes have asked that has names of parameters in its answer."""


class ParameterCommands:
    """The app's part for the parameter pane (`commands.command.ParameterHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""

    @property
    def _pane(self) -> ParametersPane:
        return self._app.main.query_one(ParametersPane)

    def show_columns(self, titles: tuple[str, ...] | None) -> None:
        """Show these columns; None: the pane's picker."""
        self._bring()
        if titles is None:
            self._pane.action_columns()
        else:
            self._pane.show_columns(titles)

    def sort(self, quantity: str, falling: bool) -> None:
        """Sort by that quantity."""
        self._pane.sort(quantity, falling)
        self._bring()

    def show_tree(self, on: bool | None) -> None:
        """By module or not."""
        self._pane.show_tree(on)
        self._bring()

    def show_names(self, full: bool | None) -> None:
        """With their root module always, or only where they would clash; then tell which it is."""
        self._app.run_worker(self._names(full), group="names")

    async def _names(self, full: bool | None) -> None:
        session = self._app._session
        try:
            told: NamesShown = await self._ask(SetNames(0, full))
        except RequestError as error:
            self._app.notify(f"names: {error}", severity="warning", markup=False)
        except SessionClosedError:
            self._app.notify(f"names: {GONE}", severity="warning", markup=False)
        else:
            session.full_names = told.full
            if full is not None:
                self._app.edits.read_again(NAMED)
                self._app.breakpoints.look_again()
                self._app.post_message(Wanted(GetNames(0), again=True))
            self._app.notify(plain_names(told), markup=False)

    def learn_names(self) -> None:
        """Have it told what can be pointed at, once a stop."""
        view = self._app.view
        if view is not None and view.live and (view.names is None or view.names.stop != view.history[-1].stop.number):
            self._app.post_message(Wanted(GetNames(0)))

    def _bring(self) -> None:
        """Bring the pane on screen where only one is."""
        if self._app.main.single:
            self._app.focus_pane(ParametersPane.NUMBER)
