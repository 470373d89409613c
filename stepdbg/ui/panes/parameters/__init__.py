"""The parameter pane: every parameter, its numbers, what the last step did to it, and who owns it."""

from stepdbg.ui.panes.parameters.cells import changed, reached, shared_kinds
from stepdbg.ui.panes.parameters.pane import ParametersPane, first_to_see

__all__ = ["ParametersPane", "changed", "first_to_see", "reached", "shared_kinds"]
