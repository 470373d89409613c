"""`watch nan` over runs in which all is well: nothing is found, and they are the bare runs.

The demos are slow, all other scripts are long. One demo is among the fast tests, in `tests/agent/test_watch_nan.py`.
"""

from __future__ import annotations

from pathlib import Path

import asking
import pytest
from asking import Asked, ask_everything
from runs import bare
from scripts_found import DEMOS, Script, all_scripts
from test_gate import _comparable, marks_of

from stepdbg.launch.process import ProcessSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.breakpoints import Book, GetBreakpoints, Kind, Spec
from stepdbg.protocol.records import StopReason, StopRecord

MEANT = {"amp_scaler": "watch 1: MulBackward0 (aten.mul.Tensor, amp_scaler.py:22) hands on 1 of 1 elements not finite"}
"""Scripts in which something is not finite on purpose, and what is found there."""

WATCHED = m.Settings(stop_at="never", breakpoints=(Spec(Kind.NAN),))


def _marks(script: Script) -> list[pytest.MarkDecorator]:
    slow = [*marks_of(script), pytest.mark.slow]
    return slow if script.path.parent == DEMOS else [*slow, pytest.mark.long, pytest.mark.timeout(600)]


def _parameters() -> list[object]:
    scripts = [script for script in all_scripts() if script.name != "no_torch"]  # has nothing to watch
    return [pytest.param(script, id=script.name, marks=_marks(script)) for script in scripts]


async def _hits(session: ProcessSession, stop: StopRecord, asked: Asked) -> None:
    if stop.reason is StopReason.FINISHED:
        found = await session.request(GetBreakpoints(0))
        assert isinstance(found, Book)
        (row,) = found.rows
        assert row.spec.enabled
        asked.answered["hits"] += row.hits
        asked.answered["finished"] += 1


@pytest.mark.parametrize("script", _parameters())
def test_nothing_is_found_and_the_run_is_the_bare_one(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_ask", _hits)
    without = bare(script, tmp_path)
    watched = ask_everything(script, tmp_path, settings=WATCHED, action=lambda _: m.Action.CONTINUE)
    whys = [stop.why for stop in watched.stops if stop.reason is StopReason.BREAKPOINT]
    assert [why.startswith(MEANT.get(script.name, "nothing")) for why in whys] == [True] * (script.name in MEANT)
    assert watched.answered["hits"] == len(whys)
    assert watched.warnings == []
    assert watched.result.status == without.status == script.status
    assert watched.result.digest == without.digest
    assert _comparable(script, watched.result) == _comparable(script, without)
