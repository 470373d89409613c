"""Each estimate beside what comes of doing it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import StopRecord
from stepdbg.protocol.whatif import Estimate, GetWhatIf, WhatIfKind

from .conftest import drive

Asked = dict[str, list[Any]]


def ask(train: Callable[[], Any], *queries: GetWhatIf, at: str) -> list[list[Any]]:
    """What each query is answered (an Estimate, or the one line why there is none), at every stop before phase `at`,
    and before them the memory.
    """
    found: list[list[Any]] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        name = stop.next.phase.value if stop.next else stop.reason.value
        answers: list[Any] = [await session.request(m.GetMemory(0))]
        if name == at:
            for query in queries:
                try:
                    answers.append(await session.request(query))
                except RequestError as error:
                    answers.append(str(error))
            found.append(answers)

    run = drive(train, visit=visit)
    assert run.error is None, run.error
    assert not [event for event in run.events if isinstance(event, m.Warned)]
    return found


def row(estimate: Estimate, label: str) -> int | None:
    (found,) = [row.nbytes for row in estimate.rows if row.label.strip() == label]
    return found


def grads_in(net: nn.Module) -> int:
    """Bytes of all gradients, each storage once."""
    sizes: dict[int, int] = {}
    for p in net.parameters():
        if p.grad is not None:
            parts = (p.grad._indices(), p.grad._values()) if p.grad.is_sparse else (p.grad,)
            for part in parts:
                storage = part.untyped_storage()
                sizes[storage.data_ptr()] = storage.nbytes()
    sizes.pop(0, None)
    return sum(sizes.values())


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("none", [True, False], ids=["none", "zeros"])
def test_zero_grad_frees_what_was_estimated(sparse: bool, none: bool) -> None:
    done: list[int] = []

    def train() -> None:
        net = nn.Sequential(nn.Embedding(10, 4, sparse=sparse), nn.Linear(4, 3))
        spare = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        (net(torch.tensor([1, 2, 5])).sum() + spare(torch.ones(1, 2)).sum()).backward()
        before = grads_in(net) + grads_in(spare)
        optimizer.zero_grad(set_to_none=none)
        done.extend((before, before - grads_in(net) - grads_in(spare)))
        optimizer.step()

    ((_, estimate),) = ask(train, GetWhatIf(0, WhatIfKind.ZERO_GRAD), at="zero_grad")
    freed = row(estimate, f"set_to_none={none} frees")
    assert freed == done[1]
    assert (freed > 0) is (none or sparse)
    assert row(estimate, "stays either way") == (4 + 2) * 4
    assert "estimated" in estimate.answer


OPTIMIZERS: list[tuple[str, tuple[str, ...], Callable[[Any], torch.optim.Optimizer]]] = [
    ("adam", (), torch.optim.Adam),
    ("adam", ("amsgrad",), lambda p: torch.optim.Adam(p, amsgrad=True)),
    ("adamw", (), torch.optim.AdamW),
    ("adamw", ("amsgrad",), lambda p: torch.optim.AdamW(p, amsgrad=True)),
    ("sgd", (), lambda p: torch.optim.SGD(p, lr=0.1)),
    ("sgd", ("momentum",), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    ("rmsprop", (), torch.optim.RMSprop),
    ("rmsprop", ("momentum", "centered"), lambda p: torch.optim.RMSprop(p, momentum=0.9, centered=True)),
    ("adagrad", (), torch.optim.Adagrad),
]


def model() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 1))
    net[1].to(torch.bfloat16)
    net.add_module("unused", nn.Linear(50, 50))
    return net


def run_model(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    net = model()
    net[0].bias.requires_grad_(False)
    optimizer = make(list(net.parameters()))
    for _ in range(2):
        net[1](net[0](torch.ones(2, 4)).bfloat16()).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_the_state_of_another_optimizer() -> None:
    queries = [GetWhatIf(0, WhatIfKind.OPTIMIZER, name, options) for name, options, _ in OPTIMIZERS]
    first, *_ = ask(lambda: run_model(lambda p: torch.optim.SGD(p, lr=0.1)), *queries, at="zero_grad")
    for (name, options, make), estimate in zip(OPTIMIZERS, first[1:], strict=True):
        done, *_ = ask(
            lambda make=make: run_model(make), GetWhatIf(0, WhatIfKind.OPTIMIZER, name, options), at="zero_grad"
        )
        assert row(estimate, "state in all") == done[0].optimizer, (name, options)
        assert row(estimate, "held now") == 0
        assert row(done[1], "difference") == 0
        assert "estimated" in estimate.answer
        skipped = "of all parameters at once" if name == "adagrad" else "without gradient or state: not counted"
        assert skipped in estimate.note


class Net(nn.Module):
    def __init__(self, use: str = "") -> None:
        super().__init__()
        self.a = nn.Linear(4, 16)
        self.h = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16), nn.GELU())
        self.b = nn.Linear(16, 1)
        self.use = use

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        if self.use == "relu":
            x = torch.relu(x)
        x = checkpoint(self.h, x, use_reentrant=False) if self.use == "checkpoint" else self.h(x)
        return self.b(x)


def train_net(sizes: list[int], use: str = "") -> None:
    net = Net(use)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for size in sizes:
        optimizer.zero_grad()
        output = net(torch.ones(size, 4))
        loss = output.pow(2).mean()
        loss.backward()
        optimizer.step()


def test_a_larger_batch() -> None:
    twice, fixed = GetWhatIf(0, WhatIfKind.BATCH, factor=2), GetWhatIf(0, WhatIfKind.BATCH, size=40)
    one, two = ask(lambda: train_net([8, 20]), twice, fixed, at="backward")
    ((truth,),) = ask(lambda: train_net([40]), at="backward")
    ((sixteen,),) = ask(lambda: train_net([16]), at="backward")
    assert row(one[1], "a batch of 16 would save") == sixteen.graph
    assert "From one batch only" in one[1].basis
    assert row(two[1], "a batch of 40 would save") == row(two[2], "a batch of 40 would save") == truth.graph
    assert "batches of 20 and 8" in two[1].basis
    assert all("estimated" in answers[1].answer for answers in (one, two))


@pytest.mark.parametrize(("size", "bound"), [(40, "at most"), (5, "at least")])
def test_a_batch_estimated_from_one_lies_within_the_bound_told(size: int, bound: str) -> None:
    def train(size: int) -> Callable[[], None]:
        net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16))  # which saves two numbers a feature as well
        return lambda: net(torch.ones(size, 4)).pow(2).mean().backward()

    ((_, estimate),) = ask(train(10), GetWhatIf(0, WhatIfKind.BATCH, size=size), at="backward")
    ((truth,),) = ask(train(size), at="backward")
    told, limit = row(estimate, f"a batch of {size} would save"), row(estimate, bound)
    assert told == truth.graph
    assert told is not None
    assert limit is not None
    assert (told < limit) is (bound == "at most")


def test_a_batch_that_was_not_seen_is_said_to_be_missing() -> None:
    ((_, nothing),) = ask(lambda: train_net([8]), GetWhatIf(0, WhatIfKind.BATCH, factor=2), at="forward")
    assert nothing == "there is no live graph: ask at a stop before a backward (n runs up to it)"
    ((_, gone),) = ask(lambda: train_net([8]), GetWhatIf(0, WhatIfKind.BATCH, factor=2), at="step")
    assert gone == "only batches of 8 have been seen, and their graph is gone: ask at a stop before a backward"


class Alive(TorchDispatchMode):
    """The bytes of all storages made under it that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.made[storage._cdata] = weakref.ref(storage)
        return result

    def nbytes(self) -> int:
        return sum(s.nbytes() for ref in self.made.values() if (s := ref()) is not None)


def kept_by_forward(use: str) -> int:
    net = Net(use)
    x = torch.ones(8, 4)
    with Alive() as alive:
        output = net(x)
        kept = alive.nbytes()
    del output
    return kept


def test_checkpointing_frees_what_was_estimated() -> None:
    query = GetWhatIf(0, WhatIfKind.CHECKPOINT, "net.h")
    ((_, estimate),) = ask(lambda: train_net([8]), query, at="backward")
    plain, less = kept_by_forward(""), kept_by_forward("checkpoint")
    assert plain > less
    assert row(estimate, "checkpointing frees") == plain - less
    assert "estimated" in estimate.answer
    assert (row(estimate, "its inputs"), row(estimate, "saved outside too")) == (8 * 16 * 4, 0)


def test_a_module_that_cannot_be_checkpointed_is_said_so() -> None:
    queries = [GetWhatIf(0, WhatIfKind.CHECKPOINT, name) for name in ("net.hh", "net.h")]
    ((_, near, fine),) = ask(lambda: train_net([8]), *queries, at="backward")
    assert near == "no module is called net.hh at this stop: did you mean net.h?"
    assert isinstance(fine, Estimate)
    ((_, _, gone),) = ask(lambda: train_net([8]), *queries, at="step")
    assert gone == (
        "the graph saves nothing any more, a backward has freed it: ask at a stop before a backward (n runs up to it)"
    )


@pytest.mark.parametrize("use", ["relu"])
def test_an_input_that_is_saved_outside_stays(use: str) -> None:
    ((_, estimate),) = ask(lambda: train_net([8], use), GetWhatIf(0, WhatIfKind.CHECKPOINT, "net.h"), at="backward")
    # relu keeps its result, which is the input of net.h.
    assert row(estimate, "saved outside too") == 8 * 16 * 4
    assert row(estimate, "checkpointing frees") == row(estimate, "net.h saves") - 8 * 16 * 4


def test_an_input_that_nothing_saves_is_kept_anew() -> None:
    class Outer(nn.Module):
        def __init__(self, use: bool) -> None:
            super().__init__()
            self.a, self.h, self.use = nn.Linear(4, 16), nn.Sequential(nn.Tanh(), nn.Tanh(), nn.Tanh()), use

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            return checkpoint(self.h, x, use_reentrant=False) if self.use else self.h(x)

    def kept(use: bool) -> int:
        net, x = Outer(use), torch.ones(8, 4)
        with Alive() as alive:
            total = net(x).sum()
            found = alive.nbytes()
        del total
        return found

    def train() -> None:
        net = Outer(False)
        net(torch.ones(8, 4)).sum().backward()

    ((_, estimate),) = ask(train, GetWhatIf(0, WhatIfKind.CHECKPOINT, "net.h"), at="backward")
    assert row(estimate, "inputs kept anew") == 8 * 16 * 4
    assert row(estimate, "checkpointing frees") == kept(False) - kept(True)
