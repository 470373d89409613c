"""The app's parts: one for each group of commands (`commands.command.Host`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from stepdbg.commands.exporting import Ask
from stepdbg.ui.breakpoints import BreakpointCommands
from stepdbg.ui.chains import ChainCommands
from stepdbg.ui.comparing import CompareCommands
from stepdbg.ui.editing import EditCommands
from stepdbg.ui.graphs import GraphCommands
from stepdbg.ui.inside import InsideCommands
from stepdbg.ui.leaking import LeakCommands
from stepdbg.ui.memory import MemoryCommands
from stepdbg.ui.parameters import ParameterCommands
from stepdbg.ui.plots.commands import PlotCommands
from stepdbg.ui.saying import WordsCommands
from stepdbg.ui.step import StepCommands
from stepdbg.ui.values import ValuesCommands

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp


class Parts:
    """What commands reach of the app, by the names that `Host` gives them."""

    def make_parts(self, app: StepdbgApp, ask: Ask, answered: Callable[[int, Any, Any], None]) -> None:
        """Once, before anything is shown. `ask` asks the session that there is; `answered` notes an answer."""
        self.graph = GraphCommands(app, ask, partial(answered, 0))
        self.parameters = ParameterCommands(app, ask)
        self.values = ValuesCommands(app, ask)
        self.step = StepCommands(app, ask, answered)
        self.edits = EditCommands(app, ask, answered)
        self.compare = CompareCommands(app, ask)
        self.plots = PlotCommands(app, ask)
        self.inside = InsideCommands(app, ask)
        self.memory = MemoryCommands(app, ask)
        self.leaks = LeakCommands(app, ask, answered)
        self.chains = ChainCommands(app, ask, partial(answered, 0))
        self.words = WordsCommands(app, ask)
        self.breakpoints = BreakpointCommands(app, self.words.patience.ask, answered)
