"""What is kept from before a step: when, how much, and for how long."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepdbg.agent.compare.snapshots import Snapshots
from stepdbg.agent.naming import Named
from stepdbg.agent.optim.before import NO_STEP, NOT_STEPPED, RAN_FREE, Before
from stepdbg.agent.optim.copies import CHUNK, SMALL
from stepdbg.agent.quiet import quiet
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase, StopRecord
from stepdbg.protocol.step import DID, WILL, Explanation, Given

from .conftest import drive
from .watched_runs import X, Y, tracker

Kept = tuple[int | None, bool]


def parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(shape)) for shape in shapes]


def with_grads(params: list[nn.Parameter]) -> list[nn.Parameter]:
    for p in params:
        p.grad = torch.randn_like(p)
    return params


def step(before: Before, optimizer: Any, iteration: int = 1, snapshots: Snapshots | None = None) -> None:
    before.step_begins(optimizer, iteration, (optimizer,), {}, snapshots=snapshots)
    optimizer.step()
    before.step_ended(id(optimizer))


@pytest.mark.parametrize("numel", [3, SMALL + CHUNK + 5])
def test_of_a_change_that_is_nowhere_finite_there_is_no_norm(numel: int) -> None:
    (weight,) = with_grads(parameters((numel,)))
    before, optimizer = Before(), torch.optim.SGD([weight], lr=0.5)
    step(before, optimizer)
    kept = before.value_of(weight)
    assert kept is not None
    with torch.no_grad():
        weight[:-1] = math.nan
        weight[-1] = kept[-1] + 3.0
    with quiet():
        assert before.delta_norm(weight) == pytest.approx(3.0, rel=1e-6)
        weight[-1] = math.inf
        assert before.delta_norm(weight) is None
        assert before.why_no_delta(weight) == "nothing of the change is finite"
        weight.data = torch.zeros(2)
        assert before.delta_norm(weight) is None
        assert before.why_no_delta(weight) == "its shape is another since"


# ── what is kept ────────────────────────────────────────────────────────────────────────────────────────────────


def test_values_before_and_how_far_each_has_moved() -> None:
    params = with_grads(parameters((3, 4), (5,), ()))
    old = [p.detach().clone() for p in params]
    before = Before()
    assert (before.iteration, before.why_not(params[0])) == (None, NO_STEP)
    step(before, torch.optim.SGD(params, lr=0.1), 7)
    assert before.iteration is None  # the optimizer is gone, and what was kept of its step with it
    optimizer = torch.optim.SGD(params, lr=0.1)
    old = [p.detach().clone() for p in params]
    step(before, optimizer, 7)
    assert before.iteration == 7
    with quiet():
        moved = before.moved(params)
    for p, was, by in zip(params, old, moved, strict=True):
        kept = before.value_of(p)
        assert kept is not None
        assert torch.equal(kept, was)
        assert kept.data_ptr() != p.data_ptr()
        assert not kept.requires_grad
        assert by == pytest.approx(float((p.detach().double() - was.double()).norm()), rel=1e-6)
        assert before.why_not(p) == ""
    other = nn.Parameter(torch.ones(2))
    assert before.value_of(other) is None
    assert before.delta_norm(other) is None
    assert before.why_not(other) == NOT_STEPPED


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64], ids=str
)
@pytest.mark.parametrize("layout", ["plain", "transposed", "strided", "expanded"])
def test_any_dtype_and_layout_moves_as_far_as_it_does(dtype: torch.dtype, layout: str) -> None:
    whole = torch.randn(8, 6).to(dtype)
    data = {
        "plain": whole,
        "transposed": whole.t(),
        "strided": whole[::2, 1::2],
        "expanded": whole[:1].expand(8, 6),
    }[layout]
    p = nn.Parameter(data)
    before = Before()
    holder = torch.optim.SGD([p], lr=0.1)
    was = p.detach().clone()
    before.step_begins(holder, 1)
    with torch.no_grad():
        whole.add_(0.25)
    with quiet():
        moved = before.delta_norm(p)
    assert torch.equal(before.value_of(p), was)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    assert moved == pytest.approx(float((p.detach().to(wide) - was.to(wide)).abs().norm()), rel=1e-6)


def test_differences_that_are_not_finite_are_left_out_and_huge_ones_do_not_overflow() -> None:
    p = nn.Parameter(torch.tensor([1.0, 2.0, -1e200, 4.0, 5.0], dtype=torch.float64))
    before = Before()
    holder = torch.optim.SGD([p], lr=0.1)
    before.step_begins(holder, 1)
    with torch.no_grad():
        p.copy_(torch.tensor([math.nan, math.inf, 2e200, 4.0, 5.0]).double())
        p[2] = 2e200
    with quiet():
        assert before.delta_norm(p) == pytest.approx(3e200)
    half = nn.Parameter(torch.tensor([3e38, 0.0, math.inf]))
    holder = torch.optim.SGD([half], lr=0.1)
    before.step_begins(holder, 1)
    with torch.no_grad():
        half[0] = -3e38
        half[1] = 1.0
    with quiet():
        assert before.delta_norm(half) == pytest.approx(2 * float(torch.tensor(3e38)))


def test_a_large_parameter_is_gone_through_in_pieces() -> None:
    p = nn.Parameter(torch.randn(70_001))
    before = Before()
    holder = torch.optim.SGD([p], lr=0.1)
    before.step_begins(holder, 1)
    was = p.detach().double()
    with torch.no_grad():
        p.add_(torch.randn_like(p))
    with quiet():
        assert before.delta_norm(p) == pytest.approx(float((p.detach().double() - was).norm()), rel=1e-7)


def test_what_does_not_fit_is_left_out_values_first() -> None:
    params = with_grads(parameters((1000,), (1000,)))  # 4,000 bytes each
    optimizer = torch.optim.Adam(params, lr=0.1)
    with quiet():
        norms = [float(p.detach().norm()) for p in params]
    for limit, values, grads in ((0, 0, 0), (4000, 1, 0), (8000, 2, 0), (12000, 2, 1)):
        before = Before(limit)
        step(before, optimizer)
        kept = [before.step_of(p)[1] for p in params]
        assert [k.value is not None for k in kept] == [True] * values + [False] * (2 - values)
        assert [k.grad is not None for k in kept] == [True] * grads + [False] * (2 - grads)
        assert before.nbytes == 4000 * (values + grads)
        for p, k in zip(params, kept, strict=True):
            if k.value is None:
                assert before.why_not(p) == f"over the limit of {limit / 2**20:g} MiB"
                assert before.delta_norm(p) is None
        if not limit:
            assert [before.norm_of(p) for p in params] == pytest.approx(norms)
    before = Before(32000)
    step(before, optimizer)
    assert before.nbytes == 32000
    assert all(before.step_of(p)[1].state is not None for p in params)
    step(before, optimizer)
    assert before.nbytes == 32000  # the copies are written again, not added to


def test_the_limit_is_for_all_optimizers_together() -> None:
    params = with_grads(parameters((1000,), (1000,)))
    first, second = (torch.optim.SGD([p], lr=0.1) for p in params)
    before = Before(6000)
    step(before, first, 1)
    step(before, second, 2)
    assert before.value_of(params[0]) is not None
    assert before.value_of(params[1]) is None
    assert before.iteration == 2
    assert before.nbytes <= 6000


def test_copies_are_written_again_in_place() -> None:
    params = with_grads(parameters((10, 10)))
    optimizer = torch.optim.SGD(params, lr=0.1)
    before = Before()
    step(before, optimizer)
    first = before.value_of(params[0])
    step(before, optimizer)
    assert before.value_of(params[0]) is first


def test_odd_parameters_are_said_to_be_odd() -> None:
    meta = nn.Parameter(torch.empty(3, device="meta"))
    lazy = nn.LazyLinear(3).weight
    sparse = nn.Parameter(torch.eye(3).to_sparse())
    nested = nn.Parameter(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged))
    inference = torch.ones(3)

    class Holder:
        def __init__(self) -> None:
            self.param_groups = [{"params": [meta, lazy, sparse, nested], "lr": 0.1}]

    before = Before()
    holder = Holder()
    before.step_begins(holder, 1)
    with quiet():
        assert before.moved([meta, lazy, sparse, nested]) == [None] * 4
    assert before.why_not(meta) == "on the meta device: no values exist"
    assert before.why_not(lazy) == "a lazy parameter has no value yet"
    assert before.why_not(sparse) == "values of sparse parameters are not kept"
    assert before.why_not(nested) == "values of nested parameters are not kept"
    assert before.value_of(inference) is None


def test_inside_inference_mode_and_out_of_it() -> None:
    params = with_grads(parameters((3,)))
    optimizer = torch.optim.SGD(params, lr=0.1)
    before = Before()
    with torch.inference_mode():
        before.step_begins(optimizer, 1)
        assert torch.is_inference_mode_enabled()
    before.step_begins(optimizer, 2)
    assert torch.is_grad_enabled()
    assert before.iteration == 2


# ── for how long ────────────────────────────────────────────────────────────────────────────────────────────────


def test_copies_go_with_their_parameter_and_with_their_optimizer() -> None:
    params = with_grads(parameters((10,), (20,)))
    optimizer = torch.optim.Adam(params, lr=0.1)
    before = Before()
    step(before, optimizer)
    step(before, optimizer)
    copies = [weakref.ref(before.value_of(p)) for p in params]
    watched = weakref.ref(params[0])
    assert before.nbytes == 4 * 30 * 4
    optimizer.param_groups[0]["params"].pop(0)
    optimizer.state.pop(params.pop(0))
    gc.collect()
    assert watched() is None, "a parameter lives longer"
    assert copies[0]() is None
    assert before.nbytes == 4 * 20 * 4
    del optimizer
    gc.collect()
    assert copies[1]() is None
    assert (before.nbytes, before.iteration) == (0, None)
    assert before.value_of(params[0]) is None


def test_what_the_optimizer_gave_up_is_not_held_by_its_last_step() -> None:
    params = with_grads(parameters((10,)))
    optimizer = torch.optim.Adam(params, lr=0.1)
    before = Before()
    step(before, optimizer)
    state = [weakref.ref(v) for v in optimizer.state[params[0]].values()]
    grad = weakref.ref(params[0].grad)
    optimizer.state.clear()
    params[0].grad = None
    gc.collect()
    assert [ref() for ref in (*state, grad)] == [None] * 4


def test_a_step_of_many_optimizers_is_forgotten_quickly() -> None:
    params = with_grads(parameters(*[(2,)] * 300))
    optimizers = [torch.optim.SGD([p], lr=0.1) for p in params]
    before = Before()
    for optimizer in optimizers:
        step(before, optimizer)
    assert before.nbytes == 300 * 16
    del optimizers, optimizer, params
    gc.collect()
    assert before.nbytes == 0
    assert not before._steps
    assert not before._last


# ── in a run ────────────────────────────────────────────────────────────────────────────────────────────────────


def loop(make: Callable[[nn.Module], Any] | None = None, times: int = 3) -> Callable[[], list[Tensor]]:
    def train() -> list[Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        other = nn.Linear(2, 2)  # nobody's
        optimizer = make(net) if make is not None else torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(times):
            optimizer.zero_grad()
            F.mse_loss(net(X), Y).backward()
            optimizer.step()
        with torch.no_grad():
            net(X)  # one more stop before the variables are gone
        return [*net.parameters(), *other.parameters()]

    return train


def visiting(
    train: Callable[[], Any], actions: list[m.Action] | None = None, settings: m.Settings | None = None
) -> list[tuple[StopRecord, Kept, Explanation | str]]:
    """At each stop: iteration kept, whether anything is, and the explanation of the first parameter."""
    seen: list[tuple[StopRecord, Kept, Explanation | str]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        before = tracker().before
        try:
            told: Explanation | str = await session.request(m.GetExplanation(0, ""))
        except Exception as error:
            told = str(error)
        seen.append((stop, (before.iteration, before.nbytes > 0), told))

    run = drive(train, actions or (), visit, settings)
    assert run.error is None, run.error
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return seen


def told(entry: tuple[StopRecord, Kept, Explanation | str]) -> Explanation:
    assert isinstance(entry[2], Explanation), entry[2]
    return entry[2]


def test_a_run_that_is_stepped_through() -> None:
    seen = visiting(loop())
    assert len(seen) == 17
    for stop, kept, _ in seen[:-1]:
        steps = (stop.number - 1) // 5
        assert kept == ((steps, True) if steps else (None, False))
    for entry in seen[:-1]:
        stop, explanation = entry[0], told(entry)
        if stop.next is not None and stop.next.phase is Phase.STEP:
            assert explanation.tells == WILL
        elif stop.number < 6:
            assert (explanation.tells, explanation.note) == (
                "",
                "optimizer has not stepped yet: run to its step (n), and e tells what it is going to do",
            )
        else:
            assert (explanation.tells, explanation.exact, explanation.note) == (DID, True, "")
            assert explanation.iteration == (stop.number - 1) // 5
            assert explanation.owned_by == "it was given net.parameters(): group 0 of 1, 4 parameters"


def test_what_is_predicted_is_what_happens() -> None:
    seen = visiting(loop())
    pairs = [(a, b) for a, b in itertools.pairwise(seen) if a[0].next and a[0].next.phase is Phase.STEP]
    assert len(pairs) == 3
    for before, after in pairs:
        assert told(before).predicted == told(after).after
        assert told(before).lines == told(after).lines
        assert told(before).other is (before[0].iteration > 1)


def test_a_free_run_keeps_nothing_and_a_skipped_step_leaves_the_last_one() -> None:
    n, skip = m.Action.NEXT, m.Action.SKIP
    seen = visiting(loop(), [n, n, n, n, n, n, n, n, n, skip, n])
    assert [kept for _, kept, _ in seen[5:12]] == [(1, True)] * 7
    assert told(seen[11]).iteration == 1
    free: list[Before] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        free.append(tracker().before)
        assert bool(free[-1].nbytes) is (stop.number in (6, 7)), stop.number

    drive(loop(times=20), [n] * 6 + [m.Action.CONTINUE], visit)
    assert len(free) == 8
    assert free[-1].why_not(nn.Parameter(torch.ones(1))) == RAN_FREE


def test_nothing_is_kept_of_nothing() -> None:
    seen = visiting(loop(), settings=m.Settings(previous_bytes=0))
    assert all(kept[1] is False for _, kept, _ in seen)
    last = told(seen[6])
    assert (last.tells, last.lines) == (DID, ())
    assert last.note == (
        "the value before the step was not kept: over the limit of 0 MiB, which --previous-values sets"
    )
    assert last.after is not None


def test_detaching_lets_everything_go() -> None:
    found: list[Before] = []

    async def run() -> None:
        session = ThreadSession(loop())
        await session.start()
        async for event in session.events():
            if not isinstance(event, m.Stopped):
                continue
            found.append(tracker().before)
            if event.stop.number == 8:
                assert found[-1].nbytes
                break
            session.resume(m.Action.NEXT)
        await session.close(detach=True)

    asyncio.run(run())
    assert found[-1].nbytes == 0


def test_a_step_that_raises_says_so() -> None:
    def failing(net: nn.Module) -> Any:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def fail(*_: Any) -> None:
            raise ValueError("in the step")

        optimizer.register_step_post_hook(fail)
        return optimizer

    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = failing(net)
        net(X).sum().backward()
        with pytest.raises(ValueError, match="in the step"):
            optimizer.step()
        net(X)

    seen = visiting(train)
    assert told(seen[2]).tells == WILL
    last = told(seen[3])
    assert last.note == "the step raised: what it left may be half done"


@pytest.mark.parametrize("capturing", [True, False])
def test_nothing_is_copied_while_a_cuda_graph_is_recorded(capturing: bool) -> None:
    control = SimpleNamespace(
        held=0.0, capturing=lambda: capturing, watch=SimpleNamespace(grad_label=""), snapshots=None
    )
    params = with_grads(parameters((3,)))
    optimizer = torch.optim.SGD(params, lr=0.1)
    before = Before()
    before.keep(control, optimizer, 1, (), {})  # type: ignore[arg-type]
    assert (before.nbytes > 0) is not capturing
    assert (control.held > 0) is not capturing


def test_time_spent_is_not_the_steps() -> None:
    seconds: list[float] = []

    def slow(*_: Any, **__: Any) -> None:
        import time

        time.sleep(0.05)

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            original = Before.step_begins
            tracker().before.step_begins = lambda *a, **k: (slow(), original(tracker().before, *a, **k))  # type: ignore[method-assign]
        seconds.extend(run.seconds for run in stop.just_ran if run.phase is Phase.STEP and run.seconds is not None)

    drive(loop(), visit=visit)
    assert len(seconds) == 3
    assert max(seconds) < 0.05


class Duck:
    """No torch optimizer: it has only what its user calls."""

    def __init__(self, params: Any) -> None:
        self.params, self.lr = list(params), 0.1

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for p in self.params:
            p -= self.lr * p.grad.sign()


@pytest.mark.parametrize("kind", [torch.optim.NAdam, torch.optim.RAdam, torch.optim.Rprop], ids=lambda k: k.__name__)
def test_an_optimizer_without_a_formula_tells_before_and_after(kind: Any) -> None:
    seen = visiting(loop(lambda net: kind(net.parameters(), lr=0.1)))
    assert told(seen[4]).note == f"{kind.__name__} has no formula here: run its step (n), and e tells before → after"
    last = told(seen[5])
    assert last.note == f"{kind.__name__} has no formula here: before → after is all that can be told"
    assert (last.lines, last.predicted, last.exact) == ((), None, None)
    assert last.before is not None
    assert last.after is not None
    assert float(last.change) == pytest.approx(float(last.after) - float(last.before), rel=1e-3)


def test_an_optimizer_that_is_not_torchs() -> None:
    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        duck = Duck(net.parameters())
        for _ in range(2):
            duck.zero_grad()
            F.mse_loss(net(X), Y).backward()
            duck.step()
        net(X)

    seen = visiting(train, settings=m.Settings(phases={"step": (f"{__name__}:Duck.step",)}))
    at = next(i for i, e in enumerate(seen) if e[0].next is not None and e[0].next.phase is Phase.STEP)
    assert told(seen[at]).note == "Duck has no formula here: run its step (n), and e tells before → after"
    last = told(seen[at + 1])
    assert (last.optimizer, last.kind, last.tells) == ("duck", "Duck", DID)
    assert last.owned_by == "it was given net.parameters(): group 0 of 1, 2 parameters"
    assert last.hyper == (Given("", "lr", "0.1"),)
    assert abs(float(last.change or "")) == pytest.approx(0.1)


def with_closure(make: Callable[[nn.Module], Any]) -> Callable[[], None]:
    """A loop whose optimizer makes its gradients inside the step."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        optimizer = make(net)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), Y)
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure)
        net(X)

    return train


def test_lbfgs_makes_its_gradients_inside_the_step() -> None:
    seen = visiting(with_closure(lambda net: torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)))
    assert told(seen[0]).tells == WILL
    assert told(seen[1]).note == "its step has not ended yet"
    last = told(seen[-2])
    assert (last.tells, last.iteration) == (DID, 2)
    assert last.before != last.after
    assert "LBFGS has no formula" in last.note


def test_a_closure_of_sgd_is_followed() -> None:
    seen = visiting(with_closure(lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)))
    assert "closure makes the gradient inside the step" in told(seen[0]).note
    last = told(seen[-2])
    assert (last.tells, last.exact) == (DID, True)


def test_steps_inside_backward_hooks() -> None:
    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in net.parameters()}

        def hook(p: Tensor) -> None:
            optimizers[p].step()
            optimizers[p].zero_grad()

        for p in net.parameters():
            p.register_post_accumulate_grad_hook(hook)
        for _ in range(2):
            net(X).square().mean().backward()

    seen = visiting(train)
    last = [told(e) for e in seen if isinstance(e[2], Explanation) and e[2].tells == DID]
    assert last
    assert all(e.exact for e in last)


def test_a_grad_scaler_that_unscales_inside_a_fused_step() -> None:
    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for index in range(3):
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), Y)
            if index == 1:
                loss = loss * math.inf
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    explained = [told(e) for e in visiting(train) if isinstance(e[2], Explanation)]
    did = [e for e in explained if e.tells == DID]
    assert any(line.rule == "g ← g/S" for e in did for line in e.lines)
    assert any("the GradScaler found inf or NaN" in e.note for e in did)
    assert all(e.within is not False for e in did)
    will = [e for e in explained if e.tells == WILL]
    assert [e.note for e in will][1].startswith("the GradScaler found inf or NaN")
    assert will[0].lines[0].rule == "g ← g/S"
    assert will[0].predicted in [e.after for e in did]


def test_gradients_that_a_hook_changes_inside_the_step_are_told_of() -> None:
    def hooked(net: nn.Module) -> Any:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        optimizer.register_step_pre_hook(lambda *_: [p.grad.mul_(2.0) for p in net.parameters()] and None)
        return optimizer

    last = told(visiting(loop(hooked))[5])
    assert last.within is False
    assert last.note == "something else wrote the parameter, or changed the gradient inside the step (a hook?)"


def in_place(weight: Tensor) -> None:
    with torch.no_grad():
        weight.clamp_(-0.1, 0.1)


def by_another_tensor(weight: Tensor) -> None:
    weight.data = torch.full((1, 4), math.nan)


@pytest.mark.parametrize("write", [in_place, by_another_tensor])
def test_a_parameter_written_after_the_step(write: Callable[[Tensor], None]) -> None:
    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            F.mse_loss(net(X), Y).backward()
            optimizer.step()
            write(net.weight)

    last = told(visiting(train)[5])
    assert (last.after, last.exact) == (None, None)
    assert last.note == "the parameter has been written since the step: what the step left is gone"


def test_whose_it_is_and_why_nobody_touches_it() -> None:
    answers: dict[str, Explanation | str] = {}

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 6:
            for text in ("net.0.bias", "other.weight", "net.2.weight", "zzz", "net.0.wieght"):
                try:
                    answers[text] = await session.request(m.GetExplanation(0, text))
                except Exception as error:
                    answers[text] = str(error)
            for index in ((5,), (6, 0), (0, 4), (-1, -1)):
                try:
                    answers[str(index)] = await session.request(m.GetExplanation(0, "net.0.weight", index))
                except Exception as error:
                    answers[str(index)] = str(error)

    def groups(net: Any) -> Any:
        return torch.optim.SGD([{"params": net[0].parameters()}, {"params": [net[2].weight], "lr": 0.5}], lr=0.1)

    drive(loop(groups), visit=visit)
    found = {name: a for name, a in answers.items() if isinstance(a, Explanation)}
    assert found["net.0.bias"].owned_by == "it was given net.0.parameters(): group 0 of 2, 2 parameters"
    assert (found["net.0.bias"].previous, found["net.0.bias"].following) == ("net.0.weight", "net.2.weight")
    assert found["net.2.weight"].owned_by == "it was given 1 of the 4 parameters of net: group 1 of 2, 1 parameter"
    assert found["net.2.weight"].hyper[0].text == "0.5"
    nobody = found["other.weight"]
    assert nobody.note == "nobody owns weight: no optimizer was given it, so no step changes it"
    assert (nobody.tells, nobody.optimizer, nobody.lines) == ("", "", ())
    assert found["(-1, -1)"].index == (5, 3)
    assert str(answers["zzz"]).startswith("no parameter is called zzz at this stop")
    assert answers["net.0.wieght"] == "no parameter is called net.0.wieght at this stop: did you mean net.0.weight?"
    assert answers["(5,)"] == "net.0.weight[5]: the shape is 6×4, so write 0.weight[0, 0]"
    assert answers["(6, 0)"] == "net.0.weight[6, 0]: 6 is out of range, the shape is 6×4"
    assert answers["(0, 4)"] == "net.0.weight[0, 4]: 4 is out of range, the shape is 6×4"


# ── copies that there are twice ─────────────────────────────────────────────────────────────────────────────────


def test_what_is_the_same_at_the_last_stop_is_shared_with_it() -> None:
    first, second, third = params = with_grads(parameters((5,), (4, 3), (7,)))
    before, snapshots, optimizer = Before(), Snapshots(), torch.optim.SGD(params, lr=0.5)
    snapshots.take(1, 1, [Named(str(at), p, "") for at, p in enumerate(params)])
    with torch.no_grad():
        second.mul_(2)  # the version tells
        third.data[0] += 1  # it does not
    expected = [p.detach().clone() for p in params]
    before.step_begins(optimizer, 1, (optimizer,), {}, snapshots=snapshots)
    copies = snapshots.last()
    shared = [before.value_of(p) is copies[id(weakref.ref(p))].copy for p in params]
    assert shared == [True, False, False]
    assert before.shared_bytes(snapshots) == 5 * 4
    assert before.shared_bytes(Snapshots()) == 0
    optimizer.step()
    before.step_ended(id(optimizer))
    for _ in range(2):  # what is shared is never written to
        for p, value in zip(params, expected, strict=True):
            assert torch.equal(before.value_of(p), value)
        expected = [p.detach().clone() for p in params]
        before.step_begins(optimizer, 2, (optimizer,), {}, snapshots=snapshots)
        optimizer.step()
        before.step_ended(id(optimizer))
    assert torch.equal(copies[id(weakref.ref(first))].copy, snapshots.at(1)[0].values["0"].copy)  # type: ignore[union-attr]
    assert before.shared_bytes(snapshots) == 0


def test_what_is_shared_counts_once_until_the_stop_is_forgotten() -> None:
    (weight,) = params = with_grads(parameters((100,)))
    before, optimizer = Before(), torch.optim.SGD(params, lr=0.5)
    snapshots = Snapshots(limit=400)
    snapshots.take(1, 1, [Named("w", weight, "")])
    step(before, optimizer, snapshots=snapshots)
    assert (before.nbytes, snapshots.nbytes, before.shared_bytes(snapshots)) == (800, 400, 400)
    snapshots.take(2, 1, [Named("w", weight, "")])  # there is room for one stop only
    assert (before.nbytes, snapshots.nbytes, before.shared_bytes(snapshots)) == (800, 400, 0)
