"""Names of parameters are shown as in `named_parameters()`, and in full where two root modules would clash."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.agent.prefixes import Prefixes, Shown
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.compare import GetDiff, Side, SideKind
from stepdbg.protocol.graph import Lens
from stepdbg.protocol.memory import GetGradients
from stepdbg.protocol.records import Phase, StopRecord
from stepdbg.protocol.shown import NamesShown, SetNames

from .conftest import drive


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.encoder(x))


def of(**roots: nn.Module) -> frozenset[str]:
    return Prefixes().left_out(roots, ())


def test_a_root_is_left_out_while_no_other_begins_alike() -> None:
    assert of(net=nn.Sequential(nn.Linear(2, 2)), criterion=nn.MSELoss()) == {"net"}
    assert of(net=nn.Sequential(nn.Linear(2, 2)), model=Encoder()) == {"net", "model"}
    assert of(net=nn.Sequential(nn.Linear(2, 2)), net2=nn.Sequential(nn.Linear(2, 2)), m=Encoder()) == {"m"}


def test_a_name_is_never_shown_as_what_another_is_called_in_full() -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

    # `fc.weight` would be that of the root `fc`, and `w` a variable's.
    assert of(model=Holds(), fc=nn.Linear(2, 2)) == {"fc"}
    assert of(fc=Holds()) == frozenset()
    assert of(**{"trainer": Holds(), "trainer.model": Encoder()}) == {"trainer.model"}
    linear = nn.Linear(2, 2)
    assert Prefixes().left_out({"net": linear}, ("other",)) == {"net"}
    assert Prefixes().left_out({"net": linear}, ("weight",)) == frozenset()


def test_what_has_clashed_once_is_in_full_for_the_rest_of_the_run() -> None:
    prefixes = Prefixes()
    net, copy = nn.Linear(2, 2), nn.Linear(2, 2)
    assert prefixes.left_out({"net": net}, ()) == {"net"}
    assert prefixes.left_out({"net": net, "ema": copy}, ()) == frozenset()
    assert prefixes.left_out({"net": net}, ()) == frozenset()
    prefixes.full = True
    assert prefixes.left_out({"other": Encoder()}, ()) == frozenset()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("net.0.weight", "0.weight"),
        ("net.0.*", "0.*"),
        ("net2.0.weight", "net2.0.weight"),
        ("trainer.model.fc.bias", "fc.bias"),
        ("nets['a'].bias", "bias"),
        ("net", "net"),
        ("w", "w"),
    ],
)
def test_only_the_root_is_left_out(name: str, shown: str) -> None:
    assert Shown(frozenset({"net", "trainer.model", "nets['a']"}))(name) == shown


# ── in a run ────────────────────────────────────────────────────────────────────────────────────────────────


def train(steps: int = 2) -> None:
    net = Encoder()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimiser.step()


def train_two(steps: int = 2) -> None:
    """As `train`, and from the second iteration on there is a copy of the network."""
    net = Encoder()
    ema = None
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    for step in range(steps):
        if step == 1:
            ema = Encoder()
        optimiser.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimiser.step()
    del ema


NAMES = ["encoder.weight", "encoder.bias", "norm.weight", "norm.bias"]
FULL = [f"net.{name}" for name in NAMES]


def test_every_answer_has_both_names() -> None:
    """The full one, which identifies, and the one that is shown; that is the one of `named_parameters()`."""
    assert [name for name, _ in Encoder().named_parameters()] == NAMES
    seen: dict[str, Any] = {}

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.next is not None and stop.next.phase is Phase.STEP and stop.iteration == 2:
            ask = session.request
            page = await ask(m.GetParameters(0, 0, 50, ""))
            parameters = [row for row in page.rows if row.kind == "parameter"]
            seen["parameters"] = [(row.name, row.title) for row in parameters]
            everything = await ask(m.GetParameters(0, 0, 50, "", m.Arrangement(base=2)))
            seen["others"] = [row.title for row in everything.rows if row.kind in ("buffer", "state")]
            graph = await ask(m.GetGraph(0, 0, 100, Lens(base=2)))
            seen["graph"] = [(row.name, row.title) for row in graph.rows if row.kind == "parameter"]
            seen["module"] = {row.title for row in graph.rows if row.kind == "module"}
            seen["values"] = (await ask(m.GetValues(0, "net.encoder.bias"))).title
            seen["typed"] = (await ask(m.GetValues(0, "=encoder.bias"))).title
            seen["state"] = (await ask(m.GetValues(0, "optimiser.state[net.encoder.bias].exp_avg"))).title
            seen["explained"] = await ask(m.GetExplanation(0, "encoder.weight", (0, 1)))
            seen["chain"] = await ask(m.GetChain(0, "encoder.bias"))
            seen["gradients"] = [(r.name, r.title) for r in (await ask(GetGradients(0, 0, 50))).rows]
            diff = await ask(GetDiff(0, Side(SideKind.STOP, number=-1), Side(SideKind.NOW)))
            seen["diff"] = {(row.name, row.title) for row in diff.rows}
        return m.Action.NEXT

    assert drive(train, visit=visit).error is None
    pairs = list(zip(FULL, NAMES, strict=True))
    assert seen["parameters"] == pairs
    assert "norm.running_mean" in seen["others"]
    assert "optimiser.state[encoder.weight].exp_avg" in seen["others"]
    assert sorted(seen["graph"]) == sorted(pairs)
    assert {"net.encoder", "net.norm"} <= seen["module"]
    assert seen["values"] == seen["typed"] == "encoder.bias"
    assert seen["state"] == "optimiser.state[encoder.bias].exp_avg"
    assert (seen["explained"].name, seen["explained"].title) == ("net.encoder.weight", "encoder.weight")
    assert (seen["chain"].name, seen["chain"].title) == ("net.encoder.bias", "encoder.bias")
    assert seen["chain"].steps[-1].module == "encoder.bias"
    assert seen["gradients"] == pairs
    assert seen["diff"] == set(pairs)


def test_names_are_in_full_from_where_they_clash() -> None:
    found: dict[int, set[str]] = {}

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        page = await session.request(m.GetParameters(0, 0, 50, ""))
        found.setdefault(stop.iteration, set()).update(row.title for row in page.rows if row.kind == "parameter")
        return m.Action.ITERATION

    drive(train_two, visit=visit)
    assert found[1] == set(NAMES)
    assert found[2] == {*FULL, *(f"ema.{name}" for name in NAMES)}


def test_the_user_may_have_them_in_full() -> None:
    said: list[NamesShown] = []
    titles: list[list[str]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.number == 2:
            for full in (None, True, None, False):
                said.append(await session.request(SetNames(0, full)))
                page = await session.request(m.GetParameters(0, 0, 50, ""))
                titles.append([row.title for row in page.rows if row.kind == "parameter"])
        return m.Action.NEXT

    drive(train, visit=visit)
    assert [one.full for one in said] == [False, True, True, False]
    assert [one.left_out for one in said] == [("net",), (), (), ("net",)]
    assert titles == [NAMES, FULL, FULL, NAMES]


def test_settings_begin_with_it() -> None:
    titles: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        page = await session.request(m.GetParameters(0, 0, 50, ""))
        titles.extend(row.title for row in page.rows if row.kind == "parameter")
        return m.Action.CONTINUE

    drive(train, visit=visit, settings=m.Settings(full_names=True))
    assert titles[:4] == FULL
