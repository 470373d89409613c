"""What the command that compares does: put its screen over the panes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepdbg.commands.exporting import Ask
from stepdbg.protocol.compare import GetDiff
from stepdbg.ui.screens.diff import DiffScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp


class CompareCommands:
    """The app's part for comparisons (`commands.command.CompareHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""

    def diff(self, query: GetDiff) -> None:
        """Show what differs, as soon as that is known; where it cannot be known say why, in one line."""
        self._app.push_screen(DiffScreen(query, self._ask), self._ended)

    def _ended(self, why: str | None) -> None:
        if why:
            self._app.notify(f"diff: {why}", severity="warning", markup=False)
