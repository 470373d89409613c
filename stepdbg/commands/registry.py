"""All commands, in the order in which the help lists them."""

from __future__ import annotations

from functools import partial

from stepdbg.client.store import Status, View
from stepdbg.commands.command import Argument, Command, Host
from stepdbg.protocol.messages import Action
from stepdbg.protocol.records import StopReason

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

RESERVED_KEYS = frozenset("soubNISC")
"""Kept free: stepping inside, breakpoints, and the same steps backwards in time."""


def _needs_stop(view: View) -> str | None:
    if view.status is Status.STOPPED:
        return None
    return {
        Status.STARTING: "the script has not come to its first stop yet",
        Status.RUNNING: "the script is running: p pauses it",
        Status.ENDED: "the script has ended: r starts it again",
    }[view.status]


def _needs_next(view: View) -> str | None:
    reason = _needs_stop(view)
    if reason is not None:
        return reason
    why = view.history[-1].stop.reason
    if why is StopReason.EXCEPTION:
        return "no phase can follow an exception: c lets the script end"
    if why is StopReason.FINISHED:
        return "no phase is left: c lets the script end"
    return None


def _needs_skippable(view: View) -> str | None:
    reason = _needs_next(view)
    if reason is not None:
        return reason
    upcoming = view.history[-1].stop.next
    if upcoming is None:
        return "nothing is about to run"
    if not upcoming.skippable:
        what = upcoming.phase.value
        return f"{what} cannot be skipped: only zero_grad, backward, clip, step and scheduler can"
    return None


def _needs_running(view: View) -> str | None:
    if view.status is Status.STOPPED:
        return "the script is stopped already"
    if view.status is Status.STARTING:
        return "the script has not imported torch yet: it stops by itself at its first phase"
    if view.status is Status.ENDED:
        return "the script has ended: r starts it again"
    return None if view.lost is None else "the connection to the script is lost"


def _needs_restartable(view: View) -> str | None:
    return None if view.info.can_restart else "this session cannot be restarted from here"


def _needs_earlier(view: View) -> str | None:
    if view.ago < len(view.history) - 1:
        return None
    return "there is no earlier stop" if view.history else "the script has not stopped yet"


def _needs_looking_back(view: View) -> str | None:
    return None if view.shown is not None else "this is the last stop"


def _resume(action: Action, host: Host, _argument: str) -> None:
    host.resume_script(action)


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
        partial(_resume, Action.NEXT),
        keys=("n", "space"),
        aliases=("n",),
        available=_needs_next,
        footer="next",
    ),
    Command(
        "iteration",
        "Run",
        "Run to the first stop of the next iteration.",
        partial(_resume, Action.ITERATION),
        keys=("i",),
        aliases=("i", "iter"),
        available=_needs_next,
        footer="iteration",
    ),
    Command(
        "continue",
        "Run",
        "Run until paused, an exception or the end; from a last stop, let the script end.",
        partial(_resume, Action.CONTINUE),
        keys=("c",),
        aliases=("c", "cont"),
        available=_needs_stop,
        footer="continue",
    ),
    Command(
        "pause",
        "Run",
        "Stop the running script at its next boundary.",
        lambda host, _argument: host.pause_script(),
        keys=("p",),
        aliases=("interrupt",),
        available=_needs_running,
        footer="pause",
    ),
    Command(
        "skip",
        "Run",
        "Leave out the phase that is next (zero_grad, backward, clip, step or scheduler).",
        partial(_resume, Action.SKIP),
        keys=("k",),
        aliases=("k",),
        available=_needs_skippable,
        footer="skip",
    ),
    Command(
        "restart",
        "Run",
        "Start the script again in a fresh process; edited source is picked up.",
        lambda host, _argument: host.restart_script(),
        keys=("r",),
        aliases=("r", "run"),
        available=_needs_restartable,
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
        available=_needs_earlier,
        footer="earlier",
        footer_group="ago",
    ),
    Command(
        "later",
        "Look back",
        "Look at the stop after the one on screen.",
        partial(_look, 1),
        keys=("right_square_bracket",),
        available=_needs_looking_back,
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
        available=_needs_looking_back,
    ),
)

_SCREEN = (
    *(
        Command(
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
        argument=Argument("pattern", "what names must contain, or a glob with * ? [ ]", required=False),
        footer="search",
    ),
    Command(
        "leave",
        "Panes",
        "Step out of what is open: a search, a maximised pane, an earlier stop.",
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

COMMANDS: tuple[Command, ...] = (*_RUN, *_LOOK, *_SCREEN, *_APP)
BY_NAME: dict[str, Command] = {command.name: command for command in COMMANDS}
