"""What the script hands to torch as an iterator is torch's to read, and what it stands for is known where it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stepdbg.agent.given import tensors_given
from stepdbg.agent.submodules import submodules
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import GraphPage
from stepdbg.protocol.records import StopRecord

from .conftest import drive

Inputs = Iterable[Tensor] | Mapping[str, Tensor]


def trained(net: nn.Module) -> Iterable[Tensor]:
    return filter(lambda p: p.requires_grad, net.parameters())


@pytest.mark.parametrize(
    ("inputs", "known"),
    [
        (lambda net: list(net.parameters()), True),
        (lambda net: net.parameters(), True),
        (lambda net: dict(net.named_parameters()), True),
        (trained, False),
        (lambda net: (p for p in net.parameters()), False),
    ],
    ids=["list", "parameters", "dict", "filter", "generator"],
)
def test_inputs_of_autograd_grad_are_left_to_torch(inputs: Callable[[nn.Module], Inputs], known: bool) -> None:
    def train() -> list[Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        gradients: Any = torch.autograd.grad(net(torch.ones(2, 3)).square().sum(), inputs(net), create_graph=True)
        several = list(gradients.values() if isinstance(gradients, dict) else gradients)
        sum(g.square().sum() for g in several).backward()
        return [*several, *(p.grad for p in net.parameters())]

    try:
        bare = train()
    except TypeError:
        pytest.skip("this torch takes no such inputs")
    debugged: list[Tensor] = []
    pages: list[GraphPage] = []

    async def visit(session: ThreadSession, _stop: StopRecord) -> None:
        pages.append(await session.request(m.GetGraph(0)))

    run = drive(lambda: debugged.extend(train()), visit=visit)
    assert run.error is None
    assert [list(t.reshape(-1)) for t in debugged] == [list(t.reshape(-1)) for t in bare]
    titles = [choice.title for choice in pages[2].choices if choice.kind == "gradient"]
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert sorted(titles) == (sorted(f"gradient of {name}" for name in names) if known else [])


def test_parameters_of_a_module_in_two_places_are_told_in_torchs_order() -> None:
    """Results of `autograd.grad` are told apart by their places."""
    shared = nn.Linear(3, 3)
    net = nn.Sequential(nn.Sequential(shared, nn.Linear(3, 3)), nn.Tanh(), shared, nn.Linear(3, 1))
    told = tensors_given(net.parameters())
    assert told is not None
    assert [id(p) for p in told] == [id(p) for p in net.parameters()]
    assert [id(m) for m in submodules(net)] == [id(m) for m in net.modules()]
