"""`--python`: an environment that holds torch and nothing of ours."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from runs import Result, bare, drive, environment, stepdbg
from scripts_found import DEMOS, Script
from terminal import Terminal


def _with_requirements(name: str) -> set[str]:
    """The names of a distribution and of all it requires here."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if current in found:
            continue
        try:
            requires = importlib.metadata.requires(current) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(current)
        waiting += [re.split(r"[ ;<>=!~\[(]", line)[0] for line in requires if "extra ==" not in line]
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment; torch and what it requires are linked into it, file by file, from ours."""
    folder = tmp_path_factory.mktemp("other")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in [*_with_requirements("torch"), *_with_requirements("numpy")]:
        for file in importlib.metadata.files(name) or []:
            top = file.parts[0]
            source = Path(str(importlib.metadata.distribution(name).locate_file(top)))
            if top not in ("..", "__pycache__") and source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    return folder / "bin" / "python"


def test_nothing_of_ours_is_there(python: Path) -> None:
    code = "import importlib.util as u; print([n for n in ('stepdbg', 'textual', 'pyte', 'psutil') if u.find_spec(n)])"
    done = subprocess.run([python, "-c", code], cwd="/", capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == b"[]"


def test_same_as_bare(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(DEMOS / "two_nets.py")
    without = _bare(script, python, tmp_path, monkeypatch)
    digest, output = tmp_path / "debugged.json", tmp_path / "output"
    command = [*stepdbg(tmp_path, "--python", str(python), "--output", str(output)), *script.command]
    terminal = Terminal(command, script.cwd, environment(tmp_path, digest))
    try:
        drive(terminal, ("n", "n", "n", "i", "c"))
        terminal.press("q")
        status = terminal.wait_end()
    finally:
        terminal.close()
    assert (status, output.read_bytes()) == (without.status, without.output)
    assert digest.read_text() == (tmp_path / "bare.json").read_text()


def _bare(script: Script, python: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        return bare(script, folder)
