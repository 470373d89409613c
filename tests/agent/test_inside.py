"""Stepping inside phases: where it stops, what is there to look at, and that the run is the bare run."""

from __future__ import annotations

import traceback
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import FindTarget, GetHeld, Grain, Place
from stepdbg.protocol.records import Phase, StopReason, StopRecord

from .inside_runs import both, modes, short, stepped

X = torch.linspace(-1, 1, 32).reshape(8, 4)
Y = torch.linspace(0, 1, 8).reshape(8, 1)
NEXT, INTO, OUT, CONTINUE = m.Action.NEXT, m.Action.INTO, m.Action.OUT, m.Action.CONTINUE


def small() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 3)), nn.Linear(3, 1))


def bits(net: nn.Module) -> list[Any]:
    grads = [None if p.grad is None else p.grad.numpy().tobytes() for p in net.parameters()]
    return [[p.detach().numpy().tobytes() for p in net.parameters()], grads, torch.get_rng_state().numpy().tobytes()]


def loop(steps: int = 2, foreach: bool | None = None) -> Any:
    net = small()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1, foreach=foreach)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(net(X), Y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        optimizer.step()
    return bits(net)


def at(phase: Phase, script: dict[str, m.Action], first: m.Action = INTO) -> Callable[..., Any]:
    """In the first run of `phase`: `first` at its boundary, then by place ("+ net.0"), else NEXT; NEXT elsewhere."""
    gone = False

    async def choose(_session: ThreadSession, stop: StopRecord) -> m.Action:
        nonlocal gone
        if stop.at is not None:
            return script.get(short([stop.at])[0].strip(), NEXT)
        if stop.next is not None and stop.next.phase is phase and not gone:
            gone = True
            return first
        return NEXT

    return choose


# ── where it stops ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_forward_is_stepped_module_by_module() -> None:
    run = stepped(loop, at(Phase.FORWARD, {}))
    assert short(run.places) == ["+ net.0", "- net.0", "+ net.1", "- net.1", "+ net.2", "- net.2"]
    stops = [s for s in run.run.stops if s.at is not None]
    assert [p.kind for p in run.places[::2]] == ["Linear", "Sequential", "Linear"]
    for stop in stops:
        assert stop.next is None
        assert [(r.phase, r.subject) for r in stop.inside] == [(Phase.FORWARD, "net")]
        assert next(step for step in stop.rail if step.state == "next").phase is Phase.FORWARD
        assert stop.here is not None
        assert stop.stack[stop.here].function == "loop"
    assert run.run.stops[stops[-1].number].next.phase is Phase.LOSS  # type: ignore[union-attr]


def test_into_a_module_goes_to_its_modules_and_out_of_it_to_its_end() -> None:
    run = stepped(loop, at(Phase.FORWARD, {"+ net.1": INTO, "+ net.1.0": OUT, "+ net.2": OUT}))
    assert short(run.places) == ["+ net.0", "- net.0", "+ net.1", " + net.1.0", "- net.1", "+ net.2"]


def test_into_a_module_without_modules_goes_to_its_operations() -> None:
    run = stepped(loop, at(Phase.FORWARD, {"+ net.0": INTO, "- aten.t.default": OUT, "- net.0": OUT}))
    assert short(run.places) == ["+ net.0", " + aten.t.default", " - aten.t.default", "- net.0"]
    assert [p.grain for p in run.places] == [Grain.MODULE, Grain.OP, Grain.OP, Grain.MODULE]


def test_a_loss_and_a_module_of_its_own_are_stepped_by_operations() -> None:
    def train() -> None:
        lonely = nn.Linear(4, 1)
        F.mse_loss(lonely(X), Y).backward()
        nn.MSELoss()(lonely(X), Y)

    run = stepped(train, at(Phase.LOSS, {}))
    assert short(run.places) == ["+ aten.mse_loss.default", "- aten.mse_loss.default"]
    run = stepped(train, at(Phase.FORWARD, {}))
    assert [p.name for p in run.places[::2]] == ["aten.t.default", "aten.addmm.default"]


def test_a_backward_is_stepped_node_by_node_in_the_engines_order() -> None:
    run = stepped(loop, at(Phase.BACKWARD, {}))
    names = [p.name for p in run.places]
    assert names[:4] == ["MseLossBackward0", "MseLossBackward0", "AddmmBackward0", "AddmmBackward0"]
    assert [p.when for p in run.places] == ["before", "after"] * (len(names) // 2)
    leaves = [p.parameter for p in run.places if p.name == "AccumulateGrad" and p.when == "before"]
    assert sorted(leaves) == sorted(f"net.{n}" for n, _ in small().named_parameters())
    assert {p.kind for p in run.places if p.name == "AddmmBackward0"} == {"net.0", "net.1.1", "net.2"}
    seqs = [p.seq for p in run.places if p.seq is not None]
    assert seqs == sorted(seqs, reverse=True)


def test_the_memory_tells_of_the_pass_that_its_gradients_are_of_while_that_runs() -> None:
    seen: dict[str, tuple[int, bool]] = {}

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        record = await session.request(m.GetMemory(0))
        where = f"in {stop.at.name}" if stop.at is not None else stop.next.phase.value if stop.next else ""
        seen[where] = (record.gradient_count, record.in_backward)
        return INTO if where == "backward" else NEXT

    stepped(lambda: loop(1), choose)
    assert seen["backward"] == (0, False)
    assert seen["in AccumulateGrad"] == (6, True)
    assert seen["clip"] == (6, False)


def test_out_of_a_node_runs_to_the_end_of_the_backward() -> None:
    run = stepped(loop, at(Phase.BACKWARD, {"+ MseLossBackward0": OUT}))
    assert len(run.places) == 1
    inner = next(s for s in run.run.stops if s.at is not None)
    assert run.run.stops[inner.number].next.phase is Phase.CLIP  # type: ignore[union-attr]


def test_until_a_module_a_parameter_a_phase_and_a_line() -> None:
    reached: list[tuple[str, str, Phase | None, str]] = []
    wishes = ["net.1.1", "step", "net.2.bias", "net.2.bias", "AddmmBackward0", "addmm", "nothing.at.all"]

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number > 1:
            place = stop.at
            phase = stop.next.phase if stop.next is not None else None
            reached.append((place.name, place.when, phase, place.parameter) if place else ("", "", phase, ""))
        while wishes:
            try:
                target = await session.request(FindTarget(0, wishes.pop(0)))
            except RequestError as error:
                problems.append(str(error))
                continue
            session.resume(m.Action.UNTIL, target)
            return None
        return CONTINUE

    problems: list[str] = []
    run = stepped(lambda: loop(4), choose)
    assert reached[:6] == [
        ("net.1.1", "before", None, ""),
        ("", "", Phase.STEP, ""),
        ("net.2.bias", "before", None, "net.2.bias"),
        ("AccumulateGrad", "before", None, "net.2.bias"),
        ("AddmmBackward0", "before", None, ""),
        ("aten.addmm.default", "before", None, ""),
    ]
    assert problems == ["nothing here is called 'nothing.at.all': name a phase, a module, a parameter, an op or a line"]
    assert run.warned == []


def test_until_a_module_that_does_nothing_itself_while_backward_comes() -> None:
    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.next is not None and stop.next.phase is Phase.BACKWARD and stop.iteration == 1:
            session.resume(m.Action.UNTIL, await session.request(FindTarget(0, "net.1")))
            return None
        return NEXT if stop.at is None and stop.iteration == 1 else CONTINUE

    run = stepped(loop, choose)
    assert [(p.when, p.name, p.kind) for p in run.places] == [("before", "AddmmBackward0", "net.1.1")]


def test_what_is_never_reached_is_told_after_a_whole_iteration() -> None:
    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            session.resume(m.Action.UNTIL, await session.request(FindTarget(0, "scheduler")))
            return None
        return CONTINUE

    run = stepped(lambda: loop(4), choose)
    assert (run.run.stops[1].iteration, run.run.stops[1].note) == (
        3,
        "not reached in a whole iteration: scheduler is next",
    )


# ── what is there ───────────────────────────────────────────────────────────────────────────────────────────


async def numbers(session: ThreadSession, name: str) -> list[float]:
    record = await session.request(m.GetValues(0, name, rows=100, columns=100))
    view = record.value or record.grad
    assert view is not None
    return [float(cell) for row in view.cells for cell in row]


def flat(tensor: torch.Tensor) -> list[float]:
    return [float(v) for v in tensor.detach().reshape(-1)]


def test_inputs_and_outputs_of_modules_are_the_tensors_themselves() -> None:
    seen: dict[str, list[float]] = {}

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.at is not None and stop.at.grain is Grain.MODULE:
            name = "output" if stop.at.when == "after" else "input[0]"
            seen[f"{stop.at.name} {name}"] = await numbers(session, f"@{name}")
        return None

    stepped(lambda: loop(1), choose)
    net, x = small(), X
    for name, module in net.named_children():
        assert seen[f"net.{name} input[0]"] == flat(x)
        x = module(x)
        assert seen[f"net.{name} output"] == flat(x)
    assert len(seen) == 10


def test_gradients_at_nodes_are_those_of_the_engine() -> None:
    def train() -> Any:
        net = small()
        hidden = net[0](X)
        hidden.retain_grad()
        out = net[2](net[1](hidden))
        out.retain_grad()
        F.mse_loss(out, Y).backward()
        for _ in range(1):  # a second one adds
            F.mse_loss(net(X), Y).backward()
        kept[:] = [hidden.grad, out.grad, net[2].bias.grad]
        return bits(net)

    kept: list[Any] = []
    seen: list[tuple[Place, dict[str, list[float]]]] = []

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.at is not None and stop.at.grain is Grain.NODE:
            held = await session.request(GetHeld(0))
            values = {h.name: await numbers(session, f"@{h.name}") for h in held.tensors if h.shape is not None}
            seen.append((stop.at, values))
            return None
        return INTO if stop.next is not None and stop.next.phase is Phase.BACKWARD else NEXT

    stepped(train, choose)
    first = [values for place, values in seen if place.name == "AddmmBackward0" and place.when == "before"]
    assert first[0]["grad_in[0]"] == flat(kept[1])
    assert first[2]["grad_in[0]"] == flat(kept[0])
    bias = [
        (place.when, values) for place, values in seen if place.parameter.endswith("bias") and len(values["self"]) == 1
    ]
    (_, before1), (_, after1), (_, before2), (_, after2) = bias
    assert "self.grad" not in before1
    assert after1["self.grad"] == before1["grad_in[0]"]
    assert before2["self.grad"] == after1["self.grad"]
    added = torch.tensor(before2["self.grad"]) + torch.tensor(before2["grad_in[0]"])
    assert after2["self.grad"] == flat(added) == flat(kept[2])


def test_a_step_at_once_shows_each_parameter_before_and_after_and_says_so() -> None:
    seen: dict[str, tuple[list[float], list[float], list[float]]] = {}
    details = set()

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.at is not None and stop.at.grain is Grain.PARAMETER and stop.inside[-1].phase is Phase.STEP:
            details.add(stop.at.detail)
            before, after = await numbers(session, "@before"), await numbers(session, "@after")
            seen[stop.at.parameter] = before, after, await numbers(session, "@change")
        return None

    stepped(lambda: loop(1, foreach=True), choose)
    net = small()
    F.mse_loss(net(X), Y).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 0.1)
    was = {name: p.detach().clone() for name, p in net.named_parameters()}
    torch.optim.Adam(net.parameters(), lr=0.1, foreach=True).step()
    assert set(seen) == {f"net.{name}" for name in was}
    for name, p in net.named_parameters():
        assert seen[f"net.{name}"] == (flat(was[name]), flat(p), flat(p.detach() - was[name]))
    assert details == {"the step has run for all parameters at once: before is a copy"}


@pytest.mark.parametrize("given", ["generator", "list", "iterator"])
def test_clipping_shows_norm_before_the_coefficient_and_norm_after(given: str) -> None:
    def parameters(net: nn.Module) -> Any:
        if given == "generator":
            return net.parameters()
        return list(net.parameters()) if given == "list" else iter(list(net.parameters()))

    def train() -> list[float]:
        net = small()
        F.mse_loss(net(X), Y).backward()
        norm = nn.utils.clip_grad_norm_(parameters(net), 0.1)
        after = nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])
        return [float(norm), float(torch.clamp(0.1 / (norm + 1e-6), max=1.0)), float(after)]

    seen: dict[str, list[float]] = {}

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.at is not None and stop.inside[-1].phase is Phase.CLIP:
            for held in (await session.request(GetHeld(0))).tensors:
                if not held.name.endswith(".grad"):
                    seen[f"{stop.at.when} {held.name}"] = await numbers(session, f"@{held.name}")
        return None

    run = stepped(train, choose)
    norm, coefficient, after = run.result
    if given == "iterator":
        assert seen == {"after norm_before": [norm], "after coefficient": [coefficient]}
        return
    assert seen == {
        "before norm": [norm],
        "before coefficient": [coefficient],
        "after norm_before": [norm],
        "after coefficient": [coefficient],
        "after norm_after": [after],
    }


def test_nothing_is_held_between_phases_and_names_are_checked() -> None:
    problems: list[str] = []

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            held = await session.request(GetHeld(0))
            problems.append(held.note)
        for name in ("@input[7]", "@output"):
            try:
                await session.request(m.GetValues(0, name))
            except RequestError as error:
                problems.append(str(error))
        return INTO

    stepped(lambda: small()(X), choose)
    assert problems[0].startswith("the script is held between phases")
    assert problems[1] == "@input[7] is there only inside a phase: s goes into the one that is next"
    assert problems[3:5] == [
        "nothing at this place is called @input[7]: @input[0]",
        "nothing at this place is called @output: @input[0]",
    ]


# ── the run is the bare run ─────────────────────────────────────────────────────────────────────────────────


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return grad * 2


def with_retain_graph() -> Any:
    net = small()
    loss = net(X).square().mean()
    loss.backward(retain_graph=True)
    loss.backward()
    return bits(net)


def with_checkpoint(reentrant: bool) -> Any:
    net = small()
    x = X.clone().requires_grad_()
    checkpoint(lambda v: net[1](F.dropout(net[0](v))), x, use_reentrant=reentrant).square().sum().backward()
    return [bits(net), None if x.grad is None else x.grad.numpy().tobytes()]


def with_custom_function() -> Any:
    net = small()
    Doubling.apply(net(X)).sum().backward()
    return bits(net)


def with_double_backward() -> Any:
    net = small()
    x = X.clone().requires_grad_()
    (grad,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    (grad.square().sum() + net(X).square().sum()).backward()
    return bits(net)


def with_hooks_of_its_own() -> Any:
    net, order = small(), []
    net[0].register_forward_pre_hook(lambda *_: order.append("pre"))
    net[0].register_forward_hook(lambda *_: order.append("post"))
    net[1].register_full_backward_hook(lambda *_: order.append("full"))
    net[0].weight.register_hook(lambda grad: order.append("tensor") or grad * 3)
    net[0].weight.register_post_accumulate_grad_hook(lambda _p: order.append("accumulated"))
    out = net(X)
    out.grad_fn.register_prehook(lambda *_: order.append("prehook"))
    out.grad_fn.register_hook(lambda *_: order.append("posthook"))
    out.sum().backward()
    return [bits(net), order, [len(mod._forward_hooks) for mod in net.modules()]]


def with_recurrence_and_attention() -> Any:
    torch.manual_seed(0)
    lstm, attention = nn.LSTM(4, 6, batch_first=True), nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
    net = nn.ModuleList([lstm, attention, nn.BatchNorm1d(8), nn.Embedding(5, 6)])
    x, _ = lstm(X.reshape(1, 8, 4))
    x = net[2](attention(x) + net[3](torch.arange(8) % 5))
    x.square().mean().backward()
    return bits(net)


def with_an_lbfgs_closure() -> Any:
    net = small()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=2)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(net(X), Y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return bits(net)


@pytest.mark.parametrize(
    "train",
    [
        pytest.param(loop, id="loop"),
        pytest.param(lambda: with_checkpoint(True), id="reentrant"),
        pytest.param(lambda: with_checkpoint(False), id="checkpoint"),
        pytest.param(with_hooks_of_its_own, id="hooks"),
        pytest.param(with_retain_graph, id="retain", marks=pytest.mark.slow),
        pytest.param(with_custom_function, id="custom", marks=pytest.mark.slow),
        pytest.param(with_double_backward, id="double", marks=pytest.mark.slow),
        pytest.param(with_recurrence_and_attention, id="kinds", marks=pytest.mark.slow),
        pytest.param(with_an_lbfgs_closure, id="closure", marks=pytest.mark.slow),
    ],
)
def test_stepped_into_everywhere_the_run_is_the_bare_run(train: Callable[[], Any]) -> None:
    bare, run = both(train)
    assert run.run.error is None
    assert run.result == bare
    assert {p.grain for p in run.places} >= {Grain.MODULE, Grain.NODE, Grain.OP}


@pytest.mark.parametrize("reason", ["forward", "backward", "operation"])
def test_an_exception_inside_passes_as_in_the_bare_run(reason: str) -> None:
    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if reason == "forward":
                raise ValueError("in forward")
            return x @ torch.ones(5, 5) if reason == "operation" else Bad.apply(x)

    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            raise ValueError("in backward")

    def train() -> Any:
        net = nn.Sequential(nn.Linear(4, 4), Fails())
        for _ in range(2):
            try:
                net(X).sum().backward()
            except (ValueError, RuntimeError):
                text = traceback.format_exc()
        return text, modes(), bits(net)

    bare, run = both(train)
    assert run.result == bare
    assert bare[1] == 0
    assert run.run.stops[-1].reason is StopReason.FINISHED


def test_a_warning_of_an_operation_is_attributed_to_the_same_line() -> None:
    def train() -> list[tuple[str, int, str]]:
        class Warns(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                out = torch.zeros(3)
                torch.add(x[0, :2], 1, out=out)  # torch warns: resized
                return x

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            nn.Sequential(Warns())(X)
        return [(w.filename, w.lineno, str(w.message)) for w in caught]

    bare, run = both(train)
    assert len(bare) == 1
    assert run.result == bare


def test_no_tensor_lives_longer_because_it_was_held() -> None:
    gone: list[bool] = []

    def train() -> None:
        import gc

        class Looks(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(4, 4)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                made = x + 1
                ref = weakref.ref(made)
                out = self.inner(made).detach()
                del made
                gone.append(ref() is None)
                return out

        gc.disable()
        try:
            with torch.no_grad():
                Looks()(X)
        finally:
            gc.enable()

    _, run = both(train)
    assert len(run.places) > 2
    assert gone == [True, True]


def test_the_mode_is_there_only_while_operations_are_stepped() -> None:
    def train() -> list[int]:
        found = []
        net = small()
        net[0].register_forward_hook(lambda *_: found.append(modes()))
        net[2].register_forward_hook(lambda *_: found.append(modes()))
        net(X)
        return [*found, modes()]

    run = stepped(train, at(Phase.FORWARD, {"+ net.0": INTO}))
    assert run.result == [1, 0, 0]
    run = stepped(train, at(Phase.FORWARD, {}))
    assert run.result == [0, 0, 0]


def test_a_detach_inside_leaves_nothing_behind() -> None:
    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.at is not None and stop.at.grain is Grain.NODE:
            session._send(m.Detach())
            session.stop = None
            return None
        return None

    run = stepped(loop, choose)
    assert run.result == loop()


# ── beyond the plain loop ───────────────────────────────────────────────────────────────────────────────────


def test_out_of_a_phase_of_a_closure_leaves_the_step_around_it() -> None:
    async def choose(_session: ThreadSession, stop: StopRecord) -> m.Action:
        return OUT if stop.inside and stop.at is None else NEXT

    run = stepped(with_an_lbfgs_closure, choose)
    assert run.run.path == ["step", ">zero_grad", "finished"]


def test_until_a_line_of_the_models_own_forward() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return self.second(x)

    def train() -> None:
        net = Net()
        for _ in range(3):
            net(X).sum().backward()

    line = Net.forward.__code__.co_firstlineno + 2

    async def choose(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1:
            session.resume(m.Action.UNTIL, await session.request(FindTarget(0, str(line))))
            return None
        return CONTINUE

    run = stepped(train, choose)
    stop = run.run.stops[1]
    assert (stop.at, [p.phase for p in stop.inside], stop.reason) == (None, [Phase.FORWARD], StopReason.STEP)
    assert stop.here is not None
    assert (stop.stack[stop.here].line, stop.stack[stop.here].function[-7:]) == (line, "forward")


@pytest.mark.slow
def test_a_compiled_module_runs_as_one_and_says_so() -> None:
    class Holds(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) + 1

    def train() -> Any:
        net = small()
        compiled = torch.compile(net, backend="eager")
        holds = Holds(compiled)
        for _ in range(2):
            holds(X).sum().backward()
        compiled(X).sum().backward()
        return bits(net)

    bare, run = both(train)
    assert run.result == bare
    modules = [p for p in run.places if p.grain is Grain.MODULE]
    assert short(modules) == ["+ holds.inner", "- holds.inner"] * 2
    assert {p.detail for p in modules} == {"compiled: runs as one"}
    assert any(s.note == "forward was not gone into: the module is compiled and runs as one" for s in run.run.stops)


def test_a_thread_that_is_gone_into_is_not_disturbed_by_another() -> None:
    def train() -> Any:
        import threading

        nets = [small(), small()]
        barrier = threading.Barrier(2)

        def work(net: nn.Module) -> None:
            for _ in range(3):
                barrier.wait()
                net(X).square().sum().backward()

        threads = [threading.Thread(target=work, args=(net,)) for net in nets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [bits(net) for net in nets], modes()

    bare, run = both(train)
    assert run.result == bare
    assert run.run.error is None


def test_a_backward_that_cannot_be_gone_into_says_why() -> None:
    def train() -> None:
        net = small()

        def inner(x: torch.Tensor) -> torch.Tensor:
            torch.autograd.grad(net(x).sum(), x, create_graph=True)
            return net(x).sum()

        torch.func.grad(inner)(X)

    run = stepped(train)
    notes = [s.note for s in run.run.stops if s.note]
    assert notes[:1] == ["backward was not gone into: this backward ran inside a torch.func transform"]
    assert run.warned == []
