"""The registry of commands, and reading a line of the prompt."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdbg.client.session import Exited, SessionInfo
from stepdbg.client.store import Status, View
from stepdbg.commands import BY_NAME, COMMANDS, RESERVED_KEYS, complete, parse
from stepdbg.errors import UsageError

VIEW = View(SessionInfo("train.py", ("python", "train.py"), "/usr/bin/python3"))


def test_names_keys_and_aliases_are_each_used_once() -> None:
    words = [word for command in COMMANDS for word in (command.name, *command.aliases)]
    keys = [key for command in COMMANDS for key in command.keys]
    assert len(words) == len(set(words))
    assert len(keys) == len(set(keys))


def test_keys_kept_for_later_are_free() -> None:
    assert not RESERVED_KEYS & {key for command in COMMANDS for key in command.keys}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_one_sentence_and_can_be_typed(command) -> None:
    assert command.help.endswith(".")
    argument = ""
    if command.argument is not None:
        argument = command.argument.choices[0] if command.argument.choices else "x"
    for word in (command.name, *command.aliases):
        parsed = parse(f" {word} {argument} ")
        assert (parsed.command, parsed.argument) == (command, argument)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nxt", "did you mean next?"),
        ("contniue", "did you mean continue?"),
        ("p", "could be pause, present, parameters or prompt"),
        ("next 3", "next takes no argument"),
        ("focus", "focus needs one argument: focus PANE"),
        ("focus grahp", "did you mean graph?"),
        ("", "type the name of a command"),
        ("zzzz", "? lists all commands"),
    ],
)
def test_a_wrong_line_names_the_right_form(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")) as caught:
        parse(line)
    assert "\n" not in str(caught.value)


def test_the_beginning_of_one_name_is_enough() -> None:
    assert parse("iterat").command is BY_NAME["iteration"]
    assert parse("focus mem").argument == "memory"


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse(text).command in COMMANDS
    assert all(line.startswith(text.lstrip().partition(" ")[0]) for line in complete(text))


def test_completion_offers_names_and_choices() -> None:
    assert complete("pre") == ["present"]
    assert "focus graph" in complete("focus g")
    assert complete("help ear") == ["help earlier"]


def test_what_can_be_done_depends_on_the_state() -> None:
    def possible(view: View) -> set[str]:
        return {command.name for command in COMMANDS if command.available(view) is None}

    starting = possible(VIEW)
    running = possible(replace(VIEW, status=Status.RUNNING))
    ended = possible(replace(VIEW, status=Status.ENDED, exited=Exited(0)))
    assert "pause" in running
    assert "pause" not in starting | ended
    assert not {"next", "iteration", "continue", "skip"} & (starting | running | ended)
    assert {"restart", "quit", "help"} <= starting & running & ended
    assert "pause" not in possible(replace(VIEW, status=Status.RUNNING, lost=""))
