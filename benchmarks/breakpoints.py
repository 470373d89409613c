"""What an armed breakpoint, and `watch nan`, cost. Processor time of the thread that trains, in pairs.

    python benchmarks/breakpoints.py [boundary|nan] [--pairs N]

*boundary*: a loop of 5 phases on a tiny network; iterations with a breakpoint armed that is never hit, over those of
a free run, per boundary. *nan*: GPT-2 small (forward, backward, step; 64 tokens), every third iteration bare, watched
and under `torch.autograd.detect_anomaly`, in turn in one run.
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
    """Measure one part, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("boundary", "nan"))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64)
    chosen = parser.parse_args()
    if chosen.part != "nan":
        boundary(chosen.pairs)
    if chosen.part != "boundary":
        nan(chosen.pairs, chosen.tokens)


if __name__ == "__main__":
    main()
