"""What the agent takes of memory in the script's process, with all panes open at every stop.

    python benchmarks/own_memory.py [PAIRS]

The same script bare and under the real app (160×50, without a terminal), in turn, each in a process of its own; the
script writes its own resident bytes at the end of its loop. Every eighth stop also asks for leaks and an estimate.
What is taken has two parts, and each its bound. Copies of earlier values are the user's own wish (`--previous-values`,
256 MiB at most unless told otherwise), and are counted, as the memory pane shows them: the most at any stop, since the
process keeps what was given back to its allocator. The difference of a pair less these is held against 1 % of the
model's bytes (its parameters) plus 40 MB.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from stepdbg.client.store import Status
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol.messages import Action, Settings
from stepdbg.protocol.records import StopReason
from stepdbg.ui import StepdbgApp

SCRIPT = Path(__file__).parent / "workloads" / "own_memory.py"
MODELS = (0.01, 10.0, 100.0)
"""MB of parameters."""
ITERATIONS = 12
FIXED, SHARE = 40e6, 0.01
PATIENCE = 300.0


def bare(folder: Path, megabytes: float) -> tuple[int, int]:
    """Resident bytes of the bare run, and the bytes of the model."""
    target = folder / "bare"
    subprocess.run([sys.executable, str(SCRIPT), str(target), str(megabytes), str(ITERATIONS)], check=True)
    resident, model = target.read_text(encoding="ascii").split()
    return int(resident), int(model)


async def stepped(folder: Path, megabytes: float, limit: int) -> tuple[int, int]:
    """Resident bytes of the run with every phase stepped through, and the most copies counted."""
    target = folder / "stepped"
    launch = Launch(
        Interpreter(sys.executable, "ours"),
        str(SCRIPT),
        (str(target), str(megabytes), str(ITERATIONS)),
        settings=Settings(previous_bytes=limit),
    )
    app = StepdbgApp(ProcessSession(launch))
    async with app.run_test(size=(160, 50)) as pilot, asyncio.timeout(PATIENCE):
        number = 0
        while True:
            await pilot.pause()
            view = app.view
            assert view is not None
            stop = view.history[-1].stop if view.history else None
            working = any(worker.name not in {"events", "output"} and not worker.is_finished for worker in app.workers)
            if view.status is not Status.STOPPED or stop is None or stop.number == number or working:
                await asyncio.sleep(0.01)
                continue
            number = stop.number
            if stop.reason is StopReason.FINISHED:
                counted = [recorded.memory.own_copies for recorded in view.history if recorded.memory is not None]
                assert len(counted) == len(view.history), "the memory pane has asked at every stop"
                copies = max(counted)
                break
            if number % 8 == 0:
                for line in ("leaks", "what-if optimizer adamw"):
                    app.main.open_prompt(":", line)
                    await pilot.press("enter")
                    await asyncio.sleep(0.3)
                    await pilot.press("escape")
            app.resume_script(Action.NEXT)
    return int(target.read_text(encoding="ascii").split()[0]), copies


def main(pairs: int) -> None:
    """Print one line for each model and setting."""
    print(f"resident bytes, stepped less bare less copies, median (smallest – largest) of {pairs} pairs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megabytes in MODELS:
            for title, most in (("default", Settings().previous_bytes), ("without copies", 0)):
                differences, counted = [], []
                for _ in range(pairs):
                    alone, model = bare(folder, megabytes)
                    resident, copies = asyncio.run(stepped(folder, megabytes, most))
                    differences.append(resident - alone - copies)
                    counted.append(copies)
                limit = SHARE * model + FIXED
                middle = statistics.median(differences)
                print(
                    f"{model / 1e6:8.2f} MB  bare {alone / 1e6:6.1f} MB  {title:14}  {middle / 1e6:+7.1f} MB"
                    f" ({min(differences) / 1e6:+.1f} – {max(differences) / 1e6:+.1f})"
                    f"  limit {limit / 1e6:.1f} MB  {'ok' if middle <= limit else 'MISSED'}"
                    f"   copies {max(counted) / 1e6:6.1f} MB"
                    f"  limit {most / 1e6:.1f} MB  {'ok' if max(counted) <= most else 'MISSED'}",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
