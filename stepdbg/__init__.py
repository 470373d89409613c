"""stepdbg: gdb's verbs, on the phases of a PyTorch training loop.

Importing this package imports neither torch nor the screen: scripts may use `stepdbg.phase` freely.
"""

from stepdbg._version import __version__
from stepdbg.custom_phase import phase

__all__ = ["__version__", "phase"]
