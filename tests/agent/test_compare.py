"""Comparing stops, parameters, modules and files at real stops, held against torch by hand."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from stepdbg.agent.compare import snapshots
from stepdbg.agent.compare.differ import CHUNK, difference
from stepdbg.agent.compare.snapshots import Snapshots
from stepdbg.agent.naming import Named
from stepdbg.commands.compare import read_diff
from stepdbg.commands.edit import read_set
from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.compare import DiffOrder, DiffPage, DiffRow
from stepdbg.protocol.records import StopReason, StopRecord

from .conftest import drive

X = torch.linspace(-1, 1, 32).reshape(8, 4)
Y = torch.linspace(0, 1, 8).reshape(8, 1)


def pair() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    net, net2 = (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1)) for _ in range(2))
    return net, net2


def two_nets(iterations: int = 2, note: Callable[[dict[str, torch.Tensor]], None] = lambda _values: None) -> None:
    net, net2 = pair()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)

    def values() -> None:
        named = {f"net.{k}": p for k, p in net.named_parameters()} | {
            f"net2.{k}": p for k, p in net2.named_parameters()
        }
        note({name: p.detach().clone() for name, p in named.items()})

    for _ in range(iterations):
        values()
        optimiser.zero_grad()
        values()
        output = net(X)
        values()
        loss = F.mse_loss(output, Y)
        values()
        loss.backward()
        values()
        optimiser.step()


def asked(
    train: Callable[[], Any], at: int, *lines: str, before: Callable[[ThreadSession, StopRecord], Any] | None = None
) -> list[Any]:
    """Answers to these lines at stop number `at`: pages, or one line why not."""
    answers: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if before is not None:
            await before(session, stop)
        if stop.number == at:
            for line in lines:
                try:
                    answers.append(await session.request(read_diff(line)))
                except RequestError as error:
                    answers.append(str(error))

    run = drive(train, visit=visit)
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    assert len(answers) == len(lines)
    return answers


def check(row: DiffRow, a: torch.Tensor, b: torch.Tensor) -> None:
    """The numbers of one row, recomputed in float64 the plain way."""
    a, b = a.detach().double(), b.detach().double()
    assert row.numel == a.numel()
    assert row.differing == int((a != b).sum())
    assert row.state == ("equal" if torch.equal(a, b) else "differs")
    assert row.norm == pytest.approx(float(a.norm()), rel=1e-12)
    assert row.other_norm == pytest.approx(float(b.norm()), rel=1e-12)
    assert row.delta == pytest.approx(float((b - a).norm()), rel=1e-12)
    assert row.most == float((b - a).abs().max())
    if row.differing:
        assert row.ratio == pytest.approx(float((b - a).norm() / a.norm()), rel=1e-12)
        assert float((b - a).abs()[row.at]) == row.most
    else:
        assert (row.ratio, row.at) == (0.0, ())


# ── stops ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ago", range(1, 8))
def test_an_earlier_stop_is_compared_with_its_very_values(ago: int) -> None:
    """Stops 1 to 5 are before the first step, 6 and later after it."""
    values: list[dict[str, torch.Tensor]] = []
    (page,) = asked(lambda: two_nets(2, values.append), 8, f"-{ago}")
    assert (page.title, page.other_title) == (f"stop {8 - ago} (iteration {1 if 8 - ago < 6 else 2})", "stop 8, now")
    then, now = values[8 - ago - 1], values[7]
    assert page.total == len(page.rows) == len(now) == 12
    for row in page.rows:
        check(row, then[row.name], now[row.name])
    moved = 6 if ago > 2 else 0
    assert (page.differ, page.equal, page.unpaired, page.unlike) == (moved, 12 - moved, 0, 0)
    ratios = [row.ratio for row in page.rows]
    assert ratios == sorted(ratios, reverse=True)


def test_two_stops_are_compared_by_their_numbers_and_one_with_one_name() -> None:
    values: list[dict[str, torch.Tensor]] = []
    lines = ("5 6", "6 5", "-3 -2", "net.0.weight -3", "-3 net", "net[2] 5", "6", "8")
    pages = asked(lambda: two_nets(2, values.append), 8, *lines)
    forth, back, relative, one, whole, part, number, present = pages
    for row in forth.rows:
        check(row, values[4][row.name], values[5][row.name])
    assert {row.name: row.delta for row in forth.rows} == {row.name: row.delta for row in back.rows}
    assert relative.rows == forth.rows
    (row,) = one.rows
    check(row, values[7]["net.0.weight"], values[4]["net.0.weight"])
    assert {row.name for row in whole.rows if row.state == "differs"} == {
        "0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"
    }  # fmt: skip
    assert {row.name for row in part.rows} == {"weight", "bias"}
    assert number.differ == 0
    assert present.differ == 0


def test_a_parameter_is_the_same_under_the_names_of_every_function() -> None:
    def forward(model: nn.Module) -> torch.Tensor:
        return model(X)

    def train() -> None:
        net, net2 = nn.Linear(4, 1), nn.Linear(4, 1)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        optimiser.zero_grad()  # stop 1: net
        forward(net).square().mean().backward()  # stop 2: model; stop 3: net
        optimiser.step()  # stop 4: net
        forward(net)  # stop 5: model
        net2(X)

    def held(kept: Snapshots) -> int:
        return len({id(k) for s in kept._all for k in s.values.values()})

    seen: list[int] = []
    original = Snapshots.take

    def take(self: Snapshots, *rest: Any) -> None:
        original(self, *rest)
        seen.append(held(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Snapshots, "take", take)
        back, across, module, one = asked(train, 5, "-1", "2 4", "model -4", "model.bias 1")
    assert seen[:4] == [4, 4, 4, 4], "the same values are kept once"
    assert {(row.name, row.other_name): row.state for row in back.rows} == {
        ("net.weight", "model.weight"): "differs",
        ("net.bias", "model.bias"): "differs",
        ("net2.weight", ""): "equal",
        ("net2.bias", ""): "equal",
    }
    assert {row.state for row in across.rows} == {"equal"}
    assert {(row.name, row.state) for row in module.rows} == {("weight", "differs"), ("bias", "differs")}
    assert [(row.name, row.state) for row in one.rows] == [("model.bias", "differs")]


def test_one_name_for_two_networks_is_not_taken_for_one_network() -> None:
    def forward(model: nn.Module) -> None:
        model(X)

    def train() -> None:
        nets = nn.Linear(4, 1), nn.Linear(4, 1)
        forward(nets[0])
        forward(nets[1])
        nets[0].weight = nn.Parameter(torch.zeros(1, 4))
        forward(nets[1])

    same, replaced = asked(train, 3, "1 2", "2")
    assert {(row.name, row.other_name, row.state) for row in same.rows} == {
        ("model.weight", "nets[0].weight", "equal"),
        ("model.bias", "nets[0].bias", "equal"),
        ("nets[1].weight", "model.weight", "equal"),
        ("nets[1].bias", "model.bias", "equal"),
    }
    assert (replaced.equal, replaced.differ) == (3, 1)


def test_what_is_not_recorded_is_said_so() -> None:
    lines = (
        "-8",
        "-9",
        "9",
        "99",
        "net -20",
        "nett net2",
        "net.0.weight net2",
        "net net2.*",
        "net.0.weight net2.0.bias",
    )
    answers = asked(two_nets, 8, *lines)
    assert answers[0] == "there is no stop 8 before this one: it is stop 8"
    assert answers[1].startswith("there is no stop 9 before this one")
    assert answers[2] == "there is no stop 9 yet: this is stop 8"
    assert answers[3].startswith("there is no stop 99 yet")
    assert answers[4].startswith("there is no stop 20 before this one")
    assert answers[5] == "there is no parameter or module nett: did you mean net?"
    assert answers[6] == "net.0.weight is one parameter, and the other side is a module: compare two of a kind"
    assert answers[7] == "net2.*: diff takes the name of one parameter or module, not a glob"
    (row,) = answers[8].rows
    assert (row.state, row.shape, row.other_shape) == ("other shape", (6, 4), (6,))


def test_what_was_set_by_hand_is_seen_against_the_stop_itself() -> None:
    async def edit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 3:
            page = await session.request(read_diff("-1"))
            assert page.differ == 0
            await session.request(read_set("net.0.bias 3"))

    (at_stop,) = asked(two_nets, 3, "3", before=edit)
    assert [(row.name, row.other_norm) for row in at_stop.rows if row.differing] == [("net.0.bias", math.sqrt(54))]
    (later,) = asked(two_nets, 4, "-1", before=edit)
    assert [row.name for row in later.rows if row.differing] == ["net.0.bias"]
    assert later.rows[0].name == "net.0.bias"


def test_writes_through_data_are_seen() -> None:
    """They leave the version alone, and this one the norm as well."""

    def train() -> None:
        net = nn.Linear(4, 4)
        net(X)
        net.weight.data.neg_()
        net(X)
        net(X)

    back, same = asked(train, 3, "-2", "-1")
    assert [(row.name, row.differing) for row in back.rows] == [("net.weight", 16), ("net.bias", 0)]
    assert same.differ == 0


def test_a_free_run_takes_no_copies_and_what_is_there_stays() -> None:
    taken: list[int] = []
    original = Snapshots.take

    def take(self: Snapshots, stop: int, *rest: Any) -> None:
        taken.append(stop)
        original(self, stop, *rest)

    paused: list[DiffPage] = []
    passed = 0

    def train() -> None:
        nonlocal passed
        net = nn.Linear(4, 1)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        while not paused:
            optimiser.zero_grad()
            net(X).square().mean().backward()
            optimiser.step()
            passed += 1

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.reason is StopReason.PAUSE:
            paused.append(await session.request(read_diff("2")))
            return m.Action.CONTINUE
        if stop.number < 2 or paused:
            return None
        session.resume(m.Action.CONTINUE)
        while passed < 20:  # noqa: ASYNC110  (what is waited for happens in the script's thread)
            await asyncio.sleep(0.005)
        session.pause()
        stopped = await anext(event async for event in session.events() if isinstance(event, m.Stopped))
        return await visit(session, stopped.stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Snapshots, "take", take)
        drive(train, visit=visit)
    assert (paused[0].title, paused[0].differ) == ("stop 2 (iteration 1)", 2)
    taken = taken[: taken.index(3)]
    assert taken == [1, 2], "once for each stop that was left, and not while it ran"


def test_the_copies_stay_within_their_bound_and_share_what_is_the_same() -> None:
    big, small = nn.Parameter(torch.zeros(1000)), nn.Parameter(torch.zeros(10))
    named = [Named("big", big, ""), Named("small", small, "")]
    kept = Snapshots(limit=10_000)
    for stop in range(1, 8):
        kept.take(stop, 1, named)
        assert kept.nbytes == 4000 + 40 * stop, "the big one is kept once"
        with torch.no_grad():
            small += 1
    for stop in range(8, 12):
        with torch.no_grad():
            big += 1
        kept.take(stop, 1, named)
        distinct = {id(k): k.nbytes for s in kept._all for k in s.values.values()}
        assert kept.nbytes == sum(distinct.values()) <= 10_000
    found, why = kept.at(1)
    assert found is None
    assert why == "the values of stop 1 are forgotten: 9.8 KiB hold those of stops 10 to 11"
    held, _ = kept.at(10)
    assert held is not None
    assert float(held.values["big"].copy[0]) == 3


def test_names_are_not_kept_again_for_stops_between_which_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_ENTRIES", 8)
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    named = [Named(f"w{at}", weight, "") for at, weight in enumerate(weights)]
    kept = Snapshots()
    for stop in range(1, 40):
        if stop % 10 == 0:
            with torch.no_grad():
                weights[0] += 1
        kept.take(stop, 1, named)
        assert kept._entries == len({id(s.values) for s in kept._all}) * 2
    assert len(kept._all) == 39
    with torch.no_grad():
        for stop in range(40, 50):
            weights[0] += 1
            kept.take(stop, 1, named)
            assert kept._entries == len({id(s.values) for s in kept._all}) * 2 <= 8
    assert [s.stop for s in kept._all] == [46, 47, 48, 49]


def test_a_model_over_the_bound_is_not_copied_and_said_so() -> None:
    kept = Snapshots(limit=2**20)
    kept.take(1, 1, [Named("w", nn.Parameter(torch.zeros(2**20)), "")])
    assert kept.nbytes == 0
    assert kept.at(1) == (
        None,
        "the values of earlier stops are not recorded: the parameters take 4 MiB, the limit is 1 MiB",
    )


class Odd(nn.Module):
    """Every kind of parameter there is."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.nowhere = nn.Parameter(torch.empty(2, device="meta"))
        self.lazy = nn.UninitializedParameter()
        self.none = nn.Parameter(torch.empty(0, 3))
        self.rows = nn.Parameter(torch.eye(2).to_sparse(), requires_grad=False)
        self.across = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
        self.wide = nn.Parameter(torch.ones(1, 1).expand(3, 2), requires_grad=False)
        self.turning = nn.Parameter(torch.ones(2, dtype=torch.complex128))
        self.whole = nn.Parameter(torch.arange(3), requires_grad=False)
        self.tiny = nn.Parameter(torch.ones(2).to(torch.float8_e4m3fn), requires_grad=False)
        self.lost = nn.Parameter(torch.full((2,), math.nan))
        self.nested = nn.Parameter(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), requires_grad=False)
        with torch.inference_mode():
            self.sealed = nn.Parameter(torch.ones(2), requires_grad=False)
        self.freed = nn.Parameter(torch.ones(5))
        self.freed.untyped_storage().resize_(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.w


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_every_kind_of_parameter_is_compared_or_said_to_be_incomparable() -> None:
    def train() -> None:
        odd = Odd()
        odd(torch.ones(3))
        with torch.no_grad():
            odd.turning.mul_(1j)
        odd(torch.ones(3))

    stops, itself = asked(train, 2, "1", "odd odd.")
    states = {row.name.removeprefix("odd."): row.state for row in stops.rows}
    alike = ("w", "none", "across", "wide", "whole", "tiny", "lost", "sealed")
    assert {name: states[name] for name in alike} == dict.fromkeys(alike, "equal")
    assert states["turning"] == "differs"
    unknown = ("nowhere", "lazy", "rows", "nested", "freed")
    assert {name: states[name] for name in unknown} == dict.fromkeys(unknown, "unreadable")
    notes = {row.name: row.note for row in stops.rows}
    assert notes["odd.freed"] == "its memory is given back for the time being: there are no values"
    assert all(notes[f"odd.{name}"] for name in unknown)
    assert isinstance(itself, str)


def test_many_parameters_are_not_copied_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MOST_TENSORS", 3)
    kept = Snapshots()
    kept.take(1, 1, [Named(f"w{i}", nn.Parameter(torch.zeros(1)), "") for i in range(4)])
    assert kept.at(1)[1].endswith("there are 4 parameters, the limit is 3")


def test_nothing_of_the_script_lives_longer_for_a_copy_of_it() -> None:
    weight = nn.Parameter(torch.zeros(3))
    ref = weakref.ref(weight)
    kept = Snapshots()
    kept.take(1, 1, [Named("w", weight, "")])
    del weight
    assert ref() is None
    kept.take(2, 1, [])
    found, _ = kept.at(1)
    assert found is not None


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.int8,
     torch.int64, torch.bool, torch.float8_e4m3fn],
    ids=str,
)  # fmt: skip
def test_bits_are_compared_in_every_type(dtype: torch.dtype) -> None:
    one = torch.tensor([1, 0, 1]).to(dtype)
    other = torch.tensor([1, 0, 0]).to(dtype)
    assert snapshots.same_bits(one, one.clone())
    assert not snapshots.same_bits(one, other)
    if dtype.is_floating_point:
        nan = torch.tensor([math.nan]).to(dtype)
        assert snapshots.same_bits(nan, nan.clone())
    assert not snapshots.same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))


def test_the_run_is_the_bare_one() -> None:
    def train() -> list[bytes]:
        net, _net2 = pair()
        optimiser = torch.optim.Adam(net.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            F.mse_loss(net(X + torch.randn_like(X)), Y).backward()
            optimiser.step()
        return [t.numpy().tobytes() for t in (*net.state_dict().values(), torch.get_rng_state())]

    results: list[Any] = []
    asked(lambda: results.append(train()), 8, "-1", "-7", "net -3")
    assert results[0] == train()


# ── parameters and modules ──────────────────────────────────────────────────────────────────────────────────


def test_two_modules_and_two_parameters() -> None:
    net, net2 = pair()
    nets, params, nested, batchnorm = asked(
        lambda: two_nets(1), 1, "net net2", "net.0.weight net2[0].weight", "net[2] net2.2", "net.0 net2.2"
    )
    assert (nets.title, nets.other_title) == ("net", "net2")
    theirs = net2.state_dict()
    assert {row.name for row in nets.rows} == set(theirs)
    for row in nets.rows:
        check(row, net.state_dict()[row.name], theirs[row.name])
    (row,) = params.rows
    assert (row.name, row.other_name) == ("net.0.weight", "net2.0.weight")
    check(row, net[0].weight, net2[0].weight)
    assert {row.name for row in nested.rows} == {"weight", "bias"}
    assert {row.state for row in batchnorm.rows} == {"other shape"}


def test_rows_are_sorted_filtered_and_paged() -> None:
    pages: list[Any] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number != 6:
            return
        query = read_diff("1")
        for order in DiffOrder:
            for reverse in (False, True):
                rows = (await session.request(replace(query, order=order, reverse=reverse))).rows
                pages.append((order, reverse, rows))
        parts = [await session.request(replace(query, offset=at, count=5)) for at in (0, 5, 10, 15)]
        pages.append([row for part in parts for row in part.rows])
        pages.extend([await session.request(replace(query, pattern=p)) for p in ("WEIGHT", "net2.*", "zzz")])

    drive(lambda: two_nets(2), visit=visit)
    *_, joined, weights, second, none = pages
    for order, reverse, rows in pages[:10]:
        assert len(rows) == 12
        if reverse:
            rows = rows[::-1]
        key = {
            DiffOrder.RATIO: lambda row: -row.ratio, DiffOrder.DELTA: lambda row: -row.delta,
            DiffOrder.MOST: lambda row: -row.most, DiffOrder.DIFFERING: lambda row: -row.differing,
            DiffOrder.NAME: lambda row: 0,
        }[order]  # fmt: skip
        keys = [key(row) for row in rows]
        assert keys == sorted(keys), order
        if order is DiffOrder.NAME:
            assert [row.name for row in rows[:2]] == ["net.0.weight", "net.0.bias"]
    assert joined == list(pages[0][2])
    assert {row.name.rpartition(".")[2] for row in weights.rows} == {"weight"}
    assert {row.name.partition(".")[0] for row in second.rows} == {"net2"}
    assert (none.total, none.rows) == (0, ())


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────

NUMBERS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40))
def test_numbers_of_any_two_tensors(values: list[tuple[float, float]]) -> None:
    a, b = (torch.tensor([v[i] for v in values], dtype=torch.float32) for i in (0, 1))
    found = difference(a, b, lambda _n: None)
    x, y = a.double(), b.double()
    fine = x.isfinite() & y.isfinite()
    assert found.nonfinite == int((~fine).sum())
    assert found.differing == sum(
        not (p == q or (math.isnan(p) and math.isnan(q))) for p, q in zip(x.tolist(), y.tolist(), strict=True)
    )
    assert found.norm == pytest.approx(math.sqrt(sum(v * v for v in x.tolist() if math.isfinite(v))), rel=1e-12)
    apart = (y - x).abs()[fine]
    assert found.most == (float(apart.max()) if len(apart) else 0.0)
    assert found.delta == pytest.approx(float(apart.norm()), rel=1e-12, abs=1e-300)


def test_chunks_are_added_up_and_the_place_is_of_the_whole() -> None:
    torch.manual_seed(0)
    a = torch.randn(3, CHUNK // 2 + 7)
    b = a.clone()
    b[2, -3] += 9
    b[1, 5] -= 4
    told: list[int] = []
    found = difference(a, b, told.append)
    assert sum(told) == a.numel()
    assert len(told) == 2
    assert (found.at, found.differing) == ((2, a.shape[1] - 3), 2)
    assert found.norm == pytest.approx(float(a.double().norm()), rel=1e-12)


def test_numbers_too_large_or_small_to_be_squared() -> None:
    for scale in (1e200, 1e-200):
        a = torch.tensor([3.0, 0.0], dtype=torch.float64) * scale
        b = torch.tensor([0.0, 4.0], dtype=torch.float64) * scale
        found = difference(a, b, lambda _n: None)
        assert found.delta == pytest.approx(5 * scale, rel=1e-12)
        assert found.norm == pytest.approx(3 * scale, rel=1e-12)


def test_integers_beyond_the_bits_of_a_float_are_told_apart() -> None:
    a = torch.tensor([2**60, 5])
    assert difference(a, a + torch.tensor([1, 0]), lambda _n: None).differing == 1


def test_complex_and_mixed_types() -> None:
    a = torch.tensor([3 + 4j, 0])
    b = torch.tensor([0j, 0])
    found = difference(a, b, lambda _n: None)
    assert (found.delta, found.norm, found.most, found.at) == (5.0, 5.0, 5.0, (0,))
    mixed = difference(torch.tensor([1, 2]), torch.tensor([1.0, 2.5]), lambda _n: None)
    assert (mixed.differing, mixed.most) == (1, 0.5)
    nothing = difference(torch.empty(0, 3), torch.empty(0, 3), lambda _n: None)
    assert (nothing.differing, nothing.delta, nothing.ratio) == (0, 0.0, 0.0)
    new = difference(torch.zeros(2), torch.ones(2), lambda _n: None)
    assert new.ratio == math.inf


def test_a_long_comparison_can_be_cancelled_and_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepdbg.agent.work.WORKING_EVERY", 0.0)
    told: list[m.Working] = []

    def train() -> None:
        net = nn.Linear(3000, 3000)
        net2 = nn.Linear(3000, 3000)
        net(torch.zeros(1, 3000)), net2

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            query = read_diff("net net2")

            def progress(working: m.Working) -> None:
                told.append(working)
                session.cancel(query)

            with pytest.raises(RequestError, match="cancelled after"):
                await session.request(query, progress)
            await asyncio.sleep(0)

    drive(train, visit=visit)
    assert told
    assert told[0].what == "elements"
    assert told[0].total == 3000 * 3000 + 3000


def test_the_copies_go_when_the_script_is_let_go() -> None:
    kept: list[weakref.ref[Snapshots]] = []
    original = Snapshots.take
    let_go = threading.Event()
    after: list[bool] = []

    def take(self: Snapshots, stop: int, *rest: Any) -> None:
        if not kept:
            kept.append(weakref.ref(self))
        original(self, stop, *rest)

    def train() -> None:
        net = nn.Linear(4, 1)
        for _ in range(3):
            net(X)
        let_go.wait(30)
        net(X)
        gc.collect()
        after.append(kept[0]() is None)

    async def run() -> None:
        session = ThreadSession(train)
        await session.start()
        async for event in session.events():
            if isinstance(event, m.Stopped):
                if event.stop.number < 3:
                    session.resume(m.Action.NEXT)
                else:
                    let_go.set()
                    await session.close(detach=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Snapshots, "take", take)
        asyncio.run(run())
    assert after == [True]
