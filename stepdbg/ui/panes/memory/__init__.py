"""Pane 4: bytes held for training, by category, with their course over the last boundaries."""

from stepdbg.ui.panes.memory.pane import MemoryPane

__all__ = ["MemoryPane"]
