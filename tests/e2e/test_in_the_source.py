"""`set_trace` and `post_mortem` in scripts that were started without stepdbg: real terminals, and none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runs import environment
from terminal import Terminal

from stepdbg.launch.summary import plain_lines

TRAIN = """
import sys, torch
torch.manual_seed(0)
net = torch.nn.Linear(2, 1)
optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 2)
print("begin")
for step in range(4):
    if step == 1:
        STOP
    optimiser.zero_grad()
    loss = net(torch.ones(3, 2)).pow(2).mean()
    loss.backward()
    optimiser.step()
    scheduler.step()
    print("step", step, loss.item())
print("end", net.weight.tolist(), torch.rand(1).item())
sys.exit(5)
"""

POST_MORTEM = """
import torch, stepdbg
def product(n):
    return torch.ones(2) @ torch.ones(n)
try:
    product(3)
except RuntimeError:
    stepdbg.post_mortem()
print("after")
"""

Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    terminals: list[Terminal] = []

    def run(code: str, **variables: str) -> Terminal:
        (tmp_path / "train.py").write_text(code)
        env = {**environment(tmp_path), **variables}
        terminals.append(Terminal([sys.executable, "train.py"], tmp_path, env))
        return terminals[-1]

    yield run
    for terminal in terminals:
        terminal.close()


def without_terminal(code: str, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "train.py").write_text(code)
    return subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env={**environment(tmp_path), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )


def lines(terminal: Terminal) -> list[str]:
    """What stands on the user's own screen: before the debugger's, and after it."""
    raw = bytes(terminal.raw)
    before, _, rest = raw.partition(b"\x1b[?1049h")
    after = rest.rpartition(b"\x1b[?1049l")[2]
    return [line for part in (before, after) for line in plain_lines(part) if line.strip()]


def test_breakpoint_opens_the_debugger_and_the_run_is_that_of_the_bare_one(start: Start, tmp_path: Path) -> None:
    bare = without_terminal(TRAIN.replace("STOP", "pass"), tmp_path)
    terminal = start(TRAIN.replace("STOP", "breakpoint()"), PYTHONBREAKPOINT="stepdbg.set_trace")
    terminal.wait_for(r"▶ +10 +breakpoint\(\)")
    terminal.wait_for("stopped")
    terminal.wait_for("of how many")  # gradients of backwards that nobody saw
    terminal.press("n")
    terminal.wait_for("next: ▶ zero_grad")
    terminal.press("i")
    terminal.wait_for(r"just ran: scheduler StepLR.*next: ▶ zero_grad")
    assert "step SGD" in terminal.text()  # though the scheduler had wrapped it before
    terminal.wait_for("step 1 ")  # in the console pane
    terminal.press("c")
    terminal.wait_for("finished")
    terminal.press("c")
    assert terminal.wait_end() == bare.returncode == 5
    assert lines(terminal) == bare.stdout.splitlines()


@pytest.mark.slow
def test_detach_lets_the_script_run_on_bare(start: Start, tmp_path: Path) -> None:
    bare = without_terminal(TRAIN.replace("STOP", "pass"), tmp_path)
    terminal = start(TRAIN.replace("STOP", "import stepdbg; stepdbg.set_trace()"))
    terminal.wait_for(r"▶ +10 ")
    terminal.press(":")
    terminal.wait(lambda text: "\n :" in text, "the prompt")
    terminal.press("detach\r")
    assert terminal.wait_end() == 5
    assert lines(terminal) == bare.stdout.splitlines()


@pytest.mark.slow
def test_quitting_ends_the_script_once_the_terminal_is_in_order(start: Start) -> None:
    terminal = start(TRAIN.replace("STOP", "import stepdbg; stepdbg.set_trace()"))
    terminal.wait_for(r"▶ +10 ")
    terminal.press("q")
    assert terminal.wait_end() == 128 + 15
    assert "end [[" not in terminal.text()


@pytest.mark.slow
def test_post_mortem_shows_the_line_that_raised_and_goes(start: Start) -> None:
    terminal = start(POST_MORTEM)
    terminal.wait_for(r"▶ +4 +return torch.ones")
    terminal.press("c")
    assert terminal.wait_end() == 0
    assert lines(terminal) == ["after"]


@pytest.mark.parametrize(
    "stop", ["breakpoint()", pytest.param("import stepdbg; stepdbg.set_trace()", marks=pytest.mark.slow)]
)
def test_without_a_terminal_one_line_says_so(stop: str, tmp_path: Path) -> None:
    bare = without_terminal(TRAIN.replace("STOP", "pass"), tmp_path)
    run = without_terminal(
        TRAIN.replace("step == 1", "step > 0").replace("STOP", stop), tmp_path, PYTHONBREAKPOINT="stepdbg.set_trace"
    )
    said = "there is no terminal to open the debugger in; the script goes on"
    assert run.stderr == f"stepdbg.set_trace() at train.py:10: {said}\n"
    assert (run.stdout, run.returncode) == (bare.stdout, bare.returncode)


@pytest.mark.slow
def test_post_mortem_without_a_terminal_or_an_exception_is_harmless(tmp_path: Path) -> None:
    run = without_terminal(POST_MORTEM + "\nimport sys\ndel sys\nstepdbg.post_mortem()\n", tmp_path)
    first, second = run.stderr.splitlines()
    assert first.startswith("stepdbg.post_mortem() at train.py:8: there is no terminal")
    assert second.startswith("stepdbg.post_mortem() at train.py:13: no exception is being handled")
    assert (run.stdout, run.returncode) == ("after\n", 0)


@pytest.mark.slow
def test_under_stepdbg_it_just_stops_there(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN.replace("STOP", "breakpoint()"))
    run = subprocess.run(
        [sys.executable, "-m", "stepdbg", "--batch", "-c", "continue", "-c", "p step", "-c", "info stop", "train.py"],
        cwd=tmp_path,
        env={**environment(tmp_path), "PYTHONBREAKPOINT": "stepdbg.set_trace"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 5
    said = [line.removeprefix("(stepdbg) ") for line in run.stdout.splitlines() if line.startswith("(stepdbg)")]
    stop = next(line for line in said if line.startswith("stop 2"))
    assert stop.endswith("stepdbg.set_trace()")
    assert said[said.index("> p step") + 1] == "  1"
    assert "  at    train.py:10 in <module>" in said


def test_importing_stepdbg_imports_no_torch_and_hardly_anything() -> None:
    code = "import sys; before = set(sys.modules); import stepdbg; stepdbg.set_trace; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout))
    assert loaded == {"__future__", "stepdbg", "stepdbg._version", "stepdbg.trace"}


@pytest.mark.slow
def test_a_child_process_opens_nothing(tmp_path: Path) -> None:
    code = """
import multiprocessing, sys, torch, stepdbg
def child():
    stepdbg.set_trace()
    sys.exit(4)
if __name__ == "__main__":
    started = multiprocessing.get_context("fork").Process(target=child)
    started.start()
    started.join()
    print(started.exitcode)
"""
    run = without_terminal(code, tmp_path)
    assert run.stdout == "4\n"
    assert run.stderr.startswith("stepdbg.set_trace() at train.py:4: this is a child process, whose terminal is")


LOSS_AT_HAND = """
import torch
net = torch.nn.Linear(2, 1)
optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
def train():
    for step in range(2):
        optimiser.zero_grad()
        loss = (net(torch.ones(3, 2)) * 0).sum() + 4.5
        if step == 1:
            breakpoint()
        loss.backward()
        optimiser.step()
train()
"""


def test_the_graph_and_the_loss_that_the_script_has_at_hand_are_there(start: Start) -> None:
    terminal = start(LOSS_AT_HAND, PYTHONBREAKPOINT="stepdbg.set_trace")
    terminal.wait_for(r"loss 4\.5")
    terminal.wait_for("loss reaches net 2/2")
    terminal.press("c")
    terminal.wait_for("finished")
    terminal.press("c")
    assert terminal.wait_end() == 0


@pytest.mark.slow
def test_an_exception_says_nothing_of_a_loop_that_nobody_was_there_to_see(start: Start) -> None:
    handled = "\ntry:\n    train()\nexcept ValueError:\n    import stepdbg\n    stepdbg.post_mortem()\n"
    raises = LOSS_AT_HAND.replace("breakpoint()", "raise ValueError('no')")
    terminal = start(raises.replace("\ntrain()\n", handled))
    terminal.wait_for("loss reaches net 2/2")
    assert "Nothing of a training loop" not in terminal.text()
    terminal.press("c")
    assert terminal.wait_end() == 0
