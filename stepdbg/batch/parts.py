"""More of what commands can have done in a batch: breakpoints, places inside phases, and memory."""

from __future__ import annotations

from typing import Any

from stepdbg.batch.host import Part, only_on_screen
from stepdbg.commands import book
from stepdbg.commands.info import Told
from stepdbg.errors import UsageError
from stepdbg.plain import breakpoints as plain_breakpoints
from stepdbg.plain import leaks as plain_leaks
from stepdbg.plain import parameters as plain_parameters
from stepdbg.plain import whatif as plain_whatif
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import (
    Book,
    DeleteBreakpoint,
    EditBreakpoint,
    GetBreakpoints,
    SetBreakpoint,
)
from stepdbg.protocol.inside import FindTarget
from stepdbg.protocol.leaks import GetLeaks
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.shown import SetNames
from stepdbg.protocol.whatif import GetWhatIf


class Breakpoints(Part):
    """As `BreakpointHost`. Those that the screen has saved for the script are not set: a batch says all it does."""

    @property
    def book(self) -> Book:
        """As told last."""
        return self.driver.view.book or Book()

    def do(self, query: SetBreakpoint | EditBreakpoint | DeleteBreakpoint) -> None:
        self.driver.later(self._do(query))

    async def _do(self, query: Any) -> Told:
        told: Book = await self.driver.ask(query)
        return Told([told.message] if told.message else [], told)

    def toggle(self) -> None:
        raise UsageError("break: nothing is selected in a batch: break backward, break net.2, break 12 if loss > 2")

    def unwatch(self, what: str) -> None:
        self.driver.later(self._unwatch(what))

    async def _unwatch(self, what: str) -> Told:
        chosen = book.watches(self.book.rows, what)
        said = []
        for row in chosen:
            told: Book = await self.driver.ask(DeleteBreakpoint(0, row.number))
            said.append(told.message)
        return Told(said, self.book)

    def show(self) -> None:
        self.tell(GetBreakpoints(0), lambda told: plain_breakpoints.lines(told, self.driver.width))

    async def watched(self) -> Told | None:
        """What watched expressions give at this stop, with their history."""
        if not plain_breakpoints.watching(self.book):
            return None
        told: Book = await self.driver.ask(GetBreakpoints(0))
        seen = self.driver.view.watched

        def numbers(number: int) -> list[float | None]:
            return [one.number for one in seen.get(number, ())]

        return Told(plain_breakpoints.watched(told, numbers, self.driver.width), told)

    def file(self) -> str:
        """The file that the script is held in."""
        history = self.driver.view.history
        stop = history[-1].stop if history else None
        return stop.stack[stop.here].file if stop is not None and stop.here is not None else ""

    def on_hit(self, stop: StopRecord) -> list[str]:
        """The commands that are to run at this stop."""
        return [line for row in book.hit(self.book.rows, stop.why) for line in row.spec.commands]


class Inside(Part):
    """As `InsideHost`."""

    def until(self, place: str) -> None:
        if not place.strip():
            raise UsageError("until what? until step, until net.2, until train.py:12")
        self.driver.later(self._until(place))

    async def _until(self, place: str) -> None:
        target = await self.driver.ask(FindTarget(0, place))
        self.driver.resume(m.Action.UNTIL, target)

    def next_held(self) -> None:
        only_on_screen("going through what is held (show @input[0] names one)")


class Parameters(Part):
    """As `ParameterHost`."""

    def show_names(self, full: bool | None) -> None:
        self.tell(SetNames(0, full), lambda told: [plain_parameters.names(told)])

    def show_columns(self, titles: tuple[str, ...] | None) -> None:
        del titles
        only_on_screen("columns")

    def sort(self, quantity: str, falling: bool) -> None:
        del quantity, falling
        only_on_screen("sort")

    def show_tree(self, on: bool | None) -> None:
        del on
        only_on_screen("tree")


class Leaks(Part):
    """As `LeakHost`."""

    def show(self, what: str) -> None:
        if what == "off":
            self.tell(GetLeaks(0, off=True), lambda _: ["live tensors are not watched any more"])
            return
        free = {"watch": True, "unwatch": False}.get(what)
        self.tell(GetLeaks(0, free=free), lambda found: plain_leaks.lines(found, self.driver.width))

    def what_if(self, query: GetWhatIf) -> None:
        self.tell(query, lambda one: plain_whatif.lines(one, self.driver.width))


class MemoryView(Part):
    """As `MemoryHost`."""

    def show(self) -> None:
        only_on_screen("memory-view (info memory tells the same)")
