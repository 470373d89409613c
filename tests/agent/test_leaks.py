"""What is kept alive from earlier iterations is found, under the script's own names and lines; nothing else is."""

from __future__ import annotations

import gc
import inspect
import runpy
import sys
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from stepdbg.agent.memory.leaks import Leaks
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.leaks import GetLeaks, Leak, LeakKind, LeakReport
from stepdbg.protocol.records import StopRecord

from .conftest import drive

pytestmark = pytest.mark.usefixtures("nothing_kept_before")

DEMOS = Path(__file__).parents[2] / "demo_models"
X = torch.linspace(-1, 1, 32).reshape(8, 4)


def reports(train: Callable[[], Any], every: bool = False) -> list[LeakReport]:
    """What is found at the start of each iteration, or at every stop, and at the end."""
    found: list[LeakReport] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        found.append(await session.request(GetLeaks(0, seconds=20)))
        return m.Action.NEXT if every else m.Action.ITERATION

    run = drive(train, visit=visit)
    assert run.error is None
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return found


def findings(report: LeakReport) -> list[Leak]:
    return [leak for leak in report.leaks if leak.growing]


def line_of(train: Callable[[], Any], text: str) -> int:
    """Number of the line of `train` that has `text` in it."""
    lines, first = inspect.getsourcelines(train)
    return next(first + at for at, line in enumerate(lines) if text in line)


def total_loss() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    total_loss = 0
    for _ in range(6):
        loss = net(X).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        total_loss += loss
        optimizer.step()


class History:
    def __init__(self) -> None:
        self.kept: dict[str, list[torch.Tensor]] = {"loss": []}


def list_of_losses() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    history = History()
    for _ in range(6):
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward()
        history.kept["loss"].append(loss)
        optimizer.step()
    len(history.kept)


def list_of_outputs() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    outputs = []
    for _ in range(6):
        optimizer.zero_grad()
        output = net(X)
        outputs += [output]
        output.pow(2).mean().backward()
        optimizer.step()
    len(outputs)


def retained() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        loss = net(X).pow(2).mean()
        loss.backward(retain_graph=True)
        optimizer.step()


def cache() -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    seen: dict[int, torch.Tensor] = {}
    for step in range(8):
        optimizer.zero_grad()
        output = net(X)
        seen[step] = output.detach().clone()
        output.pow(2).mean().backward()
        optimizer.step()
    len(seen)


def carried_state() -> None:
    cell, head = nn.RNNCell(4, 3), nn.Linear(3, 1)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    hidden = torch.zeros(8, 3)
    for _ in range(6):
        optimizer.zero_grad()
        hidden = cell(X, hidden)
        score = hidden.mean()
        loss = head(hidden.detach()).pow(2).mean()
        loss.backward()
        optimizer.step()
    score.item()


CASES: list[tuple[Callable[[], None], LeakKind, str, str]] = [
    (total_loss, LeakKind.GRAPH, "total_loss", "total_loss += loss"),
    (list_of_losses, LeakKind.LIST, "history.kept['loss']", "append(loss)"),
    (list_of_outputs, LeakKind.LIST, "outputs", "outputs += "),
    (retained, LeakKind.RETAINED, "loss", "retain_graph"),
    (cache, LeakKind.TENSORS, "seen", "seen[step] ="),
    (carried_state, LeakKind.GRAPH, "hidden", "hidden = cell"),
]

SAMPLE = (total_loss,)
"""Run by `make test`; the others are slow."""


@pytest.mark.parametrize(
    ("train", "kind", "name", "text"),
    [case if case[0] in SAMPLE else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_each_kind_is_found(train: Callable[[], None], kind: LeakKind, name: str, text: str) -> None:
    found = reports(train)
    for report in found:
        leaks = findings(report)
        assert len(leaks) <= 1
        for leak in leaks:
            assert (leak.kind, leak.name, leak.line) == (kind, name, line_of(train, text))
            assert leak.text in inspect.getsource(train)
            assert leak.file == __file__
    assert findings(found[-2])


@dataclass
class Record:
    step: int
    loss: torch.Tensor


ENTRIES: dict[str, tuple[Callable[[int, torch.Tensor, torch.Tensor], Any], LeakKind, int]] = {
    "a dict each": (lambda at, _, loss: {"loss": loss, "step": at}, LeakKind.LIST, 1),
    "a tuple each": (lambda _at, output, loss: (output, loss), LeakKind.LIST, 2),
    "an object each": (lambda at, _, loss: Record(at, loss), LeakKind.LIST, 1),
    "two deep": (lambda _at, output, loss: {"both": [output, loss]}, LeakKind.LIST, 2),
    "without a graph": (lambda _at, output, loss: [output.detach().clone(), loss.detach()], LeakKind.TENSORS, 2),
}


@pytest.mark.parametrize("what", ENTRIES)
def test_a_list_with_a_container_for_each_iteration_is_what_grows(what: str) -> None:
    entry, kind, each = ENTRIES[what]

    def train() -> None:
        net, optimizer = small()
        log = []
        for at in range(6):
            output, loss = step(net, optimizer)
            log.append(entry(at, output, loss))
        len(log)

    (leak,) = findings(reports(train)[5])
    assert (leak.kind, leak.name, leak.where, leak.line) == (kind, "log", "list of 5", line_of(train, "log.append"))
    assert leak.count == 5 * each
    assert leak.last == 5


def test_lists_beside_each_other_are_told_apart() -> None:
    def train() -> None:
        net, optimizer = small()
        log: dict[str, list[torch.Tensor]] = {"output": [], "loss": []}
        for _ in range(6):
            output, loss = step(net, optimizer)
            log["output"].append(output)
            log["loss"].append(loss)
        len(log)

    assert sorted(leak.name for leak in findings(reports(train)[5])) == ["log['loss']", "log['output']"]


def test_a_ring_of_tuples_is_bounded() -> None:
    def train() -> None:
        net, optimizer = small()
        ring: list[Any] = [None] * 3
        for at in range(8):
            ring[at % 3] = step(net, optimizer)
        len(ring)

    (leak,) = reports(train)[7].leaks
    assert (leak.name, leak.growing, leak.note) == ("ring", False, "as much is let go of as comes in")


def test_what_is_made_before_the_loops_first_phase_is_listed_before_it_is_kept() -> None:
    def train() -> None:
        net, optimizer = small()
        kept = []
        for _ in range(7):
            x = torch.rand(8, 4)
            optimizer.zero_grad()
            net(x).mean().backward()
            kept.append(x)
            optimizer.step()
        len(kept)

    found = {(r.iteration, leak.growing, leak.note) for r in reports(train, every=True)[20:24] for leak in r.leaks}
    assert found == {(6, True, ""), (6, False, "nothing of the last iteration is in it, or not yet: step on")}


def small() -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Linear(4, 1)
    return net, torch.optim.SGD(net.parameters(), lr=0.1)


def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[torch.Tensor, torch.Tensor]:
    optimizer.zero_grad()
    output = net(X)
    loss = output.pow(2).mean()
    loss.backward()
    optimizer.step()
    return output, loss


KEPT: list[torch.Tensor] = []
SEEN_FREE: list[torch.Tensor] = []


@pytest.mark.slow
def test_what_is_bounded_is_no_finding() -> None:
    def train() -> None:
        net, optimizer = small()
        recent: deque[torch.Tensor] = deque(maxlen=4)
        window: list[torch.Tensor] = []
        values: list[torch.Tensor] = []
        for _ in range(14):
            output, loss = step(net, optimizer)
            recent.append(loss)
            window.append(output)
            values.append(output.detach().clone())
            del window[:-5], values[:-5]

    found = reports(train)
    held = {leak.name: leak for leak in found[-2].leaks}
    assert held["recent"].note == "it holds 4 at most"
    assert held["window"].note == "as much is let go of as comes in"
    assert held["window"].count == 5
    late = [report for report in found if report.iteration > 8]
    assert [findings(report) for report in late] == [[]] * len(late)


def test_names_of_all_sorts() -> None:
    class Trainer:
        shared: ClassVar[list[torch.Tensor]] = []

        def __init__(self) -> None:
            self.log: dict[str, Any] = {"a": {"b": []}}

        def hook(self) -> Callable[[torch.Tensor], None]:
            captured: list[torch.Tensor] = []

            def keep(value: torch.Tensor) -> None:
                captured.append(value)

            return keep

        def fit(self) -> None:
            net, optimizer = small()
            keep = self.hook()
            for _ in range(6):
                output, loss = step(net, optimizer)
                self.log["a"]["b"].append(loss)
                keep(output)
                type(self).shared.append(loss * 2)
                KEPT.append(loss + 1)

    try:
        found = reports(lambda: Trainer().fit())
    finally:
        KEPT.clear()
    leaks = {leak.name: leak for leak in findings(found[-2])}
    lines = {name: leak.text for name, leak in leaks.items()}
    assert lines.pop("self.log['a']['b']") == 'self.log["a"]["b"].append(loss)'
    assert lines.pop("KEPT") == "KEPT.append(loss + 1)"
    assert lines.pop("captured") == "captured.append(value)"
    (name,) = lines
    assert name.endswith("shared")
    assert lines[name] == "type(self).shared.append(loss * 2)"


def test_the_search_ends_in_time_and_says_so() -> None:
    found: list[LeakReport] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        found.append(await session.request(GetLeaks(0, seconds=0)))

    def train() -> None:
        net, optimizer = small()
        ballast = [[n] for n in range(50_000)]
        holder = {"far": [ballast, {"deep": [[]]}]}
        for _ in range(5):
            _, loss = step(net, optimizer)
            holder["far"][1]["deep"][0].append(loss)

    drive(train, visit=visit)
    assert not found[-2].complete
    assert "the search was ended" in found[-2].note


def test_nothing_is_watched_before_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(Leaks, "look", lambda self, iteration, ours: looks.append(iteration))

    def train() -> None:
        net, optimizer = small()
        for _ in range(4):
            step(net, optimizer)

    async def ask_late(session: ThreadSession, stop: StopRecord) -> None:
        if stop.iteration == 3:
            await session.request(GetLeaks(0))

    drive(train)
    assert looks == []
    drive(train, visit=ask_late)
    assert looks == [4]


def test_a_free_run_is_watched_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepdbg.agent.memory.leaks.SHARE", 0)
    found: dict[bool, LeakReport] = {}

    def train() -> None:
        net, optimizer = small()
        for _ in range(9):
            _, loss = step(net, optimizer)
            SEEN_FREE.append(loss.detach())

    for free in (False, True):

        async def visit(session: ThreadSession, stop: StopRecord, free: bool = free) -> None:
            found[free] = await session.request(GetLeaks(0, seconds=20, free=free))

        try:
            drive(train, [m.Action.CONTINUE], visit=visit)
        finally:
            SEEN_FREE.clear()
    assert (found[False].samples, found[True].samples) == (0, 8)
    assert findings(found[False]) == []
    (leak,) = findings(found[True])
    assert (leak.name, leak.kind, leak.count) == ("SEEN_FREE", LeakKind.TENSORS, 9)
    assert leak.text == "SEEN_FREE.append(loss.detach())"


@pytest.mark.slow
def test_looking_starts_no_collection_and_keeps_nothing() -> None:
    collections: list[str] = []
    alive: list[int] = []
    gone: list[weakref.ref[torch.Tensor]] = []

    def train() -> None:
        net, optimizer = small()
        for _ in range(6):
            output, loss = step(net, optimizer)
            gone.extend((weakref.ref(output), weakref.ref(loss)))
            del output, loss
            alive.append(sum(ref() is not None for ref in gone))

    def collected(phase: str, info: dict[str, int]) -> None:
        if frames_of_ours():
            collections.append(phase)

    def frames_of_ours() -> bool:
        frame = sys._getframe()
        while frame is not None:
            if frame.f_code.co_filename.endswith("leaks_report.py"):
                return True
            frame = frame.f_back  # type: ignore[assignment]
        return False

    gc.callbacks.append(collected)
    try:
        reports(train, every=True)
    finally:
        gc.callbacks.remove(collected)
    assert collections == []
    assert alive == [0] * 6


def test_a_switched_off_watch_forgets() -> None:
    found: list[LeakReport] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        found.append(await session.request(GetLeaks(0, off=stop.iteration == 3)))

    def train() -> None:
        net, optimizer = small()
        for _ in range(3):
            step(net, optimizer)

    drive(train, visit=visit)
    assert found[0].since == 1
    assert found[-2].iteration == 3
    assert (found[-2].since, found[-2].samples, found[-2].counts) == (0, 0, ())


HEALTHY: dict[str, tuple[str, ...]] = {  # with the arguments that make 200 iterations of it
    "two_nets": (),
    "tiny_gan": (),
    "lstm_forecast": ("--epochs", "202"),
    "char_gpt": ("--steps", "202"),
    "digits_cnn": ("--epochs", "9"),
    "leaky": ("--bug", "none", "--iterations", "202"),
    "no_zero_grad": (),
}
FIXED = {"two_nets": 40, "no_zero_grad": 60}
"""Of those that end before: how many iterations their source says."""


def longer(name: str, iterations: int, folder: Path) -> Path:
    """The demo; of one whose number of iterations is fixed a copy with that many."""
    path = DEMOS / f"{name}.py"
    if name not in FIXED:
        return path
    text = path.read_text(encoding="utf-8")
    assert text.count(f"range({FIXED[name]})") == 1
    copy = folder / path.name
    copy.write_text(text.replace(f"range({FIXED[name]})", f"range({iterations})"), encoding="utf-8")
    return copy


def demo_findings(path: Path, arguments: tuple[str, ...], iterations: int) -> tuple[list[int], list[str]]:
    """The iterations at whose start leaks were looked for, and the names of everything found."""
    found: list[str] = []
    looked: list[int] = []

    def run() -> None:
        sys.argv[:] = [str(path), *arguments]
        runpy.run_path(str(path), {"print": lambda *_: None}, "__main__")

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action:
        if stop.iteration > iterations or stop.next is None:
            return m.Action.CONTINUE
        report = await session.request(GetLeaks(0, seconds=20))
        assert report.complete
        looked.append(stop.iteration)
        found.extend(f"{leak.name} {leak.kind.value} at {stop.iteration}" for leak in findings(report))
        return m.Action.ITERATION

    before, threads = list(sys.argv), torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine several wait for each other
    try:
        assert drive(run, visit=visit).error is None
    finally:
        torch.set_num_threads(threads)
        sys.argv[:] = before
    return looked, found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_nets", "tiny_gan"])
def test_nothing_is_found_in_a_healthy_demo(name: str) -> None:
    looked, found = demo_findings(DEMOS / f"{name}.py", (), 20)
    assert looked == list(range(1, 21))
    assert found == []


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_over_200_iterations(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.agent.conftest.SECONDS", 1500.0)
    looked, found = demo_findings(longer(name, 202, tmp_path), HEALTHY[name], 201)
    assert looked == list(range(1, 202))
    assert found == []


def test_every_demo_is_among_the_healthy_ones() -> None:
    assert {path.stem for path in DEMOS.glob("*.py")} == set(HEALTHY)
