"""`:explain`, as it is read at the prompt."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdbg.commands import BY_NAME, Parsed, parse
from stepdbg.commands.step import element
from stepdbg.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "index"),
    [
        ("net.0.weight", "net.0.weight", None),
        ("net.0.weight[0, 0]", "net.0.weight", (0, 0)),
        ("net.0.weight[3,-1]", "net.0.weight", (3, -1)),
        (" net.0.bias [ 5 ] ", "net.0.bias", (5,)),
        ("scale[]", "scale", ()),
        ("b[2,]", "b", (2,)),
        ("nets[0].weight", "nets[0].weight", None),
        ("nets[0].weight[1, 2]", "nets[0].weight", (1, 2)),
        ("optimiser[0].params[3]", "optimiser[0].params", (3,)),
        ("models['a'].bias[0]", "models['a'].bias", (0,)),
    ],
)
def test_an_element(text: str, name: str, index: tuple[int, ...] | None) -> None:
    assert element(text) == (name, index)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("explain net.0.weight[0, x]", "explain: 'x' in [0, x] is no number: write net.0.weight[0, 0]"),
        ("explain net.0.weight[1:3]", "explain: '1:3' in [1:3] is no number: write net.0.weight[0, 0]"),
        ("explain net.0.weight[0, 0", "explain: 'net.0.weight[0, 0' is no element: write explain net.0.weight[0, 0]"),
        ("explain [0]", "explain: '[0]' is no element: write explain net.0.weight[0, 0]"),
        ("explain a b", "explain: 'a b' is no parameter: write explain net.0.weight[0, 0]"),
        ("explain w[0,,1]", "explain: '' in [0,,1] is no number: write w[0, 0]"),
    ],
)
def test_a_wrong_element_names_the_right_form(line: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert str(caught.value) == said


@given(st.text(alphabet="ab.[]0-1, '\n", max_size=20))
def test_any_text_is_an_element_or_one_clear_line(text: str) -> None:
    with contextlib.suppress(UsageError):
        name, index = element(text)
        assert name or not text.strip()
        assert index is None or all(isinstance(at, int) for at in index)


def test_it_needs_no_argument() -> None:
    assert parse("explain") == parse("why") == Parsed(BY_NAME["explain"], "")
    assert BY_NAME["explain"].keys == ("e",)
