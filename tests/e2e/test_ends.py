"""Each side is killed in turn; nothing may be left behind, and nothing lost that was to go on."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runs import HELD, environment, family, stepdbg
from terminal import Terminal, until

TRAIN = """
import os, sys, time
import torch
from torch.utils.data import DataLoader

def main():
    print("pid", os.getpid(), flush=True)
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    data = DataLoader(torch.randn(64, 4), batch_size=8, num_workers=int(sys.argv[1]))
    for epoch in range(int(sys.argv[2])):
        for batch in data:
            optimizer.zero_grad()
            loss = net(batch).pow(2).mean()
            loss.backward()
            optimizer.step()
        print("epoch", epoch, flush=True)
        time.sleep(0.005)
    open("done", "w").write(repr(net.weight.tolist()))
    print("trained", flush=True)

if __name__ == "__main__":
    main()
"""

Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts stepdbg on a script of the test's own, in its folder; at the end no process of it may be alive."""
    terminals: list[Terminal] = []

    def run(*arguments: str, code: str = TRAIN, options: tuple[str, ...] = ()) -> Terminal:
        (tmp_path / "train.py").write_text(textwrap.dedent(code))
        output = str(tmp_path / "output")
        command = stepdbg(tmp_path, "--python", sys.executable, "--output", output, *options, "train.py", *arguments)
        terminals.append(Terminal(command, tmp_path, environment(tmp_path)))
        return terminals[-1]

    yield run
    for terminal in terminals:
        terminal.close()
    left = family(tmp_path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def printed(folder: Path) -> str:
    path = folder / "output"
    return path.read_text() if path.exists() else ""


def script_pid(folder: Path) -> int:
    return int(printed(folder).split("pid ")[1].split()[0])


def running(terminal: Terminal, folder: Path) -> None:
    """At the first stop, then let go, until it has trained a while."""
    terminal.wait_for(HELD.pattern)
    terminal.press("c")
    terminal.wait(lambda _text: "epoch 1" in printed(folder), "epoch 1")


def nobody_left(folder: Path) -> None:
    until(lambda: not family(folder), f"the end of everything: {family(folder)}")


@pytest.mark.parametrize("held", [True, False], ids=["held", "running"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_the_screen_ends_everything(
    start: Start, tmp_path: Path, number: signal.Signals, held: bool
) -> None:
    terminal = start("2", "100000")
    if held:
        terminal.wait_for(HELD.pattern)
    else:
        running(terminal, tmp_path)
    os.kill(terminal.process.pid, number)
    assert terminal.wait_end() == 128 + number
    nobody_left(tmp_path)
    if number is not signal.SIGKILL:
        assert b"\x1b[?1049l" in terminal.raw  # the user's own screen is back


@pytest.mark.parametrize("held", [True, False], ids=["held", "running"])
def test_closing_the_terminal_ends_everything(start: Start, tmp_path: Path, held: bool) -> None:
    terminal = start("2", "100000")
    if held:
        terminal.wait_for(HELD.pattern)
    else:
        running(terminal, tmp_path)
    terminal.hang_up()
    nobody_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_script_is_shown_and_passed_on(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    terminal = start("2", "100000")
    running(terminal, tmp_path)
    os.kill(script_pid(tmp_path), number)
    terminal.wait_for(f"killed by {number.name}")
    terminal.press("q")
    assert terminal.wait_end() == 128 + number
    assert f"ended by signal {int(number)} ({number.name})".encode() in terminal.raw
    nobody_left(tmp_path)


def test_quitting_ends_the_script(start: Start, tmp_path: Path) -> None:
    terminal = start("2", "100000")
    running(terminal, tmp_path)
    terminal.press("q")
    assert terminal.wait_end() == 0
    nobody_left(tmp_path)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGHUP))]
)
@pytest.mark.parametrize("held", [True, False], ids=["held", "running"])
def test_the_script_runs_on_where_it_was_asked_to(
    start: Start, tmp_path: Path, number: signal.Signals, held: bool
) -> None:
    terminal = start("0", "200", options=("--on-detach", "continue"))
    if held:
        terminal.wait_for(HELD.pattern)
    else:
        running(terminal, tmp_path)
    os.kill(terminal.process.pid, number)
    assert terminal.wait_end() == 128 + number
    until((tmp_path / "done").exists, "the script's end")
    nobody_left(tmp_path)
    (log,) = tmp_path.glob("stepdbg-train-*.log")
    assert log.name == f"stepdbg-train-{script_pid(tmp_path)}.log"
    # What the screen has shown and what was kept after it make the whole, each line once.
    lines = (printed(tmp_path) + log.read_bytes().decode()).splitlines()
    assert [line for line in lines if line.startswith("epoch")] == [f"epoch {i}" for i in range(200)]
    assert lines[-1] == "trained"


def test_closing_the_terminal_lets_it_run_on(start: Start, tmp_path: Path) -> None:
    terminal = start("2", "40", options=("--on-detach", "continue"))
    running(terminal, tmp_path)
    terminal.hang_up()
    until((tmp_path / "done").exists, "the script's end")
    nobody_left(tmp_path)
    (log,) = tmp_path.glob("stepdbg-train-*.log")
    assert log.read_bytes().decode().splitlines()[-1] == "trained"


def test_the_traceback_is_there_when_the_screen_has_gone(start: Start, tmp_path: Path) -> None:
    terminal = start(
        code="""
        import torch
        net = torch.nn.Linear(4, 1)
        for number in range(3):
            loss = net(torch.ones(1, 4)).sum()
            if number == 2:
                raise ValueError("not that one")
            loss.backward()
    """
    )
    terminal.wait_for(HELD.pattern)
    terminal.press("c")
    terminal.wait_for("✗ exception")
    terminal.press("c")
    terminal.wait_for("exited with code 1")
    terminal.press("q")
    assert terminal.wait_end() == 1
    after = terminal.raw.rpartition(b"\x1b[?1049l")[2].decode()
    assert "Traceback (most recent call last):" in after
    assert "ValueError: not that one" in after
    assert "train.py exited with code 1" in after
    assert "stepdbg/" not in after.replace(str(tmp_path), "")


def test_restarting_picks_up_edited_source(start: Start, tmp_path: Path) -> None:
    code = "import torch\nnet = torch.nn.Linear(2, 1)\nprint('version one')\nnet(torch.ones(1, 2))\n"
    terminal = start(code=code)
    terminal.wait_for("version one")
    terminal.wait_for(HELD.pattern)
    (tmp_path / "train.py").write_text(code.replace("version one", "version two"))
    terminal.press("r")
    terminal.wait_for("version two")
    terminal.wait_for(HELD.pattern)
    assert printed(tmp_path).splitlines() == ["version one", "version two"]
    terminal.press("q")
    assert terminal.wait_end() == 0
