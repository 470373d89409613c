"""What the parameter pane is told, held against torch on a real loop: AdamW, batch norm, tied, frozen, unowned and
sparse parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stepdbg.agent import tensors
from stepdbg.agent.parameters import readings
from stepdbg.agent.parameters.marks import Marks
from stepdbg.agent.work import GivenUpError, Work
from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.parameters import Arrangement
from stepdbg.protocol.quantities import QUANTITIES
from stepdbg.protocol.records import ParameterPage, ParameterRow, Phase, StopRecord, TensorStats

from .conftest import drive

EVERYTHING = Arrangement(columns=("norm", "g.norm", "delta", "mean", "g.mean", "passes"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 4, sparse=True)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.out = nn.Linear(4, 12)
        self.tied = nn.Linear(4, 12, bias=False)
        self.tied.weight = self.out.weight
        self.frozen = nn.Parameter(torch.full((3,), 2.0, dtype=torch.float16), requires_grad=False)
        self.unowned = nn.Parameter(torch.linspace(-1, 1, 4))

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        return self.out(self.body(self.embed(index)) * self.unowned)


NAMES = [
    "net.frozen",
    "net.unowned",
    "net.embed.weight",
    "net.body.0.weight",
    "net.body.0.bias",
    "net.body.1.weight",
    "net.body.1.bias",
    "net.out.weight",
    "net.out.bias",
]
BUFFERS = ["net.body.1.running_mean", "net.body.1.running_var", "net.body.1.num_batches_tracked"]


@dataclass
class Loop:
    """The loop, and its objects for a test to look at."""

    iterations: int = 2
    clears: Callable[[Loop], None] = lambda loop: loop.dense.zero_grad()

    def __call__(self) -> None:
        torch.manual_seed(0)
        self.net = net = Net()
        owned = [p for name, p in net.named_parameters() if name not in ("unowned", "embed.weight")]
        self.dense = dense = torch.optim.AdamW(
            [{"params": owned[:2], "lr": 0.1, "weight_decay": 0.0}, {"params": owned[2:], "lr": 0.01}]
        )
        self.sparse = sparse = torch.optim.SGD([net.embed.weight], lr=0.5, momentum=0.0)
        index = torch.tensor([1, 1, 2, 5, 11, 3])
        for _ in range(self.iterations):
            self.clears(self)
            sparse.zero_grad()
            F.cross_entropy(net(index), index).backward()
            dense.step()
            sparse.step()
        del dense, sparse

    def named(self) -> dict[str, torch.Tensor]:
        return {f"net.{name}": p for name, p in self.net.named_parameters()}


Look = Callable[[ThreadSession, StopRecord], Any]


def at(phase: Phase, look: Look, loop: Loop, *, time: int = 1) -> Any:
    """What `look` finds at the stop before `phase`, in the iteration of that number."""
    found: list[Any] = []
    train = loop

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        here = stop.next is not None and stop.next.phase is phase and stop.iteration == time
        if here and not found:
            found.append(await look(session, stop))

    done = drive(train, visit=visit)
    if done.error is not None:
        raise done.error
    assert not [e for e in done.events if isinstance(e, m.Warned)]
    assert found, "the stop did not come"
    return found[0]


def page(pattern: str = "", **arrangement: Any) -> Look:
    async def look(session: ThreadSession, _stop: StopRecord) -> ParameterPage:
        how = replace(EVERYTHING, **arrangement)
        answer: ParameterPage = await session.request(m.GetParameters(0, 0, 500, pattern, how))
        return answer

    return look


def names(found: ParameterPage) -> list[str]:
    return [row.name for row in found.rows]


def same_statistics(found: TensorStats | None, tensor: torch.Tensor) -> None:
    assert found is not None
    wide = tensor.detach().to_dense().double()
    assert found.numel == wide.numel()
    assert found.mean == pytest.approx(wide.mean().item(), rel=1e-6, abs=1e-12)
    assert found.std == pytest.approx(wide.std(correction=0).item(), rel=1e-6, abs=1e-12)
    assert (found.min, found.max) == (pytest.approx(wide.min().item()), pytest.approx(wide.max().item()))
    assert found.norm == pytest.approx(wide.norm().item(), rel=1e-6)
    assert found.zeros == int((wide == 0).sum())
    assert (found.nan, found.posinf, found.neginf) == (0, 0, 0)


def test_every_column_is_what_torch_says() -> None:
    loop = Loop()

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        found = await page()(session, stop)
        rows = {row.name: row for row in found.rows if row.kind == "parameter"}
        assert list(rows) == NAMES
        for name, tensor in loop.named().items():
            check_row(rows[name], tensor)
        check_owners(rows)

    at(Phase.STEP, look, loop, time=2)


def check_row(row: ParameterRow, tensor: torch.Tensor) -> None:
    grad = tensor.grad
    assert (row.shape, row.numel, row.dtype) == (tuple(tensor.shape), tensor.numel(), str(tensor.dtype)[6:])
    assert row.nbytes == tensor.numel() * tensor.element_size()
    assert (row.device, row.requires_grad) == ("cpu", tensor.requires_grad)
    assert row.value_norm == pytest.approx(tensor.detach().float().norm().item(), rel=1e-5)
    same_statistics(row.stats, tensor)
    if grad is None:
        assert (row.grad, row.grad_norm, row.grad_stats, row.passes) == ("none", None, None, 0)
    else:
        assert row.grad == ("sparse" if grad.is_sparse else "dense")
        assert row.grad_norm == pytest.approx(grad.to_dense().norm().item(), rel=1e-5)
        same_statistics(row.grad_stats, grad)


def check_owners(rows: dict[str, ParameterRow]) -> None:
    found = {name: (row.owner, row.owner_kind, row.lr, row.weight_decay) for name, row in rows.items()}
    second = ("dense[1]", "AdamW", 0.01, 0.01)
    assert found == {
        "net.frozen": ("dense[0]", "AdamW", 0.1, 0.0),
        "net.unowned": ("", "", None, None),
        "net.embed.weight": ("sparse[0]", "SGD", 0.5, 0.0),
        "net.body.0.weight": ("dense[0]", "AdamW", 0.1, 0.0),
        **dict.fromkeys(NAMES[4:], second),
    }
    kinds = {"body.0": "Linear", "body.1": "BatchNorm1d", "out": "Linear", "embed": "Embedding"}
    for name, row in rows.items():
        assert row.module == kinds.get(name.removeprefix("net.").rpartition(".")[0], "Net")
    assert rows["net.out.weight"].aliases == ("net.tied.weight",)
    assert "shared" in rows["net.out.weight"].marks


def test_what_is_not_asked_for_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    one, many = tensors.statistics_of_many, tensors.norms
    monkeypatch.setattr(tensors, "statistics_of_many", lambda batch: read.append(len(batch)) or one(batch))
    monkeypatch.setattr(tensors, "norms", lambda batch: read.append(len(batch)) or many(batch))

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        read.clear()
        found = await page(columns=(), sort="numel", falling=True)(session, stop)
        await page("numel > 4 and owner = AdamW", columns=())(session, stop)
        assert read == []
        assert {(row.value_norm, row.grad_norm, row.stats, row.delta_norm) for row in found.rows} == {(None,) * 4}
        await session.request(m.GetParameters(0, 2, 3))
        assert sum(read) == 6  # three values and their gradients
        await session.request(m.GetParameters(0, 2, 3))
        assert sum(read) == 6  # known by now
        await page(columns=("norm",), sort="norm")(session, stop)
        assert sum(read) == 6 + len(NAMES) - 3

    at(Phase.STEP, look, Loop())


# ── order, filters ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("quantity", ["norm", "g.norm", "numel", "mean", "g.max", "lr", "owner", "name"])
def test_rows_are_in_the_order_of_a_quantity_with_unknown_ones_last(quantity: str, falling: bool) -> None:
    loop = Loop()

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        found = await page(sort=quantity, falling=falling)(session, stop)
        rows = [row for row in found.rows if row.kind == "parameter"]
        of: dict[str, Callable[[ParameterRow], Any]] = {
            "norm": lambda r: r.value_norm,
            "g.norm": lambda r: r.grad_norm,
            "numel": lambda r: r.numel,
            "mean": lambda r: r.stats.mean if r.stats else None,
            "g.max": lambda r: r.grad_stats.max if r.grad_stats else None,
            "lr": lambda r: r.lr,
            "owner": lambda r: r.owner or None,
            "name": lambda r: r.name,
        }
        values = [of[quantity](row) for row in rows]
        known = [value for value in values if value is not None]
        assert values[len(known) :] == [None] * (len(values) - len(known))
        assert known == sorted(known, reverse=falling)
        assert sorted(r.name for r in rows) == sorted(NAMES)

    at(Phase.STEP, look, loop)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("bias", lambda n, p: n.endswith("bias")),
        ("net.body.*", lambda n, p: n.startswith("net.body.")),
        ("net.tied.weight", lambda n, p: n == "net.out.weight"),
        ("owner = none", lambda n, p: n == "net.unowned"),
        ("owner = AdamW", lambda n, p: n not in ("net.unowned", "net.embed.weight")),
        ("owner = dense[0]", lambda n, p: n in ("net.frozen", "net.body.0.weight")),
        ("dtype = float16", lambda n, p: n == "net.frozen"),
        ("trainable = no", lambda n, p: not p.requires_grad),
        ("numel >= 12, name != *embed*", lambda n, p: p.numel() >= 12 and "embed" not in n),
        ("shape = 4x4", lambda n, p: tuple(p.shape) == (4, 4)),
        ("module = Batch*", lambda n, p: n.startswith("net.body.1.")),
        ("grad = none", lambda n, p: p.grad is None),
        ("grad = sparse", lambda n, p: p.grad is not None and p.grad.is_sparse),
        ("g.norm > 0.1", lambda n, p: p.grad is not None and p.grad.to_dense().norm() > 0.1),
        ("g.norm = none", lambda n, p: p.grad is None),
        ("g.zeros > 50%", lambda n, p: p.grad is not None and (p.grad.to_dense() == 0).double().mean() > 0.5),
        ("mean < 0 and numel > 1", lambda n, p: p.double().mean() < 0),
        ("std = 0", lambda n, p: p.double().std(correction=0) == 0),
        ("nan > 0", lambda n, p: False),
        ("lr > 0.05", lambda n, p: n in ("net.frozen", "net.body.0.weight", "net.embed.weight")),
        ("is:shared", lambda n, p: n == "net.out.weight"),
        ("is:frozen and numel = 3", lambda n, p: n == "net.frozen"),
    ],
)  # fmt: skip
def test_a_filter_leaves_what_it_says(pattern: str, wanted: Callable[[str, torch.Tensor], bool]) -> None:
    loop = Loop()

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        found = await page(pattern)(session, stop)
        parameters = [row.name for row in found.rows if row.kind == "parameter"]
        assert parameters == [n for n in NAMES if wanted(n, loop.named()[n])]
        assert (found.matching, found.everything) == (len(parameters), len(NAMES))

    at(Phase.STEP, look, loop)


def test_nan_and_inf_are_found_in_values_gradients_and_optimizer_state() -> None:
    loop = Loop(iterations=3)

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        with torch.no_grad():
            loop.net.out.bias.grad[:2] = math.nan
            loop.net.unowned[0] = math.inf
            loop.dense.state[loop.net.out.weight]["exp_avg"][0, 0] = math.nan
        found = {p: await page(p, base=2)(session, stop) for p in ("nan > 0", "inf > 0", "g.nan >= 2", "w.nan > 0")}
        assert [r.name for r in found["nan > 0"].rows if r.kind != "section"] == [
            "net.out.bias",
            "dense.state[net.out.weight].exp_avg",
        ]
        assert [r.name for r in found["inf > 0"].rows] == ["net.unowned"]
        assert [r.name for r in found["g.nan >= 2"].rows] == ["net.out.bias"]
        assert [r.name for r in found["w.nan > 0"].rows if r.kind == "parameter"] == []
        row = next(r for r in found["nan > 0"].rows if r.name == "net.out.bias")
        assert (row.grad_nonfinite, row.nonfinite) == (2, 0)
        assert row.grad_norm == pytest.approx(loop.net.out.bias.grad[2:].norm().item(), rel=1e-5)

    at(Phase.STEP, look, loop, time=2)


def test_every_quantity_can_be_sorted_by_and_asked_for() -> None:
    async def look(session: ThreadSession, stop: StopRecord) -> None:
        for quantity in QUANTITIES:
            found = await page(f"{quantity.name} != none", sort=quantity.name)(session, stop)
            assert found.everything == len(NAMES)

    at(Phase.STEP, look, Loop(), time=2)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (m.GetParameters(0, pattern="g.nrom > 1"), "did you mean g.norm?"),
        (m.GetParameters(0, arrangement=Arrangement(sort="nrom")), "did you mean norm?"),
        (m.GetParameters(0, arrangement=Arrangement(columns=("colour",))), "nothing is called “colour”"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(query: m.GetParameters, words: str) -> None:
    async def look(session: ThreadSession, _stop: StopRecord) -> str:
        with pytest.raises(RequestError) as caught:
            await session.request(query)
        return str(caught.value)

    said = at(Phase.STEP, look, Loop())
    assert words in said
    assert "\n" not in said
    assert "Error" not in said


# ── buffers, optimizer state, the tree ──────────────────────────────────────────────────────────────────────


def test_buffers_and_optimizer_state_stand_folded_at_the_end() -> None:
    loop = Loop()

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        folded = await page()(session, stop)
        assert names(folded)[-2:] == ["buffers", "optimizer state"]
        assert [row.rows_below for row in folded.rows[-2:]] == [3, 18]
        assert folded.total == len(NAMES) + 2
        levels = (("section:buffers", 1), ("section:optimizer state", 1))
        found = await page(levels=levels)(session, stop)
        assert found.total == len(NAMES) + 2 + 21
        assert names(found)[10:13] == BUFFERS
        kept = {row.name: row for row in found.rows if row.kind == "state"}
        for name, tensor in loop.named().items():
            for key, value in loop.dense.state.get(tensor, {}).items():
                row = kept.pop(f"dense.state[{name}].{key}")
                same_statistics(row.stats, value)
                assert row.shape == tuple(value.shape)
        assert not kept
        body = loop.net.body[1]
        for row, buffer in zip(found.rows[10:13], body.buffers(), strict=True):
            same_statistics(row.stats, buffer)
            assert (row.kind, row.module, row.above) == ("buffer", "BatchNorm1d", 9)
        assert [row.index for row in found.rows] == list(range(found.total))

    at(Phase.ZERO_GRAD, look, loop, time=2)


@pytest.mark.parametrize("name", [*BUFFERS, "dense.state[net.out.bias].exp_avg", "net.tied.weight"])
def test_values_are_found_by_any_name(name: str) -> None:
    loop = Loop()

    async def look(session: ThreadSession, _stop: StopRecord) -> None:
        record = await session.request(m.GetValues(0, name))
        wanted = {
            **{f"net.{n}": b for n, b in loop.net.named_buffers()},
            "dense.state[net.out.bias].exp_avg": loop.dense.state[loop.net.out.bias]["exp_avg"],
            "net.tied.weight": loop.net.out.weight,
        }[name]
        assert record.value.shape == tuple(wanted.shape)
        same_statistics(record.value.stats, wanted)
        assert record.name == name

    at(Phase.ZERO_GRAD, look, loop, time=2)


def test_plain_numbers_of_an_optimizer_are_rows_too() -> None:
    class Counting(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(list(params), {"lr": 0.1})

        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    state = self.state[p]
                    state["times"] = state.get("times", 0) + 1
                    state["past"] = [*state.get("past", []), p.grad.clone()][-2:]
            self.state["best"] = {"loss": 0.5, "kept": True}

    def train() -> None:
        net = nn.Linear(2, 1)
        optimizer = Counting(net.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(1, 2)).sum().backward()
            optimizer.step()

    async def look(session: ThreadSession, _stop: StopRecord) -> dict[str, ParameterRow]:
        found = await session.request(m.GetParameters(0, 0, 500, "", Arrangement(base=2)))
        return {row.name: row for row in found.rows}

    rows = at(Phase.ZERO_GRAD, look, train, time=3)  # type: ignore[arg-type]
    times, loss = rows["optimizer.state[net.weight].times"], rows["optimizer.state['best'].loss"]
    assert (times.value_norm, times.dtype, times.shape) == (2.0, "number", ())
    assert loss.value_norm == 0.5
    assert rows["optimizer.state[net.weight].past[1]"].value_norm == pytest.approx(math.sqrt(2))
    assert "optimizer.state['best'].kept" not in rows


def test_modules_tell_the_totals_of_what_is_below_them() -> None:
    loop = Loop()

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        found = await page(tree=True)(session, stop)
        assert [(row.depth, row.name) for row in found.rows] == [
            (0, "net"), (1, "net.frozen"), (1, "net.unowned"), (1, "net.embed"), (2, "net.embed.weight"),
            (1, "net.body"), (2, "net.body.0"), (3, "net.body.0.weight"), (3, "net.body.0.bias"),
            (2, "net.body.1"), (3, "net.body.1.weight"), (3, "net.body.1.bias"), (1, "net.out"),
            (2, "net.out.weight"), (2, "net.out.bias"),
        ]  # fmt: skip
        modules = {f"net.{n}".rstrip("."): module for n, module in loop.net.named_modules()}
        for row in found.rows:
            if row.kind == "module":
                check_totals(row, modules[row.name])
        assert found.rows[0].rows_below == 14 + 3 + 3 * 6
        assert (found.rows[9].unfolds, found.rows[9].level) == (True, 1)
        assert [found.rows[row.above].name for row in found.rows if row.above is not None] == [
            row.name.rpartition(".")[0] for row in found.rows[1:]
        ]

    at(Phase.ZERO_GRAD, look, loop, time=2)


def check_totals(row: ParameterRow, module: nn.Module) -> None:
    held = list(module.parameters())
    grads = [p.grad.to_dense().flatten() for p in held if p.grad is not None]
    assert (row.module, row.parameters) == (type(module).__name__, len(held))
    assert row.trainable == sum(p.requires_grad for p in held)
    assert row.numel == sum(p.numel() for p in held)
    assert row.nbytes == sum(p.numel() * p.element_size() for p in held)
    assert row.value_norm == pytest.approx(torch.cat([p.detach().double().flatten() for p in held]).norm().item())
    assert row.grad_norm == pytest.approx(torch.cat(grads).norm().item(), rel=1e-6)


def test_a_tree_is_folded_filtered_and_sorted() -> None:
    async def look(session: ThreadSession, stop: StopRecord) -> None:
        folded = await page(tree=True, levels=(("module:net.body", 0), ("module:net.out", 0)))(session, stop)
        assert names(folded)[-2:] == ["net.body", "net.out"]
        whole = await page(tree=True, base=2)(session, stop)
        assert [row.index for row in whole.rows] == list(range(whole.total))
        assert names(whole)[-4:] == ["net.out.bias", *(f"dense.state[net.out.bias].{k}" for k in KEPT)]
        at_norm = names(whole).index("net.body.1")
        assert names(whole)[at_norm + 1 : at_norm + 4] == BUFFERS
        biases = await page("name = *bias", tree=True)(session, stop)
        assert names(biases) == [
            "net", "net.body", "net.body.0", "net.body.0.bias", "net.body.1", "net.body.1.bias",
            "net.out", "net.out.bias",
        ]  # fmt: skip
        assert (biases.rows[0].parameters, biases.rows[0].numel) == (3, 20)
        largest = await page(tree=True, sort="numel", falling=True)(session, stop)
        assert [n for n in names(largest) if n.count(".") == 1] == [
            "net.embed", "net.out", "net.body", "net.unowned", "net.frozen",
        ]  # fmt: skip

    at(Phase.ZERO_GRAD, look, Loop(), time=2)


KEPT = ("step", "exp_avg", "exp_avg_sq")


def test_totals_are_read_only_where_a_module_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    many = tensors.norms
    monkeypatch.setattr(tensors, "norms", lambda batch: read.append(len(batch)) or many(batch))

    async def look(session: ThreadSession, _stop: StopRecord) -> None:
        read.clear()
        how = Arrangement(tree=True, columns=("norm",))
        await session.request(m.GetParameters(0, 12, 1, "", how))
        assert sum(read) == 2  # net.out and what is below it, not net
        await session.request(m.GetParameters(0, 0, 1, "", how))
        assert sum(read) == len(NAMES)

    at(Phase.STEP, look, Loop())


# ── what the step did; passes ───────────────────────────────────────────────────────────────────────────────


def test_the_change_of_the_last_step() -> None:
    start: dict[str, torch.Tensor] = {}
    loop = Loop(clears=lambda loop: start or start.update({n: p.detach().clone() for n, p in loop.named().items()}))

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        rows = {row.name: row for row in (await page(tree=True)(session, stop)).rows}
        deltas = []
        for parameter, name in ((loop.net.out.weight, "net.out.weight"), (loop.net.out.bias, "net.out.bias")):
            deltas.append((parameter.detach() - start[name]).norm().item())
            assert rows[name].delta_norm == pytest.approx(deltas[-1], rel=1e-6)
            assert deltas[-1] > 0
        assert rows["net.out"].delta_norm == pytest.approx(math.hypot(*deltas), rel=1e-6)
        assert rows["net.unowned"].delta_norm is None
        assert rows["net.unowned"].delta_note == "no optimizer that holds it has stepped yet"
        assert rows["net"].note == "|Δw| of some only"
        every = {row.name: row for row in (await page()(session, stop)).rows if row.kind == "parameter"}
        for name, tensor in loop.named().items():
            if name in every and every[name].owner:
                assert every[name].delta_norm == pytest.approx((tensor.detach() - start[name]).norm().item(), rel=1e-6)
        moved = await page("delta > 0", sort="ratio", falling=True)(session, stop)
        shares = {n: row.delta_norm / row.value_norm for n, row in every.items() if row.delta_norm and row.value_norm}
        assert len(shares) >= 6
        assert names(moved) == sorted(shares, key=shares.__getitem__, reverse=True)

    at(Phase.ZERO_GRAD, look, loop, time=2)


def passes_at(train: Callable[[], Any], phase: Phase, actions: tuple[m.Action, ...] = ()) -> list[dict[str, Any]]:
    """Passes by parameter at each stop before `phase`: a number, or "loop N"."""
    found: list[dict[str, Any]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        answer = await session.request(m.GetParameters(0, 0, 50, "", Arrangement(columns=("passes",))))
        if stop.next is not None and stop.next.phase is phase:
            rows = [row for row in answer.rows if row.kind == "parameter"]
            found.append({r.name: f"loop {r.passes}" if r.passes_of_loop else r.passes for r in rows})

    done = drive(train, actions, visit)
    if done.error is not None:
        raise done.error
    assert not [e for e in done.events if isinstance(e, m.Warned)]
    return found


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_passes_are_counted_for_each_gradient(to_none: bool, sparse: bool) -> None:
    def train() -> None:
        net = nn.Sequential(nn.Embedding(4, 2, sparse=sparse), nn.Linear(2, 1, bias=False))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        i = torch.tensor([0, 1])
        for _ in range(2):
            optimizer.zero_grad(set_to_none=to_none)
            net(i).sum().backward()
            net[1](torch.ones(1, 2)).sum().backward()  # the linear layer only
            net(i).sum().backward()
            optimizer.step()
            net[1].zero_grad(set_to_none=to_none)
            net(i).sum().backward()
            optimizer.step()

    assert (
        passes_at(train, Phase.STEP)
        == [
            {"net.0.weight": 2, "net.1.weight": 3},
            {"net.0.weight": 3, "net.1.weight": 1},
        ]
        * 2
    )


@pytest.mark.filterwarnings("ignore:Using backward")
def test_passes_with_graphs_of_gradients_and_a_gradient_taken_away() -> None:
    def train() -> None:
        w, v = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
        optimizer = torch.optim.SGD([w, v], lr=0.1)
        (w * w * v).sum().backward(create_graph=True)
        (w * w * v).sum().backward(create_graph=True)
        torch.autograd.grad((w * v).sum(), [w])  # adds nothing
        v.grad = None
        (w * w * v).sum().backward()
        optimizer.step()
        w.grad = v.grad = None

    assert passes_at(train, Phase.STEP) == [{"w": 3, "v": 1}]


def test_a_skipped_backward_or_zero_grad_does_not_count() -> None:
    def train() -> None:
        w = torch.ones(3, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            w.sum().backward()
            optimizer.step()

    steps = m.Action.NEXT, m.Action.NEXT, m.Action.NEXT, m.Action.SKIP, m.Action.NEXT, m.Action.NEXT
    assert passes_at(train, Phase.STEP, (*steps, m.Action.NEXT, m.Action.SKIP)) == [{"w": 1}, {"w": 2}, {"w": 0}]


def test_after_a_free_run_only_the_loops_count_is_known() -> None:
    def train() -> None:
        w = torch.ones(3, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.1)
        for _ in range(4):
            w.sum().backward()
            optimizer.step()
        optimizer.zero_grad()

    found = passes_at(train, Phase.STEP, (m.Action.NEXT, m.Action.NEXT))
    assert found[:2] == [{"w": 1}, {"w": 2}]

    seen: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        answer = await session.request(m.GetParameters(0, 0, 50, "", Arrangement(columns=("passes",))))
        seen.append((stop.number, [(r.passes, r.passes_of_loop) for r in answer.rows if r.kind == "parameter"]))
        return m.Action.CONTINUE if stop.number == 2 else None

    def until_raised() -> None:
        w = torch.ones(3, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.1)
        for _ in range(3):
            w.sum().backward()
            optimizer.step()
        raise ValueError("held once more")

    drive(until_raised, visit=visit)
    assert seen == [(1, [(0, False)]), (2, [(1, False)]), (3, [(3, True)])]


def test_watching_gradients_holds_nothing_and_changes_nothing() -> None:
    def train() -> list[bytes]:
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
        return [p.detach().numpy().tobytes() for p in net.parameters()]

    bare, debugged = train(), []
    passes_at(lambda: debugged.append(train()), Phase.STEP)
    assert debugged == [bare]


# ── what changed since the stop before ──────────────────────────────────────────────────────────────────────


def test_moved_is_told_from_one_stop_to_the_next() -> None:
    found: list[tuple[str, list[str]]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        answer = await page("moved = yes")(session, stop)
        if stop.next is not None:
            stepped = [run.subject for run in stop.just_ran if run.phase is Phase.STEP]
            found.append(("".join(stepped), names(answer)))

    drive(Loop(), visit=visit)
    adam = [n for n in NAMES if n not in ("net.frozen", "net.unowned", "net.embed.weight")]
    wanted = {"dense": adam, "sparse": ["net.embed.weight"], "": []}
    assert [(stepped, moved) for stepped, moved in found if moved != wanted[stepped]] == []
    assert [stepped for stepped, _moved in found if stepped] == ["dense", "sparse", "dense"]


def test_marks_tell_what_was_written_and_what_came() -> None:
    held = [(f"p{i}", nn.Parameter(torch.zeros(1))) for i in range(100)]
    marks = Marks()
    marks.note_rest(held)
    with torch.no_grad():
        held[3][1].add_(1)
    held[4][1].grad = torch.ones(1)
    later = Marks()
    later.note_rest(held)
    changed = [name for name, _ in held if marks.value_changed(name, later.values[name])]
    gained = [name for name, _ in held if marks.grad_changed(name, later.grads[name])]
    assert (changed, gained) == (["p3"], ["p4"])
    assert marks.value_changed("unknown", later.values["p0"]) is None


# ── odd tensors ─────────────────────────────────────────────────────────────────────────────────────────────


class Odd(nn.Module):
    """Every kind of tensor that a module can hold."""

    def __init__(self) -> None:
        super().__init__()
        kinds = {
            "complex": torch.tensor([1 + 2j, 0j]),
            "half_": torch.tensor([1.0, -2.0], dtype=torch.float16),
            "bfloat": torch.tensor([1.0, -2.0], dtype=torch.bfloat16),
            "eighth": torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn),
            "sparse": torch.tensor([[0.0, 3.0], [4.0, 0.0]]).to_sparse(),
            "meta": torch.empty(2, device="meta"),
            "empty": torch.empty(0, 3),
            "scalar": torch.tensor(2.5),
            "nan": torch.tensor([math.nan, 1.0, -math.inf]),
        }
        for name, tensor in kinds.items():
            self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
        self.lazy = nn.LazyLinear(3)
        self.linear = nn.Linear(2, 1)
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("counts", torch.arange(4, dtype=torch.uint8))
        self.register_buffer("csr", torch.eye(2).to_sparse_csr())
        self.register_buffer("quantized", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
        self.register_buffer("nested", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))
        self.register_buffer("nothing", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tree", [False, True])
def test_odd_tensors_are_rows_in_every_order_and_under_every_filter(tree: bool) -> None:
    def train() -> None:
        net = Odd()
        optimizer = torch.optim.SGD(net.linear.parameters(), lr=0.1)
        optimizer.zero_grad()
        net(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        del net

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        found = await page(tree=tree, base=2)(session, stop)
        rows = {row.name.removeprefix("net."): row for row in found.rows}
        assert {"complex", "meta", "lazy.weight", "nested", "quantized", "csr", "flags", "linear.bias"} <= set(rows)
        assert rows["complex"].value_norm == pytest.approx(math.sqrt(5))
        assert rows["half_"].value_norm == rows["bfloat"].value_norm == pytest.approx(math.sqrt(5))
        assert rows["sparse"].value_norm == 5.0
        assert (rows["nan"].value_norm, rows["nan"].nonfinite) == (1.0, 2)
        assert (rows["empty"].value_norm, rows["empty"].numel) == (0.0, 0)
        assert (rows["meta"].value_norm, rows["lazy.weight"].shape) == (None, None)
        assert "meta device" in rows["meta"].note
        assert "not initialised" in rows["lazy.weight"].note
        assert rows["scalar"].stats is not None
        assert rows["scalar"].stats.mean == 2.5
        assert (rows["flags"].kind, rows["flags"].dtype) == ("buffer", "bool")
        assert rows["counts"].stats is not None
        assert rows["counts"].stats.max == 3
        for quantity in QUANTITIES:
            for pattern in ("", f"{quantity.name} = none", f"{quantity.name} != none"):
                await page(pattern, tree=tree, sort=quantity.name)(session, stop)
        for name, row in rows.items():
            if row.kind in ("parameter", "buffer", "state"):
                await session.request(m.GetValues(0, f"net.{name}"))

    at(Phase.STEP, look, train)  # type: ignore[arg-type]


# ── what takes long ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_scan_of_the_whole_model_is_told_and_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "BATCH", 1)
    told: list[tuple[int, int, str]] = []
    most = 3

    def step(_work: Work, done: int, total: int = 0, what: str = "nodes") -> None:
        told.append((done, total, what))
        if len(told) == most:
            raise GivenUpError(f"cancelled after {done} {what}")

    read: list[int] = []
    many = tensors.statistics_of_many
    monkeypatch.setattr(tensors, "statistics_of_many", lambda batch: read.append(len(batch)) or many(batch))

    async def look(session: ThreadSession, stop: StopRecord) -> None:
        await page(columns=())(session, stop)
        with monkeypatch.context() as patch:
            patch.setattr(Work, "step", step)
            with pytest.raises(RequestError, match="cancelled after 3 parameters"):
                await page(columns=(), sort="std")(session, stop)
        assert told == [(1, 9, "parameters"), (2, 9, "parameters"), (3, 9, "parameters")]
        assert sum(read) == most
        found = await page(columns=("mean",), sort="std")(session, stop)
        values = [row.stats.std for row in found.rows if row.kind == "parameter" and row.stats is not None]
        assert len(values) == len(NAMES)
        assert values == sorted(values)
        assert sum(read) == len(NAMES)  # what had been read by then was not read again

    at(Phase.STEP, look, Loop())
