"""The registry of commands, and reading a line of the prompt."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdbg.client.session import Exited, SessionInfo
from stepdbg.client.store import GraphTree, Recorded, Status, View
from stepdbg.commands import BY_NAME, COMMANDS, RESERVED_KEYS, Parsed, asks, complete, parse
from stepdbg.errors import UsageError
from stepdbg.export import SUFFIXES
from stepdbg.protocol.graph import PLAIN, GraphPage
from stepdbg.protocol.records import StopReason, StopRecord

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
        samples = {
            "file": "graph.dot",
            "number": "2",
            "number or all": "2",
            "number [expression]": "2 loss > 3",
            "number count": "2 10",
            "number [command; command]": "2 next",
            'place "text" [if condition]': 'step "loss {loss}"',
            "list": "name, |w|",
            "key": "-g.norm",
            "slice": "0, :",
            "digits": "3",
            "place": "max",
            "name value": "lr 0.1",
            "a [b]": "-1",
            "count": "2",
            "topic": "memory",
            "estimate": "batch 2x",
        }
        argument = samples.get(command.argument.name) or (*command.argument.choices, "x")[0]
    for word in (command.name, *command.aliases):
        parsed = parse(f" {word} {argument} ")
        assert (parsed.command, parsed.argument) == (command, argument)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nxt", "did you mean next?"),
        ("contniue", "did you mean continue?"),
        ("pre", "could be present or precision"),
        ("next x", "'x' is no count: a number from 1 to 10,000, as in next 3"),
        ("focus", "focus needs one argument: focus PANE"),
        ("focus grahp", "did you mean graph?"),
        ("", "type the name of a command"),
        ("zzzz", "? lists all commands"),
        ("watch nan net", "watch nan takes no name"),
        ("unwatch", "unwatch needs one argument: unwatch WHAT"),
        ("fold", "fold needs one argument: all, none or default"),
        ("fold evrything", "one of all, none, default"),
        ("view rwa", "did you mean raw?"),
        ("which two", "'two' is no number of a graph: which alone lists them"),
        ("which ²", "'²' is no number"),
        ("graph 2", "graph takes no argument, so not '2': did you mean which 2?"),
        ("graph x", "graph takes no argument, so not 'x'$"),
        ("export", "export needs one argument: export FILE"),
        ("export graph", "'graph' needs a suffix: graph.dot, graph.mmd, graph.md or graph.json"),
        ("export plots/net.PNG", "no format for .png: net.dot, net.mmd, net.md or net.json"),
        ("slice 0, x", "slice: 'x' is no index: a whole number, a range a:b or ..., as in 0, :, 3"),
        ("slice 1:5:2", "slice: '1:5:2' has a step: only a:b can be shown"),
        ("precision 0", "precision: '0' is no number of significant digits: 1 to 17"),
        ("precision three", "precision: 'three' is no number of significant digits: 1 to 17"),
        ("precision", "precision needs one argument: precision DIGITS"),
        ("goto", "goto needs one argument: goto PLACE"),
        ("goto top", "goto: 'top' is no place: an index as in 3, 0, 2, or max, min or nan"),
        ("goto 0, :", "goto: '0, :' is no place: an index"),
        ("goto max gradd", "goto: no side 'gradd': value, grad, previous or difference"),
        ("form heat map", "did you mean heatmap?"),
        ("show", "show needs one argument: show EXPRESSION"),
        ("unmark", "unmark needs one argument: unmark MODULE"),
        ("expo! graph.dot", "there is no export!, only export FILE"),
        ("next!", "there is no next!, only next"),
    ],
)
def test_a_wrong_line_names_the_right_form(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")) as caught:
        parse(line)
    assert "\n" not in str(caught.value)


def test_the_beginning_of_one_name_is_enough() -> None:
    assert parse("iterat").command is BY_NAME["iteration"]
    assert parse("focus mem").argument == "memory"
    assert parse("unw stacks") == Parsed(BY_NAME["unwatch"], "stacks")


def test_replacing_a_file_is_only_done_when_written_out() -> None:
    assert parse("expo graph.dot") == parse("save graph.dot") == Parsed(BY_NAME["export"], "graph.dot")
    assert parse("export! my graph.dot") == Parsed(BY_NAME["export!"], "my graph.dot")


def test_a_file_name_may_be_anything_with_a_known_suffix() -> None:
    assert parse("export ~/runs/a b.MMD").argument == "~/runs/a b.MMD"


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused_in_words(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse(text).command in COMMANDS
    assert all(line.startswith(text.lstrip().partition(" ")[0]) for line in complete(text))


WORDS = sorted({word for command in COMMANDS for word in (command.name, *command.aliases)})


SIGNS = "0123456789-+.,:[]()*/='\"! abnetx\0\n\r"


@settings(max_examples=400)
@given(
    st.sampled_from(WORDS),
    st.one_of(st.text(max_size=30), st.text("0123456789-+.,:[]()*/='\"! abnetx\0\n", max_size=30)),
)
def test_whatever_follows_a_command_is_read_or_refused_in_one_line(word: str, text: str) -> None:
    line = f"{word} {text}"
    complete(line)
    asks(line)
    said: list[str] = []
    try:
        assert parse(line).command in COMMANDS
    except UsageError as error:
        said = str(error).splitlines() or ["", ""]
    assert len(said) <= 1


def test_a_statement_needs_no_blank_and_is_completed_from_the_frame() -> None:
    assert parse("!x = 3") == parse("! x = 3") == parse("exec x = 3") == Parsed(BY_NAME["exec"], "x = 3")
    assert asks("p net.we") == ("p ", "net.we")
    assert asks("!net.we") == ("!", "net.we")
    assert asks(": display  lo") == ("display  ", "lo")
    assert asks("info par") is asks("p") is None
    assert complete("info m") == ["info memory"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("info parms", "info: no 'parms', did you mean params?"),
        ("info memory now", "info memory takes no more words, so not 'now'"),
        ("frame two", "frame: 'two' is no number of a frame: bt lists them"),
        ("up 0", "'0' is no number of frames: up 2"),
        ("undisplay loss", "undisplay: 'loss' is no number of a display: display lists them"),
        ("print", "print needs one argument: print EXPRESSION"),
        ("display 1 +", "display: '1 +' is no expression (invalid syntax): display loss"),
        ("display x = 3", "display: 'x = 3' is no expression (invalid syntax): display loss"),
        ("delete", "delete needs one argument: delete NUMBER OR ALL"),
        ("tbreak forwrad", "tbreak: no phase 'forwrad': did you mean forward?"),
        ("break forward net.2", "break forward: nothing can follow but if; in a module: break net.2 forward"),
        ("break step net.2", "break step: nothing can follow but if: break step if loss > 2"),
        ("foo", "no command 'foo': ? lists all commands"),
        ("zomo", "no command 'zomo': did you mean zoom (maximize)?"),
    ],
)
def test_wrong_words(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert str(caught.value) == message


def test_completion_offers_names_and_choices() -> None:
    assert complete("pre") == ["present", "precision"]
    assert "focus graph" in complete("focus g")
    assert complete("help ear") == ["help earlier"]
    assert complete("view ") == ["view modules", "view raw"]
    assert complete("watch gra", VIEW) == ["watch grads"]
    assert complete("export runs/") == [f"export runs/graph{suffix}" for suffix in SUFFIXES]
    assert complete("export net.m") == ["export net.mmd", "export net.mermaid", "export net.md"]
    assert complete("export net.dot") == ["export net.dot"]
    assert complete("export ./a.b/net.j") == ["export ./a.b/net.json"]


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


STOP = StopRecord(1, StopReason.STEP, 1, 1, (), None, (), (), None, (), None, "MainThread", 0.1, None)
EMPTY = GraphPage(1, 0, 0, (), "", "", None, False, 0, 0, (), note="no graph yet: nothing ran forward.")


def at_stop(*recorded: Recorded, shown: int | None = None) -> View:
    return replace(VIEW, status=Status.STOPPED, history=recorded, shown=shown)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (VIEW, "has not come to its first stop yet"),
        (replace(VIEW, status=Status.RUNNING), "the script is running: p pauses it"),
        (at_stop(Recorded(STOP), Recorded(replace(STOP, number=2)), shown=0), "an earlier stop is on screen"),
        (at_stop(Recorded(STOP, graph=GraphTree(PLAIN, EMPTY, {}))), "no graph yet: nothing ran forward"),
        (at_stop(Recorded(STOP, graph=GraphTree(PLAIN, replace(EMPTY, note=""), {}))), "there is no graph yet"),
        (at_stop(Recorded(STOP, graph=GraphTree(PLAIN, replace(EMPTY, recorded_at=1), {}))), None),
        (at_stop(Recorded(STOP)), None),
    ],
)
def test_a_graph_is_exported_where_there_is_one(view: View, words: str | None) -> None:
    for name in ("export", "export!", "which"):
        reason = BY_NAME[name].available(view)
        assert (reason is None) if words is None else (words in (reason or ""))


def test_what_is_watched_can_be_changed_while_the_script_is_held() -> None:
    earlier = at_stop(Recorded(STOP), Recorded(replace(STOP, number=2)), shown=0)
    for name in ("watch", "unwatch"):
        assert BY_NAME[name].available(earlier) is None
        assert "p pauses it" in (BY_NAME[name].available(replace(VIEW, status=Status.RUNNING)) or "")
    for name in ("view", "fold"):
        assert "} returns" in (BY_NAME[name].available(earlier) or "")
