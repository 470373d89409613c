"""Reading `:set` and `:diff`: what is understood, what is refused in one line, and what is completed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_commands import STOP, at_stop

from stepdbg.client.store import ParameterList, Recorded
from stepdbg.commands import BY_NAME, Parsed, complete, parse
from stepdbg.commands.compare import read_diff
from stepdbg.commands.edit import read_set
from stepdbg.errors import UsageError
from stepdbg.protocol import codec
from stepdbg.protocol.compare import GetDiff, Side, SideKind
from stepdbg.protocol.edits import Amount, How, Pick, SetRequiresGrad, SetValue
from stepdbg.protocol.records import ParameterRow, StopReason


def number(text: str, value: float, integer: int | None = None) -> tuple[str, Amount]:
    return text, Amount(How.SET, (value,), integer)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        number("0.01", 0.01),
        number("0", 0.0, 0),
        number("-3", -3.0, -3),
        number("+1_000", 1000.0),
        number("1e-3", 1e-3),
        number("-.5", -0.5),
        number("inf", math.inf),
        number("-Infinity", -math.inf),
        ("*0.5", Amount(How.SCALE, (0.5,))),
        ("*=2", Amount(How.SCALE, (2.0,), 2)),
        ("/ 10", Amount(How.SCALE, (0.1,))),
        ("0.9, 0.99", Amount(How.SET, (0.9, 0.99))),
        ("(0.9,0.99)", Amount(How.SET, (0.9, 0.99))),
        ("true", Amount(How.FLAG, flag=True)),
        ("No", Amount(How.FLAG, flag=False)),
    ],
)
def test_values(text: str, amount: Amount) -> None:
    assert read_set(f"lr {text}") == read_set(f" lr = {text} ") == read_set(f"lr={text}") == SetValue(0, "lr", amount)


def test_nan_is_a_value() -> None:
    query = read_set("net.0.bias nan")
    assert isinstance(query, SetValue)
    assert math.isnan(query.amount.numbers[0])
    assert repr(codec.decode(codec.encode(query))) == repr(query)


@pytest.mark.parametrize(
    ("text", "target", "picks"),
    [
        ("net[0].bias 1", "net[0].bias", ()),
        ("net.*.bias 1", "net.*.bias", ()),
        ("net.0.weight[0, 1] 1", "net.0.weight", (Pick(0), Pick(1))),
        ("net[0].weight[-1] 1", "net[0].weight", (Pick(-1),)),
        ("net[0].weight[:, 1:5:2] 1", "net[0].weight", (Pick(), Pick(None, 1, 5, 2))),
        ("net[0].weight[0,1].grad 1", "net[0].weight.grad", (Pick(0), Pick(1))),
        ("net[0].weight.grad[0] 1", "net[0].weight.grad", (Pick(0),)),
        ("ws[0].grad 1", "ws[0].grad", ()),
        ("optimiser[0].betas[1] 1", "optimiser[0].betas", (Pick(1),)),
        ("nets['a b'].0.weight 1", "nets['a b'].0.weight", ()),
        ('nets["a"] 1', 'nets["a"]', ()),
    ],
)
def test_targets(text: str, target: str, picks: tuple[Pick, ...]) -> None:
    assert read_set(text) == SetValue(0, target, Amount(How.SET, (1.0,), 1), picks)


def test_requires_grad_takes_a_name_and_a_flag_in_any_order() -> None:
    wanted = SetRequiresGrad(0, "net[2].*", False)
    for text in ("requires_grad net[2].* false", "requires_grad no net[2].*", "net[2].*.requires_grad = off"):
        assert read_set(text) == wanted


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("set", "set needs one argument: set NAME VALUE"),
        ("set lr", "set lr: to what? As in: set lr 0.01"),
        ("set = 3", "set needs a name and a value"),
        ("set lr ten", "'ten' is no value; it can be true or false, a number, nan"),
        ("set lr 1 2", "'1 2' is no value"),
        ("set lr *x", "'*x' is no value"),
        ("set lr /0", "nothing can be divided by 0"),
        ("set net.0.weight[ 1", "a bracket is open or empty"),
        ("set net.0.weight[] 1", "there is nothing in the brackets"),
        ("set net.0.weight[0.5] 1", "'0.5' is no index"),
        ("set net.0.weight[a] 1", "'a' is no index: integers and slices"),
        ("set net.0.weight[::-1] 1", "the step of a slice must be positive"),
        ("set net.0.weight[99999999999999999999] 1", "is too large for an index"),
        ("set requires_grad net.0.bias", "set requires_grad takes a name (or a glob) and true or false"),
        ("set requires_grad net.0.bias maybe", "takes true or false, not 'maybe'"),
        ("set net.0.bias.requires_grad", "set net.0.bias.requires_grad: to what?"),
        ("diff", "diff needs one argument: diff A [B]"),
        ("diff net", "diff net: with what? As in: diff net net2, diff net -1; a file has a suffix or a /"),
        ("diff now", "diff now: with what?"),
        ("diff 0", "0 is no stop: -3 is three stops ago, 12 is the stop of that number"),
        ("diff +3", "+3 is no stop"),
        ("diff -0", "-0 is no stop"),
        ("diff 1234567890123", "is no number of a stop"),
        ("diff net net", "net is on both sides"),
        ("diff a b c", "diff compares two, not 3"),
        ("diff 'a b", "a quote is open"),
        ("diff ''", "'' is no name"),
    ],
)
def test_a_wrong_line_names_the_right_form(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


NOW = Side(SideKind.NOW)


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ("-3", Side(SideKind.STOP, -3), NOW),
        ("12", Side(SideKind.STOP, 12), NOW),
        ("5 12", Side(SideKind.STOP, 5), Side(SideKind.STOP, 12)),
        ("now -1", NOW, Side(SideKind.STOP, -1)),
        ("net net2", Side(SideKind.NAME, name="net"), Side(SideKind.NAME, name="net2")),
        ("net[0].weight -1", Side(SideKind.NAME, name="net[0].weight"), Side(SideKind.STOP, -1)),
        ("ckpt.pt", Side(SideKind.FILE, name="ckpt.pt"), NOW),
        ("runs/a.SAFETENSORS net", Side(SideKind.FILE, name="runs/a.SAFETENSORS"), Side(SideKind.NAME, name="net")),
        ("./noending", Side(SideKind.FILE, name="./noending"), NOW),
        ("'my runs/a b.pt' \"net\"", Side(SideKind.FILE, name="my runs/a b.pt"), Side(SideKind.NAME, name="net")),
        ("nets['a b'].0 net2", Side(SideKind.NAME, name="nets['a b'].0"), Side(SideKind.NAME, name="net2")),
    ],
)
def test_what_is_compared(text: str, a: Side, b: Side) -> None:
    assert read_diff(text) == GetDiff(0, a, b)
    assert parse(f"diff {text}") == Parsed(BY_NAME["diff"], text)


PIECES = st.sampled_from(
    ["lr", "net", "[0]", "[", "]", ".", "=", " ", "*", "/", "1", "-", ":", ",", "nan", "true", "requires_grad", "'",
     '"', "1e999", "\0", "²", "٣", "_", "0x1", "(", ")", ".grad", "ckpt.pt"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30))
def test_any_line_is_read_or_refused_in_words(text: str) -> None:
    """What is read can be sent."""
    for read in (read_set, read_diff):
        try:
            query = read(text)
        except UsageError as error:
            words = str(error)
        else:
            words = ""
            assert repr(codec.decode(codec.encode(query))) == repr(query)
        assert "\n" not in words or "\n" in text


def view_with(*names: str):
    rows = {
        at: ParameterRow(
            name, (), (1,), "float32", "cpu", 1, 4, True, "optimiser[0]", "SGD", 1.0, None, "none", None, None
        )
        for at, name in enumerate(names)
    }
    return at_stop(Recorded(STOP, parameters=ParameterList("", len(rows), len(rows), rows)))


def test_names_on_screen_are_completed() -> None:
    view = view_with("net.0.weight", "net.0.bias", "other")
    assert complete("set net.0.", view) == ["set net.0.weight", "set net.0.bias"]
    assert complete("set requires_grad net.0.b", view) == ["set requires_grad net.0.bias"]
    assert "set optimiser[0].lr" in complete("set o", view)
    assert complete("set l", view) == ["set lr"]
    assert complete("set lr ", view) == []
    assert complete("diff net.0.weight net", view) == [
        "diff net.0.weight net", "diff net.0.weight net.0",
        "diff net.0.weight net.0.weight", "diff net.0.weight net.0.bias"
    ]  # fmt: skip
    assert complete("diff -", view) == ["diff -1"]
    assert complete("set net") == []


def test_nothing_is_set_where_nothing_would_come_of_it() -> None:
    command = BY_NAME["set"]
    assert command.available(at_stop(Recorded(STOP))) is None
    for reason in (StopReason.EXCEPTION, StopReason.FINISHED):
        why = command.available(at_stop(Recorded(replace(STOP, reason=reason))))
        assert why is not None
        assert why.startswith("nothing of the script runs after this stop")
    earlier = at_stop(Recorded(STOP), Recorded(replace(STOP, number=2)), shown=0)
    for name in ("set", "diff"):
        assert "an earlier stop is on screen" in (BY_NAME[name].available(earlier) or "")
    assert BY_NAME["edits"].available(earlier) is None
