"""`stepdbg.set_trace()` and `stepdbg.post_mortem()`: the debugger from inside the script.

Under stepdbg they stop there. Elsewhere they open the debugger on the running process, in the same terminal; without a
terminal they say so in one line, once for each line of the script, and do nothing. Importing this is
cheap.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # the constant of `typing` without importing that, see agent/bootstrap.py
    from types import FrameType
    from typing import Any

__all__ = ["post_mortem", "set_trace"]

_said: set[tuple[str, int]] = set()


def set_trace() -> None:
    """Hold the script here, and open the debugger if it is not there. Also for `PYTHONBREAKPOINT=stepdbg.set_trace`."""
    frame = sys._getframe(1)
    control = _control("set_trace", frame)
    if control is not None:
        control.trap(frame, "stepdbg.set_trace()")


def post_mortem(error: BaseException | None = None) -> None:
    """Look at where `error` was raised: for none the exception that is being handled, or that was printed last.

    Opened for this, the debugger goes again when the script is let go on.
    """
    frame = sys._getframe(1)
    raised = error if error is not None else sys.exc_info()[1]
    if raised is None:
        raised = getattr(sys, "last_value", None)
    if not isinstance(raised, BaseException):
        _say("post_mortem", frame, "no exception is being handled, so there is nothing to look at")
        return
    attached = _observer() is None
    control = _control("post_mortem", frame)
    if control is None:
        return
    import traceback

    text = "".join(traceback.format_exception(type(raised), raised, raised.__traceback__))
    control.post_mortem(raised, text)
    if attached:
        from stepdbg.agent import attach

        attach.leave()


def _observer() -> Any:
    """The tracker, where the agent watches this process."""
    module = sys.modules.get("stepdbg.custom_phase")
    return getattr(module, "observer", None)


def _control(what: str, frame: FrameType) -> Any:
    """What can hold the script; None where nothing can, once that has been said."""
    try:
        import torch  # noqa: F401  (under stepdbg its agent begins with this)
    except ImportError as error:
        _say(what, frame, f"the debugger needs torch, which cannot be imported ({error})")
        return None
    tracker = _observer()
    if tracker is not None:
        # Not armed: within an expression at a stop.
        return tracker.control if tracker.armed else None
    from stepdbg.agent.library import StandardLibrary

    with StandardLibrary():
        from stepdbg.agent import attach

        try:
            return attach.open_screen()
        except attach.NoTerminalError as error:
            problem = str(error)
        except Exception as error:
            problem = f"the debugger cannot be opened ({type(error).__name__}: {error})"
    _say(what, frame, problem)
    return None


def _say(what: str, frame: FrameType, problem: str) -> None:
    place = frame.f_code.co_filename, frame.f_lineno
    if place in _said:
        return
    _said.add(place)
    text = problem.strip().split("\n")[0]
    line = f"stepdbg.{what}() at {os.path.basename(place[0])}:{place[1]}: {text}; the script goes on\n"  # noqa: PTH119
    if sys.stderr is not None:
        sys.stderr.write(line)
        sys.stderr.flush()
