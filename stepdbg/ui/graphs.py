"""What the commands on graphs do: the pane's view of the graph is changed, watched or written to a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.worker import Worker

from stepdbg.commands.exporting import Ask, export_graph
from stepdbg.errors import RequestError, SessionClosedError, UsageError
from stepdbg.protocol.graph import GraphChoice, GraphPath, GraphView, Lens, Watching
from stepdbg.protocol.messages import GetGraphPath, SetWatching
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.progress import ProgressLine

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

GONE = "the script has gone on, or ended"


class GraphCommands:
    """The app's part for graphs (`commands.command.GraphHost`)."""

    def __init__(self, app: StepdbgApp, ask: Ask, answered: Callable[[SetWatching, Watching], None]) -> None:
        self._app = app
        self._ask = ask
        """Asks the session that there is."""
        self._answered = answered
        """Takes what belongs into the View."""
        self._export: Worker[None] | None = None
        self._late: SetWatching | None = None
        """What the user wished when the script had just gone on: done at its next stop."""

    @property
    def _pane(self) -> GraphPane:
        return self._app.main.query_one(GraphPane)

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._app.notify(text, severity="warning" if wrong else "information", markup=False)

    # ── how it is shown ─────────────────────────────────────────────────────────────────────────────────────

    def show_view(self, view: str) -> None:
        """By modules or raw; empty: the other one."""
        self._pane.show_view(GraphView(view) if view else None)
        self._bring()

    def fold(self, base: int) -> None:
        """All rows alike."""
        self._pane.fold(base)
        self._bring()

    def choose(self, number: int | None) -> None:
        """Another graph, if there is one of that number; without a number the pane's picker."""
        if number is None:
            self._bring()
            self._pane.action_pick()
            return
        choices = self._choices()
        if number in {choice.id for choice in choices}:
            self._pane.choose(number)
            self._bring()
        else:
            there = ", ".join(f"{choice.id} {choice.title}" for choice in choices) or "none is known"
            self._say(f"which: there is no graph {number}: {there}", wrong=True)

    def _choices(self) -> tuple[GraphChoice, ...]:
        view = self._app.view
        recorded = view.looking_at if view is not None else None
        return recorded.graph.page.choices if recorded is not None and recorded.graph is not None else ()

    def _bring(self) -> None:
        """Bring the pane on screen where only one is."""
        if self._app.main.single:
            self._app.focus_pane(GraphPane.NUMBER)

    # ── what is watched ─────────────────────────────────────────────────────────────────────────────────────

    def watch(self, what: str, *, on: bool) -> None:
        """Switch it, and say what is recorded from now on."""
        query = SetWatching(0, on if what == "grads" else None, on if what == "stacks" else None)
        self._app.run_worker(self._watch(query), group="watching")

    def stopped(self) -> None:
        """The script has stopped: do what was wished too late for the stop before."""
        query, self._late = self._late, None
        if query is not None:
            self._app.run_worker(self._watch(query), group="watching")

    async def _watch(self, query: SetWatching) -> None:
        try:
            watching: Watching = await self._ask(query)
        except RequestError as error:
            self._say(f"watch: {error}", wrong=True)
        except SessionClosedError:
            self._late = query
            self._say("watch: the script has gone on: from its next stop on")
        else:
            self._answered(query, watching)
            self._say(watched(watching))

    # ── a path ──────────────────────────────────────────────────────────────────────────────────────────────

    def copy_path(self, index: int, lens: Lens) -> None:
        """Put the way from the root to that row into the clipboard."""
        self._app.run_worker(self._copy(GetGraphPath(0, index, lens)), group="copying")

    async def _copy(self, query: GetGraphPath) -> None:
        try:
            path: GraphPath = await self._ask(query)
        except RequestError as error:
            self._say(f"copy: {error}", wrong=True)
        except SessionClosedError:
            self._say(f"copy: {GONE}", wrong=True)
        else:
            self._app.copy_to_clipboard(path_text(path))
            self._say(f"copied: the path of {len(path.names) + path.left_out:,} names, the root first")

    # ── export ──────────────────────────────────────────────────────────────────────────────────────────────

    def export(self, name: str, *, replace: bool) -> None:
        """Write the graph as the pane shows it now."""
        if self._export is not None and self._export.is_running:
            self._say("export: one is under way, escape stops it", wrong=True)
            return
        self._export = self._app.run_worker(self._write(name, replace=replace), group="export")

    def stop_export(self) -> bool:
        """Stop writing; False when nothing is being written."""
        if self._export is None or not self._export.is_running:
            return False
        self._export.cancel()
        self._export = None
        self._say("export: stopped, nothing was written")
        return True

    async def _write(self, name: str, *, replace: bool) -> None:
        line = self._app.main.query_one(ProgressLine)

        def tell(what: str, done: int, total: int) -> None:
            line.progress = what, done, total

        try:
            done = await export_graph(self._ask, self._pane.lens, name, over=replace, tell=tell)
        except UsageError as error:
            self._say(f"export: {error}", wrong=True)
        except RequestError as error:
            self._say(f"export: nothing was written: {error}", wrong=True)
        except SessionClosedError:
            self._say(f"export: nothing was written: {GONE}", wrong=True)
        else:
            self._say(done)
        finally:
            line.progress = None


def path_text(path: GraphPath) -> str:
    """The names of `path` in one line, the root first; what was left out is said in the middle."""
    names = list(path.names)
    if path.left_out:
        names.insert((len(names) + 1) // 2, f"… {path.left_out:,} more …")
    return " ← ".join(names)


def watched(watching: Watching) -> str:
    """What is recorded from here on, in one line."""
    if watching.note:
        return watching.note
    kinds = [
        ("gradients at modules (from the next backward on)", watching.gradients),
        ("the lines that make nodes", watching.stacks),
    ]
    names = [name for name, on in kinds if on]
    return f"watched: {' and '.join(names)}" if names else "nothing is watched: watch grads, or watch stacks"
