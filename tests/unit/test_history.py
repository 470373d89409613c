"""Lines of the prompt from one session to the next."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from stepdbg.client.history import LONGEST, MOST, History

ADDS = """
import sys
from pathlib import Path
from stepdbg.client.history import History
for n in range(int(sys.argv[3])):
    History(Path(sys.argv[1])).add(":", f"{sys.argv[2]} {n}")
"""


def test_lines_come_back_with_what_they_were_typed_for(tmp_path: Path) -> None:
    first = History(tmp_path / "state")
    assert first.load() == []
    for mode, line in ((":", "p loss"), ("/", "net.0.*"), (":", "p 'ä\U0001f525'"), (":", "two\nlines"), (":", "")):
        first.add(mode, line)
    first.add(":", "x" * (LONGEST + 1))
    kept = [(":", "p loss"), ("/", "net.0.*"), (":", "p 'ä\U0001f525'"), (":", "two lines")]
    assert History(tmp_path / "state").load() == kept
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.path.write_text(":old\n")
    history.path.chmod(0o644)
    history.add(":", "new")
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600
    assert history.load() == [(":", "old"), (":", "new")]


def test_the_last_thousand_stay(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.path.write_text("".join(f":{n}\n" for n in range(2 * MOST - 2)))
    history.add(":", "x")
    assert len(history.path.read_text().splitlines()) == 2 * MOST - 1
    history.add(":", "y")
    lines = history.load()
    assert (len(lines), lines[0], lines[-2:]) == (MOST, (":", str(MOST)), [(":", "x"), (":", "y")])
    assert len(history.path.read_text().splitlines()) == MOST


def test_two_sessions_at_once_lose_no_line_of_each_other(tmp_path: Path) -> None:
    """Also while the file is cut to its length."""
    history = History(tmp_path)
    history.path.write_text("".join(f":{n}\n" for n in range(2 * MOST - 100)))
    command = [sys.executable, "-c", ADDS, str(tmp_path)]
    both = [subprocess.Popen([*command, name, "150"]) for name in ("a", "b")]
    assert [one.wait(60) for one in both] == [0, 0]
    assert len(history.path.read_text().splitlines()) < 2 * MOST
    lines = [line for _, line in history.load()]
    assert len(lines) == MOST
    for name in ("a", "b"):
        assert [line for line in lines if line.startswith(name)] == [f"{name} {n}" for n in range(150)]


def test_a_line_waits_for_who_has_the_file(tmp_path: Path) -> None:
    """A session that is stopped while it cuts the file: what is typed meanwhile goes in with the next line."""
    history = History(tmp_path)
    history.add(":", "first")
    with history.path.open("rb") as cutting:
        fcntl.flock(cutting, fcntl.LOCK_EX)
        history.add(":", "second")
        assert history.path.read_text() == ":first\n"
    history.add(":", "third")
    assert history.load() == [(":", "first"), (":", "second"), (":", "third")]


@pytest.mark.parametrize("what", ["folder", "link", "pipe", "file in the way"])
def test_what_cannot_be_kept_is_not_and_nothing_fails(what: str, tmp_path: Path) -> None:
    history = History(tmp_path / "state" if what == "file in the way" else tmp_path)
    elsewhere = tmp_path / "elsewhere"
    if what == "folder":
        history.path.mkdir()
    elif what == "link":
        history.path.symlink_to(elsewhere)
    elif what == "pipe":
        os.mkfifo(history.path)
    else:
        (tmp_path / "state").write_text("")
    for what_for in (partial(history.add, ":", "p loss"), history.load):
        thread = threading.Thread(target=what_for, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert not elsewhere.exists()


def test_what_is_no_line_of_ours_is_passed_over(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.path.write_bytes(b":p 1\n\xff\xfe\n\nother\n:\n/a\n")
    assert history.load() == [(":", "p 1"), ("/", "a")]
