"""Bytes known by construction, for every kind of tensor and every way of keeping one."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from stepdbg.agent.memory.process import devices, peak_resident
from stepdbg.agent.saved import count_once, tensor_storages
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.memory import GetOtherMemory, MemoryRecord, OtherMemory
from stepdbg.protocol.records import StopRecord

from .conftest import drive


def size(*tensors: Tensor) -> int:
    return count_once((pair for tensor in tensors for pair in tensor_storages(tensor)), set())


def at(phase: str, train: Callable[[], Any], kind: type[Any] = m.GetMemory) -> Any:
    """The answer at the last stop before that phase."""
    found: dict[str, Any] = {}

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        name = stop.next.phase.value if stop.next else stop.reason.value
        if name == phase:
            found[name] = await session.request(kind(0))

    drive(train, visit=visit)
    return found[phase]


# ── storages of single tensors ──────────────────────────────────────────────────────────────────────────────


class Wrapped(Tensor):
    """A subclass without memory of its own, as quantisation libraries make them."""

    @staticmethod
    def __new__(cls: type[Wrapped], codes: Tensor, scale: Tensor) -> Wrapped:  # noqa: PYI034
        made: Wrapped = Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)  # type: ignore[attr-defined]
        return made

    def __init__(self, codes: Tensor, scale: Tensor) -> None:
        self.codes, self.scale = codes, scale

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("the subclass's own code ran")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "nbytes"),
    [
        (lambda: torch.ones(10), 40),
        (lambda: torch.ones(10)[2:4], 40),
        (lambda: torch.ones(1, 3).expand(1000, 3), 12),
        (lambda: torch.ones(4, 6).t(), 96),
        (lambda: torch.ones(5, dtype=torch.complex128), 80),
        (lambda: torch.ones(8, dtype=torch.bool), 8),
        (lambda: torch.empty(0), 0),
        (lambda: torch.ones(100, device="meta"), 0),
        # Two entries: indices of int64 in two dimensions, and values of float32.
        (lambda: torch.sparse_coo_tensor([[0, 1], [1, 2]], [1.0, 2.0], (9, 9)), 2 * 2 * 8 + 2 * 4),
        (lambda: torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0]), 3 * 8 + 2 * 8 + 2 * 4),
        (lambda: torch.sparse_csc_tensor([0, 1, 2], [0, 1], [1.0, 2.0]), 3 * 8 + 2 * 8 + 2 * 4),
        (lambda: torch.sparse_bsr_tensor([0, 1], [0], torch.ones(1, 2, 2)), 2 * 8 + 1 * 8 + 4 * 4),
        (lambda: torch.quantize_per_tensor(torch.ones(10), 0.1, 0, torch.qint8), 10),
        (lambda: Wrapped(torch.zeros(16, dtype=torch.int8), torch.ones(2)), 16 + 8),
    ],
)
def test_bytes_of_every_kind_of_tensor(make: Callable[[], Tensor], nbytes: int) -> None:
    assert size(make()) == nbytes


def test_one_storage_behind_several_tensors_is_counted_once() -> None:
    whole = torch.zeros(10)
    assert size(whole, whole[:5], whole.view(2, 5).t(), whole.detach()) == 40


# ── categories ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_storage_counts_in_the_first_category_that_holds_it() -> None:
    def train() -> None:
        net = nn.Linear(4, 3)
        net.register_buffer("same", net.weight.detach()[1:])  # of the parameter's storage
        net.register_buffer("other", torch.zeros(5, 2))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(torch.ones(2, 4)).sum().backward()
        optimizer.state[net.weight]["mine"] = net.weight.grad  # of the gradient's
        optimizer.step()

    record: MemoryRecord = at("step", train)
    assert (record.parameters, record.buffers, record.gradients, record.optimizer) == (60, 40, 60, 0)


def test_sparse_gradients_and_the_state_of_their_optimizer() -> None:
    def train() -> None:
        net = nn.Embedding(1000, 4, sparse=True)
        optimizer = torch.optim.SparseAdam(net.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            net(torch.tensor([1, 5, 9])).sum().backward()
            optimizer.step()

    record: MemoryRecord = at("step", train)
    assert record.gradients == 3 * 8 + 3 * 4 * 4  # three indices, three rows
    assert record.optimizer == 2 * 1000 * 4 * 4


def test_tied_and_expanded_parameters() -> None:
    def train() -> None:
        net = nn.Module()
        net.a = nn.Linear(8, 8, bias=False)
        net.b = nn.Linear(8, 8, bias=False)
        net.b.weight = net.a.weight
        net.scale = nn.Parameter(torch.ones(1).expand(8))
        (net.b(net.a(torch.ones(2, 8))) * net.scale).sum().backward()

    assert at("backward", train).parameters == 8 * 8 * 4 + 4


def test_parameters_given_back_and_on_the_meta_device_take_nothing() -> None:
    def train() -> None:
        net = nn.Linear(4, 4, bias=False)
        gone = nn.Linear(100, 100, bias=False)
        gone.weight.untyped_storage().resize_(0)
        empty = nn.Linear(100, 100, device="meta")
        net(torch.ones(1, 4)).sum().backward()
        del gone, empty

    assert at("backward", train).parameters == 64


def test_offloaded_activations_count_where_they_are() -> None:
    def train() -> None:
        x = torch.ones(50)
        w = torch.ones(50, requires_grad=True)
        with save_on_cpu():
            loss = (w * x).exp().sum()
        loss.backward()

    # The input and the result of exp: copied once for each. `w` is a parameter, and its copy is none.
    record: MemoryRecord = at("backward", train)
    assert record.graph == 2 * 200
    assert at("finished", train).graph == 0


def test_what_hooks_pack_to_disk_is_not_in_memory(tmp_path: Path) -> None:
    def train() -> None:
        files = iter(range(100))

        def pack(tensor: Tensor) -> str:
            path = str(tmp_path / f"{next(files)}.pt")
            torch.save(tensor, path)
            return path

        w = torch.ones(50, requires_grad=True)
        with saved_tensors_hooks(pack, torch.load):
            loss = w.exp().sum()
        loss.backward()

    assert at("backward", train).graph == 0


def test_what_hooks_pack_into_fewer_bytes_counts_as_these() -> None:
    def train(pack: Callable[[Tensor], Any]) -> Callable[[], None]:
        def run() -> None:
            w = torch.ones(50, requires_grad=True)
            with saved_tensors_hooks(pack, lambda packed: packed):
                loss = w.exp().sum()
            torch.autograd.backward(loss)

        return run

    # The script's unpack hook gives nonsense, so that backward itself would raise: only the stop before it is asked.
    half: MemoryRecord = at("backward", train(lambda t: (t.detach().to(torch.int8), 0.5)))
    assert half.graph == 50
    assert at("backward", train(lambda t: t.detach().half())).graph == 100
    assert at("backward", train(lambda t: t.detach().numpy().tobytes())).graph == 200


def test_quantized_buffers_and_what_cannot_be_told() -> None:
    def train() -> None:
        net = nn.Linear(4, 1, bias=False)
        net.register_buffer("codes", torch.quantize_per_tensor(torch.ones(33), 0.1, 0, torch.qint8))
        net.register_buffer("opaque", torch.ones(4, 4).to_mkldnn())
        net(torch.ones(1, 4)).sum().backward()

    record: MemoryRecord = at("backward", train)
    assert (record.buffers, record.unread) == (33, 1)


# ── what modules saved ──────────────────────────────────────────────────────────────────────────────────────


def test_saved_by_module_adds_up_and_agrees_with_the_graph() -> None:
    rows: dict[str, int | None] = {}
    found: list[MemoryRecord] = []

    def train() -> None:
        net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
        criterion = nn.MSELoss()
        criterion(net(torch.ones(8, 4)), torch.zeros(8, 1)).backward()

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next and stop.next.phase.value == "backward":
            found.append(await session.request(m.GetMemory(0)))
            rows.update((row.name, row.nbytes) for row in (await session.request(m.GetGraph(0))).rows)

    drive(train, visit=visit)
    (record,) = found
    assert sum(row.nbytes for row in record.modules) == record.graph
    assert [row.so_far for row in record.modules] == list(accumulate(row.nbytes for row in record.modules))
    # The input; the result of tanh counts at the newest that keeps it, the last layer; output and target.
    assert [(row.path, row.kind, row.nbytes) for row in record.modules] == [
        ("net.0", "Linear", 8 * 4 * 4),
        ("net.2", "Linear", 8 * 6 * 4),
        ("criterion", "MSELoss", 2 * 8 * 4),
    ]
    assert record.module == "criterion"
    for row in record.modules[:2]:
        assert rows[row.path] == row.nbytes


# ── what else is alive ──────────────────────────────────────────────────────────────────────────────────────


def other(train: Callable[[], Any], settings: m.Settings | None = None) -> list[OtherMemory]:
    """What else is alive at each stop before a FORWARD; the process has other tests' tensors, so compare."""
    found: list[OtherMemory] = []

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.next and stop.next.phase.value == "forward":
            found.append(await session.request(GetOtherMemory(0)))
            record = await session.request(m.GetMemory(0))
            assert record.own == record.own_copies == found[-1].own  # as counted along the way, and as the tensors are

    drive(train, visit=visit, settings=settings)
    return found


def test_other_tensors_are_counted_to_the_byte_and_named() -> None:
    def train() -> None:
        net = nn.Linear(4, 1)
        x = torch.ones(2, 4)
        net(x)
        dataset = torch.zeros(1_000_000)
        views = [dataset[i:] for i in range(10)]
        net(x)
        del dataset
        net(x)
        views.clear()
        net(x)

    gc.collect()
    first, with_data, with_views, after = other(train)
    assert with_data.nbytes - first.nbytes == with_views.nbytes - first.nbytes == 4_000_000
    assert after.nbytes == first.nbytes
    largest = next(row for row in with_data.largest if row.nbytes == 4_000_000)
    assert (largest.name, largest.shape, largest.dtype, largest.device) == ("dataset", (1_000_000,), "float32", "cpu")


def test_our_own_tensors_are_in_their_row_and_in_no_other() -> None:
    def train() -> None:
        net = nn.Linear(1000, 100, bias=False)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(1, 1000)).sum().backward()
            optimizer.step()

    gc.collect()
    without, with_copies = other(train, m.Settings(previous_bytes=0)), other(train)
    assert [each.own for each in without] == [0, 0, 0]
    assert [each.nbytes for each in without] == [each.nbytes for each in with_copies]
    # The values at the first stops, value and gradient before the last step, and what it has made of the value.
    assert with_copies[-1].own % 400_000 == 0
    assert with_copies[-1].own >= 3 * 400_000
    assert 0 < with_copies[-1].own_rest < 40 << 20


def test_inputs_that_a_checkpoint_keeps_are_found_although_no_tensor_of_pythons_holds_them() -> None:
    def train() -> None:
        net = nn.Sequential(nn.Linear(16, 16), nn.Tanh())
        w = torch.ones(8, 16, requires_grad=True)
        loss = checkpoint(net, w * 2, use_reentrant=False).sum()
        net(torch.ones(1, 16)).detach()
        loss.backward()
        del loss
        net(torch.ones(1, 16)).detach()

    found = other(train)  # inside the checkpointed call, after it, and once its graph is gone
    assert [each.checkpoints for each in found] == [8 * 16 * 4, 8 * 16 * 4, 0]


# ── the process ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_the_process_stays_when_its_memory_is_given_back() -> None:
    before = peak_resident()
    assert before is not None
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    assert before >= resident - (1 << 20)
    more = before - resident + (64 << 20)
    del_me = torch.ones(more // 4)
    del del_me
    after = peak_resident()
    assert after is not None
    assert 48 << 20 <= after - before <= 96 << 20


def test_cuda_is_told_once_the_script_uses_it_and_never_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this is about a machine without")
    assert devices() == ()
    assert not torch.cuda.is_initialized()
    # What the allocator of a machine with two devices says, of which one is used.
    told = {
        "memory_allocated": 1024,
        "memory_reserved": 4096,
        "max_memory_allocated": 2048,
        "max_memory_reserved": 8192,
    }
    fake = SimpleNamespace(_initialized=True, device_count=lambda: 2)
    for name, value in told.items():
        setattr(fake, name, lambda index, value=value: value if index == 1 else 0)
    monkeypatch.setitem(sys.modules, "torch.cuda", fake)
    (device,) = devices()
    assert (device.device, device.allocated, device.reserved) == ("cuda:1", 1024, 4096)
    assert (device.peak_allocated, device.peak_reserved) == (2048, 8192)
