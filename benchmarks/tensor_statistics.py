"""What statistics cost, over one `sum()` pass over the same bytes: all parameters and gradients of GPT-2 small's size.

    python benchmarks/tensor_statistics.py [--pairs N] [--cpu]

One process: each figure is the ratio of two passes that follow each other, the `sum()` first. Shown are the smallest,
the median and the largest of the pairs. On a machine that others use, `--cpu` is the one to believe: processor seconds
on one thread, which do not grow while others have the cores.

Not called `statistics.py`: the other benchmarks would import it in place of the standard library's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import torch
from torch import Tensor
from torch.nn import functional

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "workloads")]


from gpt2_small import GPT2, VOCABULARY  # noqa: E402

from stepdbg.agent import tensors  # noqa: E402
from stepdbg.agent.quiet import quiet  # noqa: E402
from stepdbg.agent.tensors.histogram import histogram  # noqa: E402
from stepdbg.protocol.records import TensorStats  # noqa: E402

BINS = 40
STATISTICS, SAMPLE = 6.0, 1.0
"""Targets: ratios to one `sum()` pass."""
MANY = 10_000


def model_tensors() -> list[Tensor]:
    """Parameters and gradients after one backward pass, each parameter once."""
    torch.manual_seed(0)
    model = GPT2()
    tokens = torch.randint(VOCABULARY, (1, 65))
    logits = model(tokens[:, :-1])
    functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
    parameters = list(model.parameters())
    return [p.detach() for p in parameters] + [p.grad for p in parameters if p.grad is not None]


clock = perf_counter


def seconds(what: Callable[[], object]) -> float:
    start = clock()
    what()
    return clock() - start


def sums(of: list[Tensor]) -> None:
    for tensor in of:
        tensor.sum().item()


def ratios(of: list[Tensor], what: Callable[[], object], pairs: int) -> list[float]:
    what()
    found = []
    for _ in range(pairs):
        base = seconds(lambda: sums(of))
        found.append(seconds(what) / base)
    return found


def histograms(of: list[Tensor], known: list[TensorStats]) -> None:
    """What `statistics` does for a histogram, once it knows the ends."""
    for tensor, stats in zip(of, known, strict=True):
        if stats.min is not None and stats.max is not None:
            histogram([tensor], stats.min, stats.max, BINS, finite=True)


def show(name: str, found: list[float], target: float | None = None) -> None:
    median = statistics.median(found)
    verdict = "" if target is None else f"   target ≤ {target:g} {'ok' if median <= target else 'MISSED'}"
    print(f"{name:58} {min(found):6.2f} {median:6.2f} {max(found):6.2f}{verdict}", flush=True)


def others(of: list[Tensor], pairs: int) -> None:
    """The same sizes with other numbers, each over the `sum()` of its own."""
    cases: dict[str, Callable[[Tensor], Tensor]] = {
        "the same statistics, mean 50 × the spread": lambda t: torch.randn_like(t).mul_(0.02).add_(1.0),
        "the same statistics, every second number zero": lambda t: torch.randn_like(t).relu_(),
        "the same statistics, all zero": torch.zeros_like,
        "the same statistics, bfloat16": Tensor.bfloat16,
        "the same statistics, float64": Tensor.double,
    }
    for name, change in cases.items():
        changed = [change(tensor) for tensor in of]
        show(name, ratios(changed, partial(tensors.statistics_of_many, changed), pairs))


def small_tensors() -> None:
    of = [torch.randn(64) for _ in range(MANY)]
    found = [seconds(partial(tensors.statistics_of_many, of)) for _ in range(7)]
    print(f"{MANY:,} tensors of 64 elements: {1e3 * statistics.median(found):.0f} ms (median of 7)   target < 1 s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="one thread, processor seconds: where others compute too")
    options = parser.parse_args()
    pairs = options.pairs
    if options.cpu:
        global clock
        clock = process_time
        torch.set_num_threads(1)
    of = model_tensors()
    largest = max(of, key=Tensor.numel)
    size, threads = sum(t.numel() for t in of), torch.get_num_threads()
    with quiet():
        base = statistics.median(seconds(lambda: sums(of)) for _ in range(pairs))
        print(f"{len(of)} tensors, {size / 1e6:.0f} M elements, {threads} threads; sum(): {1e3 * base:.0f} ms")
        print(f"{'ratio to sum()':58} {'min':>6} {'median':>6} {'max':>6}")
        show(
            "mean, std, min, max, norm, zeros, non-finite",
            ratios(of, lambda: tensors.statistics_of_many(of), pairs),
            STATISTICS,
        )
        show(
            "min, max, zeros, non-finite only",
            ratios(of, lambda: tensors.statistics_of_many(of, None, ("min", "max", "zeros")), pairs),
        )
        show("norms only", ratios(of, lambda: tensors.norms(of), pairs))
        show(
            f"+ histogram of a sample ({tensors.SAMPLE:,} of each tensor at most)",
            ratios(of, partial(histograms, of, tensors.statistics_of_many(of)), pairs),
            SAMPLE,
        )
        show(
            f"+ exact histogram of the largest ({largest.numel() / 1e6:.0f} M), to its sum()",
            ratios([largest], lambda: tensors.statistics(largest, BINS, exact=True), pairs),
        )
        others(of, pairs)
        small_tensors()


if __name__ == "__main__":
    main()
