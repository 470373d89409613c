"""Pane 3: the numbers of one tensor, as numbers, a heatmap, a histogram or a summary."""

from stepdbg.ui.panes.values.body import ValuesBody
from stepdbg.ui.panes.values.pane import SOME, ValuesPane

__all__ = ["SOME", "ValuesBody", "ValuesPane"]
