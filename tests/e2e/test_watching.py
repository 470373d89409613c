"""Watched gradients and noted stacks, at forty stops of every script, change nothing."""

from __future__ import annotations

from pathlib import Path

import asking
import pytest
from asking import Asked, ask_everything
from runs import bare
from scripts_found import Script, all_scripts
from test_gate import _comparable, marks_of

from stepdbg.errors import RequestError
from stepdbg.launch.process import ProcessSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.records import StopRecord

SAMPLE = {"tiny_gan", "checkpointing"}
"""Run by `make test`; all the others are slow."""


def _parameters() -> list[object]:
    result = []
    for script in all_scripts():
        marks = marks_of(script)
        if script.name not in SAMPLE:
            marks.append(pytest.mark.slow)
        result.append(pytest.param(script, id=script.name, marks=marks))
    return result


async def _watch(session: ProcessSession, stop: StopRecord, asked: Asked) -> None:
    if len(asked.stops) == 1:
        try:
            answer = await session.request(m.SetWatching(0, gradients=True, stacks=True))
        except RequestError as error:
            asked.failures.append(str(error))
        else:
            assert answer.gradients
            assert answer.stacks


@pytest.mark.parametrize("script", _parameters())
def test_watching_changes_nothing(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_ask", _watch)
    without = bare(script, tmp_path)
    watched = ask_everything(script, tmp_path)
    assert watched.result.status == without.status == script.status
    assert watched.result.digest == without.digest
    assert _comparable(script, watched.result) == _comparable(script, without)
    assert watched.warnings == []
    assert set(watched.failures) <= {"the script did not import torch"}
