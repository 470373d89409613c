"""The configuration file: what it gives, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepdbg import config
from stepdbg.errors import UsageError

GOOD = """\
theme = "textual-light"
stop-at = "backward"
on-detach = "continue"
python = ".venv/bin/python"
previous-values = 64

[keys]
next = "n,f10"

[phases]
step = ["mylib.optim:Optimizer.step", "other:step"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_a_whole_file(file: Path) -> None:
    file.write_text(GOOD)
    read = config.load(file)
    assert (read.theme, read.stop_at, read.on_detach) == ("textual-light", "backward", "continue")
    assert read.python == ".venv/bin/python"
    assert read.previous_values == 64
    assert read.keys == {"next": "n,f10"}
    assert read.phases == {"step": ("mylib.optim:Optimizer.step", "other:step")}
    assert read.path == file


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('\ntheem = "x"', 2, "unknown key 'theem'; did you mean theme?"),
        ("zzz = 1", 1, "unknown key 'zzz'; keys are theme, stop-at"),
        ("theme = 3", 1, "theme: expected text"),
        ('previous-values = "64"', 1, "previous-values: expected a number of MiB, as in previous-values = 256"),
        ("previous-values = true", 1, "previous-values: expected a number of MiB"),
        ("\nprevious-values = -3", 2, "previous-values: '-3' is no number of MiB; write a whole one from 0 (none)"),
        ('# a comment\nstop-at = "frist"', 2, "stop-at: 'frist' is no place to stop; did you mean first?"),
        ('on-detach = "stay"', 1, "on-detach: 'stay' is neither end nor continue"),
        ("keys = 1", 1, "keys: expected a table, [keys]"),
        ('[keys]\n\nnxet = "n"', 3, "no command 'nxet'; did you mean next?"),
        ('keys.nxet = "n"', 1, "no command 'nxet'"),
        ('[keys]\nnext = ""', 2, "keys.next: expected keys as text"),
        ('[keys]\nnext = "n m"', 2, "'n m' is no key"),
        ('[keys]\nnext = "N"', 2, "'N' is reserved"),
        ('[keys]\nnext = "q"', 2, "'q' is already the key of quit"),
        ('[keys]\nnext = "f5"\npause = "f5"', 3, "'f5' is already the key of next"),
        ('[phases]\nstop = ["a:b"]', 2, "no phase 'stop'; did you mean step?"),
        ("[phases]\nstep = [1]", 2, "phases.step: expected a list"),
        ('[phases]\nstep = ["a.b"]', 2, "'a.b' names no function; write package.module:Class.method"),
        ('theme = "x"\ntheme = "y"', 2, "not TOML"),
        ("a = 1\n[keys\n", 2, "not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(file: Path, text: str, line: int, said: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        config.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: ")
    assert said in message
    assert "\n" not in message


def test_a_key_freed_by_the_file_may_be_used(file: Path) -> None:
    file.write_text('[keys]\nquit = "f10"\nnext = "q"')
    assert config.load(file).keys == {"quit": "f10", "next": "q"}


def test_an_unknown_theme_is_named_once_the_themes_are_known(file: Path) -> None:
    file.write_text('stop-at = "first"\ntheme = "nrod"')
    read = config.load(file)
    with pytest.raises(UsageError, match=r"config\.toml:2: theme: no theme 'nrod'; did you mean nord\?"):
        read.check_theme(["nord", "dracula"])
    file.write_text('theme = "nord"')
    config.load(file).check_theme(["nord", "dracula"])


def test_where_it_is_looked_for(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STEPDBG_CONFIG", raising=False)
    monkeypatch.setattr(config, "user_config_dir", lambda _name: str(tmp_path / "home"))
    assert config.load() == config.Config()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text('theme = "home"')
    assert config.load().theme == "home"
    file.write_text('theme = "environment"')
    monkeypatch.setenv("STEPDBG_CONFIG", str(file))
    assert config.load().theme == "environment"


def test_a_file_that_was_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such configuration file"):
        config.load(Path("/nowhere/config.toml"))
    monkeypatch.setenv("STEPDBG_CONFIG", "/nowhere/config.toml")
    with pytest.raises(UsageError, match="no such configuration file"):
        config.load()


def test_a_file_that_is_no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        config.load(file)
