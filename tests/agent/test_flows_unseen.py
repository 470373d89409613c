"""Watched gradients: nothing is left behind, nothing can be noticed, and what is missing is said to be."""

from __future__ import annotations

import gc
import threading
import traceback
import warnings
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from stepdbg.agent import flows as flows_module
from stepdbg.agent.deep import MANY, nodes_behind
from stepdbg.agent.flows import Backward, Flows, Hooks, _Hook, flow_of
from stepdbg.agent.graph.facts import freed
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import Flow, GraphPage, Lens
from stepdbg.protocol.records import Phase, StopReason, StopRecord

from .conftest import drive
from .watched_runs import Failing, Poison, X, both, plain_loop, small, tracker, unreadable, watched

# ── what is left behind ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that a hook of ours is called."""
    calls: list[int] = []
    original = _Hook.__call__

    def call(self: _Hook, grads: Any) -> None:
        calls.append(1)
        original(self, grads)

    monkeypatch.setattr(_Hook, "__call__", call)
    return calls


@pytest.mark.parametrize("fails", [False, True])
def test_no_hook_outlives_its_backward(counted: list[int], fails: bool) -> None:
    net = small()
    # Nodes of leaves outlive every graph while something holds them.
    held = [p.view_as(p).grad_fn.next_functions[0][0] for p in net.parameters()]

    def train() -> None:
        loss = net(X).square().mean()
        if fails:
            with pytest.raises(ValueError, match="inside backward"):
                Failing.apply(loss).backward()
        else:
            loss.backward(retain_graph=True)
        during.append(len(counted))
        losses.append(loss)

    during: list[int] = []
    losses: list[torch.Tensor] = []
    run = watched(train)
    assert during == [1] if fails else during == [len(run.backwards[0].flows) + len(held)]
    losses[0].backward()
    small()(X).sum().backward()
    assert len(counted) == during[0]
    assert all(p._backward_hooks is None for p in net.parameters())


def test_unwatched_again_nothing_is_called(counted: list[int]) -> None:
    seen: list[int] = []

    def train() -> None:
        net = small()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(4):
            net(X).sum().backward()
            seen.append(len(counted))
            optimizer.step()
            optimizer.zero_grad()

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        if stop.number == 1 or (stop.iteration == 3 and stop.next is not None and stop.next.phase is Phase.FORWARD):
            answer = await session.request(m.SetWatching(0, gradients=stop.number == 1))
            answers.append((answer.gradients, answer.stacks, bool(answer.note)))
        return None

    answers: list[Any] = []
    drive(train, visit=visit)
    assert answers == [(True, False, True), (False, False, False)]
    assert 0 < seen[0] < seen[1] == seen[2] == seen[3]


def test_a_deep_graph_that_was_watched_is_freed_without_recursion() -> None:
    dead: list[weakref.ref[torch.Tensor]] = []

    def train() -> None:
        net = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        threading.stack_size()
        for _ in range(2):
            x = net(torch.ones(1))
            for _ in range(60_000):
                x = x * 1.0
            x.backward()
            dead.append(weakref.ref(x))
            del x
            optimizer.step()
            optimizer.zero_grad()

    run = watched(train)
    assert MANY < 60_000
    assert len(run.backwards) == 2
    gc.collect()
    assert [ref() for ref in dead] == [None, None]


def test_a_held_graph_is_let_go_after_its_tensors() -> None:
    sizes: list[int] = []

    def train() -> None:
        net = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        for _ in range(2):
            x = net(torch.ones(1))
            for _ in range(MANY + 1):
                x = x * 1.0
            x.backward()
            del x
            optimizer.step()
            assert tracker().control is not None
            sizes.append(len(tracker().control.watch.looked_at._held))  # type: ignore[union-attr]
            optimizer.zero_grad()

    watched(train)
    assert sizes == [0, 0]


# ── what the script could notice ────────────────────────────────────────────────────────────────────────────


def test_an_exception_in_backward_has_the_bare_traceback() -> None:
    def train() -> str:
        try:
            Failing.apply(small()(X)).sum().backward()
        except ValueError:
            return traceback.format_exc()
        raise AssertionError("it did not fail")

    bare, debugged = both(train)
    assert debugged == bare


def test_the_anomaly_modes_own_complaint_is_the_bare_one() -> None:
    def train() -> tuple[str, list[tuple[str, int]]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with torch.autograd.set_detect_anomaly(True):
                    (small()(X) * Poison.apply(X.clone().requires_grad_()).sum()).sqrt().sum().backward()
            except RuntimeError as error:
                return str(error), [(str(w.message), w.lineno) for w in caught]
        raise AssertionError("no NaN was found")

    def without_ours(result: tuple[str, list[tuple[str, int]]]) -> Any:
        # Anomaly mode prints the whole stack of the forward, from the thread's first frame on.
        return result[0], [line for _, line in result[1]], [text.split("\n")[0] for text, _ in result[1]]

    bare, debugged = both(train)
    assert without_ours(debugged) == without_ours(bare)


def test_a_hook_that_fails_says_unreadable_and_spares_the_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_values: torch.Tensor) -> Any:
        raise RuntimeError("no such kernel")

    torch.manual_seed(0)
    bare = plain_loop()
    monkeypatch.setattr(flows_module, "_dense", broken)
    run = watched(plain_loop)
    assert run.result == bare
    for backward in run.backwards:
        assert backward.flows
        for flow in backward.flows.values():
            assert flow == unreadable(flow.numel)
            assert flow.numel > 0


def test_ctrl_c_in_a_hook_is_the_scripts_and_has_no_frame_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_grads: Any) -> Flow:
        raise KeyboardInterrupt

    monkeypatch.setattr(flows_module, "flow_of", interrupted)

    def train() -> list[str]:
        net = small()
        try:
            net(X).sum().backward()
        except KeyboardInterrupt as error:
            return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        raise AssertionError("it went unheard")

    files = watched(train).result
    assert files
    assert not [file for file in files if "stepdbg/agent" in file.replace("\\", "/") and "tests" not in file]


def test_operations_of_the_hooks_are_not_seen_by_the_scripts_modes() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Log(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    def train() -> list[str]:
        net = small()
        with Log() as log:
            net(X).sum().backward()
        return log.names

    bare, debugged = both(train)
    assert debugged == bare


def test_the_time_that_watching_takes_is_not_the_backwards() -> None:
    def train() -> None:
        net = nn.Sequential(*[nn.Linear(4, 4) for _ in range(100)])
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(X).sum().backward()
        optimizer.step()

    def slow(grads: Any) -> Flow:
        deadline = flows_module.perf_counter() + 0.001
        while flows_module.perf_counter() < deadline:
            pass
        return original(grads)

    original = flow_of
    seconds: list[float] = []

    def visit(_session: ThreadSession, stop: StopRecord) -> None:
        seconds.extend(run.seconds or 0.0 for run in stop.just_ran if run.phase is Phase.BACKWARD)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows_module, "flow_of", slow)
        watched(train, visit)
    (took,) = seconds
    assert took < 0.15  # of the 0.3 s that 301 hooks took alone


# ── which graph they belong to, and why there are none ──────────────────────────────────────────────────────


def seqs_behind(root: torch.Tensor) -> list[int]:
    nodes = nodes_behind([root.grad_fn])
    return sorted(n._sequence_nr() for n in nodes if type(n).__name__ != "AccumulateGrad")


def test_two_backwards_through_one_graph_are_counted() -> None:
    def train() -> tuple[Any, Any]:
        net = small()
        output = net(X)
        loss, other = output.square().mean(), net(X * 2).sum()
        loss.backward(retain_graph=True)
        (loss * 3).backward()
        flows = tracker().watched.flows
        kept.append(net)
        return (
            flows.of_graph(seqs_behind(loss), loss, freed=True),
            flows.of_graph(seqs_behind(output), output, freed=True),
            flows.of_graph(seqs_behind(other), other, freed=False),
            seqs_behind(output)[-1],
        )

    kept: list[Any] = []
    of_loss, of_output, of_other, top = watched(train).result
    assert (of_loss.why, of_output.why) == ("", "")
    assert {f.times for f in of_loss.leaf_flows.values()} == {2}
    assert of_loss.flows[top].times == 2
    assert of_loss.flows[top] == of_output.flows[top]
    assert set(of_output.flows) < set(of_loss.flows)
    assert (of_other.flows, of_other.why) == ({}, flows_module.NOT_YET)


def test_what_is_said_where_there_is_nothing() -> None:
    said: dict[str, str] = {}

    def note(name: str, loss: torch.Tensor, freed: bool = True) -> None:
        said[name] = tracker().watched.flows.of_graph(seqs_behind(loss), loss, freed=freed).why

    def train() -> None:
        net = small()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for iteration in range(1, 7):
            loss = net(X).square().mean()
            losses.append(loss)
            if iteration == 2:
                note("before", loss, freed=False)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    losses: list[torch.Tensor] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> m.Action | None:
        phase = stop.next.phase if stop.next is not None else None
        if stop.reason is StopReason.FINISHED:
            note("free", losses[-1])
            return None
        if phase is Phase.STEP and stop.iteration == 1:
            note("off", losses[0])
            await session.request(m.SetWatching(0, gradients=True))
            note("earlier", losses[0])
        if phase is Phase.STEP and stop.iteration == 2:
            note("there", losses[1])
        if phase is Phase.BACKWARD and stop.iteration == 3:
            return m.Action.CONTINUE
        return None

    drive(train, visit=visit)
    assert said == {
        "off": "off: gradients are not watched",
        "earlier": "gradients were not watched when its backward ran",
        "before": "no backward has run through this graph yet",
        "there": "",
        "free": "this backward ran free",
    }


def test_nothing_is_watched_in_a_free_run(counted: list[int]) -> None:
    def visit(_session: ThreadSession, stop: StopRecord) -> m.Action | None:
        return m.Action.CONTINUE if stop.next is not None and stop.next.phase is Phase.BACKWARD else None

    run = watched(plain_loop, visit)
    assert not counted
    assert not run.backwards


def test_a_skipped_backward_is_none(counted: list[int]) -> None:
    def train() -> None:
        small()(X).sum().backward()

    def visit(_session: ThreadSession, stop: StopRecord) -> m.Action | None:
        return m.Action.SKIP if stop.next is not None and stop.next.phase is Phase.BACKWARD else None

    run = watched(train, visit)
    assert not counted
    assert not run.backwards


def test_backwards_that_are_passed_without_a_stop_are_watched_too() -> None:
    def visit(_session: ThreadSession, stop: StopRecord) -> m.Action | None:
        return m.Action.ITERATION

    run = watched(plain_loop, visit)
    assert [b.iteration for b in run.backwards] == [1, 2, 3]
    assert all(len(b.leaf_flows) == 6 for b in run.backwards)


def test_only_the_last_two_iterations_are_kept() -> None:
    flows = Flows()
    flows.on = True
    for iteration in range(1, 6):
        for micro in range(1, 3):
            flows.begins(Backward(iteration, micro, ()))
    assert [(b.iteration, b.micro_batch) for b in flows._backwards] == [(4, 1), (4, 2), (5, 1), (5, 2)]
    for micro in range(100):
        flows.begins(Backward(6, micro, ()))
    assert len(flows._backwards) == flows_module.MAX_BACKWARDS


def test_nodes_of_two_threads_with_one_number_are_left_out() -> None:
    made: list[torch.Tensor] = []
    for _ in range(2):  # each thread numbers from nought
        thread = threading.Thread(target=lambda: made.append(torch.ones(3, requires_grad=True) * 1.0))
        thread.start()
        thread.join()
    total = (made[0] + made[1]).sum()
    assert total.grad_fn is not None
    number, other = (t.grad_fn._sequence_nr() for t in made if t.grad_fn is not None)
    assert number == other
    hooks = Hooks(Backward(1, 1, ()))
    hooks.put_in(nodes_behind([total.grad_fn]), [total.grad_fn], [(number, number + 1, 7)])
    total.backward()
    hooks.take_out()
    assert set(hooks.backward.flows) == {total.grad_fn._sequence_nr()}
    assert len(hooks.backward.leaf_flows) == 2


def test_a_graph_first_looked_at_after_a_backward_through_it_is_known_to_be_freed() -> None:
    def train() -> None:
        net = small()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        output = net(X)
        loss = output.square().mean()
        loss.backward()
        optimizer.step()
        len(output)

    pages: list[GraphPage] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next is not None and stop.next.phase is Phase.STEP:
            await session.request(m.SetWatching(0, gradients=True))
            (choice,) = [one for one in (await session.request(m.GetGraph(0))).choices if one.kind == "output"]
            pages.append(await session.request(m.GetGraph(0, lens=Lens(graph=choice.id))))

    assert drive(train, visit=visit).error is None
    (page,) = pages
    assert (page.freed, page.flows) == (True, "gradients were not watched when its backward ran")


def test_whether_a_node_is_freed_is_told_without_the_scripts_hooks() -> None:
    unpacked: list[Any] = []
    x = torch.ones(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda _: None, unpacked.append):
        packed = x.sin()
    kept, nothing = x.cos(), x + 1
    before = [freed(one.grad_fn) for one in (packed, kept, nothing)]
    kept.sum().backward()
    assert before == [None, False, None]
    assert freed(kept.grad_fn) is (True if hasattr(kept.grad_fn._raw_saved_self, "unpack_hook") else None)  # type: ignore[union-attr]
    assert not unpacked
