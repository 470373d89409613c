"""Breakpoints on a real terminal: set, hit, kept for the next start; and the run is the bare one."""

from __future__ import annotations

import sys
from pathlib import Path

from runs import environment
from terminal import Terminal

SCRIPT = """\
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
optimiser = torch.optim.AdamW(net.parameters(), lr=0.01)
for iteration in range(1, 7):
    optimiser.zero_grad()
    loss = net(torch.randn(16, 4)).square().mean()
    if iteration == 6:
        loss = (loss - loss.detach()).log()
    loss.backward()
    optimiser.step()
print("ended with", iteration)
"""


def prompt(text: str) -> bool:
    return any(line.strip() == ":" for line in text.splitlines())


def test_they_stop_the_script_and_are_there_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    env = environment(tmp_path) | {"STEPDBG_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "stepdbg", "train.py"]
    for first in (True, False):
        terminal = Terminal(command, tmp_path, env)
        try:
            terminal.wait_for("● stopped")
            if first:
                terminal.press(":")
                terminal.wait(prompt, "the prompt")
                terminal.press("break backward if iteration % 3 == 0\r")
                terminal.wait_for("breakpoint 1: backward if iteration % 3 == 0")
                terminal.press(":")
                terminal.wait(prompt, "the prompt")
                terminal.press("watch nan\r")
                terminal.wait_for("watch 2: nan")
            terminal.press("c")
            terminal.wait_for(r"● breakpoint 1: iteration % 3 == 0")
            terminal.wait_for(r"iteration 3")
            terminal.press("c")
            text = terminal.wait_for(r"watch 2: aten\.log\.default \(train\.py:11\)")
            assert "1 of 1 elements not finite (1 -inf)" in " ".join(text.split())
            terminal.press("B")
            terminal.wait_for("Breakpoints and watches")
            terminal.press("q")
            terminal.wait(lambda text: "Breakpoints and watches" not in text, "the panes again")
            terminal.press("q")
            assert terminal.wait_end() == 0
        finally:
            terminal.close()
