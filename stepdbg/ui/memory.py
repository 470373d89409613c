"""What the command that shows the memory does: put its screen over the panes, and keep it up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepdbg.client.store import View
from stepdbg.commands.exporting import Ask
from stepdbg.ui.screens.memory import MemoryScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp


class MemoryCommands:
    """The app's part for memory (`commands.command.MemoryHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""

    def show(self) -> None:
        """Open the screen."""
        if self._app.view is not None and self._screen() is None:
            self._app.push_screen(MemoryScreen(self._app.view, self._ask))

    def tell(self, view: View) -> None:
        """The app shows `view` now."""
        screen = self._screen()
        if screen is not None:
            screen.view = view

    def _screen(self) -> MemoryScreen | None:
        return next((s for s in self._app.screen_stack if isinstance(s, MemoryScreen)), None)
