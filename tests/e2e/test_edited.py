"""A run in which something is set at a stop ends as a bare one does that has the same in its loop."""

from __future__ import annotations

from pathlib import Path

import asking
import pytest
from asking import Asked, ask_everything
from runs import bare
from scripts_found import Script

from stepdbg.commands.edit import read_set
from stepdbg.launch.process import ProcessSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.compare import Side, SideKind
from stepdbg.protocol.records import Phase, StopRecord

LOOP = """\
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
optimiser = torch.optim.AdamW(net.parameters(), lr=0.01)
for iteration in range(1, 5):
    optimiser.zero_grad()
    loss = net(torch.randn(16, 4)).square().mean()
    loss.backward()
    # by hand
    optimiser.step()
    print(iteration, loss.item())
"""
BY_HAND = """\
if iteration == 2:
        with torch.no_grad():
            net[0].bias.fill_(0.25)
            net[2].weight[0, 3].fill_(-1)
            net[0].weight.grad.mul_(3)
        optimiser.param_groups[0]["lr"] = 0.5
        net[2].bias.requires_grad_(False)
"""
LINES = (
    "net[0].bias 0.25",
    "net.2.weight[0, 3] -1",
    "net.0.weight.grad *3",
    "lr 0.5",
    "requires_grad net[2].bias false",
)


class Made(Script):
    """A script that a test has written."""

    @property
    def cwd(self) -> Path:
        return self.path.parent


def test_a_run_with_edits_is_the_run_that_has_them_in_its_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain.py").write_text(LOOP)
    (tmp_path / "by_hand.py").write_text(LOOP.replace("# by hand\n", BY_HAND))
    compared: list[int] = []

    async def edit(session: ProcessSession, stop: StopRecord, _asked: Asked) -> None:
        if stop.iteration == 2 and stop.next is not None and stop.next.phase is Phase.STEP:
            for line in LINES:
                assert (await session.request(read_set(line))).edits
        elif compared or (stop.iteration == 3 and stop.next is not None):
            page = await session.request(m.GetDiff(0, Side(SideKind.STOP, -1), Side(SideKind.NOW)))
            compared.append(page.differ)

    monkeypatch.setattr(asking, "_ask", edit)
    by_hand = bare(Made(tmp_path / "by_hand.py"), tmp_path)
    plain = bare(Made(tmp_path / "plain.py"), tmp_path)
    edited = ask_everything(Made(tmp_path / "plain.py"), tmp_path)
    assert by_hand.digest is not None
    assert edited.warnings == []
    assert edited.result.status == by_hand.status == 0
    assert edited.result.output == by_hand.output
    assert edited.result.output != plain.output
    assert edited.result.digest == by_hand.digest
    assert edited.result.digest != plain.digest
    assert compared[0] > 0
