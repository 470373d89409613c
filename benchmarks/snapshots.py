"""What it costs at a stop to keep the values of the parameters for `:diff`: milliseconds, in this process.

    python benchmarks/snapshots.py

`unchanged`  nothing was written since the stop before: every value is compared, bit by bit, with its copy
`changed`    an optimizer step has written all of them: every value is copied
"""

from __future__ import annotations

import statistics

import torch
from torch.nn import Parameter

from stepdbg.agent.compare.snapshots import Snapshots
from stepdbg.agent.naming import Named
from stepdbg.agent.quiet import quiet

STOPS = 15

MODELS = {
    "8 parameters, 300 B (two_nets)": [(6, 4), (6,), (1, 6), (1,)] * 2,
    "150 parameters, 9 MiB": [(256, 64)] * 150,
    "4,000 parameters, 0.2 MiB": [(16,)] * 4_000,
    "10 parameters, 10 MiB": [(512, 512)] * 10,
    "25 parameters, 100 MiB": [(1024, 1024)] * 25,
    "60 parameters, 240 MiB (over the limit)": [(1024, 1024)] * 60,
}


def main() -> None:
    """Print a line for each model."""
    for title, shapes in MODELS.items():
        weights = [Parameter(torch.randn(shape)) for shape in shapes]
        named = [Named(f"w{at}", weight, "") for at, weight in enumerate(weights)]
        kept = Snapshots()
        seconds: dict[str, list[float]] = {"unchanged": [], "changed": []}
        with quiet():
            kept.take(1, 1, named)
            for stop in range(2, 2 * STOPS, 2):
                kept.take(stop, 1, named)
                seconds["unchanged"].append(kept.seconds)
                torch._foreach_add_(weights, 0.001)
                kept.take(stop + 1, 1, named)
                seconds["changed"].append(kept.seconds)
        times = ", ".join(f"{what} {statistics.median(took) * 1e3:.2f} ms" for what, took in seconds.items())
        print(f"{title}: {times}; {kept.nbytes / 2**20:.1f} MiB kept")


if __name__ == "__main__":
    main()
