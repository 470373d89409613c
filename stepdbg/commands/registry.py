"""All commands, in the order in which the help lists them."""

from __future__ import annotations

from functools import partial

from stepdbg.commands.available import (
    needs_earlier,
    needs_looking_back,
    needs_next,
    needs_restartable,
    needs_running,
    needs_skippable,
    needs_stop,
)
from stepdbg.commands.breakpoints import BREAKPOINTS
from stepdbg.commands.command import Argument, Command, Host
from stepdbg.commands.compare import COMPARE
from stepdbg.commands.edit import EDIT
from stepdbg.commands.graph import GRAPH
from stepdbg.commands.inside import INSIDE
from stepdbg.commands.memory import MEMORY
from stepdbg.commands.parameters import PARAMETERS
from stepdbg.commands.plots import PLOTS
from stepdbg.commands.running import TIMES, resume
from stepdbg.commands.step import STEP
from stepdbg.commands.values import VALUES
from stepdbg.commands.words import FRAMES, SOURCE, WORDS
from stepdbg.protocol.messages import Action

PANES: tuple[tuple[str, str, str], ...] = (
    ("1", "graph", "what the loss was computed from"),
    ("2", "parameters", "every parameter and its gradient"),
    ("3", "values", "the numbers of the selected parameter"),
    ("4", "memory", "the bytes held for training"),
    ("5", "source", "the line about to run"),
    ("6", "console", "what the script prints, and its input"),
    ("7", "rail", "the phases of this loop"),
)
"""Number, name and content of the panes."""

RESERVED_KEYS = frozenset("NISC")
"""Kept free: the same steps backwards in time."""


def _look(steps: int | None, host: Host, _argument: str) -> None:
    host.look_back(steps)


def _focus(number: str, host: Host, _argument: str) -> None:
    host.focus_pane(number)


def _focus_named(host: Host, argument: str) -> None:
    host.focus_pane(next(number for number, name, _content in PANES if argument in {number, name}))


_RUN = (
    Command(
        "next",
        "Run",
        "Run the phase that is next, and stop before the one after it.",
        partial(resume, Action.NEXT),
        keys=("n", "space"),
        aliases=("n",),
        argument=TIMES,
        available=needs_next,
        footer="next",
    ),
    Command(
        "iteration",
        "Run",
        "Run to the first stop of the next iteration.",
        partial(resume, Action.ITERATION),
        keys=("i",),
        aliases=("i", "iter"),
        argument=TIMES,
        available=needs_next,
        footer="iteration",
    ),
    Command(
        "continue",
        "Run",
        "Run until paused, an exception or the end; from a last stop, let the script end.",
        partial(resume, Action.CONTINUE),
        keys=("c",),
        aliases=("c", "cont"),
        available=needs_stop,
        footer="continue",
    ),
    Command(
        "pause",
        "Run",
        "Stop the running script at its next boundary.",
        lambda host, _argument: host.pause_script(),
        keys=("p",),
        aliases=("interrupt",),
        available=needs_running,
        footer="pause",
    ),
    Command(
        "skip",
        "Run",
        "Leave out the phase that is next (zero_grad, backward, clip, step or scheduler).",
        partial(resume, Action.SKIP),
        keys=("k",),
        aliases=("k",),
        available=needs_skippable,
        footer="skip",
    ),
    Command(
        "restart",
        "Run",
        "Start the script again in a fresh process; edited source is picked up.",
        lambda host, _argument: host.restart_script(),
        keys=("r",),
        aliases=("r", "run"),
        available=needs_restartable,
        footer="restart",
    ),
)

_LOOK = (
    Command(
        "earlier",
        "Look back",
        "Look at the stop before the one on screen, as it was recorded then.",
        partial(_look, -1),
        keys=("left_square_bracket",),
        available=needs_earlier,
        footer="earlier",
        footer_group="ago",
    ),
    Command(
        "later",
        "Look back",
        "Look at the stop after the one on screen.",
        partial(_look, 1),
        keys=("right_square_bracket",),
        available=needs_looking_back,
        footer="later",
        footer_group="ago",
    ),
    Command(
        "present",
        "Look back",
        "Return to the present stop.",
        partial(_look, None),
        keys=("right_curly_bracket",),
        aliases=("now",),
        available=needs_looking_back,
    ),
)

_SCREEN = (
    *(
        SOURCE
        if name == SOURCE.name
        else Command(
            name,
            "Panes",
            f"Focus the {name} pane: {content}.",
            partial(_focus, number),
            keys=(number,),
        )
        for number, name, content in PANES
    ),
    Command(
        "focus",
        "Panes",
        "Focus the pane of that number or name.",
        _focus_named,
        aliases=("fs", "pane"),
        argument=Argument(
            "pane",
            "number or name of a pane",
            tuple(number for number, _name, _content in PANES) + tuple(name for _number, name, _content in PANES),
        ),
    ),
    Command(
        "maximize",
        "Panes",
        "Give the focused pane all the room, or give it back.",
        lambda host, _argument: host.maximize_pane(),
        keys=("z",),
        aliases=("zoom",),
        footer="zoom",
    ),
    Command(
        "search",
        "Panes",
        "Search in the focused pane.",
        lambda host, argument: host.search_pane(argument),
        keys=("slash",),
        aliases=("find",),
        argument=Argument("pattern", "part of a name, a glob, or g.norm > 10", required=False),
        footer="search",
    ),
    Command(
        "leave",
        "Panes",
        "Stop work that takes long; else step out of what is open: a search, a maximised pane, an earlier stop.",
        lambda host, _argument: host.leave(),
        keys=("escape",),
    ),
)

_APP = (
    Command(
        "prompt",
        "App",
        "Type a command by its name.",
        lambda host, _argument: host.open_prompt(""),
        keys=("colon",),
        footer="command",
    ),
    Command(
        "theme",
        "App",
        "Switch between light and dark, or to the theme of that name.",
        lambda host, argument: host.switch_theme(argument),
        keys=("t",),
        argument=Argument("name", "a theme", required=False),
    ),
    Command(
        "redraw",
        "App",
        "Write the whole screen anew, where another program has written on the terminal.",
        lambda host, _argument: host.redraw(),
        keys=("ctrl+l",),
    ),
    Command(
        "help",
        "App",
        "Show every key, command and symbol, or the help of one command.",
        lambda host, argument: host.show_help(argument),
        keys=("question_mark",),
        aliases=("h",),
        argument=Argument("command", "a command", required=False),
        footer="help",
    ),
    Command(
        "quit",
        "App",
        "End the script and leave.",
        lambda host, _argument: host.quit_debugger(),
        keys=("q",),
        aliases=("q", "exit"),
        footer="quit",
    ),
)

COMMANDS: tuple[Command, ...] = (
    *_RUN,
    *INSIDE,
    *_LOOK,
    *FRAMES,
    *WORDS,
    *_SCREEN,
    *GRAPH,
    *PARAMETERS,
    *VALUES,
    *STEP,
    *EDIT,
    *COMPARE,
    *PLOTS,
    *BREAKPOINTS,
    *MEMORY,
    *_APP,
)
BY_NAME: dict[str, Command] = {command.name: command for command in COMMANDS}
