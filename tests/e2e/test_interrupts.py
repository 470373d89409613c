"""Ctrl-C on a terminal that a batch shares with its script; and SIGINT at a script that is held."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from unittest import mock

import pytest
from runs import environment
from scripts_found import ROOT
from terminal import Terminal

from stepdbg.client.session import Exited, Output
from stepdbg.errors import RequestError
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import GraphPage
from stepdbg.protocol.records import StopReason
from stepdbg.protocol.words import Evaluate

SCRIPT = """
import signal, sys, torch
def spin(what="spinning"):
    torch.rand(3)
    print(what, flush=True)
    while True:
        torch.ones(2) + 1
def train(steps):
    torch.manual_seed(0)
    net = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        optimiser.zero_grad()
        loss = net(torch.ones(3, 2)).pow(2).mean()
        loss.backward()
        optimiser.step()
    print("end", [p.tolist() for p in net.parameters()], torch.rand(1).item(), signal.getsignal(signal.SIGINT))
print(HANDLER)
train(4)
sys.exit(7)
"""

LONG = """
import torch
net = torch.nn.Linear(2, 1)
optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
try:
    while True:
        optimiser.zero_grad()
        net(torch.ones(3, 2)).sum().backward()
        optimiser.step()
        print("going", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
"""

DEEP = """
import torch
x = torch.ones(1, requires_grad=True)
loss = x
for _ in range(500_000):
    loss = loss * 1.0
loss.backward()
print("end", x.grad.item())
"""


class Shell(Terminal):
    """A command on a terminal, with what it wrote as text."""

    def __init__(self, folder: Path, *command: str) -> None:
        super().__init__([sys.executable, *command], folder, environment(folder))

    @property
    def said(self) -> str:
        return self.raw.decode().replace("\r\n", "\n").replace("^C", "")

    def until(self, pattern: str) -> None:
        while re.search(pattern, self.said, re.MULTILINE) is None:
            self._check(pattern)
            assert not self.ended, self.said
            self.pump()

    def interrupt(self) -> None:
        self.process.sendintr()


def batch(folder: Path, script: str, *commands: str) -> Shell:
    start = f"import sys; sys.path[0] = {str(ROOT)!r}; from stepdbg.cli import main; sys.exit(main())"
    given = [word for command in commands for word in ("-c", command)]
    (folder / "empty.toml").touch()
    return Shell(folder, "-c", start, "--config", str(folder / "empty.toml"), "--batch", *given, script)


def theirs(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("(stepdbg)"))


NO_HANDLER, HANDLER = "'no handler'", "signal.signal(signal.SIGINT, lambda *_: print('heard', flush=True))"


@lru_cache
def alone(handler: str) -> str:
    """What the script writes in a bare run."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Shell(Path(folder), write(Path(folder), handler))
        assert plain.wait_end() == 7
        return plain.said


def write(folder: Path, handler: str = NO_HANDLER) -> str:
    (folder / "train.py").write_text(SCRIPT.replace("HANDLER", handler))
    return "train.py"


@pytest.mark.parametrize(
    "command",
    [
        "p spin()",
        pytest.param("! spin()", marks=pytest.mark.slow),
        pytest.param("p (print('spinning', flush=True), sum(1 for _ in iter(int, 1)))", marks=pytest.mark.slow),
        pytest.param("p (print('spinning', flush=True), __import__('time').sleep(99))", marks=pytest.mark.slow),
    ],
    ids=["torch", "statement", "python", "sleep"],
)
def test_a_command_that_takes_long_is_cancelled_and_the_next_one_runs(command: str, tmp_path: Path) -> None:
    script = write(tmp_path)
    plain = alone(NO_HANDLER)
    run = batch(tmp_path, script, "until step", command, "p 40 + 2")
    run.until("^spinning\n")
    run.interrupt()
    assert run.wait_end() == 3
    said = [line for line in run.said.splitlines() if line.startswith("(stepdbg)")]
    at = said.index(f"(stepdbg) > {command}")
    assert said[at + 1 :] == [
        "(stepdbg) error: cancelled",
        "(stepdbg) > p 40 + 2",
        "(stepdbg)   42",
        "(stepdbg) train.py exited with code 7; 1 command failed",
    ]
    assert theirs(run.said).replace("spinning\n", "", 1) == plain


@pytest.mark.slow
def test_a_handler_of_the_scripts_hears_nothing_of_it_and_stays(tmp_path: Path) -> None:
    script = write(tmp_path, HANDLER)
    plain = alone(HANDLER)
    run = batch(tmp_path, script, "p spin()")
    run.until("^spinning\n")
    run.interrupt()
    assert run.wait_end() == 3
    assert "heard" not in run.said
    shown = re.compile(r"0x[0-9a-f]+")
    assert shown.sub("0x", theirs(run.said).replace("spinning\n", "", 1)) == shown.sub("0x", plain)


@pytest.mark.slow
def test_what_cannot_be_interrupted_is_told_of_and_a_second_one_ends_the_script(tmp_path: Path) -> None:
    endless = "any(itertools.chain(map(functools.partial(print, flush=True), ['spinning']), itertools.repeat(0)))"
    run = batch(tmp_path, write(tmp_path), "! import itertools, functools", f"! {endless}", "p 40 + 2")
    run.until("^spinning\n")
    run.interrupt()
    run.until("warning: it waits for a call that cannot be interrupted: Ctrl-C once more ends the script")
    run.interrupt()
    assert run.wait_end() == 3
    assert "(stepdbg) train.py was ended by signal 15 (SIGTERM)" in run.said
    assert "> p 40 + 2" not in run.said


@pytest.mark.parametrize(
    "armed",
    ["break step if spin()", pytest.param('logpoint step "{spin()}"', marks=pytest.mark.slow)],
    ids=["condition", "logpoint"],
)
def test_what_is_evaluated_while_the_script_runs_is_cancelled_and_it_stops_there(armed: str, tmp_path: Path) -> None:
    script = write(tmp_path)
    plain = alone(NO_HANDLER)
    run = batch(tmp_path, script, armed, "continue", "p 40 + 2", "continue")
    run.until("^spinning\n")
    run.interrupt()
    assert run.wait_end() == 7
    stops = [line for line in run.said.splitlines() if line.startswith("(stepdbg) stop ")]
    assert len(stops) == 3
    assert re.search(
        r"before step of optimiser · breakpoint 1: its (condition|text) was cancelled after \d+\.\d s", stops[1]
    )
    assert "(stepdbg)   42" in run.said
    assert theirs(run.said).replace("spinning\n", "", 1) == plain


def test_while_the_script_runs_it_gets_what_it_would_get_alone(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(LONG)
    plain, run = Shell(tmp_path, "long.py"), batch(tmp_path, "long.py", "continue")
    for shell in (plain, run):
        shell.until("^going\n")
        shell.interrupt()
    assert run.wait_end() == plain.wait_end() == 130
    for text in (theirs(run.said), plain.said):
        assert "interrupted" in text
        assert text.splitlines()[-1] == "KeyboardInterrupt"
    assert re.search(r"^\(stepdbg\) stop 2 · iteration \d+ · KeyboardInterrupt", run.said, re.MULTILINE)


def at_stops(folder: Path, text: str, visit: object) -> tuple[int, str, list[StopReason]]:
    """Status and output of a run whose first stop is shown to `visit`, and why it was held."""
    (folder / "held.py").write_text(text)

    async def run() -> tuple[int, str, list[StopReason]]:
        session = ProcessSession(Launch(Interpreter(sys.executable, "the tests' own"), str(folder / "held.py")))
        output, status, reasons = bytearray(), -1, []
        with mock.patch.dict(os.environ, environment(folder), clear=True):
            await session.start()
        async with asyncio.timeout(60):
            async for event in session.events():
                if isinstance(event, m.Stopped):
                    reasons.append(event.stop.reason)
                    if len(reasons) == 1:
                        await visit(session)  # type: ignore[operator]
                    session.resume(m.Action.CONTINUE)
                elif isinstance(event, Output):
                    output += event.data
                elif isinstance(event, Exited):
                    status = event.status
        await session.close()
        return status, output.decode(), reasons

    return asyncio.run(run())


def test_one_that_comes_in_the_middle_of_an_answer_ends_the_answer(tmp_path: Path) -> None:
    said = []

    async def visit(session: ProcessSession) -> None:
        assert session.pid is not None
        sent: list[m.Working] = []

        def interrupt(working: m.Working) -> None:
            if not sent:
                sent.append(working)
                os.kill(session.pid or 0, signal.SIGINT)

        with pytest.raises(RequestError) as caught:
            await session.request(m.GetGraph(0), interrupt)
        said.append(str(caught.value))
        page: GraphPage = await session.request(m.GetGraph(0))
        said.append(str(page.nodes))

    status, output, reasons = at_stops(tmp_path, DEEP, visit)
    assert re.fullmatch(r"cancelled after [\d,]+ nodes", said[0])
    assert said[1] == "500001"
    assert (status, output.strip()) == (0, "end 1.0")
    assert reasons == [StopReason.ENTRY, StopReason.FINISHED]


def test_one_that_comes_between_two_questions_is_for_the_script_once_it_goes_on(tmp_path: Path) -> None:
    async def visit(session: ProcessSession) -> None:
        os.kill(session.pid or 0, signal.SIGINT)
        assert (await session.request(Evaluate(0, "40 + 2"))).lines == ("42",)

    status, output, reasons = at_stops(tmp_path, LONG, visit)
    assert status == 130
    assert output.splitlines()[0] == "interrupted"
    assert reasons[1:] == [StopReason.EXCEPTION]
