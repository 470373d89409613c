"""Watched gradients: the numbers are those that flowed, in whatever loop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from stepdbg.agent import flows as flows_module
from stepdbg.agent.deep import nodes_behind
from stepdbg.agent.flows import flow_of
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.graph import Flow

from .watched_runs import Outputs, Poison, X, Y, bits, both, expected, plain_loop, same, small, unreadable, watched

# ── the numbers ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_gradient_of_each_modules_output_is_the_retained_one() -> None:
    def train() -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor], int]:
        net, criterion = small(), nn.MSELoss()
        outputs = Outputs(net)
        loss = criterion(net(X), Y)
        loss.backward()
        leaves = {id(p): p.grad.clone() for p in net.parameters() if p.grad is not None}
        kept.append(net)
        assert loss.grad_fn is not None
        return outputs.grads(), leaves, loss.grad_fn._sequence_nr()

    kept: list[Any] = []
    run = watched(train)
    grads, leaves, root = run.result
    (backward,) = run.backwards
    assert len(grads) == 6  # four of the net, two inside the block; the net's own is its last module's
    assert set(backward.flows) == {*grads, root}  # and relu, which no module made, is not among them
    for seq, grad in grads.items():
        same(backward.flows[seq], expected(grad))
    assert backward.flows[root] == Flow(1.0, 1.0, 1.0, 1, 0)
    assert len(leaves) == 8
    assert set(backward.leaf_flows) == set(leaves)
    for key, grad in leaves.items():
        same(backward.leaf_flows[key], expected(grad))


def test_the_gradient_of_each_modules_output_is_what_a_full_backward_hook_gets() -> None:
    def train() -> dict[str, torch.Tensor]:
        net = small()
        seen: dict[str, torch.Tensor] = {}
        for name, module in net.named_children():
            module.register_full_backward_hook(lambda _m, _i, out, name=name: seen.update({name: out[0].clone()}))
        net(X.clone().requires_grad_()).square().mean().backward()
        return seen

    run = watched(train)
    found = [(f.min, f.max, f.numel) for f in run.backwards[0].flows.values()]
    assert len(run.result) == 4
    for grad in run.result.values():
        assert (float(grad.min()), float(grad.max()), grad.numel()) in found


def test_what_a_leaf_gets_is_what_is_added_into_its_gradient() -> None:
    def train() -> list[tuple[int, torch.Tensor, torch.Tensor]]:
        net = nn.Linear(4, 1)
        net.weight.register_hook(lambda grad: grad * 2)  # what the script's own hook makes of it
        (net(X) + net(X * 3)).sum().backward()
        first = net.weight.grad.clone()  # type: ignore[union-attr]
        net(X).sum().backward()
        kept.append(net)
        return [(id(net.weight), first, net.weight.grad - first)]  # type: ignore[operator]

    kept: list[Any] = []
    run = watched(train)
    ((key, first, second),) = run.result
    same(run.backwards[0].leaf_flows[key], expected(first))
    assert run.backwards[0].leaf_flows[key].times == 1
    assert run.backwards[1].leaf_flows[key].norm == pytest.approx(float(second.norm()), rel=1e-4)


def test_nan_and_inf_are_counted_and_left_out_of_the_rest() -> None:
    def train() -> tuple[int, torch.Tensor]:
        net = nn.Linear(4, 1)
        output = net(X)
        output.retain_grad()
        Poison.apply(output).sum().backward()
        assert output.grad_fn is not None
        return output.grad_fn._sequence_nr(), output.grad

    run = watched(train)
    seq, grad = run.result
    flow = run.backwards[0].flows[seq]
    same(flow, expected(grad))
    assert (flow.nonfinite, flow.numel, flow.norm) == (3, 8, pytest.approx(math.sqrt(5)))


def test_several_outputs_of_one_module() -> None:
    def train() -> tuple[dict[int, torch.Tensor], torch.Tensor]:
        cell = nn.LSTMCell(4, 3)
        h, c = cell(X)
        h.retain_grad()
        (h.sum() + c.square().sum()).backward()
        halves = Halves()(X.clone().requires_grad_())
        for half in halves:
            half.retain_grad()
        (halves[0].sum() + halves[1].sum() * 3).backward()
        both_halves = torch.cat([halves[0].grad.reshape(-1), halves[1].grad.reshape(-1)])  # type: ignore[union-attr]
        return {h.grad_fn._sequence_nr(): h.grad, halves[0].grad_fn._sequence_nr(): both_halves}

    class Halves(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (x * 2).chunk(2)

    run = watched(train)
    flows = {seq: flow for backward in run.backwards for seq, flow in backward.flows.items()}
    for seq, grad in run.result.items():
        same(flows[seq], expected(grad))
    assert len(run.backwards[0].flows) == 3  # root, hidden state, cell state


class Logged(torch.Tensor):
    """A subclass whose operations are the script's own code."""

    calls = 0

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Logged.calls += 1
        return func(*args, **(kwargs or {}))


def sparse(coalesced: bool, places: tuple[int, ...] = (1, 1, 3)) -> torch.Tensor:
    values = torch.tensor([1.0, 2.0, -4.0])[: len(places)]
    at = torch.tensor(places, dtype=torch.int64).reshape(1, -1)
    grad = torch.sparse_coo_tensor(at, values, (5,), check_invariants=True)
    return grad.coalesce() if coalesced else grad


def compressed() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in beta
        return torch.eye(3).mul(2).to_sparse_csr()


def nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prototype
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


@pytest.mark.parametrize(
    ("grad", "wanted"),
    [
        (torch.tensor([3.0, -4.0]), Flow(5.0, -4.0, 3.0, 2, 0)),
        (torch.tensor([3.0, -4.0], dtype=torch.float64), Flow(5.0, -4.0, 3.0, 2, 0)),
        (torch.tensor([3.0, -4.0], dtype=torch.bfloat16), Flow(5.0, -4.0, 3.0, 2, 0)),
        (torch.tensor([3e4, -4e4], dtype=torch.float16), Flow(50_000, -40_000, 30_000, 2, 0)),
        (torch.tensor([3.0, -4.0]).to(torch.float8_e4m3fn), Flow(5.0, -4.0, 3.0, 2, 0)),
        (torch.tensor([3 + 4j, 0j]), Flow(5.0, 0.0, 5.0, 2, 0)),
        (torch.tensor([3e-30, -4e-30]), Flow(5e-30, -4e-30, 3e-30, 2, 0)),
        (torch.tensor([3e30, -4e30]), Flow(5e30, -4e30, 3e30, 2, 0)),
        (torch.tensor([3e200, -4e200], dtype=torch.float64), Flow(5e200, -4e200, 3e200, 2, 0)),
        (torch.tensor(-2.0), Flow(2.0, -2.0, -2.0, 1, 0)),
        (torch.zeros(3), Flow(0.0, 0.0, 0.0, 3, 0)),
        (torch.zeros(0), Flow(None, None, None, 0, 0)),
        (torch.full((2,), math.nan), Flow(None, None, None, 2, 2)),
        (torch.tensor(2.0).expand(3, 3), Flow(6.0, 2.0, 2.0, 9, 0)),
        (torch.tensor([math.inf, 2.0]).expand(4, 2), Flow(4.0, 2.0, 2.0, 8, 4)),
        (torch.arange(6.0).reshape(2, 3).t(), Flow(math.sqrt(55), 0.0, 5.0, 6, 0)),
        (torch.arange(6.0)[::2], Flow(math.sqrt(20), 0.0, 4.0, 3, 0)),
        (sparse(False), Flow(5.0, -4.0, 3.0, 5, 0)),
        (sparse(True), Flow(5.0, -4.0, 3.0, 5, 0)),
        (sparse(False, ()), Flow(0.0, 0.0, 0.0, 5, 0)),
        (compressed(), Flow(math.sqrt(12), 0.0, 2.0, 9, 0)),
        (torch.ones(4, device="meta"), unreadable(4)),
        (nested(), unreadable(5)),
        (nn.Parameter(torch.tensor([3.0, -4.0])), Flow(5.0, -4.0, 3.0, 2, 0)),
        (torch.ones(4).as_subclass(Logged), unreadable(4)),
    ],
)  # fmt: skip
def test_numbers_of_every_kind_of_gradient(grad: torch.Tensor, wanted: Flow) -> None:
    state, calls = torch.get_rng_state(), Logged.calls
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("error")
        found = flow_of((grad,))
    assert Logged.calls == calls
    assert torch.equal(torch.get_rng_state(), state)
    exact = found.norm is None or wanted.norm is None
    assert found.norm == wanted.norm if exact else found.norm == pytest.approx(wanted.norm, rel=1e-5)
    assert (found.numel, found.nonfinite) == (wanted.numel, wanted.nonfinite)
    for value, other in ((found.min, wanted.min), (found.max, wanted.max)):
        assert value == other if other is None else value == pytest.approx(other, rel=1e-3)


def test_a_missing_gradient_counts_for_nothing_and_an_unreadable_one_makes_all_unknown() -> None:
    with quiet():
        assert flow_of((None, torch.tensor([3.0]), torch.tensor([-4.0]))) == Flow(5.0, -4.0, 3.0, 2, 0)
        assert flow_of((None,)) == Flow(None, None, None, 0, 0)
        assert flow_of((torch.ones(2), torch.ones(3, device="meta"))) == unreadable(5)


def test_a_large_gradient_is_the_same_in_whatever_order_it_lies() -> None:
    grad = torch.randn(512, 300)
    with quiet():
        plain, turned = flow_of((grad,)), flow_of((grad.t().contiguous().t(),))
    same(plain, expected(grad))
    same(turned, expected(grad))


# ── real loops ──────────────────────────────────────────────────────────────────────────────────────────────


def gan() -> Any:
    net_g, net_d = nn.Sequential(nn.Linear(2, 4)), nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
    optimizers = [torch.optim.Adam(n.parameters()) for n in (net_d, net_g)]
    criterion = nn.BCELoss()
    fake = net_g(torch.randn(8, 2))
    net_d.zero_grad()
    criterion(net_d(X), torch.ones(8, 1)).backward()
    criterion(net_d(fake.detach()), torch.zeros(8, 1)).backward()
    optimizers[0].step()
    net_g.zero_grad()
    criterion(net_d(fake), torch.ones(8, 1)).backward()
    optimizers[1].step()
    return bits(net_g, net_d)


def lbfgs() -> Any:
    net = small()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(net(X), Y)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    return bits(net)


def reentrant() -> Any:
    net = small()
    x = X.clone().requires_grad_()
    checkpoint(net, x, use_reentrant=True).square().mean().backward()  # type: ignore[union-attr]
    return bits(net)


def not_reentrant() -> Any:
    net = small()
    checkpoint(net, X, use_reentrant=False).square().mean().backward()  # type: ignore[union-attr]
    return bits(net)


def penalty() -> Any:
    net = small()
    x = X.clone().requires_grad_()
    output = net(x)
    (grad,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    count = len(nodes_behind([grad.grad_fn]))
    (F.mse_loss(output, Y) + grad.square().sum()).backward()
    return bits(net), count


def twice() -> Any:
    net = small()
    loss = net(X).square().mean()
    loss.backward(retain_graph=True)
    loss.backward()
    return bits(net)


def embedding() -> Any:
    net = nn.Sequential(nn.Embedding(50, 4, sparse=True), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        net(torch.tensor([1, 2, 2, 7])).sum().backward()
        optimizer.step()
        weight = net[0].weight.grad
        optimizer.zero_grad()
    return bits(net), weight.is_coalesced(), weight.to_dense().numpy().tobytes()


def compiled() -> Any:
    net = small()
    fast = torch.compile(net, backend="aot_eager")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(fast(X), Y).backward()
        optimizer.step()
    torch.compiler.reset()
    return bits(net)


def anomaly() -> Any:
    net = small()
    with torch.autograd.set_detect_anomaly(True):
        F.mse_loss(net(X), Y).backward()
    return bits(net)


def half_precision() -> Any:
    net = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.mse_loss(net(X).float(), Y)
    loss.backward()
    return bits(net)


def custom() -> Any:
    net = small()
    Poison.apply(net(X)).sum().backward()
    return bits(net)


def several_roots() -> Any:
    net = small()
    a, b = net(X), net(X * 2)
    torch.autograd.backward([a, b], [torch.ones_like(a), torch.ones_like(b)])
    return bits(net)


def through_an_edge() -> Any:
    net = small()
    edge = torch.autograd.graph.get_gradient_edge(net(X))
    torch.autograd.backward([edge], [torch.ones(8, 1)])
    return bits(net)


def stolen() -> Any:
    """Whether the gradient that a Function made became `.grad` itself, without a copy."""
    where: list[int] = []

    class Make(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.sum()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            made = torch.ones(64, 64)
            where.append(made.data_ptr())
            return made

    weight = torch.zeros(64, 64, requires_grad=True)
    Make.apply(weight).backward()
    assert weight.grad is not None
    return weight.grad.data_ptr() == where[0]


@pytest.mark.parametrize(
    "train",
    [
        plain_loop, gan, lbfgs, reentrant, not_reentrant, penalty, twice, embedding, compiled, anomaly, half_precision,
        custom, several_roots, through_an_edge, stolen,
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_watched_run_ends_with_the_same_bits(train: Callable[[], Any]) -> None:
    bare, debugged = both(train)
    assert debugged == bare


def test_a_gan_has_three_backwards_each_with_its_own_numbers() -> None:
    run = watched(gan)
    assert [len(b.leaf_flows) for b in run.backwards] == [2, 2, 4]
    first, second, third = run.backwards
    assert set(first.leaf_flows) == set(second.leaf_flows) < set(third.leaf_flows)
    assert [f.norm for f in first.leaf_flows.values()] != [f.norm for f in second.leaf_flows.values()]
    assert not set(first.flows) & set(second.flows)


def test_micro_batches_are_told_apart() -> None:
    def train() -> None:
        net = small()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            for part in X.split(4):
                net(part).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    run = watched(train)
    assert [(b.iteration, b.micro_batch) for b in run.backwards] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert all(len(b.leaf_flows) == 8 for b in run.backwards)


def test_a_closures_backwards_are_watched() -> None:
    run = watched(lbfgs)
    assert len(run.backwards) >= 6
    assert all(len(b.leaf_flows) == 8 for b in run.backwards)


def test_what_a_reentrant_checkpoint_runs_inside_backward_is_not_in_the_graph() -> None:
    (outside,) = watched(reentrant).backwards
    assert len(outside.leaf_flows) == 1  # the input
    assert len(outside.flows) == 1
    (whole,) = watched(not_reentrant).backwards
    assert len(whole.leaf_flows) == 8


def test_autograd_grad_adds_nothing_into_a_leaf() -> None:
    def train() -> None:
        net = small()
        torch.autograd.grad(net(X).sum(), list(net.parameters()))

    (backward,) = watched(train).backwards
    assert not backward.leaf_flows
    assert len(backward.flows) == 7


def test_the_flow_into_a_sparse_gradient() -> None:
    run = watched(embedding)
    dense, rows = {200: (0.0, 0.0), 4: None, 1: None}, run.backwards[0].leaf_flows
    assert sorted(f.numel for f in rows.values()) == sorted(dense)
    (table,) = [f for f in rows.values() if f.numel == 200]
    assert (table.norm or 0) > 0
    assert (table.min or 0) <= 0 <= (table.max or 0)


def test_a_compiled_region_is_one_node_with_its_gradient() -> None:
    run = watched(compiled)
    assert len(run.backwards) == 3
    for backward in run.backwards:
        assert len(backward.leaf_flows) == 8
        assert {f.numel for f in backward.flows.values()} == {1, 8}


def test_compiled_autograd_is_left_alone() -> None:
    def train() -> Any:
        net = nn.Linear(4, 1)
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
            net(X).sum().backward()
        torch.compiler.reset()
        roots.append(net(X).sum())
        return bits(net)

    import torch._dynamo.compiled_autograd

    roots: list[torch.Tensor] = []
    torch.manual_seed(0)
    bare = train()
    run = watched(train)
    assert run.result == bare
    (backward,) = run.backwards
    assert backward.note == flows_module.COMPILED
    assert not backward.flows


def test_torch_func_is_left_alone() -> None:
    def train() -> Any:
        net = nn.Linear(4, 1)
        values = dict(net.named_parameters())

        def loss(values: Any, x: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(net, values, (x,)).square().sum()

        grads = torch.func.grad(loss)(values, X)
        return [g.detach().numpy().tobytes() for g in grads.values()]

    torch.manual_seed(0)
    bare = train()
    run = watched(train)
    assert run.result == bare
    assert not any(backward.flows for backward in run.backwards)
    assert {backward.note for backward in run.backwards} <= {flows_module.INSIDE_FUNC}


def test_the_norm_of_a_large_gradient_keeps_its_digits() -> None:
    values = torch.rand(1_000_001, generator=torch.Generator().manual_seed(1)) + 0.5
    with quiet():
        norm = flows_module._dense(values)[0]
    assert norm == pytest.approx(float(values.double().norm()), rel=1e-6)
