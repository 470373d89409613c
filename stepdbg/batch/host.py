"""What commands can have done in a batch: the app's parts without a screen. What only a screen can do is refused.

Each call notes what is to be asked; the driver awaits it before the next command.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, NoReturn, Protocol

from stepdbg.client import store
from stepdbg.client.store import View
from stepdbg.commands import COMMANDS, PANES, find
from stepdbg.commands import info as topics
from stepdbg.commands.exporting import export_graph
from stepdbg.commands.helptext import all_commands, one_command
from stepdbg.commands.info import TOPICS, Context, Told
from stepdbg.errors import UsageError
from stepdbg.plain import compare, graph, step, values
from stepdbg.plain import stop as plain_stop
from stepdbg.plain import words as plain_words
from stepdbg.protocol import messages as m
from stepdbg.protocol.compare import GetDiff
from stepdbg.protocol.edits import Edited, SetRequiresGrad, SetValue
from stepdbg.protocol.graph import GraphView, Lens
from stepdbg.protocol.inside import Target
from stepdbg.protocol.records import SIDES, StopRecord, ValuesRecord
from stepdbg.protocol.slices import SliceError, read_index
from stepdbg.protocol.words import Evaluate, Evaluated

WIDTH = 110
WIDE = 1_000
"""Columns of an answer in which nothing is to be cut."""


class Driver(Protocol):
    """What runs the batch, as far as the parts need it."""

    view: View
    width: int

    async def ask(self, query: Any, progress: Callable[[m.Working], None] | None = None) -> Any:
        """As `Session.request`."""

    def later(self, work: Coroutine[Any, Any, Told | None]) -> None:
        """To be awaited before the next command; what it returns is told."""

    def resume(self, action: m.Action, target: Target | None = None, *, times: int = 1) -> None:
        """Let the script go on; UNTIL: to `target`. `times`: as often, while it is held for no other reason."""

    def leave(self, *, detach: bool) -> None:
        """No more commands: end the script, or let it run on bare."""

    def insert(self, name: str) -> None:
        """Run the commands in that file next."""

    def displays(self) -> Awaitable[Told | None]:
        """What is displayed, as it is now."""

    numbered: dict[int, str]
    """The expressions that are displayed."""
    last_display: int
    frame: int | None
    """The frame that is selected at this stop."""


def only_on_screen(what: str) -> NoReturn:
    """Refuse it."""
    raise UsageError(f"{what} is for the screen only, there is none in a batch")


class Part:
    """What the app's parts have in common here."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    @property
    def stop(self) -> StopRecord:
        """The present one."""
        return self.driver.view.history[-1].stop

    def tell(self, query: Any, lines: Callable[[Any], list[str]]) -> None:
        """Ask, and tell the answer by `lines`."""

        async def work() -> Told:
            answer = await self.driver.ask(query)
            return Told(lines(answer), answer)

        self.driver.later(work())


class Graphs(Part):
    """As `GraphHost`."""

    lens = Lens()

    def show_view(self, view: str) -> None:
        other = GraphView.MODULES if self.lens.view is GraphView.RAW else GraphView.RAW
        self._show(replace(self.lens, view=GraphView(view) if view else other))

    def fold(self, base: int) -> None:
        self._show(replace(self.lens, base=base, levels=()))

    def choose(self, number: int | None) -> None:
        self.driver.later(self._choose(number))

    async def _choose(self, number: int | None) -> Told:
        page = await self.driver.ask(m.GetGraph(0, 0, 1, self.lens))
        if number is None:
            every = [f"{one.id}  {one.title}, iteration {one.iteration}" for one in page.choices]
            return Told(every or [page.note or "there is no graph yet"], page)
        if number not in {one.id for one in page.choices}:
            there = ", ".join(f"{one.id} {one.title}" for one in page.choices) or "none is known"
            raise UsageError(f"which: there is no graph {number}: {there}")
        self.lens = replace(self.lens, graph=number)
        page = await self.driver.ask(m.GetGraph(0, 0, topics.MOST_ROWS, self.lens))
        return Told(graph.lines(page, self.driver.width), page)

    def watch(self, what: str, *, on: bool) -> None:
        grads, stacks = (on if what == name else None for name in ("grads", "stacks"))
        self.tell(m.SetWatching(0, grads, stacks), graph.watching)

    def export(self, name: str, *, replace: bool) -> None:
        async def work() -> Told:
            said = await export_graph(self.driver.ask, self.lens, name, over=replace, tell=lambda *_: None)
            return Told([said])

        self.driver.later(work())

    def _show(self, lens: Lens) -> None:
        self.lens = lens
        self.tell(m.GetGraph(0, 0, topics.MOST_ROWS, lens), lambda page: graph.lines(page, self.driver.width))


class Values(Part):
    """As `ValuesHost`."""

    name, part = "", ""

    def show(self, expression: str) -> None:
        if expression == "-":
            only_on_screen("the selected parameter")
        self._show(expression.strip(), "")

    def slice(self, text: str) -> None:
        if not self.name:
            raise UsageError("slice: no tensor is shown: show net.0.weight")
        self._show(self.name, text)

    def display(self, display: str) -> None:
        del display
        only_on_screen("form")

    def precision(self, digits: int) -> None:
        del digits
        only_on_screen("precision")

    def go_to(self, place: str) -> None:
        if not self.name:
            raise UsageError("goto: no tensor is shown: show net.0.weight")
        word, _, side = place.partition(" ")
        if word in ("max", "min", "nan"):
            which = side.strip().replace("gradient", "grad") or SIDES[0]
            query = m.SeekElement(0, f"={self.name}", word, self.part, which)
            self.tell(query, lambda found: values.found(word, found))
        else:
            self.driver.later(self._element(place))

    async def _element(self, place: str) -> Told:
        record = await self.driver.ask(m.GetValues(0, f"={self.name}", sides=("value",), rows=1, columns=1))
        if record.value is None:
            return Told(values.lines(record, self.driver.width), record)
        try:
            index = read_index(place, record.value.indexed or record.value.shape or ())
        except SliceError as error:
            raise UsageError(f"goto: {error}") from None
        part = ", ".join(map(str, index))
        one = await self.driver.ask(m.GetValues(0, f"={self.name}", slice=part))
        return Told(values.lines(one, self.driver.width), one)

    def mark(self, module: str, *, on: bool) -> None:
        self.tell(m.MarkModule(0, module, on), values.marked)

    def _show(self, name: str, part: str) -> None:
        def shown(one: ValuesRecord) -> list[str]:
            self.name, self.part = name, part  # what cannot be shown changes nothing
            return values.lines(one, self.driver.width)

        self.tell(m.GetValues(0, f"={name}", slice=part), shown)


class Steps(Part):
    """As `StepHost`, `ChainHost`, `CompareHost` and `PlotHost`: one question each."""

    def explain(self, name: str, index: tuple[int, ...] | None) -> None:
        self.tell(m.GetExplanation(0, name, index), lambda one: step.lines(one, self.driver.width))

    def explain_backward(self, name: str) -> None:
        self.tell(m.GetChain(0, name), lambda page: graph.chain(page, self.driver.width))

    def diff(self, query: GetDiff) -> None:
        self.tell(query, lambda page: compare.lines(page, self.driver.width))

    def show_plots(self, what: str) -> None:
        del what
        self.tell(m.GetTrends(0), lambda one: step.trends(one, self.driver.width))


class Edits(Part):
    """As `EditHost`."""

    def set(self, query: SetValue | SetRequiresGrad) -> None:
        self.driver.later(self._set(query))

    async def _set(self, query: SetValue | SetRequiresGrad) -> Told:
        edited: Edited = await self.driver.ask(query)
        self.driver.view = store.apply_answer(self.driver.view, edited.stop, query, edited)
        return Told(compare.edits(edited.edits, edited.cut_short), edited, failed=bool(edited.cut_short))

    def show(self) -> None:
        every = self.driver.view.edits

        async def work() -> Told:
            return Told(compare.edits(every), list(every))

        self.driver.later(work())


class Words(Part):
    """As `WordsHost`."""

    trace = ""

    def evaluate(self, text: str, *, statement: bool) -> None:
        self.driver.later(self._evaluate(Evaluate(0, text, self.driver.frame, statement)))

    async def _evaluate(self, query: Evaluate) -> Told:
        answer: Evaluated = await self.driver.ask(query)
        self.trace = answer.traceback or self.trace
        return Told(plain_words.lines(answer, self.driver.width), answer, failed=bool(answer.error))

    def show_answers(self) -> None:
        only_on_screen("answers")

    def show_traceback(self) -> None:
        history = self.driver.view.history
        error = history[-1].stop.exception if history else None
        text = self.trace or (error.text if error is not None else "")
        if not text:
            raise UsageError("traceback: no expression has failed, and no exception was raised")
        self._say(text.rstrip().split("\n"))

    def show_stack(self) -> None:
        self._say(plain_stop.stack(self.stop, self.driver.frame, self.driver.width), list(self.stop.stack))

    def select_frame(self, number: int | None, step: int = 0) -> None:
        found = plain_stop.chosen(self.stop, self.driver.frame, number, step)
        if isinstance(found, str):
            raise UsageError(found)
        self.driver.frame = found
        self._say([f"{found}  {plain_stop.frame(self.stop.stack[found])}"], self.stop.stack[found])

    def display(self, text: str) -> None:
        if text:
            self.driver.last_display += 1
            self.driver.numbered[self.driver.last_display] = text
        elif not self.driver.numbered:
            raise UsageError("display: nothing is displayed: display loss")

        async def work() -> Told | None:
            return await self.driver.displays()

        self.driver.later(work())

    def undisplay(self, number: int | None) -> None:
        if number is None:
            self.driver.numbered.clear()
        elif self.driver.numbered.pop(number, None) is None:
            known = ", ".join(map(str, self.driver.numbered)) or "there is none"
            raise UsageError(f"undisplay: there is no display {number}: {known}")

    def info(self, topic: str, rest: str) -> None:
        context = Context(self.driver.view, self.stop, self.driver.frame, rest, self.driver.width)
        self.driver.later(_told(TOPICS[topic].answer(self.driver.ask, context)))

    def run_file(self, name: str) -> None:
        self.driver.insert(name)

    def list_source(self) -> None:
        if not self.driver.view.history:
            raise UsageError("source: the script has not stopped yet")
        context = Context(self.driver.view, self.stop, self.driver.frame, "", self.driver.width)
        self.driver.later(_told(topics.source(self.driver.ask, context)))

    def detach(self) -> None:
        self.driver.leave(detach=True)

    def say_help(self, name: str) -> None:
        self._say(one_command(find(name)) if name else all_commands(COMMANDS))

    def _say(self, lines: list[str], record: object = None) -> None:
        async def work() -> Told:
            return Told(lines, record)

        self.driver.later(work())


async def _told(answer: Awaitable[Told]) -> Told:
    return await answer


class OffScreen:
    """A part of the app of which a batch has nothing."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        return lambda *_given, **_named: only_on_screen(f"{self._what} ({name.replace('_', ' ')})")


_PANES = {"1": "graph", "2": "params", "4": "memory", "7": "phases"}


class BatchHost:
    """As `commands.command.Host`. Parts that it has not are refused as being for the screen."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.graph = Graphs(driver)
        self.values = Values(driver)
        self.step = self.chains = self.compare = self.plots = Steps(driver)
        self.edits = Edits(driver)
        self.words = Words(driver)
        self.breakpoints: Part | None = None
        self.inside: Part | None = None
        self.leaks: Part | None = None
        self.memory: Part | None = None
        self.parameters: Part | None = None
        """These five are put in by the driver (`batch.parts`)."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return OffScreen(name)

    def resume_script(self, action: m.Action, *, times: int = 1) -> None:
        self._driver.resume(action, times=times)

    def quit_debugger(self) -> None:
        self._driver.leave(detach=False)

    def focus_pane(self, number: str) -> None:
        """What the pane tells, in words."""
        if number in _PANES:
            if not self._driver.view.live:
                raise UsageError("the script is not held")
            self.words.info(_PANES[number], "")
        elif number == "5":
            self.words.list_source()
        else:
            only_on_screen(f"the {next(name for key, name, _ in PANES if key == number)} pane")

    def show_help(self, command: str) -> None:
        self.words.say_help(command)

    def open_prompt(self, text: str) -> None:
        if text.startswith("!"):
            raise UsageError("! needs a statement: ! x = 3")
        only_on_screen("the prompt")

    def pause_script(self) -> None:
        only_on_screen("pause")

    def restart_script(self) -> None:
        only_on_screen("restart")

    def look_back(self, steps: int | None) -> None:
        del steps
        only_on_screen("looking at earlier stops")

    def maximize_pane(self) -> None:
        only_on_screen("maximize")

    def search_pane(self, pattern: str) -> None:
        if not pattern:
            raise UsageError("search needs a pattern here: search net.0.*")
        self.words.info("params", pattern)

    def leave(self) -> None:
        only_on_screen("leave")

    def redraw(self) -> None:
        only_on_screen("redraw")

    def switch_theme(self, name: str) -> None:
        del name
        only_on_screen("theme")
