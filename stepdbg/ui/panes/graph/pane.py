"""The pane itself: which rows are asked for and shown, and what its keys do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from stepdbg.client.store import GraphTree, ParameterList, Recorded, View
from stepdbg.protocol.graph import MARKS, NODE_MARKS, GraphRow, GraphView, Lens
from stepdbg.protocol.messages import GetGraph, Query, Working
from stepdbg.protocol.records import StopRecord
from stepdbg.ui import marks
from stepdbg.ui.messages import CopyPath, ParameterSelected, ParametersMarked, Wanted, WatchGradients
from stepdbg.ui.panes.graph import frame, rows
from stepdbg.ui.panes.graph.detail import RowDetail, lines_for
from stepdbg.ui.panes.graph.help import HELP, KEYS
from stepdbg.ui.panes.graph.look import Look, Places, Seek, row_of
from stepdbg.ui.panes.graph.picker import GraphPicker
from stepdbg.ui.panes.graph.tree import GraphTreeList
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.widgets.line_list import LineList
from stepdbg.ui.widgets.line_tree import LineTree

PAGE = 80
NEEDS_PRESENT = "needs the present stop"


class GraphPane(RecordedPane):
    """Pane 1. Posts ParameterSelected and ParametersMarked when the cursor comes to what leads to parameters."""

    NUMBER = "1"
    TITLE = "Graph"
    QUERY = GetGraph
    HELP: ClassVar[str | None] = HELP
    BINDINGS: ClassVar[list[BindingType]] = KEYS

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.look = Look()
        self._places = Places()
        self._follow = ""
        """A parameter, selected elsewhere, that the cursor is still to go to."""
        self._own: list[str] = []
        """Parameters selected here, as far as the app has not said so yet."""
        self._marked: tuple[str, ...] = ()
        self._hint = ""
        """What is wrong with the pattern."""
        self._offer = ""
        self._untold = False
        """Whether the user moved the cursor to a row that has not been received."""
        self._not_measured: tuple[int, int] | None = None
        """Stop and graph whose bytes could not be measured: not asked for again."""
        self._tree: GraphTree | None = None
        self._shown: tuple[int, GraphTree, ParameterList | None] | None = None
        self.tree_list = GraphTreeList(self._again)
        self.detail = RowDetail()

    def content(self) -> Iterable[Widget]:
        yield self.tree_list
        yield self.detail

    @property
    def lens(self) -> Lens:
        """How the graph is looked at."""
        return self.look.lens

    # ── state down ──────────────────────────────────────────────────────────────────────────────────────────

    def on_mount(self) -> None:
        self.watch(self.tree_list, "cursor", self._show_detail, init=False)

    def on_resize(self) -> None:
        self.detail.styles.height = lines_for(self.size.height)
        self.call_after_refresh(self.update_pane)

    def parts(self, view: View, recorded: Recorded) -> tuple[object, ...]:
        return recorded.graph, recorded.parameters, recorded.working, view.watching

    def show_stop(self, recorded: Recorded) -> str | None:
        tree, stop = recorded.graph, recorded.stop.number
        if self.live:
            self._places.give_up(recorded.failed, self._failure(recorded))
            if tree is not None:
                if tree is not self._tree and not self.look.fit(tree):
                    self._places.jumps.clear()
            elif (failure := self._failure(recorded)) and not failure.startswith(frame.CANCELLED):
                self.look.newest()
            self._ask_for(tree)
        if tree is None:
            return None
        self._tree = tree
        self.set_subtitle(frame.title(tree, self.size.width - 16))
        if tree.page.recorded_at is None or not tree.page.total:
            self.tree_list.show_tree({}, 0)
            self._shown = None
            self._show_detail()
            return frame.why_no_rows(tree)
        self._show_rows(stop, tree, recorded.parameters)
        why = frame.flows(tree.page, self.view.watching if self.view is not None else None)[0]
        self.detail.remark = why if tree.page.flows and why.startswith("∂") else ""
        if self.live:
            self._arrive(tree)
            self._measure(recorded, tree)
        self._offer = frame.cut_off(self._failure(recorded), tree, self.lens) if self.live else ""
        return self._hint or self._offer or frame.note(tree.page)

    def update_pane(self) -> None:
        super().update_pane()
        working = self._working()
        tree = self.view.history[-1].graph if working is not None and self.view is not None else None
        if working is not None and (tree is None or tree.lens.graph != self.lens.graph):
            self.say(frame.progress(working))  # what is on screen is not what is being walked

    def _working(self) -> Working | None:
        """How far the answer is, where it takes a while."""
        present = self.view.history[-1] if self.view is not None and self.live else None
        return present.working.get(GetGraph.__name__) if present is not None else None

    def why_missing(self) -> str:
        recorded = self.view.looking_at if self.view is not None else None
        failure = self._failure(recorded) if recorded is not None else ""
        return frame.cancelled(failure) if failure.startswith(frame.CANCELLED) else super().why_missing()

    def _ask_for(self, tree: GraphTree | None) -> None:
        """Ask for rows that this way of looking shows, with the place that is sought among them."""
        if tree is not None and tree.page.total and self._follow and self._places.sought is None:
            name, self._follow = self._follow, ""
            here = self.tree_list.row_at_cursor
            if here is None or here.name != name:
                self._start(Seek(f"parameter:{name}"))
        if self._places.sought is not None or tree is None or tree.lens != self.lens:
            self.ask(self._first_rows())

    def _show_rows(self, stop: int, tree: GraphTree, listing: ParameterList | None) -> None:
        if self._shown is not None and all(a is b for a, b in zip(self._shown, (stop, tree, listing), strict=True)):
            return
        self._shown = stop, tree, listing
        self.tree_list.show_graph(tree, listing)
        self._show_detail()
        if self._untold and self.tree_list.row_at_cursor is not None:
            self._tell()

    def wanted(self, stop: StopRecord) -> tuple[Query, ...]:
        self._places.sought = None
        if where := row_of(stop.at):
            self._start(Seek(where))
        return (self._first_rows(),)

    def _first_rows(self) -> GetGraph:
        first = self.tree_list.window[0] if self._tree is not None else 0
        seek = self._places.sought or Seek("", count=self._count)
        return GetGraph(0, first, seek.count, self.lens, seek.where)

    @property
    def _count(self) -> int:
        return max(PAGE, 2 * self.tree_list.page)

    def clear(self) -> None:
        self._tree = self._shown = None
        self.set_subtitle("")
        self.tree_list.show_tree({}, 0)
        self.detail.row = None

    def _show_detail(self) -> None:
        self.detail.row = self.tree_list.row_at_cursor

    def state_text(self) -> str:
        if self._tree is None or self.view is None:
            return ""
        if (working := self._working()) is not None:
            return frame.progress(working)
        return frame.counts(self._tree.page, self.view.watching, self.size.width - 2)

    def _measure(self, recorded: Recorded, tree: GraphTree) -> None:
        """Once the tree has been painted, ask for the bytes that are not in it yet."""
        graph = recorded.stop.number, tree.page.graph
        if not tree.page.unmeasured or self._not_measured == graph or self._places.sought is not None:
            return
        if self._failure(recorded):
            self._not_measured = graph
        elif tree.lens == self.lens:
            self.call_after_refresh(self.ask, replace(self._first_rows(), measure=True))

    # ── places ──────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, seek: Seek) -> None:
        view = self.view
        failed = view.history[-1].failed if view is not None and view.history else None
        self._places.start(seek, self._count, failed)

    def _arrive(self, tree: GraphTree) -> None:
        """Put the cursor where what was sought has been found."""
        seek = self._places.arrived(tree, self.lens)
        if seek is None:
            return
        found = tree.page.found
        if found is not None:
            self.tree_list.go_to(found)
            if seek.by_user:
                self._tell()
        elif seek.missing:
            self.notify(seek.missing, markup=False)
        elif not seek.stays:
            self.tree_list.go_to(0)

    def _jump(self, where: str, missing: str) -> None:
        row = self.tree_list.row_at_cursor
        if row is not None and self._is_present("jumping"):
            self._start(Seek(f"{where}:{row.index}", missing, began=row.index, by_user=True))
            self.update_pane()

    def _is_present(self, what: str) -> bool:
        """Whether the stop on screen can be asked; if not, the border says that `what` needs it."""
        if not self.live:
            self.set_state(f"{what} {NEEDS_PRESENT}")
        return self.live

    def _look_again(self, place: str = "") -> None:
        """Show what the lens shows now, with the cursor at `place` if that is among it."""
        if place:
            self._start(Seek(place))
        self.update_pane()

    # ── selection, both ways ────────────────────────────────────────────────────────────────────────────────

    def watch_selected(self, before: str, after: str) -> None:
        self.look.select(after)
        if after in self._own:
            del self._own[: self._own.index(after) + 1]
        elif before:  # the first one is chosen by nobody
            self._own.clear()
            self._follow = after
        self.update_pane()

    def _tell(self) -> None:
        """Tell the others what the cursor, moved by the user, is on."""
        row = self.tree_list.row_at_cursor
        self._untold = row is None
        if row is None:
            return
        name = rows.parameter_of(row)
        if name and name != (self._own[-1] if self._own else self.selected):
            self._own.append(name)
            self.post_message(ParameterSelected(name))
        marked = () if name else row.parameters
        if marked != self._marked:
            self._marked = marked
            self.post_message(ParametersMarked(marked))

    # ── wishes up ───────────────────────────────────────────────────────────────────────────────────────────

    def search(self, pattern: str) -> None:
        """Show only rows that match `pattern`, with the rows above them."""
        pattern, self._hint = marks.read(pattern, (*MARKS, *NODE_MARKS))
        if self._hint or pattern == self.lens.pattern:
            self.update_pane()
            return
        row = self.tree_list.row_at_cursor
        self.look.search(pattern)
        self._look_again(f"row:{row.index}" if row is not None and not pattern and self.live else "")

    def on_line_list_rows_wanted(self, event: LineList.RowsWanted) -> None:
        event.stop()
        if self._places.sought is None:  # else it is wanted again once the place is known
            self.ask(GetGraph(0, event.offset, event.count, self.lens))

    def on_line_list_cursor_moved(self, event: LineList.CursorMoved) -> None:
        event.stop()
        self._tell()

    def on_line_list_row_chosen(self, event: LineList.RowChosen) -> None:
        event.stop()
        if isinstance(event.row, GraphRow) and event.row.kind == "reference":
            self._jump("target", "what it refers to is folded away: = or + brings it back")
        else:
            self._tell()

    def on_line_tree_level_wanted(self, event: LineTree.LevelWanted) -> None:
        event.stop()
        if event.row is None:
            self.fold(event.level)
        elif self._is_present("folding"):
            self.look.level(event.row.index, event.level)
            self._look_again()

    def on_line_tree_parent_wanted(self, event: LineTree.ParentWanted) -> None:
        event.stop()
        self.action_parent()

    # ── how it is shown: for keys and commands ──────────────────────────────────────────────────────────────

    def show_view(self, view: GraphView | None) -> None:
        """That one of the two views, None for the other one; the cursor stays on its parameter."""
        if self._is_present("the other view") and view is not self.lens.view:
            row = self.tree_list.row_at_cursor
            self.look.other_view()
            self._places.jumps.clear()
            self._look_again(f"parameter:{row.name}" if row is not None and rows.parameter_of(row) else "row:0")

    def fold(self, base: int) -> None:
        """Give all rows that level."""
        if self._is_present("folding"):
            row = self.tree_list.row_at_cursor
            self.look.base(base)
            self._look_again(f"row:{row.index}" if row is not None else "")

    def action_pick(self) -> None:
        """The list of graphs to choose from, if there are several."""
        page = self._tree.page if self._tree is not None else None
        if page is None or not page.choices:
            self.notify("there is no graph to choose yet", markup=False)
        elif len(page.choices) == 1:
            only = page.choices[0]
            self.notify(f"there is one graph only: {only.title}, iteration {only.iteration:,}", markup=False)
        elif self._is_present("choosing"):
            picker = GraphPicker(page.choices, page.graph, chosen=bool(self.lens.graph))
            self.app.push_screen(picker, self.choose)

    def choose(self, graph: int | None) -> None:
        """Look at that graph, 0: at the newest, at each stop; None: at the same as before."""
        if graph is not None and self._tree is not None and graph != self._tree.page.graph:
            self.look.enter(graph)
            self._places.jumps.clear()
            self._look_again("row:0")

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────

    def action_view(self) -> None:
        """The other of the two views."""
        self.show_view(None)

    def action_parent(self) -> None:
        """To the row that the one under the cursor hangs from."""
        self._jump("parent", "this is the root: nothing is above it")

    def action_leaf(self) -> None:
        """To the next leaf below."""
        self._jump("leaf", "there is no leaf below")

    def action_back(self) -> None:
        """To where the last jump began."""
        if not self._places.jumps:
            self.notify("there was no jump to come back from", markup=False)
        elif self._is_present("jumping"):
            self._start(
                Seek(f"row:{self._places.jumps.pop()}", "the row where the jump began is folded away", by_user=True)
            )
            self.update_pane()

    def action_gradient(self) -> None:
        """Enter the graph of the gradient of the parameter under the cursor."""
        row = self.tree_list.row_at_cursor
        name = rows.parameter_of(row) if row is not None else ""
        if self._tree is None or not name:
            self.notify("d enters the graph of a parameter's gradient: put the cursor on a parameter ●", markup=False)
            return
        of = (c.id for c in self._tree.page.choices if c.kind == "gradient" and c.title.split()[-1] == name)
        graph = next(of, None)
        if graph is None:
            self.notify(f"{name}.grad has no graph: that needs backward(create_graph=True)", markup=False)
        elif self._is_present("another graph"):
            self.choose(graph)

    def action_watch(self) -> None:
        """Watch gradients from the next backward on, or no longer."""
        page = self._tree.page if self._tree is not None else None
        watching = self.view.watching if self.view is not None else None
        self.post_message(WatchGradients(not frame.is_watching(page, watching)))

    def action_copy(self) -> None:
        """Copy the path from the root to the row under the cursor."""
        row = self.tree_list.row_at_cursor
        if row is not None and self._is_present("the path"):
            self.post_message(CopyPath(row.index, self.lens))

    def action_again(self) -> None:
        """Ask once more, after it failed or was cancelled."""
        recorded = self.view.looking_at if self.view is not None else None
        if self.live and recorded is not None and self._failure(recorded):
            self._not_measured = None
            measure = recorded.graph is not None and frame.lacks_bytes(recorded.graph, self.lens)
            self.post_message(Wanted(replace(self._first_rows(), measure=measure), again=True))

    def _again(self) -> bool:
        """The same, where the sentence above the tree offers it; False: it does not."""
        if offered := self.live and bool(self._offer):
            self.action_again()
        return offered
