"""The demos do, run bare, what their first line says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[2] / "demo_models"
NAMES = ("char_gpt", "digits_cnn", "leaky", "lstm_forecast", "no_zero_grad", "tiny_gan", "two_nets")


def run(name: str, folder: Path, *arguments: str) -> str:
    """What the demo prints, started from a folder that is not its own."""
    command = [sys.executable, str(DEMOS / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def numbers(text: str, label: str) -> list[float]:
    """Every number that follows `label` in what was printed."""
    return [float(found) for found in re.findall(rf"{re.escape(label)}\s+([\d.e+-]+)", text)]


def test_these_are_all_demos() -> None:
    assert tuple(sorted(path.stem for path in DEMOS.glob("*.py"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_first_line_describes_it(name: str) -> None:
    tree = ast.parse((DEMOS / f"{name}.py").read_text(encoding="utf-8"))
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    assert 20 <= len(first) <= 100
    assert first.endswith((".", "?"))


@pytest.mark.parametrize("name", NAMES)
def test_needs_nothing_but_torch(name: str) -> None:
    tree = ast.parse((DEMOS / f"{name}.py").read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {module.partition(".")[0] for module in modules}
    assert packages - set(sys.stdlib_module_names) == {"torch"}


def test_two_nets_loss_knows_only_one(tmp_path: Path) -> None:
    text = run("two_nets", tmp_path)
    losses = numbers(text, "loss")
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.2
    assert "net2 has no gradient: True" in text


def test_no_zero_grad_misbehaves(tmp_path: Path) -> None:
    text = run("no_zero_grad", tmp_path)
    losses, norms = numbers(text, "loss"), numbers(text, "gradient norm")
    assert losses[-1] > 1000 * losses[0]
    assert max(norms[5:]) > 10 * norms[0]


@pytest.mark.parametrize(
    "bug", ["total", *(pytest.param(b, marks=pytest.mark.slow) for b in ("list", "retain", "cache", "none"))]
)
def test_leaky_learns_all_the_same(tmp_path: Path, bug: str) -> None:
    losses = numbers(run("leaky", tmp_path, "--bug", bug), "mean loss")
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 4


@pytest.mark.slow
def test_digits_are_learned(tmp_path: Path) -> None:
    text = run("digits_cnn", tmp_path, "--epochs", "2")
    assert numbers(text, "accuracy")[-1] > 80
    assert numbers(text, "lr") == [3e-3, 1.5e-3]


@pytest.mark.slow
def test_gan_finds_the_mean(tmp_path: Path) -> None:
    assert numbers(run("tiny_gan", tmp_path), "generated mean")[-1] == pytest.approx(3, abs=0.5)


@pytest.mark.slow
def test_lstm_forecasts(tmp_path: Path) -> None:
    losses = numbers(run("lstm_forecast", tmp_path, "--epochs", "10"), "loss")
    assert losses[-1] < losses[0] / 4


@pytest.mark.slow
def test_char_gpt_learns(tmp_path: Path) -> None:
    losses = numbers(run("char_gpt", tmp_path, "--steps", "15"), "loss")
    assert losses[-1] < losses[0] - 0.5
