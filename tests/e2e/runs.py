"""The two runs of a script that the gate compares: bare, and under the real stepdbg with keys pressed."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from scripts_found import HERE, ROOT, Script
from terminal import Terminal

RUN = "E2E_RUN"
"""Environment variable that marks every process of a test."""

PROBE = HERE / "probe"
HELD = re.compile(r"[●✗■] (stopped|paused|exception|finished)\b")
OVER = re.compile(r"[■✗] (exited with code|killed by)")


@dataclass(frozen=True)
class Result:
    """What must be equal."""

    status: int
    output: bytes
    digest: dict[str, Any] | None


def environment(folder: Path, digest: Path | None = None, **more: str) -> dict[str, str]:
    """The environment of both runs; the screen finds stepdbg through its working copy, scripts do not."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("STEPDBG", "PYTEST", "COV_"))}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "PYTHONPATH"):
        env.pop(name, None)
    env |= {"TERM": "xterm-256color", "PYTHONHASHSEED": "0", "PYTHONPATH": str(PROBE), "OMP_NUM_THREADS": "1"}
    env[RUN] = str(folder)
    env["STEPDBG_STATE"] = str(folder / "state")
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if digest is not None:
        env["STEPDBG_TEST_DIGEST"] = str(digest)
    return env | more


def stepdbg(folder: Path, *options: str) -> list[str]:
    """The command that starts the screen, in any working directory, without the user's configuration."""
    empty = folder / "empty.toml"
    empty.touch()
    # Not `-m stepdbg` with a PYTHONPATH: the script would have it too.
    # In the place of the working directory, whose modules are the script's.
    start = f"import sys; sys.path[0] = {str(ROOT)!r}; from stepdbg.cli import main; sys.exit(main())"
    return [sys.executable, "-c", start, "--config", str(empty), *options]


def bare(script: Script, folder: Path) -> Result:
    """Run the script as the user would, on a terminal."""
    digest = folder / "bare.json"
    terminal = Terminal([sys.executable, *script.command], script.cwd, environment(folder, digest), script.timeout)
    try:
        if script.prompt:
            while script.prompt.encode() not in terminal.raw:
                assert not terminal.ended, f"no prompt {script.prompt!r}"
                terminal.pump()
            terminal.press(script.stdin)
        status = terminal.wait_end()
    finally:
        terminal.close()
    return Result(status, bytes(terminal.raw), _read(digest))


def debugged(script: Script, folder: Path) -> Result:
    """Run the script under stepdbg: the keys of its header, then on to its end, then quit."""
    digest, output = folder / "debugged.json", folder / "output"
    command = [*stepdbg(folder, "--python", sys.executable, "--output", str(output)), *script.command]
    terminal = Terminal(command, script.cwd, environment(folder, digest), script.timeout)
    try:
        if script.prompt:
            _type(terminal, script, output)
        drive(terminal, script.keys)
        terminal.press("q")
        status = terminal.wait_end()
        left = family(folder)
        assert not left, f"left behind: {left}"
    finally:
        terminal.close()
    return Result(status, output.read_bytes(), _read(digest))


def drive(terminal: Terminal, keys: tuple[str, ...]) -> None:
    """Press each key at a stop of its own, then continue until the script has ended."""
    waiting = list(keys)
    text = ""
    while True:
        text = _next_held(terminal, text)
        if OVER.search(text):
            return
        terminal.press(waiting.pop(0) if waiting and not re.search(r"✗ exception|■ finished", text) else "c")


def _next_held(terminal: Terminal, before: str) -> str:
    """The screen once the script is held at another stop than that of the screen `before`, or has ended."""

    def held(text: str) -> bool:
        return OVER.search(text) is not None or (HELD.search(text) is not None and text != before)

    return terminal.wait(held, "stop or end of the script")


def _type(terminal: Terminal, script: Script, output: Path) -> None:
    """Type into the console once the script asks; at a stop before that it is let go."""

    def asked(_text: str) -> bool:
        return output.exists() and script.prompt.encode() in output.read_bytes()

    while not asked(""):
        text = terminal.wait(lambda text: asked(text) or HELD.search(text) is not None, "prompt or stop")
        if not asked(text):
            terminal.press("c")
            terminal.wait(lambda text: asked(text) or HELD.search(text) is None, "prompt")
    terminal.press_until_changed("6", "6 Console")
    terminal.press_until_changed("\t", "input for the script")
    terminal.press(script.stdin.replace("\n", "\r"))
    # Out of the input line again, and only then the keys: letters right after an escape would be read as one key.
    terminal.wait_for(re.escape(script.stdin.splitlines()[-1]))
    terminal.press_until_changed("\x1b", "input for the script")


def family(folder: Path) -> dict[int, str]:
    """Command lines of the living processes that come from the runs of `folder`: the environment tells."""
    result = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(RUN) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                result[process.pid] = " ".join(process.cmdline())
    return result


def _read(digest: Path) -> dict[str, Any] | None:
    return json.loads(digest.read_text()) if digest.exists() else None
