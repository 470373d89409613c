"""Which stops real loops make, and what each stop says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import stepdbg
from stepdbg.agent import frames
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import Phase, StopReason, StopRecord

from .conftest import Drive, drive

X = torch.linspace(-1, 1, 32).reshape(8, 4)
Y = torch.linspace(0, 1, 8).reshape(8, 1)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())


def plain(iterations: int = 2) -> Callable[[], None]:
    def train() -> None:
        net, net2 = small(), small()
        criterion = nn.BCELoss()
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(iterations):
            optimiser.zero_grad()
            output = net(X)
            loss = criterion(output, Y)
            loss.backward()
            optimiser.step()  # @step
        del net2

    return train


PLAIN = ["zero_grad", "forward", "loss", "backward", "step"]


def test_the_stops_of_a_plain_loop() -> None:
    run = drive(plain())
    assert run.path == [*PLAIN, *PLAIN, "finished"]
    assert [s.iteration for s in run.stops] == [1] * 5 + [2] * 6
    assert [s.number for s in run.stops] == list(range(1, 12))
    assert run.stops[0].reason is StopReason.ENTRY
    assert {s.reason for s in run.stops[1:-1]} == {StopReason.STEP}
    ran = [[r.phase.value for r in s.just_ran] for s in run.stops]
    assert ran == [[], *[[p] for p in PLAIN], *[[p] for p in PLAIN]]
    assert all(r.seconds is not None and r.seconds > 0 for s in run.stops for r in s.just_ran)
    assert run.exited is not None
    assert run.exited.code == 0


def test_each_stop_names_what_is_concerned() -> None:
    run = drive(plain(1))
    concerned = [(s.next.subject, s.next.kind) for s in run.stops if s.next is not None]
    assert concerned == [
        ("optimiser", "SGD"),
        ("net", "Sequential"),
        ("criterion", "BCELoss"),
        ("loss", ""),
        ("optimiser", "SGD"),
    ]


def test_a_stop_points_at_the_users_line() -> None:
    run = drive(plain(1))
    step = run.stops[4]
    assert step.here == 0
    frame = step.stack[0]
    assert frame.file == __file__
    assert frame.is_user
    with open(__file__) as source:  # noqa: PTH123
        assert "# @step" in source.readlines()[frame.line - 1]
    assert not any("stepdbg/agent" in f.file for f in step.stack)


def test_the_loss_and_its_trend() -> None:
    values = []

    def train() -> None:
        net = small()
        criterion = nn.BCELoss()
        optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
        for _ in range(3):
            loss = criterion(net(X), Y)
            values.append(loss.item())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    run = drive(train)
    losses = [s.loss for s in run.stops if s.next is not None and s.next.phase is Phase.STEP]
    assert [loss.value for loss in losses if loss] == values
    assert [loss.previous for loss in losses if loss] == [None, *values[:2]]
    assert {loss.name for loss in losses if loss} == {"BCELoss"}


@pytest.mark.parametrize(
    ("loss_of", "stops", "name", "source"),
    [
        (lambda out: F.mse_loss(out, Y), ["forward", "loss", "backward"], "mse_loss", "loss"),
        (lambda out: ((out - Y) ** 2).mean(), ["forward", "backward"], "inline", "backward"),
    ],
)
def test_losses_without_a_module(loss_of: Any, stops: list[str], name: str, source: str) -> None:
    def train() -> None:
        net = small()
        loss = loss_of(net(X))
        loss.backward()

    run = drive(train)
    assert run.path == [*stops, "finished"]
    backward = run.stops[len(stops) - 1]
    assert backward.loss is not None
    assert (backward.loss.name, backward.loss.source) == (name, source)
    assert backward.loss.value is not None
    if name == "inline":
        assert [(r.phase, r.detail) for r in backward.just_ran] == [(Phase.FORWARD, ""), (Phase.LOSS, "inline")]


def test_a_loss_computed_inside_the_model() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
            out = self.net(x)
            return {"loss": F.binary_cross_entropy(out, y), "logits": out}

    def train() -> None:
        model = Model()
        out = model(X, Y)
        out["loss"].backward()

    run = drive(train)
    assert run.path == ["forward", "backward", "finished"]
    assert run.stops[1].loss is not None
    assert run.stops[1].loss.name == "inside the model"
    assert run.stops[1].just_ran[-1].detail == "inside the model"


def test_a_closures_phases_nest_inside_step() -> None:
    def train() -> None:
        net = small()
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=2, max_eval=2)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), Y)
            loss.backward()
            return loss

        optimizer.step(closure)

    run = drive(train)
    assert run.path[:6] == ["step", ">zero_grad", ">forward", ">loss", ">backward", ">zero_grad"]
    assert run.stops[1].inside[0].phase is Phase.STEP
    assert run.stops[1].just_ran == ()
    assert {step.depth for step in run.stops[3].rail if step.phase is not Phase.STEP} == {1}


def test_data_accumulation_clipping_and_scheduler() -> None:
    def train() -> None:
        net = small()
        loader = DataLoader(TensorDataset(X, Y), batch_size=2)
        optimizer = torch.optim.Adam(net.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        for index, (x, y) in enumerate(loader):
            F.mse_loss(net(x), y).backward()
            if index % 2:
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()

    run = drive(train)
    micro = ["data", "forward", "loss", "backward"]
    cycle = [*micro, *micro, "clip", "step", "scheduler", "zero_grad"]
    assert run.path == [*cycle, *cycle, "data", "finished"]
    assert [(s.iteration, s.micro_batch) for s in run.stops[:12]] == [(1, 1)] * 4 + [(1, 2)] * 7 + [(2, 1)]
    assert run.stops[-1].just_ran[-1].detail == "end of data"
    clip = run.stops[8].next
    assert clip is not None
    assert clip.kind == "clip_grad_norm_"


def test_evaluation_forwards_are_shown_as_such() -> None:
    def train() -> None:
        net = small()
        with torch.no_grad():
            net(X)

    run = drive(train)
    assert run.path == ["forward", "finished"]
    assert run.stops[0].next is not None
    assert run.stops[0].next.detail == "no grad"


def test_grad_scaler_unscales_and_may_leave_the_step_out() -> None:
    def train() -> None:
        net = small()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        for factor in (1.0, float("inf"), 1.0):
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), Y) * factor
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    run = drive(train)
    good = ["zero_grad", "forward", "loss", "backward", "unscale", "step"]
    assert run.path == [*good, *good[:-1], *good, "finished"]
    assert [s.iteration for s in run.stops if s.next is not None and s.next.phase is Phase.ZERO_GRAD] == [1, 2, 3]
    after = run.stops[11]
    assert after.just_ran[0].detail == "inf/nan gradients: step left out by GradScaler"


def test_gradients_say_whether_they_are_scaled_unscaled_or_clipped() -> None:
    labels: dict[str, set[str]] = {}

    def train() -> None:
        net = small()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        for _ in range(2):
            optimizer.zero_grad()
            scaler.scale(F.mse_loss(net(X), Y)).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        page = await session.request(m.GetParameters(0))
        if stop.next is not None and stop.iteration == 2:
            labels[stop.next.phase.value] = {row.grad_label for row in page.rows}

    drive(train, visit=visit)
    assert labels == {
        "zero_grad": {"clipped"},  # still those of the iteration before
        "forward": {""},
        "loss": {""},
        "backward": {""},
        "unscale": {"scaled"},
        "clip": {"unscaled"},
        "step": {"clipped"},
    }


def test_custom_phases_are_stops_and_do_nothing_elsewhere() -> None:
    def train() -> None:
        net = small()
        with stepdbg.phase("augment"):
            x = X + 1
            net(x)

        @stepdbg.phase("metrics")
        def metrics() -> int:
            return 1

        assert metrics() == 1

    train()
    run = drive(train)
    assert run.path == ["custom", ">forward", "custom", "finished"]
    assert [s.next.subject for s in run.stops if s.next] == ["augment", "net", "metrics"]


def test_gan_is_one_iteration_with_two_optimizers() -> None:
    def train() -> None:
        net_d, net_g = nn.Linear(2, 1), nn.Linear(1, 2)
        opt_d = torch.optim.Adam(net_d.parameters())
        opt_g = torch.optim.Adam(net_g.parameters())
        for _ in range(2):
            opt_d.zero_grad()
            fake = net_g(torch.ones(4, 1))
            net_d(fake.detach()).mean().backward()
            opt_d.step()
            opt_g.zero_grad()
            net_d(fake).mean().backward()
            opt_g.step()

    run = drive(train)
    names = [
        f"{s.next.phase.value} {s.next.subject}" for s in run.stops if s.next and s.next.phase is not Phase.BACKWARD
    ]
    once = ["zero_grad opt_d", "forward net_g", "forward net_d", "step opt_d"]
    once += ["zero_grad opt_g", "forward net_d", "step opt_g"]
    assert names == once * 2
    assert [s.iteration for s in run.stops] == [1] * 9 + [2] * 10


def test_training_in_a_thread_of_the_scripts_own_is_named() -> None:
    def train() -> None:
        def work() -> None:
            small()(X).sum().backward()

        thread = threading.Thread(target=work, name="trainer")
        thread.start()
        thread.join()

    run = drive(train)
    assert run.path == ["forward", "backward", "finished"]
    assert [s.thread for s in run.stops] == ["trainer", "trainer", "train"]


def test_recomputed_forwards_inside_backward_are_no_stops() -> None:
    from torch.utils.checkpoint import checkpoint

    def train() -> None:
        net = small()
        out = net[0](X)
        out = checkpoint(net[1:], out, use_reentrant=False)
        out.mean().backward()

    run = drive(train)
    assert run.path == ["forward", "forward", "backward", "finished"]
    assert [s.next.subject for s in run.stops[:2] if s.next] == ["net.0", "net[1:]"] or run.stops[0].next is not None


def test_phase_map_names_functions_as_phases() -> None:
    import types

    module = types.ModuleType("phase_map_example")

    class Optimizer:
        def step(self) -> str:
            return "stepped"

    module.Optimizer = Optimizer  # type: ignore[attr-defined]

    from stepdbg.agent.instrument import Instruments
    from stepdbg.agent.tracker import Tracker

    instruments = Instruments(Tracker())
    instruments.name_phase(Phase.STEP, "Optimizer.step", module)
    wrapped = Optimizer.step
    assert Optimizer().step() == "stepped"
    instruments.restore()
    assert Optimizer.step is not wrapped
    with pytest.raises(LookupError, match=r"no function Optimizer\.walk"):
        instruments.name_phase(Phase.STEP, "Optimizer.walk", module)


def actions_path(*actions: m.Action, iterations: int = 3, settings: m.Settings | None = None) -> Drive:
    return drive(plain(iterations), actions, settings=settings)


def test_iteration_runs_to_the_first_phase_of_the_next() -> None:
    run = actions_path(m.Action.NEXT, m.Action.ITERATION, m.Action.ITERATION, m.Action.CONTINUE)
    assert run.path == ["zero_grad", "forward", "zero_grad", "zero_grad", "finished"]
    assert [s.iteration for s in run.stops] == [1, 1, 2, 3, 3]


def test_continue_runs_to_the_end() -> None:
    run = actions_path(m.Action.CONTINUE)
    assert run.path == ["zero_grad", "finished"]


@pytest.mark.parametrize(
    ("stop_at", "first"), [("backward", "backward"), ("never", "finished"), ("first", "zero_grad")]
)
def test_stop_at(stop_at: str, first: str) -> None:
    run = actions_path(m.Action.CONTINUE, settings=m.Settings(stop_at=stop_at))
    assert run.path[0] == first
    if stop_at == "backward":
        assert run.stops[0].reason is StopReason.BREAKPOINT


def test_an_exception_stops_post_mortem_with_the_state_to_look_at() -> None:
    seen: list[Any] = []

    def train() -> None:
        net = small()
        out = net(X)
        raise ValueError("boom", out.shape[0])  # @raise

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.reason is StopReason.EXCEPTION:
            seen.append(await session.request(m.GetParameters(0)))

    run = drive(train, visit=visit)
    assert run.path == ["forward", "exception"]
    last = run.stops[-1]
    assert last.exception is not None
    assert last.exception.type == "ValueError"
    assert last.exception.text.endswith("ValueError: ('boom', 8)\n")
    assert "stepdbg/agent" not in last.exception.text
    assert last.here is not None
    with open(__file__) as source:  # noqa: PTH123
        assert "# @raise" in source.readlines()[last.stack[last.here].line - 1]
    assert [row.name for row in seen[0].rows] == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    assert isinstance(run.error, ValueError)


def test_a_script_without_phases_is_told_so() -> None:
    run = drive(lambda: torch.ones(3).sum())
    assert run.path == ["finished"]
    assert run.stops[0].note.startswith("Nothing of a training loop was seen")


def test_pause_stops_at_the_next_boundary() -> None:
    async def run() -> list[StopRecord]:
        session = ThreadSession(plain(2000))
        stops = []
        await session.start()
        async with asyncio.timeout(60):
            async for event in session.events():
                if isinstance(event, m.Stopped):
                    stops.append(event.stop)
                    if len(stops) == 2:
                        break
                    session.resume(m.Action.CONTINUE)
                    session.pause()
        await session.close()
        return stops

    stops = asyncio.run(run())
    assert stops[1].reason is StopReason.PAUSE
    assert stops[1].iteration < 2000


def paused(train: Callable[[], Any], visit: Any = None) -> list[StopRecord]:
    """The last three stops of a run that is stepped six times, let go, paused after a while, and stepped twice."""

    async def run() -> list[StopRecord]:
        session = ThreadSession(train)
        stops: list[StopRecord] = []
        await session.start()
        async with asyncio.timeout(60):
            async for event in session.events():
                if isinstance(event, m.Progress) and event.iteration > 5:
                    session.pause()
                if isinstance(event, m.Stopped):
                    stops.append(event.stop)
                    if visit is not None and len(stops) > 6:
                        await visit(session, event.stop)
                    if len(stops) == 9:
                        break
                    session.resume(m.Action.CONTINUE if len(stops) == 6 else m.Action.NEXT)
        await session.close()
        return stops[6:]

    return asyncio.run(run())


def test_a_pause_in_a_free_run_says_what_it_knows_and_what_not() -> None:
    steps: list[int] = []

    def train() -> None:
        net = small()
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(100_000):
            optimiser.zero_grad()
            loss = F.mse_loss(net(X), Y)
            loss.backward()
            optimiser.step()
            steps.append(1)

    counts: list[tuple[int, int]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        counts.append((stop.iteration, len(steps)))

    stops = paused(train, visit)
    assert stops[0].reason is StopReason.PAUSE
    assert stops[0].ran_free
    assert stops[0].just_ran == ()
    for iteration, done in counts:
        # The step of this iteration may be done while the phase after it has not begun another.
        assert iteration in (done, done + 1)
    assert stops[0].iteration > 5
    assert stops[1].just_ran[0].phase is stops[0].next.phase if stops[0].next else False
    assert stops[0].loss is not None
    assert stops[0].loss.value is not None
    if stops[0].next is not None and stops[0].next.phase is not Phase.ZERO_GRAD:
        assert stops[0].micro_batch == 0
        assert "unknown" in {step.state for step in stops[0].rail}


def test_backwards_are_counted_in_a_free_run_too() -> None:
    records: list[tuple[int, int]] = []
    net = nn.Linear(4, 1)

    def train() -> None:
        optimiser = torch.optim.SGD(net.parameters(), lr=0.0)
        for _ in range(100_000):
            net(X).sum().backward()
            optimiser.step()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        memory = await session.request(m.GetMemory(0))
        # Each backward adds 8 to the bias' gradient.
        assert net.bias.grad is not None
        records.append((memory.backwards, int(net.bias.grad) // 8))

    paused(train, visit)
    assert len(records) == 3
    assert all(told == true for told, true in records)


def test_an_exception_in_a_free_run_names_the_phase_that_raised() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls == 3:
                raise ValueError("third call")
            return self.net(x)

    def train() -> None:
        model = Model()
        for _ in range(5):
            model(X).sum().backward()

    run = drive(train, [m.Action.CONTINUE])
    last = run.stops[-1]
    assert last.reason is StopReason.EXCEPTION
    assert [(r.phase, r.subject) for r in last.just_ran] == [(Phase.FORWARD, "model")]
    assert [step.state for step in last.rail if step.phase is Phase.FORWARD] == ["failed"]


def test_the_rail_after_a_free_run_to_the_end_claims_nothing() -> None:
    actions = [m.Action.NEXT] * 7 + [m.Action.CONTINUE]
    run = drive(plain(4), actions)
    last = run.stops[-1]
    assert (last.reason, last.iteration, last.ran_free) == (StopReason.FINISHED, 4, True)
    assert [step.phase.value for step in last.rail] == PLAIN
    assert {step.state for step in last.rail} == {"unknown"}


def test_after_a_free_run_iteration_and_loss_are_those_of_now() -> None:
    values: list[float] = []

    def train() -> None:
        net = small()
        optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
        for index in range(5):
            optimiser.zero_grad()
            loss = ((net(X) - Y) ** 2).mean()
            values.append(loss.item())
            loss.backward()
            if index == 3:
                raise RuntimeError("in the fourth iteration")
            optimiser.step()

    run = drive(train, [*[m.Action.NEXT] * 6, m.Action.CONTINUE])
    last = run.stops[-1]
    assert (last.reason, last.iteration) == (StopReason.EXCEPTION, 4)
    assert last.loss is not None
    assert (last.loss.value, last.loss.previous, last.loss.iteration) == (values[3], None, 4)


def test_each_backward_has_its_own_root() -> None:
    def train() -> None:
        net = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            first = net(torch.ones(2, 3)).sum()
            first.backward()
            second = net(torch.ones(2, 3)).mean()
            second.backward()
            optimizer.step()
            optimizer.zero_grad()

    run = drive(train)
    ahead = [s.next.subject for s in run.stops if s.next and s.next.phase is Phase.BACKWARD]
    assert ahead == ["first", "second"] * 2
    ran = [r.subject for s in run.stops for r in s.just_ran if r.phase is Phase.BACKWARD]
    assert ran == ["first", "second"] * 2


def test_libraries_of_another_environment_are_libraries() -> None:
    for place in ("/elsewhere/lib/python3.13/site-packages/torch/nn/functional.py", "/x/dist-packages/lib/a.py"):
        assert not frames.is_user(place)
    assert frames.is_user("/home/someone/project/train.py")
