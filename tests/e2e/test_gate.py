"""The standing gate: every script is the same run under stepdbg as bare."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from runs import Result, bare, debugged
from scripts_found import DEMOS, Script, all_scripts

SAMPLE = {"two_nets"}
"""Of the demos, those that `make test` runs; the others are slow."""

FRAMEWORKS = ("transformers", "accelerate", "lightning", "keras")


def marks_of(script: Script) -> list[pytest.MarkDecorator]:
    """The markers that the script's header asks for."""
    marks = [pytest.mark.timeout(int(2 * script.timeout) + 60)]
    if "slow" in script.flags or (script.path.is_relative_to(DEMOS) and script.name not in SAMPLE):
        marks.append(pytest.mark.slow)
    if "frameworks" in script.flags:
        missing = [name for name in FRAMEWORKS if importlib.util.find_spec(name) is None]
        marks += [pytest.mark.frameworks, pytest.mark.skipif(bool(missing), reason=f"without {missing}")]
    if script.skip:
        marks.append(pytest.mark.skip(reason=script.skip))
    return marks


def _parameters() -> list[object]:
    return [pytest.param(script, id=script.name, marks=marks_of(script)) for script in all_scripts()]


@pytest.mark.parametrize("script", _parameters())
def test_same_as_bare(script: Script, tmp_path: Path) -> None:
    without = bare(script, tmp_path)
    under = debugged(script, tmp_path)
    assert without.status == script.status, without.output.decode(errors="replace")[-2000:]
    assert under.status == script.status
    assert (without.digest is None) == (script.status > 128), "no digest, which only a signal excuses"
    assert under.digest == without.digest
    assert _comparable(script, under) == _comparable(script, without)


def _comparable(script: Script, result: Result) -> object:
    if script.output == "ignore":
        return None
    lines = result.output.decode("utf-8", "replace").splitlines(keepends=True)
    return sorted(lines) if script.output == "unordered" else lines
