import itertools
import re
import time

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcwidth

from stepdbg.ui import terminal as t
from stepdbg.ui.terminal import DEFAULT, Terminal

FAST, SLOW = 0, 1 << 40


def fed(data: bytes, *splits: int, columns: int = 20, lines: int = 5, **options) -> Terminal:
    terminal = Terminal(columns, lines, **options)
    edges = [0, *sorted(splits), len(data)]
    for a, b in itertools.pairwise(edges):
        terminal.feed(data[a:b])
        terminal.drain()
    return terminal


def everything(terminal: Terminal) -> tuple:
    lines = [terminal.line(i) for i in range(terminal.held)]
    return terminal.dropped, lines, terminal._screen.cursor.attrs


def texts(terminal: Terminal) -> list[str]:
    return [terminal.text(i) for i in range(terminal.held)]


PIECES = (
    *(
        b"hello",
        b"a line of more than twenty columns",
        b"   ",
        "é…▁".encode(),
        "漢".encode(),
        "👩\u200d👧".encode(),
    ),
    *(b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\t", b"\x08", b"\xff"),
    *(b"\x1b[31m", b"\x1b[0m", b"\x1b[1;38;5;200m", b"\x1b[2J", b"\x1b[H", b"\x1b[A", b"\x1b[K"),
    *(b"\x1b]0;t\x07", b"\x1b[2;4r", b"\x1b[r", b"\x1b[?3h", b"\x1b[4h", b"\x1b[?7l", b"\x1b[", b"\x1b"),
)
pieces = st.sampled_from(PIECES)
streams = st.lists(pieces, max_size=60).map(b"".join)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_any_bytes_split_anywhere_give_the_same_lines(data, splits):
    assert everything(fed(data, *splits, fast_from=SLOW)) == everything(fed(data, fast_from=SLOW))


@given(streams, st.lists(st.integers(0, 400), max_size=3))
def test_the_fast_way_gives_the_same_lines(data, splits):
    exact = fed(data, fast_from=SLOW, scrollback=7)
    assert everything(fed(data, *splits, fast_from=FAST, scrollback=7)) == everything(exact)


@given(streams)
def test_the_screen_is_that_of_pyte(data):
    # Left out: what the emulator does differently on purpose (joiners, the width of the screen).
    for left_out in ("\u200d".encode(), b"\x1b[?3h", b"\xff"):
        data = data.replace(left_out, b"")
    terminal = fed(data, fast_from=FAST)
    peer = pyte.Screen(20, 5)
    pyte.ByteStream(peer).feed(data)
    screens = [[[s.buffer[y][x] for x in range(20)] for y in range(5)] for s in (terminal._screen, peer)]
    assert screens[0] == screens[1]
    assert (terminal._screen.cursor.x, terminal._screen.cursor.y) == (peer.cursor.x, peer.cursor.y)


def test_narrow_characters_are_narrow():
    narrow = re.compile(f"[{t.NARROW}]")
    found = [chr(c) for c in range(0x3000) if narrow.match(chr(c))]
    assert len(found) > 1000
    assert [c for c in found if wcwidth(c) != 1] == []


def test_carriage_returns_overwrite_as_progress_bars_do():
    terminal = fed(b"  0%|    |\r 50%|##  |\r100%|####|\r\ndone\r\n")
    assert texts(terminal) == ["100%|####|", "done"]


def test_cursor_movement_and_erasing():
    assert texts(fed(b"one\r\ntwo\x1b[A\rONE\x1b[K\r\n\r\n")) == ["ONE", "two"]


@pytest.mark.parametrize("fast_from", [FAST, SLOW])
def test_colours_last_until_changed(fast_from):
    terminal = fed(b"\r\n" * 5 + b"\x1b[1;31mred\r\nstill\x1b[0m plain\r\n", fast_from=fast_from)
    red = ("red", "default", True, False, False, False, False, False)
    assert [terminal.line(i) for i in (5, 6)] == [(("red", red),), (("still", red), (" plain", DEFAULT))]


def test_joiners_do_not_swallow_the_rest_of_the_line():
    assert texts(fed("a👩\u200d👧b".encode())) == ["a👩👧b"]


def test_lines_beyond_the_scrollback_are_counted():
    terminal = fed(b"".join(b"%d\r\n" % i for i in range(100)), scrollback=10)
    assert terminal.total == 100
    assert terminal.held + terminal.dropped == 100
    assert terminal.text(terminal.held - 1) == "99"
    assert terminal.text(0) == str(terminal.dropped)


def test_shrinking_moves_rows_to_the_scrollback():
    terminal = fed(b"1\r\n2\r\n3\r\n4")
    terminal.resize(3, 2)
    assert texts(terminal) == ["1", "2", "3", "4"]
    terminal.feed(b"567\r\n8")
    terminal.drain()
    assert texts(terminal) == ["1", "2", "3", "456", "7", "8"]


def test_a_flood_is_read_to_its_last_line_in_short_slices():
    terminal = Terminal(80, 24)
    data = b"".join(b"\x1b[32mline %d of very many\x1b[0m loss=%d\r\n" % (i, i * i) for i in range(100_000))
    for start in range(0, len(data), 65536):
        terminal.feed(data[start : start + 65536])
    slices = []
    done = False
    while not done:
        began = time.perf_counter()
        done = terminal.drain(0.008)
        slices.append(time.perf_counter() - began)
    assert terminal.total == 100_000
    assert terminal.held == t.SCROLLBACK + 23
    assert terminal.text(terminal.held - 1) == "line 99999 of very many loss=9999800001"
    assert sum(slices) < 20  # 1 s on an idle machine: a bound against drawing it all by pyte


def test_an_endless_flood_is_bounded_and_counted(monkeypatch):
    monkeypatch.setattr(t, "MOST_QUEUED", 100_000)
    terminal = Terminal(80, 24, scrollback=100)
    for i in range(50_000):
        terminal.feed(b"%d\r\n" % i)
    assert terminal.queued <= 100_000
    terminal.drain()
    assert terminal.total == 50_000
    assert terminal.text(terminal.held - 1) == "49999"


def test_a_short_budget_leaves_the_rest_for_later():
    ticks = iter(range(1000))
    terminal = Terminal(80, 24, fast_from=SLOW, clock=lambda: float(next(ticks)))
    terminal.feed(b"x" * 10_000)
    assert not terminal.drain(1.0)
    assert terminal.queued == 10_000 - t.STEP
    assert terminal.drain()
