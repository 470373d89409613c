"""The autograd graph as a tree, from the loss down to the parameters it reaches."""

from stepdbg.ui.panes.graph.pane import GraphPane

__all__ = ["GraphPane"]
