"""Who is reached, and why the others are not: every cause on a real loop, and no cause where it does not hold."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import copy
import gc
import importlib
import itertools
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stepdbg.agent import calls as calls_module
from stepdbg.agent.calls import storage_of
from stepdbg.agent.deep import nodes_behind
from stepdbg.agent.reach import Reaches
from stepdbg.agent.report import Report
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import Reach
from stepdbg.protocol.records import Phase, StopRecord

from .conftest import SECONDS, drive

X = torch.linspace(-1, 1, 12).reshape(3, 4)


@dataclass
class Leaf:
    uses: int = 0


class Walked:
    """A graph walked by the test itself, in the shape that Reaches reads."""

    def __init__(self, root: Tensor) -> None:
        self.nodes = [] if root.grad_fn is None else nodes_behind([root.grad_fn])
        self.leaves: dict[int, Leaf] = {}
        for node in self.nodes:
            for following, _ in node.next_functions:
                if hasattr(following, "variable"):
                    self.leaves.setdefault(id(following.variable), Leaf()).uses += 1
        self.seqs = sorted(n._sequence_nr() for n in self.nodes if not hasattr(n, "variable"))
        self.reruns = {n._sequence_nr() for n in self.nodes if n.name() == "CheckpointFunctionBackward"}

    def covers(self, first: int, last: int) -> bool:
        at = bisect.bisect_left(self.seqs, first)
        return at < len(self.seqs) and self.seqs[at] < last

    def kept(self) -> set[int]:
        found = set()
        for node in self.nodes:
            for name in dir(node):
                if name.startswith("_raw_saved_"):
                    saved = getattr(node, name)
                    for one in saved if isinstance(saved, (tuple, list)) else [saved]:
                        if isinstance(getattr(one, "data", None), Tensor):
                            found.add(storage_of(one.data))
        return found


@dataclass
class Told:
    """What Reaches says at one stop."""

    rows: dict[str, Reach] = field(default_factory=dict)
    marks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)
    log: int = 0
    free: bool = False
    """Whether the iteration was run free in part."""


@contextlib.contextmanager
def looking() -> Iterator[list[Told]]:
    """Whenever the memory is asked for at a stop, what Reaches says there is noted."""
    found: list[Told] = []
    memory = Report.memory

    def look(self: Report, work: Any) -> Any:
        names, tracker = self.names, self._tracker
        root = self._watch.seen.ref() if self._watch.seen is not None else None
        assert root is not None
        walked = Walked(root)
        reaches = Reaches(
            names, walked, tracker.calls, iteration=tracker.loop.iteration, kept=walked.kept, reruns=walked.reruns
        )
        by_name = {p.name: id(p.tensor) for p in names.parameters}
        told = Told(
            {row.name: row for row in reaches.rows()},
            {name: reaches.marks(key) for name, key in by_name.items()},
            {name: reaches.cause(key) for name, key in by_name.items()},
            dict(reaches.counts()),
            [p.name for p in reaches.unreached()],
            [tracker.calls.line_of(seq) for seq in walked.seqs],
            len(tracker.calls._log),
            tracker.loop.iteration <= tracker.loop.partly_free,
        )
        found.append(told)
        return memory(self, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Report, "memory", look)
        yield found


async def look_before_backward(session: ThreadSession, stop: StopRecord) -> m.Action | None:
    """Ask at each stop before a backward."""
    if stop.next is not None and stop.next.phase is Phase.BACKWARD:
        await session.request(m.GetMemory(0))
    return None


def before_backward(train: Callable[[], Any]) -> list[Told]:
    """What is told at each stop before a backward."""
    with looking() as found:
        run = drive(train, (), look_before_backward)
    assert run.error is None, run.error
    assert not [e for e in run.events if isinstance(e, m.Warned)]
    return found


def linear(width: int = 4, out: int = 4) -> nn.Linear:
    return nn.Linear(width, out)


def test_counts_marks_and_rows() -> None:
    def train() -> None:
        net, net2, bare = nn.Sequential(linear(), nn.ReLU(), linear()), nn.Sequential(linear(), linear()), linear()
        bare.bias.requires_grad_(False)
        optimiser = torch.optim.SGD([*net.parameters(), *net2.parameters()], 0.1)
        loss = (net(X) + bare(X)).sum()
        loss.backward()
        optimiser.step()

    (told,) = before_backward(train)
    assert told.rows == {
        "net": Reach("net", "Sequential", 4, 4),
        "net2": Reach("net2", "Sequential", 0, 4, cause="net2 was not called in this iteration"),
        "bare": Reach("bare", "Linear", 1, 1, 1),
        "optimiser": Reach("optimiser", "SGD", 4, 8, 0, "optimizer", "net2 was not called in this iteration"),
    }
    assert list(told.rows)[-1] == "optimiser"
    assert told.marks["net.0.weight"] == ("reached",)
    assert told.marks["net2.0.weight"] == ("unreached", "unused")
    assert told.marks["bare.weight"] == ("reached", "unowned")
    assert told.marks["bare.bias"] == ("frozen",)
    assert told.counts == {"reached": 5, "unreached": 4, "unowned": 1, "unused": 4, "frozen": 1}
    assert told.unreached == ["net2.0.weight", "net2.0.bias", "net2.1.weight", "net2.1.bias"]
    assert told.causes["net.0.weight"] == told.causes["bare.bias"] == ""


def test_tied_weights_and_weights_used_twice_are_shared() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head, self.twice = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False), linear()
            self.head.weight = self.embed.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.twice(self.twice(self.embed(x))))

    def train() -> None:
        net = Tied()
        net(torch.tensor([1, 2])).sum().backward()

    (told,) = before_backward(train)
    assert told.marks["net.embed.weight"] == ("reached", "unowned", "shared")
    assert told.marks["net.twice.weight"] == ("reached", "unowned", "shared")
    assert told.rows["net"].total == 3


NO_CALL = "not called"
NO_GRAD = "under no_grad"
CUT = "without its history"
UNUSED = "is not used by this"
IN_GRAPH = "runs in this graph"
KINDS = (NO_CALL, NO_GRAD, CUT, UNUSED, IN_GRAPH, "made no graph", "does not require grad", "likely", "not recorded")
ALSO = {"made no graph": (NO_GRAD,), NO_CALL: (CUT, UNUSED, "made no graph", NO_GRAD), NO_GRAD: ("likely",)}
"""What may stand beside a cause: why not even what is around it reached anything."""


class Parts(nn.Module):
    """Two layers; how the first one's output goes on is the script's."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.between = linear(), linear(), between

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x)))


def never_called() -> None:
    a, b = linear(), linear()
    b(X).sum().backward()
    del a


def skipped_inside() -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([linear(), nn.Sequential(linear(), linear())])

        def forward(self, x: Tensor) -> Tensor:
            return self.layers[0](x)

    net = Skips()
    net(X).sum().backward()


def teacher() -> None:
    a, b = nn.Sequential(linear(), linear()), linear()
    with torch.no_grad():
        target = a(X)
    F.mse_loss(b(X), target).backward()


def teacher_in_inference_mode() -> None:
    a, b = nn.Sequential(linear(), linear()), linear()
    with torch.inference_mode():
        target = a(X)
    F.mse_loss(b(X), target.clone()).backward()


def decorated() -> None:
    class Quiet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(linear(), linear())

        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    a, b = Quiet(), linear()
    b(a(X)).sum().backward()


def gan() -> None:
    netG, netD = nn.Sequential(linear(), nn.Tanh()), nn.Sequential(linear(), nn.Sigmoid())
    fake = netG(X)
    netD(fake.detach()).sum().backward()


def through_data() -> None:
    a, b = linear(), linear()
    b(a(X).data).sum().backward()


def detached_inside() -> None:
    net = Parts(lambda x: x.detach())
    net(X).sum().backward()


def detached_into_a_function() -> None:
    a, b = linear(), linear()
    (b(X) * a(X).detach()).sum().backward()


def detached_behind_another() -> None:
    a, b, c = linear(), linear(), linear()
    c(b(a(X)).detach()).sum().backward()


def integer_cast() -> None:
    a, b = linear(), nn.Embedding(4, 4)
    b(a(X).argmax(1)).sum().backward()


def output_unused() -> None:
    a, b = nn.Sequential(linear(), nn.ReLU()), linear()
    kept = a(X)
    b(X).sum().backward()
    del kept


def argmax_inside() -> None:
    class Chooses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = linear()

        def forward(self, x: Tensor) -> Tensor:
            return self.score(x).argmax(1)

    a, b = Chooses(), nn.Embedding(4, 4)
    b(a(X)).sum().backward()


def weight_through_data() -> None:
    class Copies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.scale = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight.data * self.scale

    net = Copies()
    net(X).sum().backward()


def called_later() -> None:
    a, b = linear(), linear()
    loss = b(X).sum()
    a(X)
    loss.backward()


def sometimes_under_no_grad() -> None:
    a, b = linear(), linear()
    with torch.no_grad():
        target = a(X)
    kept = a(X)
    F.mse_loss(b(X), target).backward()
    del kept


def functional_copy() -> None:
    net = linear()
    torch.func.functional_call(net, {"weight": net.weight.detach(), "bias": net.bias}, (X,)).sum().backward()


def checkpointed() -> None:
    net, head = nn.Sequential(linear(), linear()), linear()
    head(checkpoint(net, X.clone().requires_grad_(), use_reentrant=True)).sum().backward()


def attention_detached() -> None:
    net, head = nn.MultiheadAttention(4, 2, batch_first=True), linear()
    head(net(X[None], X[None], X[None])[0].detach()).sum().backward()


def averaged() -> None:
    net = linear()
    ema = copy.deepcopy(net)
    net(X).sum().backward()
    with torch.no_grad():
        for p, q in zip(ema.parameters(), net.parameters(), strict=True):
            p.lerp_(q, 0.1)


def computed_weight() -> None:
    a, b = nn.utils.parametrizations.weight_norm(linear()), linear()
    b(X).sum().backward()
    del a


def free_tensor() -> None:
    b, scale = linear(), torch.ones(4, requires_grad=True)
    (b(X) * scale.detach()).sum().backward()


def gradient_penalty() -> None:
    netG, netD = linear(), linear()
    x = netG(X).detach().requires_grad_()
    netD(x).sum().backward()


def in_a_dictionary() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = linear(), linear()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"features": self.body(x)}

    net, head = Named(), linear()
    head(net(X)["features"].detach()).sum().backward()


def recurrent() -> None:
    net, head = nn.LSTM(4, 4), linear()
    output, _ = net(X)
    head(output[-1].detach()).sum().backward()


def in_place_between() -> None:
    net, act, head = linear(), nn.ReLU(inplace=True), linear()
    head(act(net(X)).detach()).sum().backward()


def other_class_call() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def __call__(self, x: Tensor) -> Tensor:
            return x * self.weight

    a, b = Own(), linear()
    b(a(X).detach()).sum().backward()


def forward_called_directly() -> None:
    a, b = nn.Sequential(linear(), linear()), linear()
    b(a.forward(X).detach()).sum().backward()


def skipped_block() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = linear()

        def forward(self, x: Tensor) -> Tensor:
            return x

    net = nn.Sequential(linear(), Block())
    net(X).sum().backward()


def list_of_parameters() -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scales = nn.ParameterList([torch.ones(4), torch.ones(4)])

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scales[0]

    net = Holds()
    net(X).sum().backward()


def only_parts_of_it() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode, self.scale = linear(), linear(), nn.Parameter(torch.ones(4))

    both = Both()
    both.encode(X).sum().backward()


def only_parts_of_what_could_be_called() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.scale = linear(), nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.encode(x) * self.scale

    both = Both()
    both.encode(X).sum().backward()


def in_another_thread() -> None:
    a, b = linear(), linear()
    thread = threading.Thread(target=lambda: [a(X) for _ in range(20)])
    thread.start()
    thread.join()
    b(b(X)).sum().backward()


def scripted() -> None:
    net, head = torch.jit.script(nn.Sequential(linear(), nn.ReLU(), linear())), linear()
    head(net(X).detach()).sum().backward()


def data_parallel() -> None:
    net, head = nn.DataParallel(nn.Sequential(linear(), linear())), linear()
    head(net(X).detach()).sum().backward()


CASES: list[tuple[Callable[[], None], str, str, str]] = [
    (never_called, "a.weight", NO_CALL, "a was not called in this iteration"),
    (skipped_inside, "net.layers.1.0.weight", NO_CALL, "net.layers.1 was not called in this iteration; net was, and"),
    (teacher, "a.0.weight", NO_GRAD, "a was called under no_grad"),
    (teacher_in_inference_mode, "a.1.bias", NO_GRAD, "a was called under no_grad"),
    (decorated, "a.inner.0.weight", "made no graph", "a was called and made no graph: its forward ran under no_grad,"),
    (gan, "netG.0.weight", CUT, "netG enters this loss without its history (detach() or .data): netD takes it so at"),
    (through_data, "a.bias", CUT, "the output of a enters this loss without its history (detach() or .data): b takes"),
    (detached_inside, "net.a.weight", CUT, "the output of net.a enters this loss without its history (detach() or"),
    (detached_into_a_function, "a.weight", CUT, "the output of a enters this loss without its history (detach() or"),
    (detached_behind_another, "a.weight", CUT, "the output of b enters this loss without its history"),
    (integer_cast, "a.weight", UNUSED, "the output of a is not used by this loss, or was cut off on the way"),
    (output_unused, "a.0.weight", UNUSED, "the output of a is not used by this loss"),
    (argmax_inside, "a.score.weight", "does not require grad", "the output of a does not require grad: it was cut"),
    (weight_through_data, "net.weight", IN_GRAPH, "net runs in this graph, but nothing there leads to this"),
    (called_later, "a.weight", NO_CALL, "a was not called"),
    (sometimes_under_no_grad, "a.weight", UNUSED, "the output of a is not used by this loss"),
    (functional_copy, "net.weight", IN_GRAPH, "net runs in this graph"),
    (checkpointed, "net.0.weight", NO_GRAD, "net was called under no_grad, likely by a checkpoint"),
    (
        attention_detached,
        "net.out_proj.weight",
        CUT,
        "net.out_proj was not called itself in this iteration; the output",
    ),
    (attention_detached, "net.in_proj_weight", CUT, "the output of net enters this loss without its history"),
    (averaged, "ema.weight", NO_CALL, "ema was not called in this iteration"),
    (computed_weight, "a.parametrizations.weight.original0", NO_CALL, "a was not called in this iteration"),
    (gradient_penalty, "netG.weight", CUT, "the output of netG enters this loss without its history"),
    (in_a_dictionary, "net.body.weight", CUT, "the output of net enters this loss without its history"),
    (
        in_a_dictionary,
        "net.head.weight",
        NO_CALL,
        "net.head was not called itself in this iteration; the output of net",
    ),
    (recurrent, "net.weight_hh_l0", CUT, "the output of net enters this loss without its history"),
    (in_place_between, "net.weight", CUT, "the output of net enters this loss without its history"),
    (
        other_class_call,
        "a.weight",
        "not known",
        "whether a was called is not known: its class has a __call__ of its own",
    ),
    (forward_called_directly, "a.0.weight", CUT, "the output of a.1 enters this loss without its history"),
    (
        skipped_block,
        "net.1.layer.weight",
        NO_CALL,
        "net.1.layer was not called itself in this iteration; net.1 was called",
    ),
    (list_of_parameters, "net.scales.1", IN_GRAPH, "net runs in this graph, but nothing there leads to this parameter"),
    (only_parts_of_it, "both.decode.weight", NO_CALL, "both.decode was not called in this iteration"),
    (only_parts_of_it, "both.scale", "only holds it", "both only holds it, and this loss does not use it"),
    (only_parts_of_what_could_be_called, "both.scale", NO_CALL, "both was not called in this iteration, only modules"),
    (in_another_thread, "a.weight", "another thread", "a was called in another thread"),
    (scripted, "net.0.weight", CUT, "the output of net enters this loss without its history"),
    (data_parallel, "net.1.weight", CUT, "the output of net enters this loss without its history"),
    (free_tensor, "scale", "no module holds it", "no module holds it, and this loss does not use it"),
]


def test_modules_in_compiled_code() -> None:
    def train() -> None:
        net, head, other = torch.compile(nn.Sequential(linear(), nn.Tanh()), backend="eager"), linear(), linear()
        head(net(X).detach()).sum().backward()
        del other

    # Dynamo remembers `Module.__call__` as it was when dynamo was imported: not ours, for the tests to come.
    importlib.import_module("torch._dynamo")
    (told,) = before_backward(train)
    torch.compiler.reset()
    assert told.causes["net.0.weight"].startswith("the output of net enters this loss without its history")
    assert (
        told.causes["other.weight"]
        == "no call of other was seen in this iteration (inside compiled code calls are not)"
    )


@pytest.mark.parametrize(("train", "name", "kind", "text"), CASES, ids=[f"{c[0].__name__}-{c[1]}" for c in CASES])
def test_the_nearest_cause(train: Callable[[], None], name: str, kind: str, text: str) -> None:
    (told,) = before_backward(train)
    assert text in told.causes[name]
    assert "unreached" in told.marks[name]
    others = [k for k in KINDS if k != kind and k not in ALSO.get(kind, ())]
    assert not [k for k in others if k in told.causes[name].removeprefix(text)]
    # What is reached has no cause, and what is not has one.
    assert {n for n, cause in told.causes.items() if cause} == set(told.unreached)


def test_the_line_that_took_an_output_without_history() -> None:
    (told,) = before_backward(gan)
    line = gan.__code__.co_firstlineno + 3
    assert told.causes["netG.0.weight"].endswith(f"netD takes it so at test_reach.py:{line}")
    assert told.rows["netG"].cause == told.causes["netG.0.bias"]


def test_a_module_called_very_often() -> None:
    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.LSTMCell(4, 4), nn.LSTMCell(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            state = other = (torch.zeros(3, 4), torch.zeros(3, 4))
            for _ in range(2100):
                state = self.cell(x, state)
                other = self.head(state[0].detach(), other)
            return other[0]

    def train() -> None:
        net = Unrolled()
        net(X).sum().backward()

    (told,) = before_backward(train)
    line = train.__code__.co_firstlineno + 2
    assert told.causes["net.cell.weight_hh"].endswith(f"net.head takes it so at test_reach.py:{line}")
    assert told.marks["net.head.weight_hh"] == ("reached", "unowned", "shared")


def test_a_parameter_that_is_put_out_as_it_is_has_no_history_to_lose() -> None:
    class Query(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.unused = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(4))

        def forward(self) -> Tensor:
            self.aside = self.unused * 2
            return self.tokens

    def train() -> None:
        query, head = Query(), linear()
        head(query()).sum().backward()

    (told,) = before_backward(train)
    assert told.marks["query.tokens"] == ("reached", "unowned")
    assert told.causes["query.unused"].startswith("what query computed is not used by this loss")


def test_the_line_of_each_node() -> None:
    def train() -> None:
        net = nn.Sequential(linear(), nn.ReLU())
        output = net(X)
        scaled = output * 2
        F.mse_loss(scaled, X).backward()

    (told,) = before_backward(train)
    first = train.__code__.co_firstlineno
    lines = [line and line[1] - first for line in told.lines]
    assert lines == [2, 2, 2, None, 4]
    assert all(line[0] == __file__ and line[2].endswith("train") for line in told.lines if line)


def test_the_generator_is_reached_by_its_own_loss() -> None:
    def train() -> None:
        netG, netD = nn.Sequential(linear(), nn.Tanh()), linear()
        optD, optG = torch.optim.SGD(netD.parameters(), 0.1), torch.optim.SGD(netG.parameters(), 0.1)
        for _ in range(2):
            fake = netG(X)
            (netD(X).sum() + netD(fake.detach()).sum()).backward()
            optD.step()
            netD(fake).sum().backward()
            optG.step()

    told = before_backward(train)
    assert [t.rows["netG"].reached for t in told] == [0, 2, 0, 2]
    for t in told[::2]:
        assert CUT in t.causes["netG.0.weight"]
        assert t.marks["netG.0.weight"] == ("unreached", "unused")
        assert t.marks["netD.weight"] == ("reached", "shared")
    assert all(not cause for t in told[1::2] for cause in t.causes.values())


def test_a_cut_on_a_path_that_the_loss_does_not_take_is_not_blamed() -> None:
    def train() -> None:
        a, b, c = linear(), linear(), linear()
        hidden = a(X)
        b(hidden.detach())
        c(X).sum().backward()

    (told,) = before_backward(train)
    assert told.causes["a.weight"].startswith("the output of a is not used by this loss")
    assert told.causes["b.weight"].startswith("the output of b is not used by this loss")


def test_memory_used_again_is_not_taken_for_what_it_held_before() -> None:
    def train() -> None:
        a, b = linear(), linear()
        for _ in range(50):
            a(X)  # freed at once: the next tensors of its size lie where it was
        inputs = [torch.ones(3, 4) for _ in range(50)]
        sum(b(x).sum() for x in inputs).backward()

    (told,) = before_backward(train)
    assert told.causes["a.weight"].startswith("the output of a is not used by this loss")


def test_a_view_of_what_went_on_with_history_is_no_cut() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.view(-1), (x * self.weight).sum()

    def train() -> None:
        a, gate, b = linear(), Gate(), linear()
        hidden = a(X)
        flat, _ = gate(hidden)
        b(hidden).sum().backward()
        del flat

    (told,) = before_backward(train)
    assert told.causes["gate.weight"].startswith("the output of gate is not used by this loss")


def test_an_iteration_is_judged_by_its_own_calls() -> None:
    def train() -> None:
        a, b = linear(), linear()
        optimiser = torch.optim.SGD([*a.parameters(), *b.parameters()], 0.1)
        for number in range(3):
            output = b(a(X) if number == 0 else X)
            output.sum().backward()
            optimiser.step()

    told = before_backward(train)
    assert [t.causes["a.weight"] for t in told] == ["", *["a was not called in this iteration"] * 2]
    assert [t.log for t in told] == [2, 3, 2]  # of this iteration and the one before, no more


def test_micro_batches_of_one_iteration() -> None:
    def train() -> None:
        a, b = linear(), linear()
        optimiser = torch.optim.SGD([*a.parameters(), *b.parameters()], 0.1)
        for number in range(2):
            output = b(a(X) if number == 0 else X)
            output.sum().backward()
        optimiser.step()

    told = before_backward(train)
    assert [t.causes["a.weight"] for t in told] == ["", told[1].causes["a.bias"]]
    assert told[1].causes["a.weight"].startswith("the output of a is not used by this loss")


def test_after_a_free_run_nothing_is_claimed_of_the_iteration_that_it_ended_in() -> None:
    def train() -> None:
        a, b = linear(), linear()
        optimiser = torch.optim.SGD(b.parameters(), 0.0)
        for _ in range(100_000):
            b(X).sum().backward()
            optimiser.step()
        del a

    async def run() -> None:
        session = ThreadSession(train)
        await session.start()
        async with asyncio.timeout(SECONDS):
            async for event in session.events():
                if isinstance(event, m.Progress) and event.iteration > 5:
                    session.pause()
                if isinstance(event, m.Stopped):
                    await look_before_backward(session, event.stop)
                    if len(told) == 4:
                        break
                    session.resume(m.Action.CONTINUE if len(told) == 1 and event.stop.iteration == 1 else m.Action.NEXT)
        await session.close()

    with looking() as told:
        asyncio.run(run())
    for one in told:
        free = "not recorded: the script ran free in this iteration"
        assert one.causes["a.weight"] == (free if one.free else "a was not called in this iteration")
    assert not told[0].free
    assert not told[-1].free


def test_nothing_is_noted_in_a_free_run() -> None:
    noted: list[int] = []

    def train() -> None:
        net = nn.Sequential(linear(), linear())
        for _ in range(50):
            net(X).sum().backward()
        noted.append(len(gc_calls()._log))

    drive(train, [m.Action.CONTINUE])
    assert noted[0] <= 3  # the call at whose stop the free run began


def gc_calls() -> calls_module.Calls:
    found = [c for c in gc.get_objects() if type(c) is calls_module.Calls]
    return found[-1]


def test_too_many_calls_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "MAX_CALLS", 20)

    def train() -> None:
        a, b = linear(), linear()
        sum(b(X).sum() for _ in range(30)).backward()
        del a

    (told,) = before_backward(train)
    assert told.causes["a.weight"] == "not recorded: this iteration made more than 20 module calls"
    assert told.log == 20


def test_lazy_parameters() -> None:
    def train() -> None:
        a, b = nn.LazyLinear(3), linear()
        b(X).sum().backward()
        del a

    (told,) = before_backward(train)
    assert told.causes["a.weight"] == "a is lazy: it makes its parameters when it is first called"


# ── parameters replaced after the optimizer was built ───────────────────────────────────────────────────────────


def test_a_replaced_layer() -> None:
    def train() -> None:
        net = nn.Sequential(linear(), linear(4, 10))
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        net[1] = linear(4, 2)
        net(X).sum().backward()
        optimiser.step()

    (told,) = before_backward(train)
    assert told.marks["net.1.weight"] == ("reached", "unowned")
    assert told.causes["net.1.weight"] == (
        "likely made after optimiser was built: that still holds optimiser[0].params[2] in its place"
    )
    assert told.marks["optimiser[0].params[2]"] == ("unreached", "unused")
    assert told.causes["optimiser[0].params[3]"] == (
        "likely replaced after optimiser was built: 1.bias is in its place"
    )
    assert told.causes["net.0.weight"] == ""


def test_a_model_made_anew() -> None:
    def train() -> None:
        net = nn.Sequential(linear(), linear(4, 10))
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        ema = copy.deepcopy(net)
        net = nn.Sequential(linear(), linear(4, 10))
        net(X).sum().backward()
        del ema, optimiser

    (told,) = before_backward(train)
    assert "optimiser[0].params[0] in its place" in told.causes["net.0.weight"]
    assert told.causes["ema.0.weight"] == "ema was not called in this iteration"


def test_an_optimizer_of_something_out_of_sight_replaces_nothing() -> None:
    def hidden() -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.ones(7, requires_grad=True), torch.ones(4, 4, requires_grad=True)], 0.1)

    def train() -> None:
        net, optimiser = linear(), hidden()
        net(X).sum().backward()
        del optimiser

    (told,) = before_backward(train)
    assert told.causes["net.weight"] == told.causes["net.bias"] == ""
    assert told.causes["optimiser[0].params[1]"].startswith("no module holds it")


# ── nothing is kept, nothing is seen ────────────────────────────────────────────────────────────────────────────


def test_what_was_called_and_put_out_lives_no_longer() -> None:
    alive: list[list[bool]] = []

    def train() -> None:
        net, other = nn.Sequential(linear(), linear()), linear()
        output = net(X)
        hidden = other(output.detach())
        refs: list[Any] = [weakref.ref(x) for x in (output, hidden, other)]
        storage = torch.multiprocessing.reductions.StorageWeakRef(output.untyped_storage())
        net(X).sum().backward()
        del output, hidden, other
        alive.append([*(ref() is not None for ref in refs), not storage.expired()])

    bare: list[list[bool]] = []
    train()
    bare, alive[:] = alive[:], []
    before_backward(train)
    assert alive == bare == [[False] * 4]


def test_weak_references_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    given: list[int] = []
    weak, let_go = calls_module._weak, calls_module._let_go
    monkeypatch.setattr(calls_module, "_weak", lambda s: taken.append(weak(s)) or taken[-1])  # type: ignore[func-returns-value]
    monkeypatch.setattr(calls_module, "_let_go", lambda s: given.append(s) or let_go(s))  # type: ignore[func-returns-value]

    def train() -> None:
        net = nn.LSTM(4, 4)
        optimiser = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            net(X)[0].sum().backward()
            optimiser.step()

    drive(train)
    assert len(taken) == 9  # output, h and c, three times
    assert sorted(taken) == sorted(given)


@pytest.mark.parametrize("kind", ["mode", "subclass", "vmap", "sparse", "trace"])
def test_no_mode_or_subclass_of_the_script_sees_the_notes(kind: str) -> None:
    def train() -> list[str]:
        seen: list[str] = []

        class Mode(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                seen.append(getattr(func, "__name__", str(func)))
                return func(*args, **(kwargs or {}))

        class Own(Tensor):
            @classmethod
            def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                seen.append(getattr(func, "__name__", str(func)))
                return super().__torch_function__(func, types, args, kwargs)

        net = nn.Sequential(linear(), nn.Tanh())
        if kind == "mode":
            with Mode():
                net(X)
        elif kind == "subclass":
            net(X.as_subclass(Own))
        elif kind == "vmap":
            torch.func.vmap(net)(X)
            torch.func.grad(lambda x: net(x).sum())(X)
        elif kind == "sparse":
            nn.Identity()(X.clone().requires_grad_().to_sparse())
        else:
            seen.append(str(torch.jit.trace(net, X).graph))
        return seen

    bare = train()
    results: list[Any] = []
    run = drive(lambda: results.append(train()))
    assert run.error is None
    assert not [e for e in run.events if isinstance(e, m.Warned)]
    if kind == "trace":  # names of values are numbered; the operations are what counts
        assert [line.count("aten::") for line in bare] == [line.count("aten::") for line in results[0]]
    else:
        assert results[0] == bare


# ── any wiring ──────────────────────────────────────────────────────────────────────────────────────────────────

WAYS = ("with", "detach", "data", "skip")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(WAYS), min_size=1, max_size=6), st.booleans())
def test_any_chain(ways: list[str], flat: bool) -> None:
    """Layers in a row: each takes the one before it with history, without, or the data instead."""

    def run(layers: Any) -> Tensor:
        value = layers[0](X)
        for layer, way in zip(layers[1:], ways, strict=False):
            passed = {"with": value, "detach": value.detach(), "data": value.data, "skip": X}[way]
            value = layer(passed)
        return value

    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([linear() for _ in range(len(ways) + 1)])

        def forward(self) -> Tensor:
            return run(self.layers)

    def train() -> None:
        net = Chain()
        (run(net.layers) if flat else net()).sum().backward()

    (told,) = before_backward(train)
    last = max((n for n, way in enumerate(ways, 1) if way != "with"), default=0)
    for n in range(len(ways) + 1):
        cause = told.causes[f"net.layers.{n}.weight"]
        assert (cause == "") == (n >= last), (n, cause)
        if n >= last:
            continue
        # The chain from n: with history up to the first other way. Cut there, and is what takes it in the graph?
        broken = next(k for k in range(n + 1, len(ways) + 1) if ways[k - 1] != "with")
        if broken == last and ways[last - 1] in ("detach", "data"):
            assert f"net.layers.{last - 1} enters this loss without its history" in cause
            assert f"net.layers.{last} takes it so" in cause
        else:
            assert f"the output of net.layers.{n} is not used by this loss" in cause


STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 9), st.sampled_from([*WAYS, "clone", "no_grad", "function"])),
    min_size=1,
    max_size=10,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.lists(st.integers(0, 9), min_size=1, max_size=3))
def test_any_wiring_is_told_as_it_was(steps: list[tuple[int, int, str]], used: list[int]) -> None:
    """Modules called any number of times on each other's outputs: nothing is claimed that the script did not do."""
    called: dict[str, list[bool]] = {}
    took: list[tuple[str, str, str]] = []  # (who, whose output, in which way)

    def train() -> None:
        nets = [linear() for _ in range(5)]
        head = linear()
        values: list[tuple[Tensor, str]] = [(X, "")]
        for number, which, way in steps:
            value, maker = values[which % len(values)]
            passed = {"detach": value.detach, "data": lambda v=value: v.data, "skip": lambda: X}.get(
                way, lambda v=value: v
            )()
            if way == "clone":
                passed = passed.detach().clone()
            if way == "function":
                passed = passed.tanh()
            with torch.set_grad_enabled(way != "no_grad"):
                values.append((nets[number](passed), f"nets[{number}]"))
            called.setdefault(f"nets[{number}]", []).append(way != "no_grad")
            took.append((f"nets[{number}]", maker, way))
        chosen = [values[which % len(values)] for which in used]
        sum(head(value).sum() for value, _ in chosen).backward()
        took.extend(("head", maker, "with") for _, maker in chosen)

    (told,) = before_backward(train)
    for name, cause in told.causes.items():
        module = name.rpartition(".")[0]
        if "reached" in told.marks[name]:
            assert cause == ""
        elif module not in called:
            assert cause == f"{module} was not called in this iteration"
        elif not any(called[module]):
            assert cause.startswith(f"{module} was called under no_grad")
        elif CUT in cause:
            maker, taker = re.fullmatch(r"the output of (.+) enters .*: (.+) takes it so at \S+", cause).groups()  # type: ignore[union-attr]
            assert any(taken in took for taken in [(taker, maker, "detach"), (taker, maker, "data")])
            assert "reached" in told.marks[f"{taker}.weight"]
            assert any(called[maker])
        else:
            assert cause.startswith(f"the output of {module} is not used by this loss")
            # Not one of its outputs was taken without history by what the loss reaches at its only call.
            for taker, maker, way in took:
                once = len(called.get(taker, [True])) == 1 and len(called[module]) == 1
                if maker == module and way in ("detach", "data") and once:
                    assert "reached" not in told.marks[f"{taker}.weight"]


def test_every_pair_of_rows_adds_up() -> None:
    for train in (gan, teacher, attention_detached, weight_through_data):
        (told,) = before_backward(train)
        modules = [row for row in told.rows.values() if row.what == "module"]
        assert sum(row.reached for row in modules) == told.counts["reached"]
        assert sum(row.total - row.reached for row in modules) == told.counts.get("unreached", 0)


def test_marks_exclude_each_other() -> None:
    told = list(itertools.chain.from_iterable(before_backward(t) for t in (gan, averaged)))
    for marks in (every for t in told for every in t.marks.values()):
        assert not {"reached", "unreached"} <= set(marks)
        assert not {"unowned", "unused"} <= set(marks)
