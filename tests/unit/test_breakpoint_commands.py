"""Reading the commands on breakpoints: what they ask for, and the one line that names a mistake."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepdbg.commands import parse
from stepdbg.commands.places import (
    as_line,
    read_break,
    read_commands,
    read_condition,
    read_ignore,
    read_log,
    read_number,
    read_watch,
)
from stepdbg.errors import UsageError
from stepdbg.protocol.breakpoints import EditBreakpoint, Kind, Spec

FILE = "/home/me/train.py"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("backward", Spec(Kind.PHASE, "backward")),
        ("backward if loss > 2", Spec(Kind.PHASE, "backward", condition="loss > 2")),
        (
            "step if grad.norm > 10 and iteration % 50 == 0",
            Spec(Kind.PHASE, "step", condition="grad.norm > 10 and iteration % 50 == 0"),
        ),
        ("iteration 50", Spec(Kind.ITERATION, line=50)),
        ("12", Spec(Kind.LINE, FILE, line=12)),
        (":12", Spec(Kind.LINE, FILE, line=12)),
        ("train.py:12", Spec(Kind.LINE, FILE, line=12)),
        ("/tmp/other.py:3 if x", Spec(Kind.LINE, "/tmp/other.py", line=3, condition="x")),
        ("module net.2", Spec(Kind.MODULE, "net.2", direction="forward")),
        ("net.2 backward", Spec(Kind.MODULE, "net.2", direction="backward")),
        ("net[2]", Spec(Kind.NAME, "net[2]")),
        ("net.*", Spec(Kind.NAME, "net.*")),
        ("op aten.addmm", Spec(Kind.OP, "aten.addmm")),
        ("aten::addmm", Spec(Kind.OP, "aten::addmm")),
        ("AddmmBackward0", Spec(Kind.NODE, "AddmmBackward0")),
        ("node Addmm*", Spec(Kind.NODE, "Addmm*")),
        ("grad net.0.weight", Spec(Kind.GRADIENT, "net.0.weight")),
        ("net.0.weight.grad", Spec(Kind.GRADIENT, "net.0.weight")),
    ],
)
def test_what_break_asks_for(text: str, spec: Spec) -> None:
    assert read_break(text, file=FILE) == spec
    assert read_break(as_line(spec).partition(" ")[2], file=FILE) == spec
    assert read_break(text, once=True, command="tbreak", file=FILE) == replace(spec, once=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "break needs a place: break backward if loss > 2"),
        ("backwrad", "no phase 'backwrad': did you mean backward?"),
        ("backward if", "the condition after if is empty"),
        ("backward if loss = 2", "did you mean loss == 2?"),
        ("backward if loss >", "'loss >' is no condition"),
        ("backward now", "nothing can follow but if"),
        ("iteration", "needs the number of an iteration, from 1: break iteration 50"),
        ("iteration 0", "from 1"),
        ("12", "of which file? As in break train.py:12"),
        ("train.py:0", "lines count from 1"),
        ("net.2 bakward", "did you mean break net.2 backward?"),
        ("module", "break module needs a name: break module net.2"),
        ("!?", "'!?' is no place"),
    ],
)
def test_what_break_cannot_read(text: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        read_break(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_watches() -> None:
    assert read_watch("nan") == Spec(Kind.NAN)
    assert read_watch("nan if iteration > 3") == Spec(Kind.NAN, condition="iteration > 3")
    assert read_watch("change net2.*") == Spec(Kind.CHANGE, "net2.*")
    assert read_watch("net[0].weight.grad.norm()") == Spec(Kind.EXPRESSION, "net[0].weight.grad.norm()")
    assert read_watch("a if b else c") == Spec(Kind.EXPRESSION, "a if b else c")
    for text, words in (
        ("", "watch needs something to watch: watch nan"),
        ("nan net", "watch nan takes no name"),
        ("change", "watch change net2.*"),
        ("x +", "'x +' is no expression: watch nan"),
    ):
        with pytest.raises(UsageError, match=words.replace("*", r"\*").replace("+", r"\+")):
            read_watch(text)


def test_logpoints_and_edits() -> None:
    spec = read_log('step "loss {loss:.3f}" if iteration > 2')
    assert spec == Spec(Kind.PHASE, "step", condition="iteration > 2", log="loss {loss:.3f}")
    assert read_log(as_line(spec).partition(" ")[2]) == spec
    assert read_condition("2 loss > 3") == EditBreakpoint(0, 2, condition="loss > 3")
    assert read_condition("2") == EditBreakpoint(0, 2, condition="")
    assert read_ignore("2 10") == EditBreakpoint(0, 2, ignore=10)
    assert read_commands("2 next; continue") == EditBreakpoint(0, 2, commands=("next", "continue"))
    assert read_number("delete", "all") == 0
    assert read_number("delete", "#3") == 3
    for call, words in (
        (lambda: read_log("step loss"), "a text in quotes"),
        (lambda: read_log('step "{"'), "logpoint: "),
        (lambda: read_condition("loss > 3"), "takes the number of a breakpoint"),
        (lambda: read_ignore("2"), "ignore 2 10"),
        (lambda: read_commands("2 nxt"), "commands: no command 'nxt': did you mean next?"),
        (lambda: read_number("delete", "x"), "delete takes the number"),
    ):
        with pytest.raises(UsageError) as error:
            call()
        assert words in str(error.value)


WORDS = ("break", "tbreak", "b", "watch", "unwatch", "delete", "enable", "disable", "ignore", "condition", "commands",
         "logpoint", "toggle", "breakpoints")  # fmt: skip
PIECES = st.sampled_from(
    ["backward", "if", "loss", ">", "2", "net.0", "[", "]", "nan", "change", '"', "{", "}", ":", "iteration", "\0",
     "0", "99999999999999999999", "*", "é", "\n", "lambda:", "=", "module", "op", "grad", "²", ";", "next"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(WORDS), st.one_of(st.lists(PIECES, max_size=6).map(" ".join), st.text(max_size=40)))
def test_no_line_raises_anything_but_the_documented_error(word: str, rest: str) -> None:
    said = ""
    try:
        parse(f"{word} {rest}")
    except UsageError as error:
        said = str(error) or "nothing\nwas said"
    assert "\n" not in said
