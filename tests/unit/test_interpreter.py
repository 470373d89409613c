"""Which Python runs the script, and what is said of one that cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stepdbg.errors import UsageError
from stepdbg.launch.interpreter import choose


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def without_torch(path: Path) -> Path:
    """A Python that sees the standard library only."""
    return program(path, f'exec {sys.executable} -I -S "$@"')


def test_the_users_own_python_if_it_has_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = program(tmp_path / "bin" / "python", f'exec {sys.executable} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    chosen = choose()
    assert chosen.path == str(python)
    assert "PATH" in chosen.reason


def test_python3_where_python_has_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_torch(tmp_path / "bin" / "python")
    python3 = program(tmp_path / "bin" / "python3", f'exec {sys.executable} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert choose().path == str(python3)


def test_ours_where_no_python_on_path_has_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_torch(tmp_path / "bin" / "python")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    chosen = choose()
    assert chosen.path == sys.executable
    assert "no torch" in chosen.reason


def test_ours_is_known_without_starting_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepdbg.launch.interpreter.subprocess.run", None)
    assert choose(sys.executable).path == sys.executable


def test_a_name_is_looked_for_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = program(tmp_path / "snake", f'exec {sys.executable} "$@"')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose("snake").path == str(python)
    with pytest.raises(UsageError, match="--python adder: no such command on PATH"):
        choose("adder")


def test_what_cannot_run_a_script(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    program(environment / "bin" / "python", "exit 0")
    plain = tmp_path / "plain"
    plain.touch(mode=0o644)
    cases = {
        str(environment): "did you mean .*/venv/bin/python",
        str(tmp_path / "none"): "no such file",
        str(plain): "not executable",
        str(program(tmp_path / "ls", "echo a b c")): "not a Python interpreter",
        str(without_torch(tmp_path / "bare")): "has no torch",
        str(program(tmp_path / "old", """echo 'stepdbg-probe:{"version": [3, 8], "torch": true}'""")): "Python 3.8",
    }
    for path, said in cases.items():
        with pytest.raises(UsageError, match=said) as caught:
            choose(path)
        assert "\n" not in str(caught.value)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in the working directory whose import says so in a file."""
    (tmp_path / "pkg" / "deep").mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text("open('imported', 'w').close()\n")
    (tmp_path / "pkg" / "train.py").touch()
    (tmp_path / "pkg" / "deep" / "__main__.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("module", ["pkg.train", "pkg.deep", "pkg.deep.__main__", "timeit"])
def test_modules_that_can_be_run_are_found_without_importing_them(package: Path, module: str) -> None:
    assert choose(sys.executable, module).path == sys.executable
    assert not (package / "imported").exists()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("pkg", "a package without __main__.py"),
        ("pkg.tarin", "no module of that name"),
        ("nothing.at.all", "no module of that name"),
        ("pkg.train.more", "no module of that name"),
        ("..", "no module of that name"),
    ],
)
def test_modules_that_cannot_be_run(package: Path, module: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        choose(sys.executable, module)
