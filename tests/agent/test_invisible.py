"""What the script could notice, and does not."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stepdbg.agent.instrument import Instruments
from stepdbg.agent.tracker import Tracker
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.leaks import GetLeaks
from stepdbg.protocol.memory import GetGradients, GetOtherMemory
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.words import GetCompletions

from .conftest import drive

X = torch.linspace(-1, 1, 32).reshape(8, 4)


async def look(session: ThreadSession, stop: StopRecord) -> None:
    """Ask everything there is to ask."""
    await session.request(m.GetGraph(0))
    page = await session.request(m.GetParameters(0))
    await session.request(m.GetMemory(0))
    await session.request(GetOtherMemory(0))
    await session.request(GetGradients(0))
    for row in page.rows[:2]:
        await session.request(m.GetValues(0, row.name))
        await session.request(m.GetExplanation(0, row.name))


def both(train: Callable[[], Any]) -> tuple[Any, Any]:
    """What `train` returns bare, and under the agent with every question asked at every stop."""
    torch.manual_seed(0)
    bare = train()
    results: list[Any] = []
    torch.manual_seed(0)
    run = drive(lambda: results.append(train()), visit=look)
    assert run.error is None
    return bare, results[0]


def test_parameters_and_random_state_are_the_same_bits() -> None:
    def train() -> list[bytes]:
        net = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
        optimizer = torch.optim.AdamW(net.parameters())
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
        for _ in range(5):
            optimizer.zero_grad()
            F.mse_loss(net(X + torch.randn_like(X)), torch.ones(8, 1)).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
        tensors = [*net.state_dict().values(), torch.get_rng_state()]
        return [t.numpy().tobytes() for t in tensors]

    bare, debugged = both(train)
    assert debugged == bare


class Raising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(x)
        raise ValueError("inside the model")


def failing_forward() -> None:
    Raising()(X)


def failing_loss() -> None:
    F.cross_entropy(X, torch.ones(3, dtype=torch.long))


def failing_backward() -> None:
    X.sum().backward()


def failing_step() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.LBFGS(net.parameters())

    def closure() -> torch.Tensor:
        raise ValueError("inside the closure")

    optimizer.step(closure)


def failing_data() -> None:
    class Broken(torch.utils.data.Dataset[int]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> int:
            raise ValueError("inside the data set")

    for _ in torch.utils.data.DataLoader(Broken()):
        pass


def failing_clip() -> None:
    weight = torch.ones(2, requires_grad=True)
    weight.grad = torch.full((2,), float("nan"))
    nn.utils.clip_grad_norm_([weight], 1.0, error_if_nonfinite=True)


@pytest.mark.parametrize(
    "fail", [failing_forward, failing_loss, failing_backward, failing_step, failing_data, failing_clip]
)
def test_a_caught_and_printed_traceback_is_the_bare_one(fail: Callable[[], None]) -> None:
    def train() -> str:
        try:
            fail()
        except Exception:
            return traceback.format_exc()
        raise AssertionError("it did not fail")

    bare, debugged = both(train)
    assert debugged == bare


def test_warnings_are_attributed_to_the_same_line() -> None:
    def train() -> list[tuple[str, int, str]]:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scheduler.step()  # before optimizer.step(): torch warns
            F.mse_loss(net(X), torch.ones(8))  # a size mismatch: warns with stacklevel 2
            nn.utils.clip_grad_norm(net.parameters(), 1.0)  # deprecated: warns about its caller
        return [(w.filename, w.lineno, str(w.message)) for w in caught]

    bare, debugged = both(train)
    assert len(bare) >= 3
    assert debugged == bare


@pytest.mark.filterwarnings("ignore")
def test_torch_compile_captures_the_same() -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.a(x))
            torch._dynamo.graph_break()
            return F.mse_loss(self.b(x), y)

    def train() -> tuple[int, int, list[float]]:
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("eager")
        net = Net()
        fast = torch.compile(net, backend=counter)

        @torch.compile(backend=counter)
        def evaluate(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return model(x, y) * 2

        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        values = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = fast(X, torch.ones(8, 1))
            loss.backward()
            optimizer.step()
            values += [loss.item(), evaluate(net, X, torch.ones(8, 1)).item()]
        return counter.frame_count, counter.op_count, values

    bare, debugged = both(train)
    assert bare[0] > 0
    assert debugged == bare


@pytest.mark.filterwarnings("ignore")
def test_torch_jit_script_and_fx_trace_the_same() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.mse_loss(self.a(x), torch.ones(8, 1))

    def train() -> tuple[str, ...]:
        net = Net()
        scripted = torch.jit.script(net)
        traced = torch.jit.trace(net, (X,))
        symbolic = torch.fx.symbolic_trace(net)
        scripted(X).backward()
        graphs = [str(scripted.inlined_graph), str(traced.inlined_graph)]
        # Scripted classes are numbered through the life of a process.
        return *[re.sub(r"___torch_mangle_\d+\.", "", graph) for graph in graphs], symbolic.code

    bare, debugged = both(train)
    assert debugged == bare


@pytest.mark.filterwarnings("ignore")
def test_models_and_optimizers_can_be_copied_and_pickled() -> None:
    def train() -> list[float]:
        net = nn.Linear(4, 1)
        optimizer = torch.optim.Adam(net.parameters())
        net(X).sum().backward()
        optimizer.step()
        net2, optimizer2 = copy.deepcopy((net, optimizer))
        optimizer3 = pickle.loads(pickle.dumps(optimizer))
        net2(X).sum().backward()
        optimizer2.step()
        optimizer3.step()
        return [float(p.sum()) for p in net2.parameters()]

    bare, debugged = both(train)
    assert debugged == bare


def snapshot() -> dict[str, Any]:
    """Every attribute of torch that instruments may touch."""
    holders: list[Any] = [
        nn.Module,
        torch.Tensor,
        torch.autograd,
        torch.nn.functional,
        torch.nn.utils,
        torch.nn.utils.clip_grad,
        torch.amp.GradScaler,
        torch.optim.Optimizer,
        torch.utils.data.dataloader._BaseDataLoaderIter,
        *[c for c in vars(torch.optim.lr_scheduler).values() if isinstance(c, type)],
        *[c for c in vars(torch.optim).values() if isinstance(c, type)],
    ]
    return {f"{h!r}.{k}": v for h in holders for k, v in vars(h).items()}


def test_restoring_puts_every_attribute_back() -> None:
    torch.optim.SGD([torch.ones(1, requires_grad=True)])  # torch itself hooks a class when it is first used
    before = snapshot()
    instruments = Instruments(Tracker())
    instruments.install()
    torch.optim.SGD([torch.ones(1, requires_grad=True)])
    during = snapshot()
    assert sum(during[k] is not before[k] for k in before) > 30
    instruments.restore()
    after = snapshot()
    assert after.keys() == before.keys()
    assert [k for k in before if after[k] is not before[k]] == []


def test_a_step_that_a_scheduler_has_wrapped_before_is_taken_up_and_given_back() -> None:
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)])
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    kept = inspect.getclosurevars(vars(optimizer)["step"]).nonlocals["func"]
    instruments = Instruments(Tracker())
    instruments.install()
    instruments.adopt()
    assert inspect.getclosurevars(vars(optimizer)["step"]).nonlocals["func"] is torch.optim.SGD.step is not kept
    instruments.restore()
    assert inspect.getclosurevars(vars(optimizer)["step"]).nonlocals["func"] is torch.optim.SGD.step is kept


def test_a_user_defined_optimizer_and_scheduler_are_seen() -> None:
    class Mine(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {})

        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for p in group["params"]:
                    p.data -= 0.1 * p.grad

    class Schedule(torch.optim.lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:  # type: ignore[override]
            return [0.1]

        def step(self, epoch: int | None = None) -> None:
            super().step()

    def train() -> None:
        net = nn.Linear(4, 1)
        optimizer = Mine(net.parameters())
        optimizer.param_groups[0]["lr"] = 0.1
        schedule = Schedule(optimizer)
        for _ in range(2):
            net(X).sum().backward()
            optimizer.step()
            schedule.step()

    run = drive(train)
    assert run.path == ["forward", "backward", "step", "scheduler"] * 2 + ["finished"]


def test_a_failure_of_ours_is_told_and_the_script_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from stepdbg.agent.losswatch import LossWatch

    def broken(self: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(LossWatch, "loss", broken)
    done: list[int] = []

    def train() -> None:
        net = nn.Linear(4, 1)
        net(X).sum().backward()
        done.append(1)

    run = drive(train)
    told = [e.text for e in run.events if isinstance(e, m.Warned)]
    assert told, run.events
    assert "ZeroDivisionError: ours" in told[0]
    assert done == [1]
    assert run.error is None


def test_a_failing_question_is_answered_with_one_line() -> None:
    lines: list[str] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        try:
            await session.request(m.GetValues(0, "nothing.of.the.sort"))
        except Exception as error:
            lines.append(str(error))

    drive(lambda: nn.Linear(1, 1)(torch.ones(1, 1)), visit=visit)
    assert lines[0] == "no parameter is called nothing.of.the.sort at this stop"


class Asked:
    """Notes what is asked of it, its class too, as a lazy object or one that warns of its deprecation would."""

    __slots__ = ("count",)

    def __getattribute__(self, name: str) -> Any:
        COUNTS[name] = COUNTS.get(name, 0) + 1
        return object.__getattribute__(self, name)


COUNTS: dict[str, int] = {}


class Holder:
    def __init__(self) -> None:
        self.asked = Asked()


def test_objects_of_the_scripts_are_not_asked_for_their_class() -> None:
    def train() -> dict[str, int]:
        COUNTS.clear()
        net, asked, several, holder = nn.Linear(4, 1), Asked(), [Asked()], Holder()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            net(X).sum().backward()
            optimizer.step()
        keep = (asked, several, holder)
        return dict(COUNTS) if keep else {}

    async def everything(session: ThreadSession, stop: StopRecord) -> None:
        await look(session, stop)
        await session.request(GetLeaks(0, seconds=20))
        await session.request(GetCompletions(0, ""))

    results: list[dict[str, int]] = []
    assert drive(lambda: results.append(train()), visit=everything).error is None
    assert results == [{}]
