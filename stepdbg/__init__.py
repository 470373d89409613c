"""stepdbg: gdb's verbs, on the phases of a PyTorch training loop.

Importing this package imports neither torch nor the screen: scripts may use `stepdbg.phase` freely.
"""

from stepdbg._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # the constant of `typing` without importing that, see agent/bootstrap.py
    from stepdbg.custom_phase import phase

__all__ = ["__version__", "phase"]


def __getattr__(name: str) -> object:
    if name != "phase":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stepdbg.custom_phase import phase

    globals()["phase"] = phase
    return phase
