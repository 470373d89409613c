"""A model of 10,000 parameters: keys in the parameter pane, key to repaint, and what asking about all of them takes.

    python benchmarks/parameters.py [PARAMETERS]

Runs the real app at 160×50 on a pty, the pane zoomed. A page that is on screen already when the key is pressed and one
that has to be asked for both count by the last byte written before the screen is quiet.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from overhead import HERE, WORKLOADS, on_terminal

KEY = 0.016


def main(parameters: int) -> None:
    """Every way to show them."""
    script = WORKLOADS / "many_parameters.py"
    print(f"{parameters:,} parameters: by the clock, median (smallest–largest); processor time of the app, median")
    print("target: a page takes 16 ms of work at the median")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "screen.json"
        helper = [sys.executable, str(HERE / "parameter_keys.py"), str(result), str(script), str(parameters), "9"]
        status = on_terminal(helper, 160, 50)
        if status or not result.exists():
            raise RuntimeError(f"the app failed (status {status})")
        for what, measured in json.loads(result.read_text()).items():
            seconds, worked = zip(*measured, strict=True)
            work = statistics.median(worked)
            verdict = ("ok" if work <= KEY else "MISSED") if ": a " in what else ""
            spread = f"({1e3 * min(seconds):.0f}–{1e3 * max(seconds):.0f})"
            print(
                f"{what:44} {1e3 * statistics.median(seconds):7.1f} ms {spread:12} of {len(seconds):3}"
                f"  work {1e3 * work:6.1f} ms  {verdict}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
