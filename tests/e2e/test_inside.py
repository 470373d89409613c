"""Going into every phase of every script, down to operations, nodes and parameters, changes nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import asking
import pytest
from asking import Asked, ask_everything
from runs import Result, _read, bare, drive, environment, stepdbg
from scripts_found import DEMOS, Script, all_scripts
from terminal import Terminal
from test_gate import _comparable, marks_of

from stepdbg.errors import RequestError
from stepdbg.launch.process import ProcessSession
from stepdbg.protocol import messages as m
from stepdbg.protocol.inside import GetHeld, Grain, HeldTensors
from stepdbg.protocol.records import Phase, StopRecord

STOPS = 400
"""Stops that are made inside phases; then the script runs free to its end."""

WHOLE_BACKWARDS = {"lstm_forecast": 9_000}
"""Stops that it takes to go through a backward; five times as many as above for the others."""


SAMPLE = {
    "two_nets", "tiny_gan", "checkpointing", "compiled", "lbfgs_closure", "amp_scaler", "raises_mid", "hf_trainer",
    "spectral_lazy", "gan_detached", "steps_one_by_one",
}  # fmt: skip
"""Run with the slow tests; all the others are long."""


def _marks(script: Script) -> list[pytest.MarkDecorator]:
    slow = [*marks_of(script), pytest.mark.slow]
    return slow if script.name in SAMPLE else [*slow, pytest.mark.long, pytest.mark.timeout(900)]


def _parameters() -> list[object]:
    return [pytest.param(script, id=script.name, marks=_marks(script)) for script in all_scripts()]


async def _look(session: ProcessSession, stop: StopRecord, asked: Asked) -> None:
    """What is there, and the first of it; everything else now and then."""
    queries: list[m.Query] = [GetHeld(0)]
    if stop.at is not None:
        queries.append(m.GetValues(0, "@"))
    if stop.number % 40 == 7:
        queries += [m.GetGraph(0), m.GetParameters(0), m.GetMemory(0)]
    for query in queries:
        try:
            answer = await session.request(query)
        except RequestError as error:
            asked.failures.append(f"stop {stop.number} {stop.at}: {error}")
        else:
            assert not isinstance(query, GetHeld) or isinstance(answer, HeldTensors)


@pytest.mark.parametrize("script", _parameters())
def test_going_into_everything_changes_nothing(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_ask", _look)
    without = bare(script, tmp_path)
    into = ask_everything(script, tmp_path, STOPS, action=lambda _: m.Action.INTO)
    assert into.result.status == without.status == script.status
    assert into.result.digest == without.digest
    assert _comparable(script, into.result) == _comparable(script, without)
    assert into.warnings == []
    assert [failure for failure in into.failures if "the script did not import torch" not in failure] == []


def _demos() -> list[object]:
    return [
        pytest.param(script, id=script.name, marks=_marks(script))
        for script in all_scripts()
        if script.path.parent == DEMOS
    ]


def _through_backwards(stop: StopRecord) -> m.Action:
    """From node to node in every backward; from phase to phase elsewhere."""
    backward = stop.next is not None and stop.next.phase is Phase.BACKWARD
    return m.Action.INTO if backward else m.Action.NEXT


@pytest.mark.parametrize("script", _demos())
def test_going_through_backwards_node_by_node_changes_nothing(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_ask", _look)
    if script.name in WHOLE_BACKWARDS:
        script = replace(script, timeout=400)
    without = bare(script, tmp_path)
    stops = WHOLE_BACKWARDS.get(script.name, 5 * STOPS)
    through = ask_everything(script, tmp_path, stops, action=_through_backwards)
    assert (through.result.status, through.result.digest) == (without.status, without.digest)
    assert _comparable(script, through.result) == _comparable(script, without)
    assert through.warnings == through.failures == []
    places = [stop.at for stop in through.stops if stop.at is not None]
    assert {place.grain for place in places} == {Grain.NODE}
    assert any(place.parameter for place in places)


def test_keys_go_in_and_out_on_a_real_terminal(tmp_path: Path) -> None:
    script = next(script for script in all_scripts() if script.name == "two_nets")
    digest, output = tmp_path / "debugged.json", tmp_path / "output"
    command = [*stepdbg(tmp_path, "--python", sys.executable, "--output", str(output)), *script.command]
    terminal = Terminal(command, script.cwd, environment(tmp_path, digest), script.timeout)
    try:
        for key, shown in (
            ("", "next: ▶ zero_grad SGD"),
            ("n", "next: ▶ forward net"),
            ("s", "inside forward net ▸ ▶ before net.0 Linear"),
            ("s", "▶ before t of net.0"),
            ("o", "✓ after net.0 Linear"),
            ("o", "next: ▶ loss BCELoss"),
            ("n", "next: ▶ backward loss"),
            ("s", "▶ before BinaryCrossEntropyBackward0 of criterion"),
            ("n", "✓ after BinaryCrossEntropyBackward0 of criterion"),
            (":until net.0.weight\r", "▶ before AccumulateGrad of net.0.weight"),
            ("n", "✓ after AccumulateGrad of net.0.weight"),
            ("o", "next: ▶ step SGD"),
            ("s", "▶ before net.0.weight · held: still its old value"),
            ("n", "✓ after net.0.weight · held: its new value"),
        ):
            if key.startswith(":"):
                terminal.press(":")
                terminal.wait_for(r"(?m)^ ?:$")
                key = key[1:]
            terminal.press(key)
            terminal.wait(lambda text, shown=shown: shown in text, repr(shown))
        drive(terminal, ())
        terminal.press("q")
        status = terminal.wait_end()
    finally:
        terminal.close()
    assert Result(status, output.read_bytes(), _read(digest)) == bare(script, tmp_path)
