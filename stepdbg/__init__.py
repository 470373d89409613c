"""stepdbg: gdb's verbs, on the phases of a PyTorch training loop.

Importing this package imports neither torch nor the screen: scripts may use `stepdbg.phase` freely, and
`stepdbg.set_trace` costs nothing until it is called.
"""

from stepdbg._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # the constant of `typing` without importing that, see agent/bootstrap.py
    from stepdbg.custom_phase import phase
    from stepdbg.trace import post_mortem, set_trace

__all__ = ["__version__", "phase", "post_mortem", "set_trace"]


def __getattr__(name: str) -> object:
    found: object
    if name == "phase":
        from stepdbg.custom_phase import phase

        found = phase
    elif name in ("set_trace", "post_mortem"):
        from stepdbg import trace

        found = getattr(trace, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found
