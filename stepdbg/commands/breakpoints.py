"""The commands on breakpoints and watches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from stepdbg.client.store import View
from stepdbg.commands.available import needs_live, needs_stop
from stepdbg.commands.command import Argument, Command, Host
from stepdbg.commands.places import (
    COMMANDS_FORM,
    FORM,
    LOG_FORM,
    PHASES,
    RECORDED,
    WATCH_FORM,
    read_break,
    read_commands,
    read_condition,
    read_ignore,
    read_log,
    read_number,
    read_watch,
)
from stepdbg.commands.suggesting import module_names, parameter_names
from stepdbg.protocol.breakpoints import DeleteBreakpoint, EditBreakpoint, SetBreakpoint, Spec

# ── completion ──────────────────────────────────────────────────────────────────────────────────────────────


def suggest_place(text: str, view: View) -> Iterable[str]:
    """Phases, and the modules and parameters that are on screen, that begin as the last word does."""
    before, blank, last = text.rpartition(" ")
    if re.search(r"(?:^|\s)if$", before.strip()) or " if " in text:
        return [f"{before}{blank}{word}" for word in ("loss", "iteration", "grad.norm", "lr") if word.startswith(last)]
    modules, names = module_names(view), parameter_names(view)
    words = (*PHASES, "iteration", "module", "op", "node", "grad") if not before else ()
    return [f"{before}{blank}{w}" for w in (*words, *modules, *names) if w and w.startswith(last)]


def suggest_watch(text: str, view: View) -> Iterable[str]:
    """`nan`, `change` and the names on screen, grads and stacks."""
    if text.startswith("change "):
        return [f"change {p}" for p in suggest_place(text.removeprefix("change "), view) if p not in PHASES]
    return [w for w in ("nan", "change ", "grads", "stacks") if w.startswith(text)]


def suggest_number(text: str, view: View) -> Iterable[str]:
    """Numbers that there are."""
    rows = view.book.rows if view.book is not None else ()
    return [str(row.number) for row in rows if str(row.number).startswith(text)]


# ── the commands ────────────────────────────────────────────────────────────────────────────────────────────


def _edit(enabled: bool, host: Host, argument: str) -> None:
    number = read_number("enable" if enabled else "disable", argument)
    host.breakpoints.do(EditBreakpoint(0, number, enabled=enabled))


def _set(once: bool, host: Host, argument: str) -> None:
    if not argument:
        host.breakpoints.toggle()
        return
    command = "tbreak" if once else "break"
    spec = read_break(argument, once=once, command=command, file=host.breakpoints.file())
    host.breakpoints.do(SetBreakpoint(0, spec))


def _watch(host: Host, argument: str) -> None:
    if not argument or argument in RECORDED:
        host.graph.watch(RECORDED.get(argument, ""), on=True)
    else:
        host.breakpoints.do(SetBreakpoint(0, read_watch(argument)))


def _unwatch(host: Host, argument: str) -> None:
    if argument in RECORDED:
        host.graph.watch(RECORDED[argument], on=False)
    else:
        host.breakpoints.unwatch(argument)


def _checked_watch(text: str) -> Spec | None:
    return None if text in RECORDED else read_watch(text)


def _checked_place(command: str, text: str) -> Spec:
    # A bare line number is of the file on screen, which is not known here.
    return read_break(text, command=command, file="/shown")


_NUMBER = partial(Argument, "number", "the number of a breakpoint", suggest_in=suggest_number)

BREAKPOINTS = (
    Command(
        "toggle",
        "Breakpoints",
        "Set or delete a breakpoint at what is selected: a line, a node or module, a parameter, a phase.",
        lambda host, _argument: host.breakpoints.toggle(),
        keys=("b",),
        available=needs_live,
    ),
    Command(
        "breakpoints",
        "Breakpoints",
        "List breakpoints and watches, to edit, switch and delete them.",
        lambda host, _argument: host.breakpoints.show(),
        keys=("B",),
    ),
    Command(
        "break",
        "Breakpoints",
        "Stop at a phase, module, op, node, parameter's gradient, line or iteration: break backward if loss > 2.",
        partial(_set, False),
        aliases=("b", "breakpoint"),
        argument=Argument(
            "place [if condition]",
            f"as in {FORM}",
            required=False,
            check=partial(_checked_place, "break"),
            suggest_in=suggest_place,
        ),
        available=needs_live,
    ),
    Command(
        "tbreak",
        "Breakpoints",
        "Stop there once: a breakpoint that goes with its first stop.",
        partial(_set, True),
        aliases=("tb",),
        argument=Argument(
            "place [if condition]",
            f"as in {FORM}",
            check=partial(_checked_place, "tbreak"),
            suggest_in=suggest_place,
        ),
        available=needs_live,
    ),
    Command(
        "logpoint",
        "Breakpoints",
        'Write a line each time instead of stopping: logpoint step "loss {loss:.3f} at {iteration}".',
        lambda host, argument: host.breakpoints.do(SetBreakpoint(0, read_log(argument, host.breakpoints.file()))),
        aliases=("dprintf",),
        argument=Argument('place "text" [if condition]', f"as in {LOG_FORM}", check=partial(read_log, file="/shown")),
        available=needs_live,
    ),
    Command(
        "watch",
        "Breakpoints",
        "Watch nan, change NAMES, or an expression; record grads or stacks; no word: what is recorded.",
        _watch,
        argument=Argument(
            "what", f"as in {WATCH_FORM}", required=False, check=_checked_watch, suggest_in=suggest_watch
        ),
        available=needs_stop,
    ),
    Command(
        "unwatch",
        "Breakpoints",
        "Watch that no longer: unwatch 3, unwatch nan, unwatch grads; all: nothing any more.",
        _unwatch,
        argument=Argument("what", "as in unwatch 3, unwatch nan or unwatch grads"),
        available=needs_stop,
    ),
    Command(
        "delete",
        "Breakpoints",
        "Delete the breakpoint or watch of that number; all: every one.",
        lambda host, argument: host.breakpoints.do(DeleteBreakpoint(0, read_number("delete", argument))),
        aliases=("clear",),
        argument=Argument(
            "number or all",
            "the number of a breakpoint",
            check=partial(read_number, "delete"),
            suggest_in=suggest_number,
        ),
        available=needs_live,
    ),
    Command(
        "enable",
        "Breakpoints",
        "Have the breakpoint of that number stop again; nothing: all of them.",
        partial(_edit, True),
        argument=_NUMBER(required=False, check=partial(read_number, "enable")),
        available=needs_live,
    ),
    Command(
        "disable",
        "Breakpoints",
        "Keep the breakpoint of that number without stopping; nothing: all of them.",
        partial(_edit, False),
        argument=_NUMBER(required=False, check=partial(read_number, "disable")),
        available=needs_live,
    ),
    Command(
        "condition",
        "Breakpoints",
        "Change a breakpoint's condition: condition 2 loss > 3; nothing after the number: none.",
        lambda host, argument: host.breakpoints.do(read_condition(argument)),
        aliases=("cond",),
        argument=Argument("number [expression]", "as in condition 2 loss > 3", check=read_condition),
        available=needs_live,
    ),
    Command(
        "ignore",
        "Breakpoints",
        "Let so many hits of a breakpoint pass: ignore 2 10.",
        lambda host, argument: host.breakpoints.do(read_ignore(argument)),
        argument=Argument("number count", "as in ignore 2 10", check=read_ignore),
        available=needs_live,
    ),
    Command(
        "commands",
        "Breakpoints",
        f"Run commands when a breakpoint stops: {COMMANDS_FORM}; nothing after the number: none.",
        lambda host, argument: host.breakpoints.do(read_commands(argument)),
        argument=Argument("number [command; command]", f"as in {COMMANDS_FORM}", check=read_commands),
        available=needs_live,
    ),
)
