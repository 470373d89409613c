"""The app: the one place that talks to the session. Events and answers become the View that panes show."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Input
from textual.worker import Worker

from stepdbg.client import store
from stepdbg.client.resident import resident_bytes
from stepdbg.client.session import Event, Output, Session
from stepdbg.client.store import Status, View
from stepdbg.commands import BY_NAME, COMMANDS, Command
from stepdbg.errors import RequestError, SessionClosedError, StepdbgError
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import Target
from stepdbg.protocol.records import ParameterPage
from stepdbg.ui.ahead import Ahead
from stepdbg.ui.background import heard_in_turn
from stepdbg.ui.behind import InOrder
from stepdbg.ui.messages import (
    ConsoleInput,
    ConsoleResized,
    CopyPath,
    ParameterSelected,
    ParametersMarked,
    ValuesMessage,
    Wanted,
    WatchGradients,
)
from stepdbg.ui.options import UiConfig
from stepdbg.ui.order import in_order
from stepdbg.ui.output import ConsoleLink
from stepdbg.ui.panes.parameters import first_to_see
from stepdbg.ui.panes.recorded import RecordedPane
from stepdbg.ui.parts import Parts
from stepdbg.ui.prompt import PromptBar
from stepdbg.ui.requests import Requests
from stepdbg.ui.screens.help import HelpScreen, help_text
from stepdbg.ui.screens.main import ALL_PANES, TYPED, MainScreen
from stepdbg.ui.state import State
from stepdbg.ui.theme import DARK, LIGHT, choose_theme


class StepdbgApp(Parts, InOrder):
    """Shows one session and sends it the user's commands. Runs as `run()` and returns how the script ended.

    The session is started by the app and closed by it, however the app ends.
    """

    CSS_PATH = "app.tcss"
    TITLE = "stepdbg"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "command('quit')", show=False, priority=True),
        Binding("ctrl+l", "command('redraw')", show=False, priority=True, id="redraw"),  # over any screen
    ]

    # Widgets repaint what concerns them: the whole screen is not painted anew for every change.
    view: reactive[View | None] = reactive(None, repaint=False)
    selected: reactive[str] = reactive("", repaint=False)
    marked: reactive[frozenset[str]] = reactive(frozenset(), repaint=False)
    element: reactive[tuple[int, ...]] = reactive((), repaint=False)  # of the selected parameter; () for none

    def __init__(self, session: Session, config: UiConfig | None = None) -> None:
        super().__init__()
        self.config = config or UiConfig()
        self._session = session
        self._state = State(self)
        self._requests = Requests(session, self._answered, self._state)
        self.make_parts(self, self._ask_session, self._answered)
        self._ahead = Ahead()
        self._console = ConsoleLink(self, lambda: self._session)
        self._follower: Worker[None] | None = None
        self._leaving = False
        self.set_reactive(StepdbgApp.view, View(session.info))

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────

    def get_default_screen(self) -> Screen[None]:
        """The one screen, bound to the app's state."""
        self.main = MainScreen()
        return self.main.data_bind(StepdbgApp.view, StepdbgApp.selected, StepdbgApp.marked)

    def on_mount(self) -> None:
        """Looks and keys as the user wants them."""
        heard_in_turn(self._driver)
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        if self.config.theme is not None:
            self.switch_theme(self.config.theme)
        self.set_keymap(self.config.keymap)
        self.run_worker(self._console.output.run(), name="output")

    def on_ready(self) -> None:
        """The panes are there to show what happens: start the script."""
        if self.config.history is not None:
            self.main.prompt.remember(self.config.history)
        self._follow(self._session)
        if self._session.info.command:
            # What is loaded by now stays: without this, each full collection goes through all of it again, 0.1 s in
            # which no key is heard. In process the objects may be the user's, so there it is left alone.
            gc.freeze()

    async def on_unmount(self) -> None:
        """No script is left behind, whatever ended the app."""
        await self._session.close()

    @property
    def _seen(self) -> View:
        assert self.view is not None
        return self.view

    @property
    def _going_on(self) -> bool:
        """Whether the script is past the stop on screen, and the screen does not show that yet."""
        view, stop = self._seen, self._session.stop
        present = stop is not None and bool(view.history) and stop.number == view.history[-1].stop.number
        return view.status is Status.STOPPED and not present

    def _follow(self, session: Session) -> None:
        """Read that session's events from now on, and no other's."""
        if self._follower is not None:
            self._follower.cancel()
        self._session = session
        self._requests = Requests(session, self._answered, self._state)
        self._ahead.clear()
        self.plots.restarted()
        self._state.clear(View(session.info))
        self._follower = self.run_worker(self._read_events(session), name="events")

    async def _read_events(self, session: Session) -> None:
        try:
            await session.start()
        except StepdbgError as error:
            self.exit(None, return_code=2, message=str(error))
            return
        self._console.started()
        async for event in session.events():
            if isinstance(event, Output):
                self._console.output.push(event.data)
            else:
                self._take(event)
            # A queue that is never empty never gives way: keys and painting must have their turn.
            await asyncio.sleep(0)

    def _take(self, event: Event) -> None:
        """Show the event; a stop, as soon as what the panes want to know of it has been answered."""
        self._state.event(event)
        self.plots.event(event)
        if isinstance(event, m.Stopped):
            stop, hello = event.stop, self._seen.hello
            self.graph.stopped()
            if hello is not None:
                rss = resident_bytes(hello.pid)
                self._state.change(lambda view: store.apply_rss(view, stop.number, rss))
            wishes = [query for pane in self.main.query(RecordedPane) for query in pane.wishes(stop)]
            for query in in_order(wishes, self._seen):
                self._ask(stop.number, query)
            if not wishes:
                self._state.show()
            self.chains.stopped()
            self.breakpoints.stopped(stop)

    def watch_view(self, before: View | None, after: View | None) -> None:
        """Tell warnings as they come; keys that cannot be used now are greyed out."""
        if before is None or after is None:
            return
        for notice in after.notices[len(before.notices) :] if after.notices != before.notices else ():
            self.notify(notice, severity="warning", markup=False)
        self.memory.tell(after)
        standing = [(view.status, view.shown, len(view.history), view.lost) for view in (before, after)]
        if standing[0] != standing[1]:
            self.main.refresh_bindings()
            self.plots.tell_state()
            self.chains.tell_state()
        self.breakpoints.tell_state()
        self._step_ahead(after)

    def _step_ahead(self, view: View) -> None:
        """Do the steps that were asked for before the screen said that it runs: each at a stop of its own."""
        if not self._ahead or view.status is Status.RUNNING or self._going_on:
            return
        command = self._ahead.pop(view)
        if command is not None:
            command.run(self, "")

    # ── messages of the panes ───────────────────────────────────────────────────────────────────────────────

    @on(Wanted)
    def _wanted(self, event: Wanted) -> None:
        recorded = self._seen.looking_at
        if not self._seen.live or recorded is None:
            return
        self._ask(recorded.stop.number, event.query, again=event.again)

    def _ask(self, stop: int, query: m.Query, *, again: bool = False) -> None:
        if self._requests.note(stop, query, again=again):
            self.run_worker(self._requests.ask(type(query)), group="requests")

    async def _ask_session(self, query: m.Query, progress: Callable[[m.Working], None] | None = None) -> object:
        return await self._session.request(query, progress)

    def _answered(self, stop: int, query: m.Query, answer: object) -> None:
        if isinstance(answer, ParameterPage) and not (answer.offset or self.selected):
            self.selected = first_to_see(answer.rows)
        self._state.change(lambda view: store.apply_answer(view, stop, query, answer))

    @on(ParameterSelected)
    def _selected(self, event: ParameterSelected) -> None:
        if event.name != self.selected:
            self.selected, self.element = event.name, ()

    @on(ValuesMessage)
    def _values_message(self, event: ValuesMessage) -> None:
        self.values.take(event)

    @on(ParametersMarked)
    def _marked(self, event: ParametersMarked) -> None:
        self.marked = frozenset(event.names)

    @on(CopyPath)
    def _copy_path(self, event: CopyPath) -> None:
        self.graph.copy_path(event.index, event.lens)

    @on(WatchGradients)
    def _watch_gradients(self, event: WatchGradients) -> None:
        self.graph.watch("grads", on=event.on)

    @on(ConsoleInput)
    def _console_input(self, event: ConsoleInput) -> None:
        self._console.write(event.data)

    @on(ConsoleResized)
    def _console_resized(self, event: ConsoleResized) -> None:
        self._console.resize(event.columns, event.rows)

    @on(PromptBar.CommandEntered)
    def _command_entered(self, event: PromptBar.CommandEntered) -> None:
        self.run_command(event.parsed.command, event.parsed.argument)

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────

    def run_command(self, command: Command, argument: str = "") -> None:
        """Do it, or say in one line why it cannot be done now."""
        if command.name == "pause" and self._ahead:
            self._ahead.clear()
            if self._seen.status is not Status.RUNNING and not self._going_on:
                return  # held between two of the steps that were to come
        if self._going_on and command.group == "Run":
            if self._ahead.add(command, argument):
                return
            self._state.show()  # it is judged by what the script does
        reason = command.available(self._seen)
        if reason is not None:
            self.notify(f"{command.name}: {reason}", severity="warning", markup=False)
            return
        command.run(self, argument)

    def action_command(self, name: str) -> None:
        """What keys, tabs and the footer do."""
        self.run_command(BY_NAME[name])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out the keys of what cannot be done now."""
        if action == "command" and parameters and isinstance(parameters[0], str):
            command = BY_NAME[parameters[0]]
            if command.name in TYPED and isinstance(self.focused, Input):
                return False  # there it is a letter
            if self._going_on and command.group == "Run":
                return True  # not what the screen shows: `run_command` finds out
            return None if command.available(self._seen) is not None else True
        return super().check_action(action, parameters)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:  # noqa: ARG002
        """Every command, for the palette; those that need an argument open the prompt."""
        for command in COMMANDS:
            if command.argument is not None and command.argument.required:
                yield SystemCommand(command.name, command.help, lambda c=command: self.open_prompt(f"{c.name} "))
            else:
                yield SystemCommand(command.name, command.help, lambda c=command: self.run_command(c))
        yield SystemCommand("screenshot", "Save a picture of the screen as SVG.", self.deliver_screenshot)

    def action_interrupt(self) -> None:
        """ctrl+c: copy what is selected with the mouse; else pause what runs, or stop work that takes long."""
        if self.screen.get_selected_text():
            self.screen.action_copy_text()
        elif self._stop_work():
            pass
        elif self._seen.status is Status.RUNNING and self._seen.lost is None:
            self.pause_script()
        else:
            self.notify("press q to quit", markup=False)

    def resume_script(self, action: m.Action, target: Target | None = None, *, times: int = 1) -> None:
        """Let the stopped script go on; a refused skip is said in one line. `times`: again at the stops after it."""
        self._ahead.again(action, times - 1)
        try:
            self._session.resume(action, target)
        except RequestError as error:
            self.notify(str(error), severity="warning", markup=False)
        except SessionClosedError:
            pass  # pressed again before the script's side has answered: it goes on already

    def pause_script(self) -> None:
        """Ask for a stop at the next boundary."""
        try:
            self._session.pause()
            self._state.change(store.apply_pause)
        except SessionClosedError as error:
            self.notify(str(error), severity="warning", markup=False)

    def restart_script(self) -> None:
        """End the script and start it anew; the panes stay, the history is cleared."""
        self.run_worker(self._restart(), group="restart", exclusive=True)

    async def _restart(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
        try:
            session = await self._session.restarted()
        except StepdbgError as error:
            self.exit(self._session.exited, return_code=2, message=str(error))
            return
        if session.info.has_console:
            self._console.output.push(b"\r\n--- restarted ---\r\n")
        self._follow(session)

    def quit_debugger(self) -> None:
        """End the script, then the app; asked a second time, without waiting for the script."""
        if self._leaving:
            self.exit(self._session.exited)
            return
        self._leaving = True
        self.run_worker(self._quit(), group="quit")

    async def _quit(self, *, detach: bool = False) -> None:
        await self._session.close(detach=detach)
        self.exit(self._session.exited)

    def look_back(self, steps: int | None) -> None:
        """Show another recorded stop; None: the present."""
        self.view = store.look(self._seen, self._seen.ago if steps is None else steps)

    def focus_pane(self, number: str) -> None:
        """Give that pane the keys."""
        self.main.focus_pane(number)

    def maximize_pane(self) -> None:
        """All the room for the current pane, or shared again."""
        self.main.maximised = not self.main.maximised

    def search_pane(self, pattern: str) -> None:
        """Search in the current pane, if it has anything to search."""
        pane = self.main.pane(self.main.current)
        if not pane.searchable:
            self.notify(f"there is nothing to search in the {pane.TITLE.lower()} pane", markup=False)
        elif pattern:
            self.main.search(pane, pattern)
        else:
            self.main.open_prompt("/")

    def leave(self) -> None:
        """Step out of what is open, innermost first; before all, of an answer that takes a while."""
        cancelled = self._stop_work() or bool(self._ahead)
        self._ahead.clear()
        if not (cancelled or self.graph.stop_export() or self.main.leave()) and self._seen.shown is not None:
            self.look_back(None)

    def _stop_work(self) -> bool:
        """Cancel expressions and answers that take a while; False: there are none."""
        if self._seen.evaluating is not None:
            return self._session.cancel_evaluation()
        expressions = self.words.cancel()
        return (self._seen.live and self._requests.cancel()) or expressions

    def open_prompt(self, text: str) -> None:
        """Open the `:` prompt with `text` in it. What it may complete is asked for, once a stop."""
        self.parameters.learn_names()
        self.main.open_prompt(":", text)

    def show_help(self, command: str) -> None:
        """The help screen, or one command's line."""
        if not command:
            self.push_screen(HelpScreen(help_text(ALL_PANES, self.config.keymap)))
            return
        self.words.help(command)

    def switch_theme(self, name: str) -> None:
        """Use that theme; empty: light after dark and the other way round."""
        choose_theme(self, name)
