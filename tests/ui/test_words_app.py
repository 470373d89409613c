"""Expressions, frames and topics in the whole app, on real runs: by key, by palette, and at the prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from stepdbg.client.store import Status
from stepdbg.commands import COMMANDS
from stepdbg.protocol.messages import GetValues
from stepdbg.ui.answers import AnswerBox, AnswerScreen
from stepdbg.ui.panes.source import SourcePane
from stepdbg.ui.prompt import PromptBar
from tests.ui.real_runs import NARROW, Driver, running

NESTED = """
import torch

def train(steps, factor):
    net = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        optimiser.zero_grad()
        loss = net(torch.ones(3, 2)).pow(2).mean() * factor
        loss.backward()
        optimiser.step()
    print(step, factor)
    return step, factor

result = train(2, 1.0)
"""


async def enter(driver: Driver, line: str) -> None:
    await driver.press("colon")
    driver.app.main.query_one(PromptBar).query_one(Input).value = line
    await driver.press("enter")


def box(driver: Driver) -> AnswerBox:
    return driver.app.main.query_one(AnswerBox)


def shown(driver: Driver) -> str:
    return box(driver).render().plain


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    path = tmp_path / "nested.py"
    path.write_text(NESTED)
    return path


async def test_expressions_statements_and_frames(nested: Path) -> None:
    async with running(nested) as driver:
        await enter(driver, "p steps + 1")
        await driver.until(lambda: "p steps + 1\n3" in shown(driver), "answer")
        await driver.press("escape")
        assert not box(driver).lines
        await driver.press("exclamation_mark")
        prompt = driver.app.main.query_one(PromptBar)
        assert (prompt.is_open, prompt.input.value) == (True, "! ")
        prompt.input.value = "! factor = 2.5"
        await driver.press("enter")
        await driver.until(lambda: "set factor" in shown(driver), "answer")
        await enter(driver, "p no_such")
        await driver.until(lambda: "NameError: name 'no_such' is not defined" in shown(driver), "error")
        assert box(driver).wrong
        await enter(driver, "traceback")
        await driver.until(lambda: "Traceback (most recent call last)" in shown(driver), "traceback")
        await enter(driver, "display factor * step")
        await driver.until(lambda: "1  factor * step = 0.0" in shown(driver), "display")
        await enter(driver, "up")
        source = driver.app.main.query_one(SourcePane)
        await driver.until(lambda: source.frame is not None and source.frame.function == "<module>", "frame")
        await driver.until(lambda: "NameError" in shown(driver), "the display in that frame")
        await enter(driver, "p train.__name__")
        await driver.until(lambda: "'train'" in shown(driver), "answer of the outer frame")
        await driver.press("i")
        await driver.until(lambda: "1  factor * step = 2.5" in shown(driver), "display at the next stop")
        assert not box(driver).lines
        await enter(driver, "undisplay 1")
        await driver.until(lambda: not box(driver).display, "nothing displayed")
        await driver.press("c")
        await driver.until(lambda: driver.run.printed == ["1 2.5"], "the script's own output")


async def test_completion_asks_the_frame(nested: Path) -> None:
    async with running(nested, size=NARROW) as driver:
        await driver.press("colon")
        prompt = driver.app.main.query_one(PromptBar)
        prompt.input.value = "p net.wei"
        await driver.press("tab")
        await driver.until(lambda: prompt.input.value == "p net.weight", "completion")
        prompt.input.value = "!optimiser.param_g"
        await driver.press("tab")
        await driver.until(lambda: prompt.input.value == "!optimiser.param_groups", "completion")
        await driver.press("escape")


async def test_long_answers_have_a_screen_and_files_of_commands_wait_for_stops(tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.write_text("next\nnext\nnext\n# here\np loss.item() > 0\n")
    async with running("two_nets", size=NARROW) as driver:
        await enter(driver, "info params")
        await driver.until(lambda: isinstance(driver.app.screen, AnswerScreen), "screen")
        await driver.press("escape")
        await enter(driver, f"source {commands}")
        await driver.until(lambda: "p loss.item() > 0\nTrue" in shown(driver), "the last command's answer")
        assert driver.stop.number == 4
        await enter(driver, "source no-such-file")
        await enter(driver, "info lr")
        await driver.until(lambda: "optimiser" in shown(driver), "topic")
        assert not [query for query in driver.told(GetValues) if "loss.item" in query.name]
        await enter(driver, "help print")
        assert "print EXPRESSION" in shown(driver)
        assert driver.view.status is Status.STOPPED


@pytest.mark.parametrize("name", [command.name for command in COMMANDS if command.group in ("Words", "Frames")])
def test_words_are_in_the_palette_and_can_be_asked_about(name: str) -> None:
    from stepdbg.commands.helptext import one_command
    from stepdbg.ui.panes import source
    from stepdbg.ui.screens.help import help_text

    command = next(command for command in COMMANDS if command.name == name)
    assert command.help in "\n".join(one_command(command))
    assert command.help in help_text([source.SourcePane], {})
