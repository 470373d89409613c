import time

import pytest
from pane_host import FILE, INFO, TEXT, Host, full, stop, texts, view
from textual.widgets import Static

from stepdbg.client.session import SessionInfo
from stepdbg.client.store import Recorded, Status
from stepdbg.protocol.messages import GetSource
from stepdbg.protocol.records import SourceText
from stepdbg.ui.messages import ConsoleInput, ConsoleResized
from stepdbg.ui.panes.console import ConsolePane
from stepdbg.ui.panes.source import SourcePane


def sentence(app, name="pane") -> str:
    return str(app.query_one(f".{name}--sentence", Static).content)


# ── source ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_line_about_to_run_is_marked_in_the_middle():
    text = "".join(f"line {i}\n" for i in range(1, 200))
    stopped = Recorded(stop(stack=(stop().stack[1],), here=0))
    frame = stopped.stop.stack[0]
    app = Host(SourcePane(), view(stopped, sources={FILE: SourceText(FILE, text, False)}))
    async with app.run_test(size=(60, 20)) as pilot:
        lines = texts(app.pane.text)
        assert lines[6] == "▌▶   7  line 7"
        assert sum("▶" in line for line in lines) == 1
        moved = stop(6, stack=(type(frame)(FILE, 100, "main", True),), here=0)
        app.view = view(Recorded(moved), sources=app.view.sources)
        await pilot.pause()
        lines = texts(app.pane.text)
        assert abs(next(y for y, line in enumerate(lines) if "▶" in line) - len(lines) // 2) <= 1
        assert "two_nets.py:100" in app.pane.border_title


async def test_highlighting_keeps_every_character():
    app = Host(SourcePane(), view(full()))
    async with app.run_test(size=(60, 24)) as pilot:
        await app.workers.wait_for_complete()
        await pilot.pause()
        shown = [line[7:] for line in texts(app.pane.text)][: len(TEXT.split("\n"))]
        assert shown == TEXT.split("\n")
        colours = {segment.style.color for segment in app.pane.text.render_line(3) if segment.style}
        assert len(colours) > 2


async def test_the_stack_shows_other_files():
    app = Host(SourcePane(), view(full()))
    async with app.run_test(size=(60, 20)) as pilot:
        stack = texts(app.pane.stack)
        assert stack[0].split() == ["optimizer.py:500", "wrapper", "(library)"]
        assert stack[1].startswith("▌▶ two_nets.py:7")
        app.pane.stack.focus()
        await pilot.press("up")
        assert app.wanted() == [GetSource(0, "/lib/torch/optim/optimizer.py")]
        await pilot.press("down", "down")
        assert "two_nets.py:10" in app.pane.border_title


async def test_search_goes_round():
    app = Host(SourcePane(), view(full()))
    async with app.run_test(size=(60, 20)):
        app.pane.search("MAIN")
        assert app.pane.text.cursor == 9
        app.pane.search("main")
        assert app.pane.text.cursor == 3
        app.pane.search("nowhere")
        assert "no line contains" in app.pane.border_subtitle


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (view(full(stop=stop(here=None))), "No line of your code"),
        (view(full(stop=stop(here=None, stack=(), note="the script has ended"))), "the script has ended"),
        (
            view(full(), sources={FILE: SourceText(FILE, None, False, "no such file")}),
            f"{FILE}: no such file",
        ),
        (view(full(), sources={}, status=Status.ENDED), "was not read while the script stood there"),
        (view(full(), sources={}), "Reading…"),
    ],
)
async def test_no_source_says_why(shown, words):
    app = Host(SourcePane(), shown)
    async with app.run_test(size=(60, 20)):
        assert words in sentence(app)


async def test_an_edited_file_is_noted():
    app = Host(SourcePane(), view(full(), sources={FILE: SourceText(FILE, TEXT, True)}))
    async with app.run_test(size=(60, 20)):
        assert "changed on disk since the run began" in app.pane.border_subtitle


# ── console ─────────────────────────────────────────────────────────────────────────────────────────────────


async def drained(app, pilot, deadline=30.0):
    end = time.monotonic() + deadline
    while app.pane.terminal.queued and time.monotonic() < end:
        await pilot.pause(0.01)
    await pilot.pause(0.02)
    assert not app.pane.terminal.queued


async def test_output_with_colours_and_progress_bars():
    app = Host(ConsolePane(), view())
    async with app.run_test(size=(60, 12)) as pilot:
        assert sentence(app, "console") == "The script has written nothing yet."
        app.pane.feed(b" 50%|##  |\r100%|####|\r\n\x1b[31mred\x1b[0m plain\r\n")
        await drained(app, pilot)
        assert texts(app.pane.output)[:3] == ["100%|####|", "red plain", ""]
        assert app.pane.output.render_line(1)._segments[0].style.color.name == "red"
        assert sentence(app, "console") == ""


async def test_the_script_is_told_the_size():
    app = Host(ConsolePane(), view())
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.pause()
        await pilot.resize_terminal(70, 15)
        await pilot.pause()
        sizes = [(m.columns, m.rows) for m in app.said if isinstance(m, ConsoleResized)]
        assert sizes[0][0] + 10 == sizes[-1][0]
        assert sizes[0][1] + 3 == sizes[-1][1]
        assert sizes[-1] == tuple(app.pane.output.scrollable_size)


async def test_lines_and_control_keys_go_to_the_script():
    app = Host(ConsolePane(), view())
    async with app.run_test(size=(60, 12)) as pilot:
        app.pane.input.focus()
        await pilot.press("h", "i", "enter", "ctrl+c", "ctrl+d")
        assert [m.data for m in app.said if isinstance(m, ConsoleInput)] == [b"hi\n", b"\x03", b"\x04"]
        assert app.pane.input.value == ""
        await pilot.press("escape")
        assert app.focused is app.pane.output


async def test_a_flood_is_shown_to_its_end_and_what_is_gone_is_counted():
    app = Host(ConsolePane(), view())
    async with app.run_test(size=(60, 12)) as pilot:
        for start in range(0, 100_000, 1000):
            app.pane.feed(b"".join(b"line %d\r\n" % i for i in range(start, start + 1000)))
        await drained(app, pilot)
        assert "line 99999" in texts(app.pane.output)
        assert app.pane.terminal.total == 100_000
        assert "older lines gone" in app.pane.border_subtitle
        await pilot.press("tab")
        app.pane.output.focus()
        await pilot.press("g")
        await pilot.pause()
        assert texts(app.pane.output)[0] == f"line {app.pane.terminal.dropped}"
        app.pane.feed(b"more\r\n")
        await drained(app, pilot)
        assert "more" not in texts(app.pane.output)


async def test_search_goes_up():
    app = Host(ConsolePane(), view())
    async with app.run_test(size=(60, 12)) as pilot:
        app.pane.feed(b"".join(b"epoch %d\r\nother\r\n" % i for i in range(100)))
        await drained(app, pilot)
        app.pane.search("EPOCH")
        assert app.pane.border_subtitle == "found in line 199"
        app.pane.search("epoch")
        assert app.pane.border_subtitle == "found in line 197"
        app.pane.search("absent")
        assert app.pane.border_subtitle == "not found"


async def test_in_process_there_is_no_console():
    bare = SessionInfo("train", (), INFO.python, has_console=False)
    app = Host(ConsolePane(), view(info=bare))
    async with app.run_test(size=(60, 12)):
        assert "goes to that program's terminal" in sentence(app, "console")
        assert not app.pane.input.display
