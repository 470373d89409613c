"""The app's part for explaining a backward (`commands.command.ChainHost`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol.chain import ChainPage, Way
from stepdbg.protocol.graph import Watching
from stepdbg.protocol.messages import GetChain, SetWatching
from stepdbg.ui.header import state_text
from stepdbg.ui.screens.chain import ChainScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

FIRST = 100
"""Steps asked for at first."""


class ChainCommands:
    """Opens the screen, and asks for what it shows: anew at each stop while it is open."""

    def __init__(self, app: StepdbgApp, ask: Ask, answered: Callable[[SetWatching, Watching], None]) -> None:
        self._app = app
        self._ask = ask
        self._answered = answered
        self._late: bool | None = None
        """Whether to watch, as was wished when the script had gone on: done at its next stop."""

    def explain_backward(self, name: str) -> None:
        """Show how the backward comes to that parameter; empty: to the selected one, or the first there is."""
        name = name or self._app.selected  # none is selected where the parameter pane has not been on screen
        screen = self._screen()
        if screen is not None:
            screen.dismiss()
        screen = ChainScreen(name, Way.SHORTEST, self)
        self._app.push_screen(screen)
        self.fetch(0, FIRST)

    def stopped(self) -> None:
        """The script is held anew: what the screen shows is asked for again."""
        screen, late = self._screen(), self._late
        self._late = None
        if screen is not None and late is not None:
            self.watch(on=late)
        elif screen is not None:
            first, last = screen.table.window
            self.fetch(max(0, first - FIRST // 2), max(last - first, 0) + FIRST)

    def tell_state(self) -> None:
        """The script has stopped, or goes on."""
        screen = self._screen()
        if screen is not None:
            screen.tell_state(self._state())

    def fetch(self, offset: int, count: int) -> None:
        """Ask for a page of the chain on screen."""
        self._app.run_worker(self._fetch(offset, count), group="chain")

    def other_way(self) -> None:
        """Show the other path."""
        screen = self._screen()
        if screen is None:
            return
        screen.way = Way.LONGEST if screen.way is Way.SHORTEST else Way.SHORTEST
        screen.table.go_to(0)
        self.fetch(0, FIRST)

    def watch(self, *, on: bool) -> None:
        """Note the gradients along it from the next backward on, or none any more."""
        self._app.run_worker(self._watch(on), group="chain")

    def copy(self, text: str, what: str) -> None:
        """Put it into the clipboard."""
        self._app.copy_to_clipboard(text)
        self._app.notify(f"copied: {what}", markup=False)

    def _screen(self) -> ChainScreen | None:
        return next((s for s in self._app.screen_stack if isinstance(s, ChainScreen)), None)

    def _state(self) -> str:
        view = self._app.view
        return state_text(view).plain if view is not None else ""

    async def _watch(self, on: bool) -> None:
        screen = self._screen()
        if screen is None:
            return
        chain = screen.parameter if on else ""
        query = SetWatching(0, gradients=on, chain=chain, way=screen.way)
        try:
            watching: Watching = await self._ask(query)
        except RequestError as error:
            screen.fail(str(error))
        except SessionClosedError:
            self._late = on
            self._app.notify("watch: the script has gone on: from its next stop on", severity="warning", markup=False)
        else:
            self._answered(query, watching)
            await self._fetch(0, FIRST, watched=True)

    async def _fetch(self, offset: int, count: int, *, watched: bool = False) -> None:
        """`watched`: whether it has just been switched, so not by itself."""
        screen = self._screen()
        if screen is None:
            return
        try:
            page: ChainPage = await self._ask(GetChain(0, screen.parameter, screen.way, offset, count))
        except RequestError as error:
            if screen.is_current and screen.page is None:
                screen.fail(str(error))
        except SessionClosedError:
            pass  # it goes on: asked again at the next stop
        else:
            if screen.is_attached and page.way is screen.way:
                screen.show(page, self._state())
                if page.total and not (watched or page.watched) and self._gradients_are_watched:
                    await self._watch(True)  # the nodes of this chain as well, from the next backward on

    @property
    def _gradients_are_watched(self) -> bool:
        watching = self._app.view.watching if self._app.view is not None else None
        return watching is not None and watching.gradients
