"""What stepdbg costs, as paired ratios: bare and debugged runs in turn, in fresh processes.

    python benchmarks/overhead.py                    everything, about ten minutes
    python benchmarks/overhead.py free --only toy    one part, one workload

`free`   iteration time under a session that never stops the script, over that of the bare run
`first`  process start to the first stop, less process start to the first phase of the bare run
`keys`   key to repainted screen, less the time the phase itself took
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from stepdbg.client.session import Output
from stepdbg.launch import spawn
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol.messages import Action, Settings, Stopped

HERE = Path(__file__).parent
WORKLOADS = HERE / "workloads"
DEMOS = HERE.parent / "demo_models"


@dataclass(frozen=True)
class Load:
    """One workload of the part `free`: how often it is run as a pair, and the ratio it may cost."""

    name: str
    arguments: tuple[str, ...]
    pairs: int
    target: float


LOADS = (
    Load("toy", ("10",), 9, 1.05),
    Load("char_gpt", ("4", "15"), 7, 1.01),
    Load("gpt2_small", ("6",), 5, 1.01),
)
KEYS = (
    ("two_nets", DEMOS / "two_nets.py", (), 40, 0.050),
    ("digits_cnn", DEMOS / "digits_cnn.py", (), 30, 0.050),
    ("char_gpt", DEMOS / "char_gpt.py", (), 30, 0.050),
    ("tiny_gan", DEMOS / "tiny_gan.py", (), 30, 0.050),
    ("lstm_forecast", DEMOS / "lstm_forecast.py", (), 24, 0.050),
    ("gpt2_small", WORKLOADS / "gpt2_small.py", ("/dev/null", "4"), 12, 0.150),
)
FIRST_STOP = 0.4
"""Seconds that the first stop may come after the bare script's first phase."""


def spread(values: Sequence[float], form: str) -> str:
    """Minimum, median and maximum as one text."""
    return " / ".join(format(f(values), form) for f in (min, statistics.median, max))


def report(what: str, text: str, median: float, limit: float, unit: str = "") -> None:
    """One line: what was measured, its spread, and whether the median is within its target."""
    verdict = "ok" if median <= limit else "MISSED"
    print(f"{what:<28} {text:<30} target ≤ {limit:g}{unit}  {verdict}", flush=True)


def bare(script: Path, arguments: Sequence[str]) -> None:
    """Run the script as a user does, on nothing but a pipe to nowhere."""
    command = [sys.executable, str(script), *arguments]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


async def debugged(script: Path, arguments: Sequence[str], stop_at: str) -> float | None:
    """Run the script to its end under a session; the clock's time of its first stop, if it had one."""
    launch = Launch(
        Interpreter(sys.executable, "ours"), str(script), tuple(arguments), settings=Settings(stop_at=stop_at)
    )
    session = ProcessSession(launch)
    await session.start()
    first = None
    said = bytearray()
    try:
        async for event in session.events():
            if isinstance(event, Stopped):
                first = first or perf_counter()
                session.resume(Action.CONTINUE)
            elif isinstance(event, Output):
                said += event.data
    finally:
        await session.close()
    if session.exited is None or session.exited.status != 0:
        raise RuntimeError(f"{script.name} failed under stepdbg:\n{said.decode(errors='replace')[-2000:]}")
    return first


def measured(target: Path) -> list[float]:
    """What the workload wrote."""
    values: list[float] = json.loads(target.read_text())
    return values


def free(only: str | None, pairs: int | None) -> None:
    """Running free against bare, A B A B. A run counts by its fastest block: the rest is the machine's noise."""
    # One thread: two of them on two cores that others use as well wait for each other most of the time.
    os.environ["OMP_NUM_THREADS"] = "1"
    print("running free, debugged / bare            min / median / max of the pairs")
    for load in LOADS:
        if only not in (None, load.name):
            continue
        script = WORKLOADS / f"{load.name}.py"
        ratios, bares = [], []
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "seconds.json"
            arguments = (str(target), *load.arguments)
            for _ in range(pairs or load.pairs):
                bare(script, arguments)
                a = min(measured(target))
                asyncio.run(debugged(script, arguments, "never"))
                b = min(measured(target))
                ratios.append(b / a)
                bares.append(a)
        what = f"{load.name} ({statistics.median(bares) * 1e3:.3g} ms)"
        report(what, spread(ratios, ".3f"), statistics.median(ratios), load.target)


def first(only: str | None, pairs: int | None) -> None:
    """The first stop against the bare script's first phase."""
    if only not in (None, "first_phase"):
        return
    print("first stop after the bare first phase    min / median / max of the pairs, seconds")
    script = WORKLOADS / "first_phase.py"
    differences, bares = [], []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "clock.json"
        for _ in range(pairs or 9):
            start = perf_counter()
            bare(script, [str(target)])
            a = measured(target)[0] - start
            start = perf_counter()
            stopped = asyncio.run(debugged(script, [str(target)], "first"))
            if stopped is None:
                raise RuntimeError(f"{script.name} was never stopped")
            differences.append(stopped - start - a)
            bares.append(a)
    what = f"first stop (bare {statistics.median(bares):.2f} s)"
    report(what, spread(differences, "+.3f"), statistics.median(differences), FIRST_STOP, " s")


def on_terminal(command: Sequence[str], columns: int, rows: int) -> int:
    """Run a command on a pty whose screen nobody looks at; its exit status."""
    master, slave = spawn.open_pty(columns, rows, None)
    os.set_blocking(master, True)
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass  # EIO: the last process on that terminal has gone
    finally:
        os.close(master)
    return child.wait()


def keys(only: str | None, _pairs: int | None) -> None:
    """Key to repainted screen, the whole app at 160×50 on a pty."""
    print("key to repainted screen                  min / median / max of the keys, ms")
    for name, script, arguments, count, limit in KEYS:
        if only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "seconds.json"
            helper = [sys.executable, str(HERE / "keys.py"), str(target), str(count), str(script), *arguments]
            status = on_terminal(helper, 160, 50)
            if status or not target.exists():
                raise RuntimeError(f"the app failed on {name} (status {status})")
            values = measured(target)
        milliseconds = [1e3 * value for value in values]
        report(name, spread(milliseconds, ".0f"), statistics.median(milliseconds), 1e3 * limit, " ms")


PARTS = {"free": free, "first": first, "keys": keys}


def main() -> None:
    """Run the parts asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; default: all")
    parser.add_argument("--only", metavar="NAME", help="one workload: toy, char_gpt, gpt2_small, a demo …")
    parser.add_argument("--pairs", type=int, help="pairs of runs, in place of each workload's own number")
    arguments = parser.parse_args()
    for part in arguments.parts or PARTS:
        if part not in PARTS:
            parser.error(f"no part {part!r}: choose from {', '.join(PARTS)}")
        PARTS[part](arguments.only, arguments.pairs)


if __name__ == "__main__":
    main()
