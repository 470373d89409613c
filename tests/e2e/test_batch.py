"""Batches as a user or a CI job starts them: real processes, pipes, no terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stepdbg.client.saved import SavedBreakpoints
from stepdbg.commands import COMMANDS
from stepdbg.commands.info import TOPICS
from stepdbg.protocol import codec
from stepdbg.protocol.breakpoints import Kind, Spec
from stepdbg.protocol.records import ParameterPage, StopRecord
from stepdbg.protocol.words import Evaluated

DEMOS = Path(__file__).parents[2] / "demo_models"
TWO_NETS = str(DEMOS / "two_nets.py")
SECONDS = 120


def bare(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def batch(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return bare("-m", "stepdbg", "--batch", *arguments, stdin=stdin)


def ours(text: str) -> list[str]:
    return [line.removeprefix("(stepdbg) ") for line in text.splitlines() if line.startswith("(stepdbg)")]


def theirs(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("(stepdbg)"))


SCRIPT = """
import sys, torch
def train(steps):
    torch.manual_seed(0)
    net = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(steps):
        optimiser.zero_grad()
        loss = net(torch.ones(3, 2)).pow(2).mean()
        loss.backward()
        optimiser.step()
    print("loss", loss.item(), sys.stdin.readline().strip())
    print("warned", file=sys.stderr)
    return net
train(3)
sys.exit(7)
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return str(path)


def test_answers_stand_beside_the_scripts_own_output_which_is_that_of_the_bare_run(script: str, tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.write_text("# where are we\nnext\n\nbt\nup\np train.__name__\n")
    plain = bare(script, stdin="typed\n")
    run = batch("-c", "info params", "-x", str(commands), "-c", "down", "-c", "p steps + 1", script, stdin="typed\n")
    assert theirs(run.stdout) == plain.stdout
    assert run.stderr == plain.stderr == "warned\n"
    assert (run.returncode, plain.returncode) == (7, 7)
    said = ours(run.stdout)
    assert said[0] == "stop 1 · iteration 1 · before zero_grad of optimiser"
    assert any(line.split()[:2] == ["weight", "1×2"] for line in said)
    stack = said[said.index("> bt") + 1 : said.index("> up")]
    assert stack == ["  ▶  0  train.py:9 in train", "     1  train.py:15 in <module>"]
    assert said[said.index("> up") + 1] == "  1  train.py:15 in <module>"
    assert said[said.index("> p train.__name__") + 1] == "  'train'"
    assert said[said.index("> p steps + 1") + 1] == "  4"
    assert said[-1] == "train.py exited with code 7"


THREADS = """
import threading, torch
both = threading.Barrier(2)
def train(seed):
    net = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    both.wait()
    for step in range(5):
        optimiser.zero_grad()
        net(torch.ones(3, 2)).pow(2).mean().backward()
        optimiser.step()
threads = [threading.Thread(target=train, args=(seed,)) for seed in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("both are done")
"""


@pytest.mark.parametrize("commands", [(), ("step", "next", "continue")], ids=" ".join)
def test_what_is_let_go_in_one_thread_goes_on_in_the_one_that_waits_for_it_as_well(
    commands: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "threads.py"
    path.write_text(THREADS)
    run = batch(*(word for command in commands for word in ("-c", command)), str(path))
    assert (theirs(run.stdout), run.stderr, run.returncode) == ("both are done\n", "", 0)
    last = [line for line in ours(run.stdout) if line.startswith("stop ")][-1]
    assert last.endswith("the script has run to its end") == ("continue" in commands)  # and at no step of the other


def test_what_cannot_be_shown_or_chosen_changes_nothing(script: str) -> None:
    commands = "until backward", "show net.weight", "show nothing", "slice 0, 9", "slice 0, 1", "which 9", "p @output"
    run = batch(*(word for command in commands for word in ("-c", command)), script, stdin="typed\n")
    said = ours(run.stdout)
    answers = {command: said[said.index(f"> {command}") + 1] for command in commands}
    assert answers["show nothing"] == "error: nothing: NameError: name 'nothing' is not defined"
    assert answers["slice 0, 9"].startswith("error: ")
    assert answers["slice 0, 1"] == "  value: float32 1×2 on cpu, 8 B"
    assert answers["which 9"] == "error: which: there is no graph 9: 1 output of net, 2 loss inline"
    assert answers["p @output"] == "error: '@output' is not one of the frame's names: show @output"


@pytest.mark.slow
def test_a_failed_command_makes_the_exit_code_3_and_the_others_run(script: str) -> None:
    run = batch("-c", "p nothing_of_this_name", "-c", "frame 9", "-c", "p 1 + 1", script)
    said = ours(run.stdout)
    assert run.returncode == 3
    assert said[said.index("> p nothing_of_this_name") + 1].endswith(
        "NameError: name 'nothing_of_this_name' is not defined"
    )
    assert "error: there is no frame 9: bt lists the 2 there are" in said
    assert said[said.index("> p 1 + 1") + 1] == "  2"
    assert said[-1] == "train.py exited with code 7; 2 commands failed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-c", "contniue"), "stepdbg: no command 'contniue': did you mean continue?"),
        (("-c", "info parms"), "stepdbg: info: no 'parms', did you mean params?"),
        (("-x", "no-such-file"), "stepdbg: cannot read no-such-file: No such file or directory"),
    ],
)
def test_a_command_that_cannot_be_read_ends_it_before_the_script_runs(
    arguments: tuple[str, str], words: str, script: str
) -> None:
    run = batch(*arguments, script)
    assert (run.returncode, run.stdout, run.stderr) == (3, "", f"{words}\n")


@pytest.mark.slow
def test_an_assignment_changes_the_run(script: str) -> None:
    plain = bare(script)
    run = batch("-c", "! steps = 1", "-c", "exec optimiser.param_groups[0]['lr'] = 5.0", "-c", "continue", script)
    assert run.returncode == 7
    said = ours(run.stdout)
    assert "  set steps" in said
    assert "the script has run to its end" in said[-2]
    assert theirs(run.stdout) != plain.stdout


@pytest.mark.slow
def test_json_is_one_typed_record_a_line_with_the_scripts_output_among_them(script: str) -> None:
    run = batch("--json", "-c", "info params", "-c", "p loss", "-c", "next", "-c", "frame 7", script)
    records = [json.loads(line) for line in run.stdout.splitlines()]
    kinds = [record["type"] for record in records]
    assert kinds[:3] == ["start", "stop", "command"]
    assert kinds[-1] == "exit"
    assert (records[-1]["code"], records[-1]["failed"], run.returncode) == (7, 2, 3)
    assert codec.from_plain(StopRecord, records[1]["stop"]).number == 1
    answers = [record for record in records if record["type"] == "answer"]
    page = codec.from_plain(ParameterPage, answers[0]["record"])
    assert (answers[0]["kind"], [row.name for row in page.rows]) == ("ParameterPage", ["net.weight", "net.bias"])
    told = codec.from_plain(Evaluated, answers[1]["record"])
    assert told.error == "NameError: name 'loss' is not defined" or "UnboundLocal" in told.error
    output = "".join(record["text"] for record in records if record["type"] == "output")
    assert output == bare(script).stdout
    assert next(r["error"] for r in records if r["type"] == "error").startswith("there is no frame 7")


@pytest.mark.slow
def test_a_step_is_gone_through_parameter_by_parameter(script: str) -> None:
    commands = ("until step", "step", "! net.weight.grad.zero_()", "info inside", "p net.weight[0, 0].item()", "next")
    more = ("p net.weight[0, 0].item()", "until net.bias", "info stop", "finish", "continue")
    run = batch(*(word for command in (*commands, *more) for word in ("-c", command)), script)
    said = ours(run.stdout)
    assert run.returncode == 7
    stops = [line for line in said if line.startswith("stop ")]
    assert stops[2] == "stop 3 · iteration 1 · before weight in step of optimiser"
    assert stops[3] == "stop 4 · iteration 1 · after weight in step of optimiser"
    assert stops[4] == "stop 5 · iteration 1 · before bias in step of optimiser"
    assert stops[5].startswith("stop 6 · iteration 2 · before zero_grad")
    how = [line for line in said if line.startswith("  how")]
    assert how[0] == "  how   held: still its old value"
    assert how[1] == "  how   held: its new value"
    first = said.index("> info inside")
    told = [line.split() for line in said[first + 1 : first + 6]]
    assert [line[:2] for line in told[2:4]] == [["@value", "1×2"], ["@grad", "1×2"]]
    before, after = (said[n + 1] for n, line in enumerate(said) if line == "> p net.weight[0, 0].item()")
    assert before == after  # its gradient was set to zero just before it was used


@pytest.mark.slow
def test_answers_in_a_file_leave_the_output_to_the_script(script: str, tmp_path: Path) -> None:
    place = tmp_path / "answers.jsonl"
    run = batch("--json", "--answers", str(place), "-c", "info memory", script)
    assert run.stdout == bare(script).stdout
    records = [json.loads(line) for line in place.read_text().splitlines()]
    assert [record["type"] for record in records if record["type"] != "command"] == ["start", "stop", "answer", "exit"]
    assert records[3]["record"]["parameters"] == 12


@pytest.mark.slow
def test_an_exception_is_looked_at_where_it_was_raised(tmp_path: Path) -> None:
    path = tmp_path / "fails.py"
    path.write_text("import torch\ndef f(n):\n    return torch.ones(2) @ torch.ones(n)\nf(3)\n")
    run = batch("-c", "p n", "-c", "traceback", str(path))
    said = ours(run.stdout)
    assert run.returncode == 1
    assert said[said.index("> p n") + 1] == "  3"
    assert said[said.index("> traceback") + 1] == "  Traceback (most recent call last):"
    assert "RuntimeError" in run.stderr


def test_an_exception_that_the_script_handles_is_not_its_end(tmp_path: Path) -> None:
    path = tmp_path / "handles.py"
    path.write_text(
        "import torch, stepdbg\ntry:\n    torch.ones(2) @ torch.ones(3)\n"
        "except RuntimeError:\n    stepdbg.post_mortem()\nprint('survived')\n"
    )
    run = batch("-c", "info stop", str(path))
    assert (run.returncode, theirs(run.stdout)) == (0, "survived\n")


@pytest.mark.slow
def test_what_is_watched_is_told_at_every_stop_with_its_history(script: str) -> None:
    run = batch("-c", "watch step * 2", "-c", "iteration", "-c", "iteration", "-c", "info breakpoints", script)
    assert run.returncode == 7
    said = ours(run.stdout)
    assert said[said.index("> watch step * 2") + 1] == "  watch 1: step * 2 = 0"
    assert [line for line in said if line.startswith("  watch 1  ")] == [
        "  watch 1  step * 2 = 2  ▁█",
        "  watch 1  step * 2 = 4  ▁▄█",
    ]
    assert said[-2].strip() == "▁▄█"


@pytest.mark.slow
def test_what_the_screen_has_saved_stops_no_batch(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPDBG_STATE", str(tmp_path / "state"))
    SavedBreakpoints(script).save((Spec(Kind.PHASE, "backward"),))
    assert SavedBreakpoints(script).load()
    run = batch("-c", "continue", "-c", "info breakpoints", script)
    said = ours(run.stdout)
    assert said[-2] == "  no breakpoints and no watches"
    assert "the script has run to its end" in run.stdout


@pytest.mark.slow
def test_without_evaluation_expressions_are_refused(script: str) -> None:
    run = batch("--no-eval", "-c", "p 1", "-c", "info params", script)
    assert run.returncode == 3
    assert "error: expressions are switched off (--no-eval)" in ours(run.stdout)


def test_learning_rates_are_told_as_they_are_now(script: str) -> None:
    said = ours(batch("-c", "set lr 0.5", "-c", "info lr", script).stdout)
    assert said[said.index("> info lr") + 2].split() == ["optimiser", "0.5"]


@pytest.mark.slow
def test_quit_and_detach(script: str) -> None:
    left = batch("-c", "quit", "-c", "p 1", script)
    assert (left.returncode, theirs(left.stdout)) == (0, "")
    assert "> p 1" not in ours(left.stdout)
    detached = batch("-c", "detach", script)
    assert (detached.returncode, theirs(detached.stdout)) == (7, bare(script).stdout)


def test_every_command_is_answered_or_refused_in_one_line(tmp_path: Path) -> None:
    """One run in which each command is given once: none is without an answer, an error or a stop."""
    arguments = {
        "show": "net[0].weight", "slice": "0, :", "form": "heatmap", "precision": "3", "goto": "max", "mark": "net.2",
        "unmark": "net.2", "set": "lr 0.01", "diff": "net net2", "export": str(tmp_path / "g.dot"),
        "export!": str(tmp_path / "g.dot"), "print": "net", "exec": "zz = 3", "display": "zz", "undisplay": "1",
        "info": "params", "fold": "all", "focus": "memory", "unwatch": "grads", "watch": "grads", "sort": "-norm",
        "frame": "0", "search": "net.0.*", "break": "step", "tbreak": "net.2", "logpoint": "step \"{loss}\"",
            "delete": "1", "enable": "2", "disable": "2", "ignore": "2 1", "condition": "2 loss > 0",
            "commands": "2 info lr", "until": "step", "what-if": "zero_grad",
    }  # fmt: skip
    last = ("restart", "detach", "quit", "continue")
    names = [command.name for command in COMMANDS if command.name not in last]
    lines = [f"{name} {arguments.get(name, '')}".strip() for name in names]
    given = [word for line in ["next", "next", *lines] for word in ("-c", line)]
    run = batch("--json", *given, TWO_NETS)
    assert run.stderr == ""
    records = [json.loads(line) for line in run.stdout.splitlines()]
    silent, now = [], ""
    for record in records:
        if record["type"] == "command":
            if now:
                silent.append(now)
            now = record["command"]
        elif record["type"] in ("answer", "error", "stop", "exit"):
            now = ""
            if record["type"] == "error":
                assert "\n" not in record["error"]
    assert {line.split()[0] for line in silent} <= {"undisplay"}
    answered = {record["command"].split()[0] for record in records if record["type"] == "answer"}
    assert {"info", "bt", "print", "exec", "show", "set", "diff", "explain", "backward", "export", "help"} <= answered
    assert (tmp_path / "g.dot").read_text().startswith("digraph")


@pytest.mark.slow
def test_every_topic_is_told() -> None:
    given = [word for topic in TOPICS for word in ("-c", f"info {topic}")]
    run = batch("-c", "iteration", *given, TWO_NETS)
    assert run.returncode == 0
    said = ours(run.stdout)
    for topic in TOPICS:
        assert said[said.index(f"> info {topic}") + 1].startswith("  ")


def test_a_count_makes_as_many_steps_and_ends_where_something_else_stops(script: str) -> None:
    said = ours(batch("-c", "next 3", "-c", "break step", "-c", "n 50", "-c", "quit", script).stdout)
    stops = [int(line.split()[1]) for line in said if line.startswith("stop ")]
    at = said.index("> break step")
    assert [int(line.split()[1]) for line in said[:at] if line.startswith("stop ")] == [1, 2, 3, 4]
    assert stops == list(range(1, len(stops) + 1))
    assert len(stops) < 10
    assert "breakpoint 1: step" in next(line for line in reversed(said) if line.startswith("stop "))
