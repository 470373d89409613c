"""Every command of the registry by key, from the palette, at the prompt, in a batch and in the help: one effect."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stepdbg.client.store import Status
from stepdbg.commands import COMMANDS, Command, find
from stepdbg.commands.helptext import one_command
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import StopReason
from stepdbg.ui.prompt import PromptBar
from tests.ui.every_command import CASES, ENDING, SCRIPT, Case, Seen, cleared, enter
from tests.ui.real_runs import Driver, running

SAMPLE = ("next", "until", "print", "memory", "search", "show", "set", "explain", "break", "what-if", "theme", "help")
"""What the fast tests try; the slow ones try all."""

BY_NAME = {command.name: command for command in COMMANDS}
SECONDS = 120


def test_every_command_has_a_case() -> None:
    assert sorted([*CASES, *ENDING]) == sorted(BY_NAME)


# ── on screen ───────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def held(tmp_path: Path) -> AsyncIterator[Driver]:
    path = tmp_path / "every_command.py"
    path.write_text(SCRIPT)
    async with running(path, size=(140, 45)) as driver:
        for _ in range(9):  # into the second iteration: there are a graph, steps and gradients
            await driver.step()
        yield driver


async def prepared(driver: Driver, case: Case) -> Seen:
    await cleared(driver)
    await case.before(driver)
    await driver.settled()
    app = driver.app
    notices = frozenset(notice.identity for notice in app._notifications)
    return Seen(driver, len(driver.session.told), notices, driver.stop.number, case.note(driver))


def argument(driver: Driver, case: Case) -> str:
    return case.argument if isinstance(case.argument, str) else case.argument(driver)


async def try_prompt(driver: Driver, command: Command, case: Case) -> None:
    seen = await prepared(driver, case)
    await enter(driver, f"{command.name} {argument(driver, case)}".strip())
    await driver.until(lambda: case.did(seen), f":{command.name} has done it")
    for alias in command.aliases:
        assert find(alias) is command


async def try_palette(driver: Driver, command: Command, case: Case) -> None:
    seen = await prepared(driver, case)
    offered = next(c for c in driver.app.get_system_commands(driver.app.screen) if c.title == command.name)
    assert offered.help == command.help
    text = argument(driver, case)  # before anything is changed
    offered.callback()
    did = case.did if case.bare is None else case.bare
    if command.argument is not None and command.argument.required:
        prompt = driver.app.main.query_one(PromptBar)
        await driver.until(lambda: prompt.is_open, f"the prompt asks for what {command.name} needs")
        assert prompt.input.value == f"{command.name} "
        prompt.input.value += text
        await driver.press("enter")
        did = case.did
    await driver.until(lambda: did(seen), f"{command.name} of the palette has done it")


async def try_keys(driver: Driver, command: Command, case: Case) -> None:
    for key in command.keys:
        seen = await prepared(driver, case)
        await driver.press(key)
        did = case.did if case.bare is None else case.bare
        await driver.until(lambda did=did, seen=seen: did(seen), f"the key {key} has done {command.name}")


async def try_all(driver: Driver, names: Iterable[str]) -> None:
    failed = []
    for name in names:
        for face in (try_prompt, try_palette, try_keys):
            try:
                await face(driver, BY_NAME[name], CASES[name])
            except pytest.fail.Exception as error:
                failed.append(str(error))
    assert not failed


async def test_a_sample_does_the_same_by_key_palette_and_prompt(tmp_path: Path) -> None:
    async with held(tmp_path) as driver:
        await try_all(driver, SAMPLE)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", range(3))
async def test_each_does_the_same_by_key_palette_and_prompt(part: int, tmp_path: Path) -> None:
    async with held(tmp_path) as driver:
        await try_all(driver, [name for name in CASES if name not in SAMPLE][part::3])


async def give(driver: Driver, face: str, name: str) -> None:
    """Give it by its first key, from the palette or at the prompt."""
    if face == "prompt":
        await enter(driver, name)
    elif face == "palette":
        next(c for c in driver.app.get_system_commands(driver.app.screen) if c.title == name).callback()
    else:
        await driver.press(BY_NAME[name].keys[0])


@pytest.mark.slow
@pytest.mark.parametrize("face", ["key", "palette", "prompt"])
@pytest.mark.parametrize("name", ENDING)
async def test_what_ends_a_run_or_needs_one(name: str, face: str, tmp_path: Path) -> None:
    if face == "key" and not BY_NAME[name].keys:
        pytest.skip("it has no key")
    path = tmp_path / "every_command.py"
    path.write_text(SCRIPT)
    async with running(path) as driver:
        if name in ("continue", "pause"):
            driver.run.gate.clear()
            await give(driver, face if name == "continue" else "key", "continue")
            await driver.until(driver.run.waits.is_set, "it runs")
            await driver.until(lambda: driver.view.status is Status.RUNNING, "the screen shows it")
        if name == "pause":
            await give(driver, face, name)
            await driver.until(lambda: driver.told(m.Pause), "a pause is asked for")
            driver.run.gate.set()
            await driver.until(lambda: driver.view.status is Status.STOPPED, "it is held")
            assert driver.stop.reason is StopReason.PAUSE
        elif name == "continue":
            driver.run.gate.set()
            await driver.until(lambda: driver.view.status is Status.STOPPED, "it has run to its end")
            assert driver.stop.reason is StopReason.FINISHED
        elif name == "restart":
            first = driver.session
            await driver.step()
            await give(driver, face, name)
            await driver.until(lambda: driver.session is not first, "another run")
            await driver.stopped_at(1)
            assert first.closed
        else:
            await give(driver, face, name)
            await driver.until(lambda: driver.session.closed and not driver.app.is_running, "it is left")
            if name == "detach":
                await driver.until(lambda: driver.run.printed == ["ten"], "it ran on by itself")


# ── in a batch, and in the help ─────────────────────────────────────────────────────────────────────────────


def lines_of(names: Iterable[str], tmp_path: Path) -> list[tuple[str, str]]:
    """(command, line): each case's line with what must come before it."""
    made: list[tuple[str, str]] = []
    for name in names:
        case = CASES[name]
        made += [("", line.removeprefix("!")) for line in case.batch_before]
        given = case.batch_line
        if given is None:
            text = case.argument if isinstance(case.argument, str) else str(tmp_path / "g.dot")
            given = f"{name} {text}".strip()
        made.append((name, given))
    return made


def in_a_batch(names: Iterable[str], tmp_path: Path) -> None:
    path = tmp_path / "every_command.py"
    path.write_text(SCRIPT.replace("train(400)", "train(30)"))
    lines = [*[("", "next")] * 9, *lines_of(names, tmp_path)]
    command = [sys.executable, "-m", "stepdbg", "--batch", "--json", *(w for _, line in lines for w in ("-c", line))]
    run = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.stderr == ""
    answers: list[list[dict[str, object]]] = []
    for record in map(json.loads, run.stdout.splitlines()):
        if record["type"] == "command":
            answers.append([])
        elif answers:
            answers[-1].append(record)
    assert len(answers) == len(lines)
    for (name, line), records in zip(lines, answers, strict=True):
        if not name:
            continue
        wanted = CASES[name].batch
        kinds = [record["type"] for record in records]
        told = json.dumps(records, ensure_ascii=False)
        if wanted == "stop":
            assert kinds.count("stop") == 1, line
            assert "error" not in kinds, line
        elif wanted.startswith("!") or "screen only" in wanted:
            assert kinds == ["error"], f"{line}: {told}"
            assert wanted.lstrip("!") in told, f"{line}: {told}"
        else:
            assert "error" not in kinds, f"{line}: {told[:2000]}"
            assert wanted in told, f"{line}: {told[:2000]}"


def test_a_sample_does_it_in_a_batch(tmp_path: Path) -> None:
    in_a_batch([name for name in CASES if name in SAMPLE], tmp_path)


@pytest.mark.slow
def test_each_does_it_in_a_batch_or_is_refused_as_being_for_the_screen(tmp_path: Path) -> None:
    in_a_batch(CASES, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDING)
def test_a_batch_goes_on_is_left_or_refuses(name: str, tmp_path: Path) -> None:
    path = tmp_path / "every_command.py"
    path.write_text(SCRIPT.replace("train(400)", "train(12)"))
    command = [sys.executable, "-m", "stepdbg", "--batch", "-c", name, "-c", "p 40 + 2", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    refused, left = name in ("pause", "restart"), name in ("detach", "quit")
    assert run.returncode == (3 if refused else 0)
    assert ("(stepdbg)   42" in run.stdout) is (not left)
    assert (f"error: {name}: " in run.stdout) is refused
    assert ("ten" in run.stdout.splitlines()) is (name != "quit")


@pytest.mark.parametrize("name", BY_NAME)
def test_the_help_of_each_names_its_argument_and_its_other_words(name: str) -> None:
    command = BY_NAME[name]
    told = "\n".join(one_command(command))
    assert told.startswith(command.usage)
    assert command.help in told
    for word in (*command.aliases, *(command.argument.choices if command.argument is not None else ())):
        assert word in told
    if command.argument is not None:
        assert command.argument.help in told
        assert command.argument.name.upper() in command.usage
