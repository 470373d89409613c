"""A script's process on its pty, with a small stand-in for the agent, or none."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from stepdbg.client.session import ConnectionLost, Event, Exited, Output
from stepdbg.errors import SessionClosedError, UsageError
from stepdbg.launch import ending, process
from stepdbg.launch.interpreter import Interpreter
from stepdbg.launch.process import Launch, ProcessSession
from stepdbg.protocol import messages as m

ROOT = Path(__file__).parents[2]

AGENT = f"""
import os, socket, sys
sys.path.insert(0, {str(ROOT)!r})
from stepdbg.protocol import VERSION, connection, messages as m
from stepdbg.protocol.states import Role

line = socket.socket(fileno=int(os.environ["STEPDBG_FD"]))
talk = connection.Connection(Role.AGENT)
line.sendall(talk.send(m.Hello(VERSION, os.getpid(), sys.executable, "3", "", ())))

def heard():
    while True:
        data = line.recv(65536)
        if not data:
            return None
        for message in talk.receive(data):
            return message
"""

Make = Callable[..., ProcessSession]


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes sessions of a script given as text; closes them all, and then nothing of them may be alive."""
    monkeypatch.setattr(process, "INJECT", tmp_path / "inject")
    monkeypatch.chdir(tmp_path)
    made: list[ProcessSession] = []

    def build(code: str, *arguments: str, on_detach: str = "end", output: Path | None = None) -> ProcessSession:
        (tmp_path / "script.py").write_text(textwrap.dedent(code))
        launch = Launch(
            Interpreter(sys.executable, "for the test"),
            "script.py",
            arguments,
            settings=m.Settings(on_detach=on_detach),
            output=output,
        )
        made.append(ProcessSession(launch, columns=100, rows=30))
        return made[-1]

    yield build
    for session in made:
        await session.close()
        if session.pid is not None and session.log is None:
            assert not ending.alive(ending.family(session.pid))


async def everything(session: ProcessSession) -> list[Event]:
    async with asyncio.timeout(30):
        return [event async for event in session.events()]


def printed(events: list[Event]) -> str:
    return b"".join(e.data for e in events if isinstance(e, Output)).decode().replace("\r\n", "\n")


async def until_printed(session: ProcessSession, text: str) -> None:
    async with asyncio.timeout(30):
        while text.encode() not in session.tail():
            await anext(session.events())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  (the state of other processes: there is no event for it)
            await asyncio.sleep(0.01)


async def test_a_terminal_of_its_own(make: Make) -> None:
    session = make(
        """
        import os, sys
        print([os.isatty(fd) for fd in (0, 1, 2)], os.getsid(0) == os.getpid() == os.tcgetpgrp(0))
        print(tuple(os.get_terminal_size()), sys.argv[1:], open("/dev/tty").isatty())
    """,
        "--help",
        "a b",
    )
    await session.start()
    assert printed(await everything(session)) == ("[True, True, True] True\n(100, 30) ['--help', 'a b'] True\n")


async def test_what_is_new_in_the_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
        import os
        print({k: v for k, v in os.environ.items() if k.startswith("STEPDBG") or k == "PYTHONPATH"})
    """
    monkeypatch.setenv("STEPDBG_PYTHONPATH", "stale")
    for old in (None, "", "/old:/paths"):
        if old is None:
            monkeypatch.delenv("PYTHONPATH", raising=False)
        else:
            monkeypatch.setenv("PYTHONPATH", old)
        session = make(code)
        await session.start()
        seen = eval(printed(await everything(session)))  # a dict that was printed
        assert seen["STEPDBG_FD"] == "200"
        assert '"stop_at": "first"' in seen["STEPDBG_SETTINGS"]
        assert seen.get("STEPDBG_PYTHONPATH") == old
        assert seen["PYTHONPATH"] == f"{process.INJECT}:{old}" if old else str(process.INJECT)


async def test_output_then_lost_connection_then_the_end(make: Make) -> None:
    session = make(AGENT + "for i in range(20000): print(i)\nsys.exit(3)")
    await session.start()
    events = await everything(session)
    assert printed(events).split() == [str(i) for i in range(20000)]
    assert [type(e) for e in events if not isinstance(e, Output)] == [m.Hello, ConnectionLost, Exited]
    assert events[-1] == session.exited == Exited(3)
    assert session.ended_itself


async def test_a_signal_is_told_as_one(make: Make) -> None:
    session = make("import os; os.kill(os.getpid(), 9)")
    await session.start()
    assert (await everything(session))[-1] == Exited(None, 9)
    assert session.exited is not None
    assert session.exited.status == 137


async def test_a_slow_screen_holds_the_script_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "BACKLOG", 4096)
    session = make("for i in range(50000): print(i)\nprint('end')")
    await session.start()
    await until(lambda: session._unseen > 4096)
    assert b"end" not in session.tail()
    assert printed(await everything(session)).split()[-2:] == ["49999", "end"]


async def test_typing_into_the_console(make: Make) -> None:
    session = make("""
        import sys, time
        print("hello", input("name? "))
        print(len(sys.stdin.readline()))
        try:
            print("busy", flush=True)
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            print("interrupted")
        print(sys.stdin.read() == "")
    """)
    await session.start()
    await until_printed(session, "name? ")
    await session.write_console(b"bob\n")
    # Only then the rest: the terminal echoes what is typed into the middle of what is printed meanwhile.
    await until_printed(session, "hello bob")
    await session.write_console(b"x" * 3000 + b"\n")
    await until_printed(session, "busy")
    await session.write_console(b"\x03")
    await until_printed(session, "interrupted")
    await session.write_console(b"\x04")
    events = await everything(session)
    assert "hello bob" in session.tail().decode()
    assert "\r\n3001\r\n" in session.tail().decode()
    assert printed(events).endswith("True\n")
    with pytest.raises(SessionClosedError):
        await session.write_console(b"x")


async def test_the_size_follows(make: Make) -> None:
    session = make("""
        import os, signal
        signal.signal(signal.SIGWINCH, lambda *_: print(tuple(os.get_terminal_size()), flush=True))
        print("ready")
        while True: signal.pause()
    """)
    session.resize_console(90, 20)
    await session.start()
    await until_printed(session, "ready")
    session.resize_console(70, 10)
    await until_printed(session, "(70, 10)")


async def test_output_goes_to_a_file_as_well(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_bytes(b"old")
    session = make("print('x\\ty')", output=file)
    await session.start()
    await everything(session)
    assert file.read_bytes() == b"x\ty\r\n"
    (tmp_path / "script.py").write_text("print('edited')")
    again = await session.restarted()
    assert session.successor is again
    await again.start()
    assert printed(await everything(again)) == "edited\n"
    await again.close()
    assert file.read_bytes() == b"x\ty\r\nedited\r\n"


async def test_an_output_file_that_cannot_be(make: Make) -> None:
    with pytest.raises(UsageError, match="--output /nowhere/out: No such file"):
        await make("", output=Path("/nowhere/out")).start()


async def test_an_interpreter_that_cannot_be_started(make: Make) -> None:
    session = ProcessSession(Launch(Interpreter("/nowhere/python", ""), "script.py"))
    with pytest.raises(UsageError, match="cannot start /nowhere/python: No such file"):
        await session.start()
    await session.close()


async def test_closing_ends_the_script_and_its_children(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "GRACE", 0.3)
    session = make("""
        import signal, subprocess, sys
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        first = subprocess.Popen(["sleep", "1000"])
        second = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        print("children", first.pid, second.pid, flush=True)
        while True: signal.pause()
    """)
    await session.start()
    await until_printed(session, "children")
    await until_printed(session, "\n")
    children = [psutil.Process(int(word)) for word in session.tail().split()[-2:]]
    await session.close()
    await session.close()
    assert session.exited == Exited(None, signal.SIGKILL)
    assert not session.ended_itself
    await until(lambda: not ending.alive(children))


async def test_closing_lets_the_script_clean_up(make: Make) -> None:
    session = make("""
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("ready", flush=True)
        while True: signal.pause()
    """)
    await session.start()
    await until_printed(session, "ready")
    await session.close()
    assert session.exited == Exited(7)


async def test_closing_at_the_last_stop_lets_the_script_end(make: Make, tmp_path: Path) -> None:
    code = f"""
    {textwrap.indent(AGENT, "    ").strip()}
    from stepdbg.protocol.records import StopReason, StopRecord
    table = open("table.csv", "w")
    table.write("not flushed yet")
    line.sendall(talk.send(m.Stopped(StopRecord(
        number=1, reason=StopReason.FINISHED, iteration=1, micro_batch=1, just_ran=(), next=None, inside=(), rail=(),
        loss=None, stack=(), here=None, thread="", elapsed=0.0, rate=None, exception=None, note=""))))
    if heard() is not None:
        sys.exit(3)
    """
    session = make(code)
    await session.start()
    async with asyncio.timeout(30):
        async for event in session.events():
            if isinstance(event, m.Stopped):
                break
    await session.close()
    assert (tmp_path / "table.csv").read_text() == "not flushed yet"
    assert (session.exited, session.ended_itself) == (Exited(3), True)


async def test_closing_before_the_start(make: Make) -> None:
    session = make("")
    await session.close()
    assert await everything(session) == []


async def test_a_child_that_keeps_the_socket_does_not_hold_up_the_end(make: Make) -> None:
    session = make(AGENT + "\nimport subprocess\nsubprocess.Popen(['sleep', '1000'], pass_fds=[200])")
    await session.start()
    assert (await everything(session))[-1] == Exited(0)


async def test_detached_it_runs_on_and_its_output_is_kept(make: Make, tmp_path: Path) -> None:
    code = (
        AGENT
        + """
print(type(heard()).__name__, flush=True)
print(heard())
import time
while not os.path.exists("go"): time.sleep(0.01)
for i in range(20000): print("line", i)
print("end", os.isatty(1))
open("done", "w").close()
"""
    )
    session = make(code)
    await session.start()
    async with asyncio.timeout(30):
        async for event in session.events():
            if isinstance(event, m.Hello):
                break
    await session.close(detach=True)
    assert session.pid is not None
    assert session.log == tmp_path / f"stepdbg-script-{session.pid}.log"
    assert psutil.pid_exists(session.pid)
    await asyncio.to_thread((tmp_path / "go").touch)
    done = tmp_path / "done"
    await until(done.exists)
    log = session.log
    await until(lambda: b"end True" in log.read_bytes())
    lines = (await asyncio.to_thread(log.read_bytes)).decode().split("\r\n")
    assert [line for line in lines if line.startswith("line")] == [f"line {i}" for i in range(20000)]
    assert "Detach" in session.tail().decode() + lines[0]


async def test_no_keeper_is_left_when_the_script_ends_first(make: Make, tmp_path: Path) -> None:
    session = make("print('short')", on_detach="continue")
    await session.start()
    keeper = session._keeper
    assert keeper is not None
    assert printed(await everything(session)) == "short\n"
    await until(lambda: not psutil.pid_exists(keeper))
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".log")]  # noqa: PTH208


async def test_the_command_is_what_the_user_would_have_typed() -> None:
    python = Interpreter("/usr/bin/python", "")
    assert Launch(python, "a/train.py", ("-x",)).command == ("/usr/bin/python", "a/train.py", "-x")
    assert Launch(python, "a.b", ("-x",), module=True).command == ("/usr/bin/python", "-m", "a.b", "-x")
    assert Launch(python, "a/train.py").title == "train.py"
    assert Launch(python, "a.b", module=True).title == "-m a.b"


async def test_no_descriptor_of_ours_reaches_the_script(make: Make) -> None:
    code = "import os; print(sorted(int(f) for f in os.listdir('/proc/self/fd') if os.get_inheritable(0)))"
    here = {fd for fd in range(3, 1024) if _inheritable(fd)}
    session = make(code, on_detach="continue")
    await session.start()
    seen = set(eval(printed(await everything(session)))) - here
    # One more is the folder being listed.
    assert len(seen - {0, 1, 2, 200}) <= 1


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False
