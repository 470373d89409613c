"""What the commands about leaks and estimates do: put their screens over the panes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol.leaks import GetLeaks, LeakReport
from stepdbg.protocol.messages import Working
from stepdbg.protocol.whatif import Estimate, GetWhatIf
from stepdbg.ui.screens.leaks import LeaksScreen
from stepdbg.ui.screens.whatif import WhatIfScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

FREE = {"watch": True, "unwatch": False}


class LeakCommands:
    """The app's part (`commands.command.LeakHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask, answered: Callable[[int, Any, LeakReport], None]) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""
        self._answered = answered

    def show(self, what: str) -> None:
        """Look for leaks, and show what is found; "off": end the watching."""
        if what == "off":
            self._app.run_worker(self._off(), group="leaks")
            return
        self._app.push_screen(LeaksScreen(self._look, GetLeaks(0, free=FREE.get(what))))

    def what_if(self, query: GetWhatIf) -> None:
        """Show an estimate, or in one line why there is none."""
        self._app.run_worker(self._estimate(query), group="what-if", exclusive=True)

    async def _look(self, query: Any, progress: Callable[[Working], None] | None = None) -> LeakReport:
        """Ask, and let the memory pane know too."""
        report: LeakReport = await self._ask(query, progress)
        self._answered(report.stop, query, report)
        return report

    async def _off(self) -> None:
        try:
            await self._look(GetLeaks(0, off=True))
        except (RequestError, SessionClosedError) as error:
            self._app.notify(f"leaks: {error}", severity="warning", markup=False)
        else:
            self._app.notify("live tensors are not watched any more", markup=False)

    async def _estimate(self, query: GetWhatIf) -> None:
        try:
            answer: Estimate = await self._ask(query)
        except (RequestError, SessionClosedError) as error:
            self._app.notify(f"what-if: {error}", severity="warning", markup=False)
        else:
            self._app.push_screen(WhatIfScreen(answer))
