"""Breakpoints on lines in real processes: the run is the bare one, in this Python and in others that have torch.

`STEPDBG_TEST_PYTHON` names other interpreters (paths, separated as in PATH); without it those on PATH are looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import environment

SCRIPT = """\
import sys, torch
from torch.utils.data import DataLoader, Dataset

class Numbers(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        x = torch.full((4,), float(index))
        return x + 100 * (sys.gettrace() is not None) + 1000 * (sys._getframe().f_trace is not None)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x):
        scale = torch.rand(1)
        return self.layer(x * scale)

def scaled(x):
    x = x / 8
    return x

def train(net):
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    loader = DataLoader(Numbers(), batch_size=4, num_workers=1, persistent_workers=True)
    for epoch in range(3):
        for x in loader:
            optimiser.zero_grad()
            x = scaled(x)
            loss = net(x).square().mean()
            loss.backward()
            seen = epoch
            optimiser.step()
            print(seen, loss.item().hex())

torch.manual_seed(0)
net = Net()
if __name__ == "__main__":
    train(net)
    print([p.tolist() for p in net.parameters()], torch.rand(1).item().hex(), file=sys.stderr)
    sys.exit(5)
"""


def line(text: str) -> int:
    return SCRIPT.splitlines().index(text) + 1


IN_LOOP, IN_FORWARD = line("            seen = epoch"), line("        scale = torch.rand(1)")
IN_WORKER, IN_HELPER = line("        x = torch.full((4,), float(index))"), line("    x = x / 8")
IN_MAIN = line("    sys.exit(5)")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = environment(folder, STEPDBG_STATE=str(folder / "state"))
    del env["PYTHONPATH"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def split(text: str) -> tuple[list[str], str]:
    """What the batch said, and what the script did."""
    rows = text.splitlines(keepends=True)
    ours = [row.removeprefix("(stepdbg) ").rstrip("\n") for row in rows if row.startswith("(stepdbg)")]
    return ours, "".join(row for row in rows if not row.startswith("(stepdbg)"))


def bare(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(SCRIPT)
    done = run(folder, python, "train.py")
    assert done.returncode == 5, done.stderr
    return done


def batch(folder: Path, python: str, commands: list[str]) -> subprocess.CompletedProcess[str]:
    words = [word for command in commands for word in ("-c", command)]
    return run(folder, sys.executable, "-m", "stepdbg", "--batch", "--python", python, *words, "train.py")


def never_hit(folder: Path, python: str) -> None:
    """Lines that are armed, and never hit: the run is the bare one."""
    plain = bare(folder, python)
    never = [f"break train.py:{n} if iteration < 0" for n in (IN_LOOP, IN_FORWARD, IN_WORKER, IN_HELPER)]
    done = batch(folder, python, [*never, "info breakpoints", "continue"])
    ours, theirs = split(done.stdout)
    assert (done.returncode, theirs, done.stderr) == (5, plain.stdout, plain.stderr)
    listed = [row.split() for row in ours if ":" in row and " if " in row and row.split()[0].isdigit()]
    assert [row[:4] for row in listed] == [
        [str(n), "yes", "0", f"train.py:{at}"]
        for n, at in enumerate((IN_LOOP, IN_FORWARD, IN_WORKER, IN_HELPER), 1)
    ]  # fmt: skip
    assert [row for row in ours if row.startswith("stop 2")] == ["stop 2 · iteration 7 · the script has run to its end"]
    assert not [row for row in ours if row.startswith("stop 3")]


def hit(folder: Path, python: str) -> None:
    """Lines that are hit, in every way: so is the run."""
    plain = bare(folder, python)
    some = [
        f"break train.py:{IN_LOOP} if epoch == 1 and seen == 0",
        f"tbreak train.py:{IN_FORWARD}",
        f"break train.py:{IN_WORKER}",
        f"break train.py:{IN_MAIN}",
        f'logpoint train.py:{IN_HELPER} "{{x.shape}}" if iteration == 1',
        *("continue", "p x.shape", f"until {IN_FORWARD}", "p scale", "continue", "p (epoch, seen)", "continue"),
        *("p net", "continue"),
    ]
    done = batch(folder, python, some)
    ours, theirs = split(done.stdout)
    assert (done.returncode, theirs, done.stderr) == (3, plain.stdout, plain.stderr), done.stdout
    stops = [row.partition(" · ")[2] for row in ours if row.startswith("stop ")]
    assert stops == [
        "iteration 1 · before data",
        f"iteration 1 · in forward of net · breakpoint 2: train.py:{IN_FORWARD}",
        f"iteration 2 · in forward of net · line {IN_FORWARD} of train.py",
        "iteration 3 · breakpoint 1: epoch == 1 and seen == 0",
        f"iteration 7 · breakpoint 4: train.py:{IN_MAIN}",
        "iteration 7 · the script has run to its end",
    ]
    answers = [ours[n + 1].strip() for n, row in enumerate(ours) if row.startswith("> p ")]
    assert answers[0] == "torch.Size([4, 4])"
    assert answers[2] == "(1, 0)"
    assert "log 5, iteration 1: torch.Size([4, 4])" in ours
    assert "name 'scale' is not defined" in answers[1]  # which fails, so the batch ends with 3


@pytest.mark.timeout(180)
def test_what_is_never_hit_is_not_noticed(tmp_path: Path) -> None:
    never_hit(tmp_path, sys.executable)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_hits_are_not_noticed(tmp_path: Path) -> None:
    hit(tmp_path, sys.executable)


def others() -> list[str]:
    """Interpreters that a test may use."""
    named = os.environ.get("STEPDBG_TEST_PYTHON")
    if named:
        return named.split(os.pathsep)
    minors = [minor for minor in (10, 11, 12, 13, 14) if minor != sys.version_info.minor]
    return [found for minor in minors if (found := shutil.which(f"python3.{minor}")) is not None]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("python", others() or [""])
def test_in_another_python(python: str, tmp_path: Path) -> None:
    if not python:
        pytest.skip("no other Python is on PATH, and STEPDBG_TEST_PYTHON names none")
    code = "import importlib.util as u; print(u.find_spec('torch') is not None)"
    there = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    if there.stdout.strip() != "True":
        pytest.skip(f"{python} has no torch; STEPDBG_TEST_PYTHON names one that has")
    never_hit(tmp_path, python)
    hit(tmp_path, python)
