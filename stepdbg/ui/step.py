"""What the command that explains a step does: it asks first, so that a wrong name is said without opening anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol.messages import GetExplanation
from stepdbg.protocol.step import Explanation
from stepdbg.ui.screens.explain import ExplainScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp


class StepCommands:
    """The app's part for steps (`commands.command.StepHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask, answered: Callable[[int, GetExplanation, Explanation], None]) -> None:
        self._app = app
        self._ask = ask
        self._answered = answered
        """Takes what belongs into the View, with the number of its stop."""

    def explain(self, name: str, index: tuple[int, ...] | None) -> None:
        """Show what the step does to that element; without a name, to the selected one."""
        app, view = self._app, self._app.view
        if not name:
            name, index = app.selected, app.element or None
        if view is None or not view.live:
            app.push_screen(ExplainScreen(name, index))
        else:
            app.run_worker(self._open(GetExplanation(0, name, index), view.history[-1].stop.number), group="explain")

    async def _open(self, query: GetExplanation, stop: int) -> None:
        try:
            answer: Explanation = await self._ask(query)
        except RequestError as error:
            self._app.notify(f"explain: {error}", severity="warning", markup=False)
        except SessionClosedError:
            self._app.notify("explain: the script has gone on, or ended", severity="warning", markup=False)
        else:
            self._answered(stop, query, answer)
            self._app.selected = self._app.selected or answer.name
            if not isinstance(self._app.screen, ExplainScreen):
                await self._app.push_screen(ExplainScreen(answer.name, answer.index))
