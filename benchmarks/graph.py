"""A graph of 100,000 nodes: from the script being held to the graph on screen, over a bare walk of the same graph.

    python benchmarks/graph.py [NODES]

The bare run times a walk of `next_functions` as anybody would write it; the debugged one runs the real app at 160×50 on
a pty, the graph pane zoomed. Both print; runs take turns. Then keys in the pane, key to repaint.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from overhead import HERE, WORKLOADS, on_terminal

PAIRS = 2
ITERATIONS = 4
RATIO = 1.5
KEY = 0.016


def main(nodes: int) -> None:
    """Every kind of graph in both views."""
    script = WORKLOADS / "deep_graph.py"
    print("held to graph on screen; bare walk; ratio of medians; key to repaint (median)     targets ≤ 1.5, ≤ 16 ms")
    for kind in ("chain", "lstm"):
        for view in ("modules", "raw"):
            walks, screens, keys = [], [], []
            for _ in range(PAIRS):
                with tempfile.TemporaryDirectory() as folder:
                    bare, debugged = Path(folder) / "bare.json", Path(folder) / "screen.json"
                    arguments = [kind, str(nodes), str(ITERATIONS)]
                    subprocess.run([sys.executable, script, *arguments, str(bare)], check=True)
                    helper = [sys.executable, str(HERE / "graph_keys.py"), str(debugged), view, str(ITERATIONS - 1)]
                    status = on_terminal([*helper, str(script), *arguments], 160, 50)
                    if status or not debugged.exists():
                        raise RuntimeError(f"the app failed on {kind} (status {status})")
                    walks += [seconds for seconds, _count in json.loads(bare.read_text())]
                    on_screen, moves = json.loads(debugged.read_text())
                    screens += on_screen
                    keys += moves
            walk, screen, key = (statistics.median(values) for values in (walks, screens, keys))
            verdict = "ok" if screen / walk <= RATIO and key <= KEY else "MISSED"
            print(
                f"{kind:6} {view:8} {1e3 * screen:6.0f} ms ({1e3 * min(screens):.0f}–{1e3 * max(screens):.0f})"
                f"  bare {1e3 * walk:6.0f} ms ({1e3 * min(walks):.0f}–{1e3 * max(walks):.0f})"
                f"  {screen / walk:5.2f}  key {1e3 * key:5.1f} ms  {verdict}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
