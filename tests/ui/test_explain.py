"""The screen that explains a step: as text, against a scripted agent, and on real runs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import real_runs
from test_shell import NARROW, Driver, running
from textual.containers import VerticalScroll
from textual.widgets import Static

from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase
from stepdbg.protocol.step import DID, WILL, Explanation, Given, StepLine
from stepdbg.ui import step_text
from stepdbg.ui.screens.explain import ExplainScreen, neighbour

SGD = Explanation(
    stop=6,
    name="net.0.weight",
    index=(0, 0),
    shape=(6, 4),
    dtype="float32",
    parameters=8,
    following="net.0.bias",
    tells=DID,
    optimizer="optimiser",
    kind="SGD",
    groups=1,
    owned_by="it was given net.parameters(): group 0 of 1, 4 parameters",
    iteration=1,
    hyper=(Given("", "lr", "0.5"), Given("μ", "momentum", "0.9")),
    given=(
        Given("p", "value", "-0.00374341"),
        Given("g", "gradient", "0.05159233"),
        Given("b", "momentum_buffer", "1e-05"),
    ),
    rule="b ← μ·b + g,   p ← p - lr·b",
    lines=(
        StepLine("b ← μ·b + g", "0.9·1e-05 + 0.0515923", "0.05160133"),
        StepLine("p ← p - lr·b", "-0.00374341 - 0.5·0.0516013", "-0.029544074"),
    ),
    before="-0.00374341",
    after="-0.029544074",
    change="-0.0258007",
    predicted="-0.029544074",
    exact=True,
    ulps=0.0,
    within=True,
    tolerance="bit for bit",
)


def lines(explanation: Explanation, width: int = 76) -> list[str]:
    all_lines = [*step_text.body(explanation, width), *step_text.outcome(explanation, width)]
    return ["".join(text for text, _ in line).rstrip() for line in all_lines]


# ── as text ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_everything_stands_where_it_can_be_read() -> None:
    assert step_text.title(SGD) == "what optimiser.step() did to net.0.weight[0, 0]"
    assert lines(SGD, 72) == [
        "SGD · iteration 1                                            6×4 float32",
        "It was given net.parameters(): group 0 of 1, 4 parameters.",
        "",
        "  b ← μ·b + g,   p ← p − lr·b",
        "",
        "lr 0.5   μ momentum 0.9",
        "",
        "p  value                                                    −0.00374341",
        "g  gradient                                                  0.05159233",
        "b  momentum_buffer                                           1e−05",
        "",
        "b ← μ·b + g                                               =  0.05160133",
        "    0.9·1e−05 + 0.0515923",
        "p ← p − lr·b                                              = −0.029544074",
        "    −0.00374341 − 0.5·0.0516013",
        "before −0.00374341   after −0.029544074   change −0.0258007",
        "✓ equals the real new value, bit for bit",
    ]


def test_a_wide_screen_has_a_formula_and_its_numbers_in_one_line() -> None:
    wide = lines(SGD, 110)
    (line,) = [text for text in wide if text.startswith("p ← p − lr·b  ")]
    assert line == f"{'p ← p − lr·b   −0.00374341 − 0.5·0.0516013':<95} = −0.029544074"
    assert len(wide) == len(lines(SGD, 72)) - 2


@pytest.mark.parametrize("width", [40, 60, 72, 96, 120])
def test_nothing_is_wider_than_the_screen(width: int) -> None:
    for text in lines(replace(SGD, note="word " * 40), width):
        assert len(text) <= width


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "✓ equals the real new value, bit for bit"),
        (
            {"exact": False, "ulps": 1.0, "tolerance": "2 ulp: the fused kernel rounds in other places"},
            "✓ differs from the real new value by 1 ulp (tolerance 2 ulp: the fused kernel rounds in other places)",
        ),
        (
            {"exact": False, "ulps": 736936.0, "within": False},
            "✗ differs from the real new value by 7.37e+05 ulp (tolerance 0 ulp)",
        ),
        (
            {"exact": False, "ulps": None, "within": False},
            "✗ differs from the real new value (tolerance 0 ulp)",
        ),
        ({"tells": WILL, "exact": None, "within": None}, "a prediction: the step has not run yet (n runs it)"),
        ({"after": None, "exact": None, "within": None}, ""),
        ({"predicted": None}, ""),
    ],
)
def test_the_verdict(changes: dict[str, Any], said: str) -> None:
    assert step_text.verdict(replace(SGD, **changes))[0] == said


def test_a_sentence_that_begins_with_a_name_leaves_it_as_it_is_written() -> None:
    said = lines(replace(SGD, predicted=None, note="optimiser has not stepped yet: run to its step (n)"))[-1]
    assert said == "optimiser has not stepped yet: run to its step (n)"
    assert lines(replace(SGD, predicted=None, note="it has no elements"))[-1] == "It has no elements."


def test_titles() -> None:
    assert step_text.title(replace(SGD, tells=WILL)) == "what optimiser.step() will do to net.0.weight[0, 0]"
    assert step_text.title(replace(SGD, tells="")) == "no step to explain for net.0.weight[0, 0]"
    assert step_text.title(replace(SGD, index=(), name="scale")) == "what optimiser.step() did to scale"


def test_the_copy_has_signs_that_can_be_used_as_numbers() -> None:
    text = step_text.plain(SGD)
    assert text.startswith("what optimiser.step() did to net.0.weight[0, 0]\n\nSGD · iteration 1")
    assert "-0.00374341 - 0.5·0.0516013" in text
    assert "−" not in text
    assert text.endswith("✓ equals the real new value, bit for bit\n")


@pytest.mark.parametrize("shape", [(6, 4), (3,), (1, 1), (2, 3, 4), (5, 1)])
def test_neighbours_are_those_of_the_tensor(shape: tuple[int, ...]) -> None:
    places = list(itertools.product(*(range(size) for size in shape)))
    row = shape[-1] if len(shape) > 1 else 1
    for flat, index in enumerate(places):
        for move, step in (("left", -1), ("right", 1), ("up", -row), ("down", row)):
            wanted = places[flat + step] if 0 <= flat + step < len(places) else index
            assert neighbour(index, shape, move) == wanted
        assert neighbour(index, shape, "home") == places[0]
        assert neighbour(index, shape, "end") == places[-1]
    assert neighbour((), (), "right") == ()
    assert neighbour((0, 0), (0, 4), "right") == (0, 0)


# ── against a scripted agent ────────────────────────────────────────────────────────────────────────────────────


def screen(driver: Driver | real_runs.Driver) -> ExplainScreen:
    found = driver.app.screen
    assert isinstance(found, ExplainScreen), found
    return found


def is_open(driver: Driver | real_runs.Driver) -> bool:
    return isinstance(driver.app.screen, ExplainScreen)


def shows(driver: Driver | real_runs.Driver, name: str, index: tuple[int, ...]) -> bool:
    top = driver.app.screen
    return (
        isinstance(top, ExplainScreen) and top.shown is not None and (top.shown.name, top.shown.index) == (name, index)
    )


def body(driver: Driver | real_runs.Driver) -> str:
    return screen(driver).query_one("#explain-text", Static).content.plain


def below(driver: Driver | real_runs.Driver) -> str:
    return screen(driver).query_one("#explain-outcome", Static).content.plain


async def enter(driver: Driver, line: str) -> None:
    await driver.press("colon")
    driver.app.main.prompt.input.value = line
    await driver.press("enter")
    await driver.pilot.pause()


async def test_e_explains_the_selected_parameter_and_keys_go_to_its_neighbours() -> None:
    async with running(stop=6) as driver:
        await driver.until(lambda: driver.app.selected == "net.0.weight", "a parameter is selected")
        await driver.press("e")
        await driver.until(lambda: shows(driver, "net.0.weight", (0, 0)), "it is explained")
        asked = await driver.session.agent.told(m.GetExplanation)
        assert (asked.name, asked.index, asked.tells) == ("net.0.weight", None, "")
        for key, index in (("right", (0, 1)), ("down", (1, 1)), ("left", (1, 0)), ("up", (0, 0)), ("end", (5, 3))):
            await driver.press(key)
            await driver.until(lambda index=index: shows(driver, "net.0.weight", index), f"{key} goes to {index}")
        await driver.press("tab")
        await driver.until(lambda: shows(driver, "net.0.bias", (0,)), "the next parameter")
        await driver.press("shift+tab")
        await driver.until(lambda: shows(driver, "net.0.weight", (0, 0)), "the one before")
        await driver.press("shift+tab")
        await driver.pilot.pause()
        assert shows(driver, "net.0.weight", (0, 0))
        await driver.press("y")
        assert driver.app.clipboard.startswith("what optimiser.step() did to net.0.weight[0, 0]")
        assert driver.notices()[-1] == "copied: what optimiser.step() did to net.0.weight[0, 0]"
        await driver.press("escape")
        assert not is_open(driver)
        assert driver.app.main.focused is not None


async def test_the_prompt_takes_an_element_and_says_what_is_wrong() -> None:
    async with running(stop=6, size=NARROW) as driver:
        await enter(driver, "explain net.2.weight[0, 3]")
        await driver.until(lambda: shows(driver, "net.2.weight", (0, 3)), "it is explained")
        asked = await driver.session.agent.told(m.GetExplanation)
        assert (asked.name, asked.index) == ("net.2.weight", (0, 3))
        await driver.press("escape")
        await enter(driver, "explain net.9.weight")
        await driver.until(driver.notices, "it is refused")
        assert driver.notices() == ["explain: no parameter is called net.9.weight at this stop"]
        assert not is_open(driver)
        await enter(driver, "explain net.0.weight[0 0]")
        message = driver.app.main.prompt.query_one("#prompt-message", Static)
        assert "is no number: write net.0.weight[0, 0]" in str(message.content)


async def test_looking_back_shows_what_was_explained_then() -> None:
    async with running(stop=6) as driver:
        await driver.until(lambda: driver.app.selected, "a parameter is selected")
        await driver.press("e")
        await driver.until(lambda: shows(driver, "net.0.weight", (0, 0)), "it is explained")
        count = len([r for r in driver.session.agent.received if isinstance(r, m.GetExplanation)])
        await driver.press("n")
        await driver.stopped_at(7)
        await driver.until(lambda: is_open(driver) and screen(driver).shown.stop == 7, "it follows the run")
        await driver.press("left_square_bracket")
        await driver.until(lambda: screen(driver).shown is not None and screen(driver).shown.stop == 6, "stop 6")
        await driver.press("left_square_bracket")
        await driver.until(lambda: screen(driver).shown is None, "stop 5")
        assert body(driver) == "Not recorded at stop 5: net.0.weight[0, 0] was not explained then."
        await driver.press("right_curly_bracket")
        await driver.until(lambda: screen(driver).shown is not None and screen(driver).shown.stop == 7, "the present")
        assert len([r for r in driver.session.agent.received if isinstance(r, m.GetExplanation)]) == count + 1


async def test_what_cannot_be_answered_is_said() -> None:
    async with running(stop=6) as driver:
        await driver.until(lambda: driver.app.selected, "a parameter is selected")
        await driver.press("e")
        await driver.until(lambda: is_open(driver), "it opens")
        screen(driver).go(("gone", (1,), ""))
        await driver.until(lambda: screen(driver).said, "a sentence")
        assert screen(driver).said == "Cannot be told: no parameter is called gone at this stop"


async def test_before_any_stop_there_is_nothing_to_explain() -> None:
    from fake_session import Script

    async with running(Script(greets=False)) as driver:
        await driver.press("e")
        await driver.pilot.pause()
        assert not is_open(driver)


# ── on real runs ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=str)
async def test_two_nets_before_and_after_its_step(size: tuple[int, int]) -> None:
    async with real_runs.running("two_nets", size=size) as driver:
        await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is Phase.STEP, "before a step")
        await driver.press("e")
        await driver.until(lambda: shows(driver, "net.0.weight", (0, 0)), "a prediction")
        will = screen(driver).shown
        assert will is not None
        assert will.tells == WILL
        assert "a prediction: the step has not run yet" in below(driver)
        await driver.press("n")
        await driver.until(lambda: is_open(driver) and screen(driver).shown.tells == DID, "what it did")
        did = screen(driver).shown
        assert did is not None
        assert did.exact is True
        assert did.after == will.predicted
        assert "✓ equals the real new value, bit for bit" in below(driver)
        assert "p ← p − lr·g" in body(driver)
        for _ in range(4):
            await driver.press("tab")
            await driver.settled()
        await driver.until(lambda: shows(driver, "net2.0.weight", (0, 0)), "the other net")
        assert "Nobody owns net2.0.weight: no optimizer was given it" in " ".join(below(driver).split())
        await driver.press("escape")
        assert driver.app.selected == "net.0.weight"


ADAMW = """\
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
optimiser = torch.optim.AdamW(net.parameters(), lr=0.01, amsgrad=True)
x = torch.randn(32, 4)
for _ in range(4):
    optimiser.zero_grad()
    net(x).square().mean().backward()
    optimiser.step()
"""


@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=str)
async def test_adamw_step_after_step(tmp_path: Path, size: tuple[int, int]) -> None:
    script = tmp_path / "adamw.py"
    script.write_text(ADAMW)
    async with real_runs.running(script, size=size) as driver:
        for _ in range(3):
            await driver.step("i")
        await driver.press("e")
        await driver.until(lambda: shows(driver, "net.0.weight", (0, 0)), "it is explained")
        shown = screen(driver).shown
        assert shown is not None
        assert (shown.exact, shown.iteration) == (True, 3)
        assert [g.symbol for g in shown.given] == ["p", "g", "t", "m", "v", "v̂"]
        scroll = screen(driver).query_one(VerticalScroll)
        # What is shown is laid out at the refresh after it is known.
        await driver.until(lambda: scroll.virtual_size.height > 10, "the explanation is laid out")
        assert (scroll.max_scroll_y > 0) is (size[1] < 30)
        # The verdict and the keys are in sight whatever the size.
        for part in ("#explain-outcome", "#explain-keys"):
            region = screen(driver).query_one(part).region
            assert region.height > 0
            assert region.bottom <= size[1]
        await driver.press("pagedown")
        if size[1] < 30:
            await driver.until(lambda: scroll.scroll_y > 0, "the page goes down")
        else:
            await driver.settled()
            assert scroll.scroll_y == 0
        await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is Phase.STEP, "before a step")
        await driver.until(lambda: screen(driver).shown.tells == WILL, "what it will do")
        assert screen(driver).shown.other
        await driver.press("w")
        await driver.until(lambda: screen(driver).shown.tells == DID, "what the last one did")
        await driver.press("w")
        await driver.until(lambda: screen(driver).shown.tells == WILL, "and back")


async def test_a_wrong_place_on_a_real_run_names_the_shape_and_the_nearest_name() -> None:
    async with real_runs.running("two_nets") as driver:
        for line, said in (
            ("explain net.0.weight[6, 0]", "explain: net.0.weight[6, 0]: 6 is out of range, the shape is 6×4"),
            ("explain net.0.wieght", "no parameter is called net.0.wieght at this stop: did you mean net.0.weight?"),
            ("explain net.0.bias[0, 0]", "net.0.bias[0, 0]: the shape is 6, so write net.0.bias[0]"),
        ):
            driver.app.main.open_prompt(":", line)
            await driver.press("enter")
            await driver.settled()
            assert said in [n.message for n in driver.app._notifications][-1]
            assert not is_open(driver)
