"""What the commands on places inside phases do: find out where to run until, and go there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.plain.inside import held as held_lines
from stepdbg.protocol.graph import GraphRow
from stepdbg.protocol.inside import FindTarget, GetHeld, HeldTensors, Target
from stepdbg.protocol.messages import Action
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.parameters import ParametersPane
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.panes.values import ValuesPane

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

GONE = "the script has gone on, or ended"
NOTHING = "until what? until step, until net.2, or u on a row of the graph, a parameter or a source line"


class InsideCommands:
    """The app's part for places inside phases (`commands.command.InsideHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""

    def _say(self, text: str) -> None:
        self._app.notify(text, severity="warning", markup=False)

    def until(self, place: str) -> None:
        """Run until there, or say in one line why that is no place."""
        text = place.strip() or self._selected()
        if text:
            self._app.run_worker(self._until(text), group="inside", exclusive=True)
        else:
            self._say(NOTHING)

    async def _until(self, text: str) -> None:
        try:
            target = await self._ask(FindTarget(0, text))
        except RequestError as error:
            self._say(f"until: {error}")
        except SessionClosedError:
            self._say(f"until: {GONE}")
        else:
            assert isinstance(target, Target)
            self._app.resume_script(Action.UNTIL, target)

    def _selected(self) -> str:
        """What the cursor of the focused pane is on, as `FindTarget` reads it; empty: nothing to run until."""
        main = self._app.main
        pane = main.pane(main.current)
        if isinstance(pane, GraphPane):
            row = pane.tree_list.row_at_cursor
            return of_row(row) if row is not None else ""
        if isinstance(pane, SourcePane):
            place = pane.place
            return f"{place[0]}:{place[1]}" if place is not None else ""
        if isinstance(pane, ParametersPane):
            line = pane.table.row_at_cursor
            return line.name if line is not None and line.kind in ("parameter", "module") else ""
        return self._app.selected if isinstance(pane, ValuesPane) else ""

    # ── what is held ────────────────────────────────────────────────────────────────────────────────────────

    def next_held(self) -> None:
        """Show the next of the tensors that are there to look at."""
        self._app.run_worker(self._next_held(), group="inside", exclusive=True)

    async def _next_held(self) -> None:
        try:
            found = await self._ask(GetHeld(0))
        except (RequestError, SessionClosedError) as error:
            self._say(str(error) or GONE)
            return
        assert isinstance(found, HeldTensors)
        names = [tensor.name for tensor in found.tensors if tensor.shape is not None]
        if not names:
            self._say("\n".join(held_lines(found)))
            return
        pane = self._app.main.query_one(ValuesPane)
        now = pane.look.expression.removeprefix("@") or names[0]
        following = names[(names.index(now) + 1) % len(names)] if now in names else names[0]
        self._app.values.show(f"@{following}")


def of_row(row: GraphRow) -> str:
    """A row of the graph as `FindTarget` reads it."""
    if row.kind in ("parameter", "unreached", "module"):
        return row.name
    if row.kind in ("op", "loss") and row.seq is not None:
        return f"node {row.seq}"
    return ""
