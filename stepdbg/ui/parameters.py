"""What the commands on the parameter pane do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepdbg.ui.panes.parameters import ParametersPane

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp


class ParameterCommands:
    """The app's part for the parameter pane (`commands.command.ParameterHost`)."""

    def __init__(self, app: StepdbgApp) -> None:
        self._app = app

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

    def _bring(self) -> None:
        """Bring the pane on screen where only one is."""
        if self._app.main.single:
            self._app.focus_pane(ParametersPane.NUMBER)
