"""What the commands on edits do: have something set, say what that changed, and list it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stepdbg.commands.exporting import Ask
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol.edits import Edited, SetRequiresGrad, SetValue
from stepdbg.protocol.messages import GetParameters, GetValues
from stepdbg.ui.edited import summary, told
from stepdbg.ui.graphs import GONE
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.screens.edits import EditsScreen

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

READ_AGAIN = (GetParameters, GetValues)
"""What panes have asked that an edit changes the answers of."""

Query = SetValue | SetRequiresGrad


class EditCommands:
    """The app's part for changes by hand (`commands.command.EditHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask, answered: Callable[[int, Query, Edited], None]) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""
        self._answered = answered
        """Takes the answer of a stop into the View."""

    def set(self, query: Query) -> None:
        """Have it done, and say what it changed."""
        self._app.run_worker(self._set(query), group="editing")

    def show(self) -> None:
        """List every edit of this run."""
        view = self._app.view
        self._app.push_screen(EditsScreen(view.edits if view is not None else ()))

    async def _set(self, query: Query) -> None:
        try:
            edited: Edited = await self._ask(query)
        except RequestError as error:
            self._say(f"set: {error}", wrong=True)
        except SessionClosedError:
            self._say(f"set: {GONE}", wrong=True)
        else:
            self._answered(edited.stop, query, edited)
            self.read_again()
            for line in outcome(edited):
                self._say(line, wrong=line == edited.cut_short)

    def read_again(self, kinds: tuple[type[Any], ...] = READ_AGAIN) -> None:
        """Have the panes that ask one of these ask anew: at once, or when they come on screen."""
        for pane in self._app.main.query(RecordedPane):
            if pane.QUERY in kinds:
                pane.outdate()

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._app.notify(text, severity="warning" if wrong else "information", markup=False)


def outcome(edited: Edited) -> list[str]:
    """What was set, in one line, then each remark on it once."""
    edits = edited.edits
    lines = [f"set {told(edits[0]) if len(edits) == 1 else summary(edits)}"]
    lines += dict.fromkeys(edit.note for edit in edits if edit.note)
    return [*lines, edited.cut_short] if edited.cut_short else lines
