"""What an armed breakpoint, and `watch nan`, cost. Processor time of the thread that trains, in pairs.

    python benchmarks/breakpoints.py [boundary|line|nan] [--pairs N]

*boundary*: a loop of 5 phases on a tiny network; iterations with a breakpoint armed that is never hit, over those of
a free run, per boundary. *line*: a line armed whose condition is never true, over a phase armed that is
never hit (both record boundaries), where the line is in a function that is never called, in the model's forward, in the
loop; a network of three layers, and the model of char_gpt; in turn in one run.
*nan*: GPT-2 small (forward, backward, step; 64 tokens), every third iteration bare, watched and
under `torch.autograd.detect_anomaly`, in turn in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

import torch

from stepdbg import phase
from stepdbg.client.session import Exited
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol.breakpoints import DeleteBreakpoint, Kind, SetBreakpoint, Spec
from stepdbg.protocol.messages import Action, Settings, Stopped

BLOCK = 400
PHASES = 5


async def _drive(train: Callable[[], None], settings: Settings, visit: Any = None) -> None:
    session = ThreadSession(train, settings)
    await session.start()
    try:
        async for event in session.events():
            if isinstance(event, Stopped):
                action = await visit(session, event.stop) if visit is not None else Action.CONTINUE
                session.resume(action)
            elif isinstance(event, Exited):
                break
    finally:
        await session.close()
    if session.error is not None:
        raise session.error


def boundary(pairs: int) -> None:
    """Microseconds that each boundary costs more than in a free run."""
    for name, spec in (
        ("iteration", Spec(Kind.PHASE, "backward", condition="iteration < 0")),
        ("loss", Spec(Kind.PHASE, "backward", condition="loss > 1e9")),
        ("loss, every phase", None),
    ):
        specs = (
            [spec]
            if spec
            else [
                Spec(Kind.PHASE, p, condition="loss > 1e9")
                for p in ("zero_grad", "forward", "loss", "backward", "step")
            ]
        )
        found = [(_seconds(specs) - _seconds([])) / (BLOCK * PHASES) * 1e6 for _ in range(pairs)]
        print(f"{name:<20} µs a boundary: {min(found):.1f} / {statistics.median(found):.1f} / {max(found):.1f}")


def _seconds(specs: list[Spec]) -> float:
    took = []

    def train() -> None:
        torch.manual_seed(0)
        net = torch.nn.Linear(4, 1)
        criterion = torch.nn.MSELoss()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        x, y = torch.randn(8, 4), torch.randn(8, 1)
        for block in range(4):
            began = thread_time()
            for _ in range(BLOCK):
                optimizer.zero_grad()
                loss = criterion(net(x), y)
                loss.backward()
                optimizer.step()
            if block:
                took.append(thread_time() - began)

    asyncio.run(_drive(train, Settings(stop_at="never", breakpoints=tuple(specs))))
    return min(took)


def line(pairs: int) -> None:
    """Ratios of iterations with an armed line to those without; and microseconds more."""
    torch.set_num_threads(1)
    for name, make, block in (("toy", _toy, 200), ("char_gpt", _char_gpt, 4)):
        seconds: dict[str, list[float]] = {}
        asyncio.run(_lines(make, block, pairs, seconds))
        for part in ("elsewhere", "in forward", "in the loop"):
            both = list(zip(seconds["phase"], seconds[part], strict=True))
            ratios = [b / a for a, b in both]
            more = statistics.median((b - a) / block * 1e6 for a, b in both)
            bare = statistics.median(a for a, _ in both) / block * 1e3
            spread = " / ".join(f"{f(ratios):.3f}" for f in (min, statistics.median, max))
            print(f"{name:<9} {part:<12} over {bare:.2f} ms: {spread}, {more:+.0f} µs an iteration")


async def _lines(make: Any, block: int, pairs: int, seconds: dict[str, list[float]]) -> None:
    never = "iteration < 0"
    turn, stops = ["phase"], [0]
    where: dict[str, Spec] = {}
    parts = ("phase", "elsewhere", "in forward", "in the loop")

    def train() -> None:
        torch.manual_seed(0)
        one, forward = make()
        for part, code in (("elsewhere", _never.__code__), ("in forward", forward), ("in the loop", one.__code__)):
            where[part] = Spec(Kind.LINE, code.co_filename, line=code.co_firstlineno + 2, condition=never)
        for _ in range(4 * (pairs + 1)):
            with phase("turn"):
                pass
            began = thread_time()
            for _ in range(block):
                one()
            seconds.setdefault(turn[0], []).append(thread_time() - began)

    async def visit(session: ThreadSession, stop: Any) -> Action:
        if stop.next is None or stop.next.phase.value != "custom":
            return Action.CONTINUE
        turn[0] = parts[stops[0] % 4]
        stops[0] += 1
        await session.request(DeleteBreakpoint(0, 0))
        await session.request(SetBreakpoint(0, Spec(Kind.PHASE, "custom")))
        if turn[0] in where:
            await session.request(SetBreakpoint(0, where[turn[0]]))
        return Action.CONTINUE

    await _drive(train, Settings(stop_at="never", breakpoints=(Spec(Kind.PHASE, "custom"),)), visit)
    for part in parts:
        del seconds[part][0]  # warming up


def _never() -> None:
    """Is never called."""
    print("never")


def _toy() -> tuple[Any, Any]:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))

        def forward(self, x: torch.Tensor) -> Any:
            """Three layers."""
            return self.layers(x)

    net, criterion = Net(), torch.nn.MSELoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(32, 32), torch.randn(32, 1)

    def one() -> None:
        optimizer.zero_grad()
        criterion(net(x), y).backward()
        optimizer.step()

    return one, Net.forward.__code__


def _char_gpt() -> tuple[Any, Any]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "demo_models"))
    import char_gpt as demo

    alphabet = sorted(set(demo.TEXT))
    model = demo.CharGPT(len(alphabet))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    stream = demo.batches(torch.tensor([alphabet.index(letter) for letter in demo.TEXT]), 8, 64)

    def one() -> None:
        for _ in range(4):
            letters, following = next(stream)
            logits = model(letters)
            (torch.nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten()) / 4).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()

    return one, demo.CharGPT.forward.__code__


def nan(pairs: int, tokens: int) -> None:
    """Iterations of GPT-2 small: bare, watched, and under torch's own anomaly mode."""
    sys.path.insert(0, str(Path(__file__).parent / "workloads"))
    import gpt2_small as workload

    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {"bare": [], "watched": [], "anomaly": []}
    turn = ["bare"]

    def train() -> None:
        torch.manual_seed(0)
        net = workload.GPT2()
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
        x = torch.randint(0, 50257, (1, tokens + 1))
        for _ in range(3 * (pairs + 1)):
            optimizer.zero_grad()
            anomaly = (
                torch.autograd.detect_anomaly(check_nan=True) if turn[0] == "anomaly" else contextlib.nullcontext()
            )
            began = thread_time()
            with anomaly:
                logits = net(x[:, :-1])
                loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 50257), x[:, 1:].reshape(-1))
                loss.backward()
            optimizer.step()
            seconds[turn[0]].append(thread_time() - began)

    async def visit(session: ThreadSession, stop: Any) -> Action:
        if stop.next is None or stop.next.phase.value != "zero_grad":
            return Action.CONTINUE
        turn[0] = ("bare", "watched", "anomaly")[(stop.iteration - 1) % 3]
        if turn[0] == "watched":
            await session.request(SetBreakpoint(0, Spec(Kind.NAN)))
        elif turn[0] == "anomaly":
            await session.request(DeleteBreakpoint(0, 0))
        # A breakpoint on the next iteration's first phase: nothing else is noted meanwhile.
        await session.request(SetBreakpoint(0, Spec(Kind.ITERATION, line=stop.iteration + 1)))
        return Action.CONTINUE

    import warnings

    warnings.simplefilter("ignore")
    asyncio.run(_drive(train, Settings(previous_bytes=0), visit))
    for name in ("watched", "anomaly"):
        ratios = [b / a for a, b in list(zip(seconds["bare"], seconds[name], strict=True))[1:]]
        bare = statistics.median(seconds["bare"][1:])
        spread = " / ".join(f"{f(ratios):.3f}" for f in (min, statistics.median, max))
        print(f"{name:<8} over bare ({bare:.2f} s): {spread}")


def main() -> None:
    """Measure one part, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("boundary", "line", "nan"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64)
    chosen = parser.parse_args()
    if chosen.part in (None, "boundary"):
        boundary(chosen.pairs)
    if chosen.part in (None, "line"):
        line(chosen.pairs)
    if chosen.part in (None, "nan"):
        nan(chosen.pairs, chosen.tokens)


if __name__ == "__main__":
    main()
