"""Every question asked at forty stops of every script changes nothing, and every question has an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking import ask_everything
from runs import bare
from scripts_found import Script, all_scripts
from test_gate import _comparable, marks_of

from stepdbg.agent import ending
from stepdbg.protocol.records import StopReason

SAMPLE = {"two_nets", "spectral_lazy", "no_torch"}
"""Run by `make test`; all the others are slow."""

WITHOUT_TORCH = {"no_torch", "shadows_broken"}
"""Scripts that end before torch is imported."""


def _parameters() -> list[object]:
    result = []
    for script in all_scripts():
        marks = marks_of(script)
        if script.name not in SAMPLE:
            marks.append(pytest.mark.slow)
        result.append(pytest.param(script, id=script.name, marks=marks))
    return result


@pytest.mark.parametrize("script", _parameters())
def test_asking_changes_nothing(script: Script, tmp_path: Path) -> None:
    without = bare(script, tmp_path)
    asked = ask_everything(script, tmp_path)
    assert asked.result.status == without.status == script.status
    assert asked.result.digest == without.digest
    assert _comparable(script, asked.result) == _comparable(script, without)
    assert asked.warnings == []
    if asked.stops and asked.stops[-1].note == ending.NOTE:
        assert script.name in WITHOUT_TORCH
        assert {line.rsplit(": ", 1)[-1] for line in asked.failures} == {"the script did not import torch"}
    else:
        assert asked.failures == []
        if any(page.nodes for page in asked.graphs.values()):
            assert {"GetGraphEdges", "GetGraphPath"} <= asked.answered.keys()
    if "raises" in script.flags:
        assert StopReason.EXCEPTION in {stop.reason for stop in asked.stops}
    assert [e for e in asked.explained if e.within is False] == []
    for page in asked.graphs.values():
        assert page.total == len(page.rows) or page.total > 500
        assert (page.rows[0].nodes if page.rows else 0) == page.nodes
