"""What the panes show of a real run is what torch itself says of the same loop, run bare in the test."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch
from real_runs import Driver, running
from torch import nn

from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase, StopRecord
from stepdbg.ui import format as fmt
from stepdbg.ui.header import HeaderLine
from stepdbg.ui.panes.graph import GraphPane
from stepdbg.ui.panes.memory import MemoryPane
from stepdbg.ui.panes.parameters import ParametersPane

CLOSE = 1e-3
"""Numbers on screen have four digits."""


@dataclass
class Moment:
    """What is true at one stop of `two_nets.py`."""

    weights: dict[str, float]
    grads: dict[str, float | None]
    loss: float | None
    saved: int = 0
    """Bytes that the live graph keeps beside the parameters."""
    changed: dict[str, str] = field(default_factory=dict)


class TwoNets:
    """The loop of `demo_models/two_nets.py`, without stepdbg."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.nets = {
            name: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid()) for name in ("net", "net2")
        }
        self.net = self.nets["net"]
        self.criterion = nn.BCELoss()
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=0.5)
        self.x = torch.randn(32, 4)
        self.y = (self.x[:, :2].sum(1, keepdim=True) > self.x[:, 2:].sum(1, keepdim=True)).float()
        self.loss: float | None = None

    def parameters(self) -> dict[str, nn.Parameter]:
        return {f"{name}.{n}": p for name, net in self.nets.items() for n, p in net.named_parameters()}

    def moment(self, saved: int = 0) -> Moment:
        named = self.parameters()
        grads = {n: p.grad.norm().item() if p.grad is not None else None for n, p in named.items()}
        return Moment({n: p.detach().norm().item() for n, p in named.items()}, grads, self.loss, saved)

    def iteration(self, *, clears: bool = True, steps: bool = True) -> list[Moment]:
        """One turn of the loop: the moments before zero_grad, forward, loss, backward, step and after it."""
        seen = [self.moment()]
        if clears:
            self.optimiser.zero_grad()
        seen.append(self.moment())
        kept: dict[int, int] = {}
        own = {p.untyped_storage().data_ptr() for p in self.parameters().values()}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = self.net(self.x)
            seen.append(self.moment(sum(kept.values())))
            loss = self.criterion(output, self.y)
        self.loss = loss.item()
        seen.append(self.moment(sum(kept.values())))
        loss.backward()
        seen.append(self.moment())
        if steps:
            self.optimiser.step()
        seen.append(self.moment())
        return seen


PHASES = (Phase.ZERO_GRAD, Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.STEP, Phase.ZERO_GRAD)


async def test_every_pane_tells_the_truth_through_two_iterations() -> None:
    bare = TwoNets()
    first, second = bare.iteration(), bare.iteration()
    moments = [*zip(PHASES, first, strict=True), *list(zip(PHASES, second, strict=True))[1:]]
    async with running("two_nets") as driver:
        before: Moment | None = None
        for number, (phase, now) in enumerate(moments, 1):
            stop = await driver.stopped_at(number)
            assert stop.next is not None
            assert stop.next.phase is phase
            check_parameters(driver, now, before)
            check_header(driver, stop, now)
            check_memory(driver, now)
            check_graph(driver, stop)
            before = now
            if number < len(moments):
                await driver.press("n")


def check_parameters(driver: Driver, now: Moment, before: Moment | None) -> None:
    table = driver.app.main.query_one(ParametersPane).table
    header, *lines = (table.render_line(y).text.replace("▌", " ").split() for y in range(table.total + 1))
    upto = header.index("changed")
    shown = {line[0]: (dict(zip(header[:upto], line, strict=False)), line[upto:]) for line in lines}
    assert list(shown) == list(now.weights)
    for name, (cells, rest) in shown.items():
        assert float(cells["|w|"]) == pytest.approx(now.weights[name], rel=CLOSE), name
        grad = now.grads[name]
        assert cells["|g|"] == "none" if grad is None else float(cells["|g|"]) == pytest.approx(grad, rel=CLOSE)
        changed = [word for word in ("value", "grad") if word in rest]
        if before is not None:
            moved = [now.weights[name] != before.weights[name], grad != before.grads[name]]
            assert changed == [word for word, did in zip(("value", "grad"), moved, strict=True) if did], name
        assert ("nobody" in rest) == name.startswith("net2.")


def check_header(driver: Driver, stop: StopRecord, now: Moment) -> None:
    text = driver.text(HeaderLine)
    assert f"iteration {stop.iteration} " in text
    assert ("loss" in text) == (now.loss is not None)
    if now.loss is not None:
        assert float(text.split("loss ")[1].split()[0]) == pytest.approx(now.loss, rel=CLOSE)


def check_memory(driver: Driver, now: Moment) -> None:
    # 37 numbers of 4 bytes in each of the two networks.
    gradients = 148 if any(g is not None for g in now.grads.values()) else 0
    expected = {"parameters": 296, "gradients": gradients, "optimizer state": 0, "buffers": 0}
    expected |= {"saved for backward": now.saved, "held for training": 296 + gradients + now.saved}
    pane = driver.app.main.query_one(MemoryPane)
    lines = [pane._table.render_line(y).text.strip() for y in range(pane._table.size.height)]
    for label, count in expected.items():
        line = next(line for line in lines if line.removeprefix("■ ").startswith(f"{label}  "))
        assert line.removeprefix("■ ").removeprefix(label).split()[:2] == fmt.byte_count(count).split(), line


def check_graph(driver: Driver, stop: StopRecord) -> None:
    title = driver.app.main.query_one(GraphPane).border_title or ""
    recorded = stop.number >= 3
    assert ("net 4/4 · net2 0/4" in title) == recorded
    page = driver.now.graph
    assert page is not None
    leaves = {row.name for row in page.rows.values() if row.kind == "parameter"}
    assert leaves == ({f"net.{n}" for n in ("0.weight", "0.bias", "2.weight", "2.bias")} if recorded else set())


async def test_skipped_zero_grad_makes_gradients_add_up() -> None:
    bare = TwoNets()
    bare.iteration()
    expected = bare.iteration(clears=False)[4]
    async with running("two_nets") as driver:
        await driver.step("i")
        assert (await driver.step("k")).just_ran[0].skipped
        await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is Phase.STEP, "before step")
        check_grads(driver, expected)
        assert driver.now.memory is not None
        assert (driver.now.memory.backwards, driver.now.memory.gradients) == (2, 148)
        assert "2 backward passes are summed in place" in str(driver.app.main.query_one(MemoryPane)._table.render())


async def test_skipped_step_leaves_the_parameters_of_the_loop() -> None:
    bare = TwoNets()
    bare.iteration(steps=False)
    expected = bare.iteration()[4]
    async with running("two_nets") as driver:
        await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is Phase.STEP, "before step")
        assert (await driver.step("k")).just_ran[0].skipped
        await driver.step()
        await driver.step_until(lambda stop: stop.next is not None and stop.next.phase is Phase.STEP, "before step")
        check_grads(driver, expected)
        assert driver.told(m.Resume).count(m.Resume(m.Action.SKIP)) == 1


def check_grads(driver: Driver, expected: Moment) -> None:
    listing = driver.now.parameters
    assert listing is not None
    for row in listing.rows.values():
        assert row.value_norm is not None
        assert math.isclose(row.value_norm, expected.weights[row.name], rel_tol=1e-6), row.name
        grad = expected.grads[row.name]
        if grad is None:
            assert row.grad == "none"
        else:
            assert row.grad_norm is not None
            assert math.isclose(row.grad_norm, grad, rel_tol=1e-5), row.name
