"""When a command can be done: each returns why it cannot, in one line, or None."""

from __future__ import annotations

from stepdbg.client.store import Status, View
from stepdbg.protocol.records import StopReason


def needs_stop(view: View) -> str | None:
    """The script is held."""
    if view.status is Status.STOPPED:
        return None
    return {
        Status.STARTING: "the script has not come to its first stop yet",
        Status.RUNNING: "the script is running: p pauses it",
        Status.ENDED: "the script has ended: r starts it again",
    }[view.status]


def needs_next(view: View) -> str | None:
    """A phase can follow."""
    reason = needs_stop(view)
    if reason is not None:
        return reason
    why = view.history[-1].stop.reason
    if why is StopReason.EXCEPTION:
        return "no phase can follow an exception: c lets the script end"
    if why is StopReason.FINISHED:
        return "no phase is left: c lets the script end"
    return None


def needs_skippable(view: View) -> str | None:
    """The phase that is next can be left out."""
    reason = needs_next(view)
    if reason is not None:
        return reason
    upcoming = view.history[-1].stop.next
    if upcoming is None:
        return "nothing is about to run"
    if not upcoming.skippable:
        what = upcoming.phase.value
        return f"{what} cannot be skipped: only zero_grad, backward, clip, step and scheduler can"
    return None


def needs_running(view: View) -> str | None:
    """There is something to pause."""
    if view.status is Status.STOPPED:
        return "the script is stopped already"
    if view.status is Status.STARTING:
        return "the script has not imported torch yet: it stops by itself at its first phase"
    if view.status is Status.ENDED:
        return "the script has ended: r starts it again"
    return None if view.lost is None else "the connection to the script is lost"


def needs_restartable(view: View) -> str | None:
    """The session can be started anew."""
    return None if view.info.can_restart else "this session cannot be restarted from here"


def needs_earlier(view: View) -> str | None:
    """There is an earlier stop than the one on screen."""
    if view.ago < len(view.history) - 1:
        return None
    return "there is no earlier stop" if view.history else "the script has not stopped yet"


def needs_looking_back(view: View) -> str | None:
    """An earlier stop is on screen."""
    return None if view.shown is not None else "this is the last stop"


def needs_live(view: View) -> str | None:
    """The stop on screen is the present one."""
    reason = needs_stop(view)
    if reason is None and view.shown is not None:
        return "an earlier stop is on screen: } returns to the present one"
    return reason


def needs_graph(view: View) -> str | None:
    """A graph can be asked for; what has not been asked for yet may be there."""
    reason = needs_live(view)
    if reason is not None:
        return reason
    tree = view.history[-1].graph
    if tree is None or tree.page.recorded_at is not None:
        return None
    note = tree.page.note.rstrip(".")
    return note if note.startswith("no graph") else f"there is no graph: {note}" if note else "there is no graph yet"
