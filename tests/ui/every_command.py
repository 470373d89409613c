"""What each command of the registry does, to be held against all the ways in which it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from textual.screen import Screen
from textual.widgets import Input

from stepdbg.client.store import Status
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Breakpoint, DeleteBreakpoint, Kind
from stepdbg.protocol.inside import FindTarget
from stepdbg.protocol.records import Phase
from stepdbg.protocol.shown import SetNames
from stepdbg.protocol.words import Evaluate
from stepdbg.ui.answers import AnswerBox, AnswerScreen
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.graph.picker import GraphPicker
from stepdbg.ui.panes.parameters import ParametersPane
from stepdbg.ui.panes.parameters.picker import ColumnPicker
from stepdbg.ui.panes.values import ValuesPane
from stepdbg.ui.plots.screen import PlotScreen
from stepdbg.ui.prompt import PromptBar
from stepdbg.ui.screens.breakpoints import BreakpointsScreen
from stepdbg.ui.screens.chain import ChainScreen
from stepdbg.ui.screens.diff import DiffScreen
from stepdbg.ui.screens.edits import EditsScreen
from stepdbg.ui.screens.explain import ExplainScreen
from stepdbg.ui.screens.help import HelpScreen
from stepdbg.ui.screens.leaks import LeaksScreen
from stepdbg.ui.screens.memory import MemoryScreen
from stepdbg.ui.screens.whatif import WhatIfScreen
from tests.ui.real_runs import Driver

SCRIPT = """
import torch
from torch import nn

def train(steps):
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    net2 = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        optimiser.zero_grad()
        output = net(torch.ones(3, 4))
        loss = nn.functional.mse_loss(output, torch.zeros(3, 1))
        loss.backward()
        optimiser.step()
        if step == 10:
            print("ten")
    return net2

train(400)
"""


@dataclass
class Seen:
    """The app as it was just before a command was given."""

    driver: Driver
    told: int
    notices: frozenset[str]
    """Of those notices that are on screen already; they go by themselves."""
    stop: int
    kept: Any = None
    """What the case's `note` found."""

    def sent(self, kind: type[Any], **attributes: Any) -> bool:
        """Whether the session was told so since."""
        return any(
            isinstance(message, kind) and all(getattr(message, name) == value for name, value in attributes.items())
            for message in self.driver.session.told[self.told :]
        )

    def said(self, text: str) -> bool:
        """Whether that was answered, or notified, since."""
        app = self.driver.app
        notices = [notice.message for notice in app._notifications if notice.identity not in self.notices]
        long = [line for screen in app.screen_stack if isinstance(screen, AnswerScreen) for line in screen._lines]
        return any(text in line for line in [*notices, *long, app.main.query_one(AnswerBox).render().plain])


Did = Callable[[Seen], Any]
Prepare = Callable[[Driver], Awaitable[Any]]


async def nothing(_driver: Driver) -> None:
    """No preparation."""


@dataclass(frozen=True)
class Case:
    """One command: what it is given, and what must come of it."""

    did: Did
    argument: str | Callable[[Driver], str] = ""
    bare: Did | None = None
    """What it does without its argument, by a key or from the palette; None: the same."""
    before: Prepare = nothing
    note: Callable[[Driver], Any] = lambda _driver: None
    """What `did` compares with."""
    batch: str = ""
    """What a batch answers: a part of it; "stop": another stop; "!": what it is refused with."""
    batch_line: str | None = None
    """How it is given there, where that is not the same."""
    batch_before: tuple[str, ...] = field(default=())


# ── what comes of one ───────────────────────────────────────────────────────────────────────────────────────


def resumed(action: m.Action) -> Did:
    """The script went on, and is held again."""
    return lambda seen: seen.sent(m.Resume, action=action) and seen.driver.stop.number > seen.stop


def sent(kind: type[Any], **attributes: Any) -> Did:
    return lambda seen: seen.sent(kind, **attributes)


def said(text: str) -> Did:
    return lambda seen: seen.said(text)


def on(screen: type[Screen[Any]]) -> Did:
    return lambda seen: isinstance(seen.driver.app.screen, screen)


def focused(number: str) -> Did:
    return lambda seen: seen.driver.app.main.pane(number).has_focus_within


def prompt_has(mode: str, text: str) -> Did:
    def did(seen: Seen) -> bool:
        prompt = seen.driver.app.main.query_one(PromptBar)
        return prompt.is_open and (prompt.mode, prompt.input.value) == (mode, text)

    return did


def pane(kind: type[Any], of: Callable[[Any], Any], value: Any) -> Did:
    """A pane is as wanted."""
    return lambda seen: of(seen.driver.app.main.query_one(kind)) == value


def changed(of: Callable[[Driver], Any]) -> tuple[Did, Callable[[Driver], Any]]:
    """Something is not what it was."""
    return (lambda seen: of(seen.driver) != seen.kept), of


def rows(driver: Driver) -> tuple[Breakpoint, ...]:
    return driver.app.breakpoints.rows


def row(of: Callable[[Breakpoint], Any]) -> Did:
    """There is a breakpoint like that."""
    return lambda seen: any(of(one) for one in rows(seen.driver))


# ── what must be so before ──────────────────────────────────────────────────────────────────────────────────


async def enter(driver: Driver, line: str) -> None:
    """Give it at the prompt."""
    await driver.press("colon")
    driver.app.main.query_one(PromptBar).query_one(Input).value = line
    await driver.press("enter")


def given(*lines: str, until: Callable[[Driver], Any] = lambda _driver: True) -> Prepare:
    """These were given."""

    async def prepare(driver: Driver) -> None:
        for line in lines:
            await enter(driver, line)
            await driver.settled()
        await driver.until(lambda: until(driver), f"{lines} were done")

    return prepare


def at(phase: Phase) -> Prepare:
    """It is held before that phase."""

    async def prepare(driver: Driver) -> None:
        await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is phase, phase.value)

    return prepare


def with_focus(number: str) -> Prepare:
    async def prepare(driver: Driver) -> None:
        await driver.press(number)
        await driver.until(lambda: driver.app.main.pane(number).has_focus_within, "the focus")
        await driver.settled()

    return prepare


async def at_the_next_phase(driver: Driver) -> None:
    """The rail has the keys, and a phase is next."""
    await driver.step_until(lambda stop: stop.next is not None, "before a phase", most=200)
    await with_focus("7")(driver)


async def earlier(driver: Driver) -> None:
    """An earlier stop is on screen."""
    while len(driver.view.history) < 4:
        await driver.step()
    driver.app.look_back(-2)


async def one_breakpoint(driver: Driver) -> None:
    """There is one."""
    await given("break iteration 5000", until=rows)(driver)


def number(driver: Driver) -> str:
    return str(rows(driver)[0].number)


async def cleared(driver: Driver) -> None:
    """As it was at first, but for where the script is."""
    app = driver.app
    await driver.settled()
    while app.screen is not app.main:
        app.pop_screen()
        await driver.pilot.pause()
    prompt = app.main.query_one(PromptBar)
    if prompt.is_open:
        await driver.press("escape")
    app.main.query_one(AnswerBox).dismiss()
    app.words._displays.clear()
    app.words.stopped()
    app.main.maximised = False
    if driver.view.shown is not None:
        app.look_back(None)
    if rows(driver):
        app.breakpoints.do(DeleteBreakpoint(0, 0))
        await driver.until(lambda: not rows(driver), "breakpoints are gone")
    assert driver.view.status is Status.STOPPED
    await driver.settled()


def _view(driver: Driver) -> Any:
    return driver.app.main.query_one(GraphPane).lens.view


def _tree(driver: Driver) -> Any:
    return driver.app.main.query_one(ParametersPane).look.arrangement.tree


def _display(driver: Driver) -> Any:
    return driver.app.main.query_one(ValuesPane).look.display


VIEW, DISPLAY, TREE = changed(_view), changed(_display), changed(_tree)
THEME = changed(lambda driver: driver.app.theme)
REDRAWN = changed(lambda driver: driver.app.redraws)
ROWS = changed(lambda driver: [(r.number, r.spec) for r in rows(driver)])
EDITS = changed(lambda driver: len(driver.view.edits))
ZOOM = changed(lambda driver: driver.app.main.maximised)
SHOWN = changed(lambda driver: driver.view.shown)
SCREEN = "is for the screen only"

_show = given("show net[0].weight", until=lambda d: d.app.main.query_one(ValuesPane).body.tensor is not None)
_slice = lambda p: p.look.slice(p.subject)  # noqa: E731
_graph = at(Phase.BACKWARD)

CASES: dict[str, Case] = {
    "next": Case(resumed(m.Action.NEXT), batch="stop"),
    "iteration": Case(resumed(m.Action.ITERATION), batch="stop"),
    "skip": Case(resumed(m.Action.SKIP), before=at(Phase.ZERO_GRAD), batch="stop", batch_before=("until zero_grad",)),
    "step": Case(resumed(m.Action.INTO), batch="stop"),
    "out": Case(resumed(m.Action.OUT), batch="stop"),
    "until": Case(
        resumed(m.Action.UNTIL), "step",
        bare=lambda seen: seen.sent(FindTarget, text=seen.driver.app.selected) and resumed(m.Action.UNTIL)(seen),
        before=with_focus("2"), batch="stop",
    ),
    "earlier": Case(SHOWN[0], note=SHOWN[1], before=given("next"), batch=SCREEN),
    "later": Case(lambda seen: seen.driver.view.ago == 1, before=earlier, batch="!this is the last stop"),
    "present": Case(lambda seen: seen.driver.view.shown is None, before=earlier, batch="!this is the last stop"),
    "bt": Case(said("every_command.py:"), batch="in train"),
    # Held inside a step, the innermost frames are torch's.
    "frame": Case(said("0  "), "0", batch="0  every_command.py:"),
    "up": Case(said("1  "), "1", before=given("frame 0"), batch="1  every_command.py:",
               batch_before=("frame 0",)),
    "down": Case(said("0  "), "1", before=given("frame 1"), batch="0  every_command.py:",
                 batch_before=("frame 1",)),
    "print": Case(lambda seen: seen.sent(Evaluate, text="40 + 2") and seen.said("42"), "40 + 2", batch="42"),
    "exec": Case(said("set zz"), "zz = 3", bare=prompt_has(":", "! "), batch="set zz"),
    "traceback": Case(said("Traceback (most recent call last)"), before=given("p no_such_name"),
                      batch="Traceback", batch_before=("!p no_such_name",)),
    "answers": Case(lambda seen: seen.said(f"stop {seen.stop:,} · iteration") and seen.said("    42"),
                    before=given("p 40 + 2"), batch=SCREEN),
    "display": Case(said("6 * 7 = 42"), "6 * 7", bare=said("40 + 2 = 42"), before=given("display 40 + 2"),
                    batch="6 * 7 = 42"),
    "undisplay": Case(
        lambda seen: not seen.driver.app.words._displays, lambda d: str(max(d.app.words._displays)),
        before=given("display 1"), batch="", batch_line="undisplay", batch_before=("display 1",),
    ),
    "info": Case(said("optimiser"), "lr", batch="optimiser"),
    **{
        name: Case(focused(key), batch=told)
        for key, name, told in (
            ("1", "graph", "loss"), ("2", "parameters", "net.0.weight"), ("4", "memory", "parameters"),
            ("3", "values", SCREEN), ("5", "source", "every_command.py"), ("6", "console", SCREEN),
            ("7", "rail", "backward"),
        )
    },
    "focus": Case(focused("4"), "memory", batch="parameters"),
    "maximize": Case(ZOOM[0], note=ZOOM[1], batch=SCREEN),
    "search": Case(sent(m.GetParameters, pattern="net2.*"), "net2.*", bare=prompt_has("/", ""),
                   before=with_focus("2"), batch="net2.0.weight"),
    "leave": Case(ZOOM[0], note=ZOOM[1], before=given("maximize"), batch=SCREEN),
    "view": Case(VIEW[0], note=VIEW[1], argument=lambda d: "raw" if _view(d).value == "modules" else "modules",
                 batch="AddmmBackward0", batch_line="view raw"),
    "fold": Case(pane(GraphPane, lambda p: p.lens.base, 0), "all", before=given("fold none"), batch="loss"),
    "which": Case(
        lambda seen: seen.driver.app.main.query_one(GraphPane).lens.graph == int(_first_graph(seen.driver)),
        lambda d: _first_graph(d), bare=on(GraphPicker), before=_graph, batch="iteration", batch_line="which",
    ),
    "export": Case(said(" edge"), lambda d: _new_file(d), before=_graph,
                   batch="g.dot"),
    "export!": Case(said(" edge"), lambda d: _new_file(d), before=_graph,
                    batch="g.dot"),
    "columns": Case(pane(ParametersPane, lambda p: p.look.columns, ("name", "mean")), "name, mean",
                    bare=on(ColumnPicker), batch=SCREEN),
    "sort": Case(lambda seen: pane(ParametersPane, lambda p: p.look.arrangement.sort, "norm")(seen), "-norm",
                 bare=pane(ParametersPane, lambda p: p.look.arrangement.sort, ""), before=given("sort mean"),
                 batch=SCREEN),
    "tree": Case(TREE[0], note=TREE[1], argument=lambda d: "off" if _tree(d) else "on", batch=SCREEN,
                 batch_line="tree on"),
    "show": Case(lambda seen: _values(seen).record is not None and _values(seen).record.name == "=net2[0].weight",
                 "net2[0].weight", before=given("show -"), batch="6×4"),
    "slice": Case(pane(ValuesPane, _slice, "0, :"), "0, :", bare=pane(ValuesPane, _slice, ""),
                  before=given("show net[0].weight", "slice 1, :"), batch="4", batch_before=("show net[0].weight",)),
    "form": Case(DISPLAY[0], note=DISPLAY[1], before=_show,
                 argument=lambda d: "heatmap" if _display(d) != "heatmap" else "numbers", batch=SCREEN,
                 batch_line="form heatmap"),
    "precision": Case(pane(ValuesPane, lambda p: p.look.precision, 3), "3", before=given("precision 5"), batch=SCREEN),
    "goto": Case(sent(m.SeekElement, what="max"), "max", before=_show, batch="max",
                 batch_before=("show net[0].weight",)),
    "mark": Case(lambda seen: seen.sent(m.MarkModule, on=True) and seen.said("output is kept"), "net.0",
                 bare=sent(m.MarkModule, module="", on=True), batch="net.0"),
    "unmark": Case(lambda seen: seen.sent(m.MarkModule, module="net.0", on=False), "net.0", before=given("mark net.0"),
                   batch="no module", batch_before=("mark net.0",)),
    "explain": Case(on(ExplainScreen), "net.0.weight[0, 0]", batch="net.0.weight[0, 0]"),
    "set": Case(EDITS[0], "net2.2.bias 0.5", note=EDITS[1], batch="net2.2.bias"),
    "edits": Case(on(EditsScreen), batch="net2.2.bias"),
    "diff": Case(on(DiffScreen), "net net2", batch="0.weight"),
    "plot": Case(on(PlotScreen), "loss", batch="step"),
    "backward": Case(on(ChainScreen), "net.0.weight", before=_graph, batch="AccumulateGrad"),
    "toggle": Case(ROWS[0], note=ROWS[1], before=at_the_next_phase, batch="!nothing is selected in a batch"),
    "breakpoints": Case(on(BreakpointsScreen), batch="no breakpoint"),
    "break": Case(row(lambda r: r.spec.kind is Kind.PHASE and not r.spec.once), "scheduler", bare=ROWS[0],
                  note=ROWS[1], before=at_the_next_phase, batch="breakpoint 1: scheduler"),
    "tbreak": Case(row(lambda r: r.spec.once), "scheduler", batch="scheduler"),
    "logpoint": Case(row(lambda r: r.spec.log == "at {iteration}"), 'scheduler "at {iteration}"', batch="logpoint"),
    "watch": Case(sent(m.SetWatching, gradients=True), "grads", bare=sent(m.SetWatching), batch="grad"),
    "unwatch": Case(sent(m.SetWatching, gradients=False), "grads", batch="neither grads nor stacks"),
    "delete": Case(lambda seen: not rows(seen.driver), number, before=one_breakpoint, batch="deleted breakpoint 1",
                   batch_line="delete 1"),
    "disable": Case(row(lambda r: not r.spec.enabled), number, before=one_breakpoint, batch="disabled",
                    batch_line="disable 2"),
    "enable": Case(row(lambda r: r.spec.enabled), number,
                   before=given("break iteration 5000", "disable", until=lambda d: not rows(d)[0].spec.enabled),
                   batch="enabled", batch_line="enable"),
    "condition": Case(row(lambda r: r.spec.condition == "loss > 2"), lambda d: f"{number(d)} loss > 2",
                      before=one_breakpoint, batch="stops if loss > 2", batch_line="condition 2 loss > 2"),
    "ignore": Case(row(lambda r: r.spec.ignore == 3), lambda d: f"{number(d)} 3", before=one_breakpoint,
                   batch="lets 3 hits pass", batch_line="ignore 2 3"),
    "commands": Case(row(lambda r: r.spec.commands == ("info lr",)), lambda d: f"{number(d)} info lr",
                     before=one_breakpoint, batch="runs info lr", batch_line="commands 2 info lr"),
    "names": Case(said("names are shown in full"), "full", bare=sent(SetNames, full=None),
                  batch="without the root module they would clash", batch_line="names short"),
    "memory-view": Case(on(MemoryScreen), batch=SCREEN),
    "leaks": Case(on(LeaksScreen), batch="", batch_line="leaks off"),
    "what-if": Case(on(WhatIfScreen), "zero_grad", batch="estimated"),
    "prompt": Case(prompt_has(":", ""), batch=SCREEN),
    "redraw": Case(REDRAWN[0], note=REDRAWN[1], batch=SCREEN),
    "theme": Case(THEME[0], note=THEME[1],
                  argument=lambda d: "stepdbg-light" if d.app.theme != "stepdbg-light" else "stepdbg-dark",
                  batch=SCREEN, batch_line="theme"),
    "help": Case(said("Run the phase that is next"), "next", bare=on(HelpScreen), batch="Run the phase that is next"),
}  # fmt: skip
"""By name. Those that end the run, or need one that runs, are in ENDING."""

ENDING = ("continue", "pause", "restart", "detach", "quit")


def _values(seen: Seen) -> ValuesPane:
    return seen.driver.app.main.query_one(ValuesPane)


def _first_graph(driver: Driver) -> str:
    return str(driver.app.graph._choices()[0].id)


def _new_file(driver: Driver) -> str:
    folder = driver.run.path.parent
    return str(folder / f"g{len(list(folder.iterdir()))}.dot")
