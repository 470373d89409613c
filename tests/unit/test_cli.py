"""The command line: what is whose, and one clear line for every mistake."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from stepdbg import cli
from stepdbg.cli import main, parse
from stepdbg.client.session import Exited
from stepdbg.config import Config
from stepdbg.errors import UsageError
from stepdbg.launch import demos
from stepdbg.launch.summary import how_it_ended, last_lines, plain_lines


@pytest.fixture(autouse=True)
def _no_user_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = tmp_path / "empty.toml"
    empty.touch()
    monkeypatch.setenv("STEPDBG_CONFIG", str(empty))


def test_everything_after_the_script_is_the_scripts() -> None:
    words = ["train.py", "--help", "--", "-m", "--python", "x", "demo"]
    arguments = parse(["--stop-at", "backward", *words])
    assert (arguments.target, list(arguments.rest)) == ("train.py", words[1:])
    assert (arguments.action, arguments.stop_at, arguments.python) == ("run", "backward", None)


def test_everything_after_the_module_is_the_modules() -> None:
    arguments = parse(["-m", "pkg.train", "-m", "--version"])
    assert (arguments.module, arguments.target, arguments.rest) == (True, "pkg.train", ("-m", "--version"))


def test_two_dashes_end_the_options() -> None:
    assert parse(["--", "-odd-name.py", "-x"]).target == "-odd-name.py"


def test_option_values_after_a_space_or_an_equals_sign() -> None:
    split, joined = parse(["--python", "p", "x.py"]), parse(["--python=p", "x.py"])
    assert split == joined
    assert split.python == "p"


def test_memory_for_previous_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepdbg.launch.interpreter.choose", lambda *_: None)
    limit = lambda words, config: cli._launch(parse([*words, "x.py"]), config).settings.previous_bytes  # noqa: E731
    assert parse(["--previous-values=64", "x.py"]).previous_values == 64
    assert limit([], Config()) == 256 << 20
    assert limit(["--previous-values", "0"], Config(previous_values=7)) == 0
    assert limit([], Config(previous_values=7)) == 7 << 20


def test_phases_add_up() -> None:
    arguments = parse(["--phase", "step=a:b", "--phase", "step=c.d:E.f", "--phase=data=a:g", "x.py"])
    assert arguments.phases == {"step": ("a:b", "c.d:E.f"), "data": ("a:g",)}


def test_names_that_no_file_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a" * 300]) == 2
    line = capsys.readouterr().err
    assert line.startswith("stepdbg: aaa")
    assert line.endswith("…: file name too long\n")


def test_modules_of_the_users_do_not_get_in_our_way(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('the user')")
    (tmp_path / "json.py").write_text("raise SystemExit('the user')")
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "stepdbg", "--python", sys.executable, "-m", "missing"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True)
    assert (done.returncode, "the user" in done.stderr) == (2, False), done.stderr


def test_a_demo_and_a_file_called_demo() -> None:
    assert parse(["demo"]).demo
    assert parse(["demo"]).target is None
    assert parse(["demo", "two_nets", "--x"]).rest == ("--x",)
    assert not parse(["./demo"]).demo
    assert not parse(["-m", "demo"]).demo


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no script given"),
        (["-m"], "-m needs a module"),
        (["--python"], "--python needs a value: --python PATH"),
        (["--output=", "x.py"], "--output needs a value"),
        (["--stop-on", "first", "x.py"], "unknown option --stop-on; did you mean --stop-at?"),
        (["-y", "x.py"], "unknown option -y"),
        (["-x", "commands", "x.py"], "-x is for --batch: stepdbg --batch -x … SCRIPT"),
        (["--json", "x.py"], "--json is for --batch"),
        (["--batch", "-c", "x.py"], "no script given"),
        (["--batch=yes", "x.py"], "--batch takes no value"),
        (["--help=3"], "--help takes no value"),
        (["--stop-at", "bakward", "x.py"], "did you mean backward?"),
        (["--stop-at", "17", "x.py"], "one of first, never, data"),
        (["--on-detach", "stay", "x.py"], "neither end nor continue"),
        (["--phase", "step", "x.py"], "write PHASE=package.module:Class.method"),
        (["--phase", "stop=a:b", "x.py"], "did you mean step?"),
        (["--phase", "step=a.b", "x.py"], "names no function"),
        (
            ["--previous-values", "1GB", "x.py"],
            "--previous-values: '1GB' is no number of MiB; write a whole one from 0",
        ),
        (["--previous-values", "-1", "x.py"], "'-1' is no number of MiB"),
        (["--previous-values", "9999999", "x.py"], "from 0 (none) to 1048576"),
    ],
)
def test_mistakes_are_named(words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian.py"], "trian.py: no such file; did you mean train.py?"),
        (["pkg"], "pkg: a directory, not a script; for a package write -m pkg"),
        (["demo", "two_net"], "no demo 'two_net'; did you mean two_nets?"),
        (["train.py"], "needs a terminal; run it without a pipe or redirection"),
        (["--config", "none.toml", "train.py"], "none.toml: no such configuration file"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_status_2(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "train.py").touch()
    (tmp_path / "pkg").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("stepdbg: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "train.py"
    script.touch(mode=0)
    assert main([str(script)]) == 2
    assert "not readable" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--python", "/nowhere/python", "train.py"], "--python /nowhere/python: no such file"),
        (["--python", sys.executable, "-m", "no_such_module_here"], "no module of that name"),
        (["--python", sys.executable, "--output", "/nowhere/file", "train.py"], "no such directory"),
        (["--config", "theme.toml", "--python", sys.executable, "train.py"], "did you mean textual-dark?"),
    ],
)
def test_on_a_terminal_no_screen_is_drawn_for_mistakes(options: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    (tmp_path / "theme.toml").write_text('theme = "textual-drak"\n')
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stepdbg", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=slave,
            stdout=slave,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 1)
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_help_and_version_load_no_screen_and_no_torch() -> None:
    code = (
        "import sys; from stepdbg.cli import main; assert main(['--help']) == 0 == main(['--version']);"
        "assert not {'torch', 'textual', 'asyncio'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert b"stepdbg [OPTIONS] SCRIPT" in done.stdout


def test_the_list_of_demos(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == demos.names()
    assert all(len(line.split()) > 2 for line in lines)


def test_lines_are_what_a_terminal_would_have_kept() -> None:
    raw = b"\x1b[1mloss\x1b[0m 1\r\n 10%\r 50%\r100%\r\n\x1b]0;title\x07done\r\n\r\n"
    assert plain_lines(raw) == ["loss 1", "100%", "done"]


def test_a_long_traceback_is_shown_whole() -> None:
    trace = ["Traceback (most recent call last):", *[f"  line {i}" for i in range(40)], "ValueError: no"]
    raw = "\r\n".join([*[f"epoch {i}" for i in range(50)], *trace, ""]).encode()
    assert last_lines(raw) == trace


def test_only_the_last_lines_are_shown() -> None:
    raw = b"".join(b"epoch %d\r\n" % i for i in range(50))
    assert last_lines(raw) == [f"epoch {i}" for i in range(30, 50)]


def test_how_it_ended_in_one_line() -> None:
    assert how_it_ended("train.py", Exited(3)) == "train.py exited with code 3"
    assert how_it_ended("train.py", Exited(None, 9)) == "train.py was ended by signal 9 (SIGKILL)"
