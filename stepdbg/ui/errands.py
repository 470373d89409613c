"""What panes have asked on a key: answered with a line for the user, not with something to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.app import App

from stepdbg.client.session import Session
from stepdbg.errors import RequestError, SessionClosedError
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import GraphPath, Watching
from stepdbg.ui.messages import CopyPath, Errand, WatchGradients

Answered = Callable[[m.Query, Any], None]
"""Takes an answer that belongs into the View."""


async def run_errand(app: App[Any], session: Session, errand: Errand, answered: Answered) -> None:
    """Ask for it, and tell in one line what came of it."""
    try:
        if isinstance(errand, CopyPath):
            path: GraphPath = await session.request(m.GetGraphPath(0, errand.index, errand.lens))
            app.copy_to_clipboard(path_text(path))
            app.notify(f"copied: {len(path.names) + path.left_out:,} names, the root first", markup=False)
        elif isinstance(errand, WatchGradients):
            query = m.SetWatching(0, gradients=errand.on)
            watching: Watching = await session.request(query)
            answered(query, watching)
            app.notify(watching_text(watching), markup=False)
    except RequestError as error:
        app.notify(str(error), severity="warning", markup=False)
    except SessionClosedError:
        app.notify("this needs a stop: the script is running, or has ended", severity="warning", markup=False)


def path_text(path: GraphPath) -> str:
    """The names of `path` in one line, the root first; what was left out is said in the middle."""
    names = list(path.names)
    if path.left_out:
        names.insert((len(names) + 1) // 2, f"… {path.left_out:,} more …")
    return " ← ".join(names)


def watching_text(watching: Watching) -> str:
    """What is recorded from here on, in words."""
    if watching.note:
        return watching.note
    if watching.gradients:
        return "gradients are watched: they are taken at the next backward"
    return "gradients are not watched any more: backward runs without hooks of ours"
