"""What `:watch grads` and `:watch stacks` cost, iteration by iteration, watched and bare in turn in one process.

    python benchmarks/watching.py [small|large]

A transformer of twelve layers runs under a real session that stops at every iteration and switches the watch on or
off there; the script times its own backward (grads) and forward (stacks). A figure is the ratio of one iteration with
the watch and the one before it without; shown are the smallest, the median and the largest.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from time import perf_counter

import torch
from torch import nn

from stepdbg.client.session import Exited
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol.messages import Action, SetWatching, Stopped
from stepdbg.protocol.records import Phase

SIZES = {"small": (64, 128, 4, 16), "large": (256, 1024, 8, 64)}
"""Width, width of the feed-forward part, batch, sequence."""

PAIRS = 15
WARM = 4
"""Iterations that do not count."""


def measure(size: str) -> tuple[list[float], list[float]]:
    """Seconds of each iteration's forward and backward; every other iteration watched, the first one not."""
    width, inner, batch, length = SIZES[size]
    forward: list[float] = []
    backward: list[float] = []

    def train() -> None:
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(width, 4, inner, dropout=0.0, batch_first=True)
        net = nn.TransformerEncoder(layer, 12)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        x = torch.randn(batch, length, width)
        for _ in range(WARM + 2 * PAIRS):
            optimizer.zero_grad()
            began = perf_counter()
            loss = net(x).square().mean()
            between = perf_counter()
            loss.backward()
            backward.append(perf_counter() - between)
            forward.append(between - began)
            optimizer.step()

    asyncio.run(_drive(train))
    return forward, backward


async def _drive(train: object) -> None:
    session = ThreadSession(train)  # type: ignore[arg-type]
    await session.start()
    try:
        async for event in session.events():
            if isinstance(event, Stopped):
                stop = event.stop
                if stop.next is not None and stop.next.phase is Phase.ZERO_GRAD:
                    on = stop.iteration % 2 == 0
                    await session.request(SetWatching(0, gradients=on, stacks=on))
                session.resume(Action.ITERATION)
            elif isinstance(event, Exited):
                break
    finally:
        await session.close()
    if session.error is not None:
        raise session.error


def report(what: str, seconds: list[float]) -> None:
    """One line: bare time, and the ratio of watched to bare."""
    pairs = list(zip(seconds[WARM::2], seconds[WARM + 1 :: 2], strict=True))
    ratios = [watched / bare for bare, watched in pairs]
    bare = statistics.median(a for a, _ in pairs)
    spread = " / ".join(f"{f(ratios):.2f}" for f in (min, statistics.median, max))
    print(f"{what:<28} bare {bare * 1e3:8.2f} ms   watched / bare {spread}", flush=True)


def main() -> None:
    """Measure one size, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="?", choices=SIZES)
    chosen = parser.parse_args().size
    for size in [chosen] if chosen else SIZES:
        forward, backward = measure(size)
        report(f"grads  {size}  backward", backward)
        report(f"stacks {size}  forward", forward)


if __name__ == "__main__":
    main()
