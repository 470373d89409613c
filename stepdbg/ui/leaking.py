"""What the commands about leaks and estimates do: put their screens over the panes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol.leaks import GetLeaks
from stepdbg.protocol.whatif import Estimate, GetWhatIf
from stepdbg.ui.screens.leaks import LeaksScreen
from stepdbg.ui.screens.whatif import WhatIfScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

FREE = {"watch": True, "unwatch": False}


class LeakCommands:
    """The app's part (`commands.command.LeakHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""

    def show(self, what: str) -> None:
        """Look for leaks, and show what is found; "off": end the watching."""
        if what == "off":
            self._app.run_worker(self._off(), group="leaks")
            return
        self._app.push_screen(LeaksScreen(self._ask, GetLeaks(0, free=FREE.get(what))))

    def what_if(self, query: GetWhatIf) -> None:
        """Show an estimate, or in one line why there is none."""
        self._app.run_worker(self._estimate(query), group="what-if", exclusive=True)

    async def _off(self) -> None:
        try:
            await self._ask(GetLeaks(0, off=True))
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
