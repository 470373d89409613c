"""What is written in place of Textual's own updates: an emulated terminal must look the same after both."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip
from wcwidth import wcwidth

from stepdbg.ui import ink, standing
from stepdbg.ui.sparing import pieces
from stepdbg.ui.standing import Standing

WIDTH, HEIGHT = 16, 3
CONSOLE = Console(color_system="truecolor", force_terminal=True, legacy_windows=False)

STYLES = [
    None,
    Style.parse("red"),
    Style.parse("bold red on #102030"),
    Style.parse("bold #ff0000 on #102030"),
    Style.parse("#ff0000 on #102030"),
    Style.parse("italic underline reverse color(200)"),
    Style.parse("strike blink bright_blue on bright_white"),
    Style.parse("default on default"),
    Style.parse("link https://example.org/x bold"),
]
# Letters that everybody draws alike, Chinese and Japanese ones, an emoji, a combining accent.
ACCENT = "\u0301"
LETTERS = f"  aab│▶世カ😀{ACCENT}"


def strip(chance: Random, width: int, *, short: bool) -> Strip:
    """A strip of that many cells, or now and then of fewer."""
    texts = ["".join(chance.choices(LETTERS, k=chance.randint(1, 6))) for _ in range(chance.randint(0, 4))]
    if texts and texts[0].startswith(ACCENT):  # it would be put on the row above
        texts[0] = f"a{texts[0]}"
    made = Strip([Segment(text, chance.choice(STYLES)) for text in texts])
    if short and made.cell_length < width and chance.random() < 0.2:
        return made
    return made.adjust_cell_length(width, chance.choice(STYLES))


def update(chance: Random) -> Any:
    """An update of the whole screen, or of spans of it."""
    cuts = [sorted({0, WIDTH, *chance.sample(range(1, WIDTH), chance.randint(0, 3))}) for _ in range(HEIGHT)]
    whole = chance.random() < 0.4
    rows = [{at: strip(chance, end - at, short=not whole) for at, end in pairwise(row)} for row in cuts]
    if whole:
        return LayoutUpdate([list(row.values()) for row in rows], Region(0, 0, WIDTH, HEIGHT))
    spans = []
    for y in sorted(chance.sample(range(HEIGHT), chance.randint(1, HEIGHT))):
        ends = sorted(chance.sample(range(WIDTH + 1), chance.choice((2, 2, 4))))
        spans += [(y, start, end) for start, end in zip(ends[::2], ends[1::2], strict=True)]
    return ChopsUpdate(rows, spans, [cut[1:] for cut in cuts])


def updates(seed: int) -> list[Any]:
    chance = Random(seed)
    return [update(chance) for _ in range(8)]


class Emulated:
    def __init__(self) -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.stream = pyte.Stream(self.screen)
        self.feed("\x1b[?7l" + "x" * 3)

    def feed(self, text: str) -> None:
        self.stream.feed(re.sub(r"\x1b\]8;.*?\x1b\\", "", text))

    def cells(self) -> list[list[tuple[object, ...]]]:
        buffer = self.screen.buffer
        return [[tuple(buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


def written(stands: Standing, update: Any) -> str:
    rows = pieces(update)
    assert rows is not None
    text, after = stands.update((WIDTH, HEIGHT), rows)
    stands.note(after)
    return text


@pytest.mark.parametrize("seeds", [range(start, start + 50) for start in range(0, 300, 50)])
def test_a_terminal_looks_as_after_textuals_own_updates(seeds: range) -> None:
    for seed in seeds:
        same_look(seed)


def same_look(seed: int) -> None:
    stands, plain, spared = Standing(CONSOLE), Emulated(), Emulated()
    for update in updates(seed):
        plain.feed(update.render_segments(CONSOLE))
        spared.feed(written(stands, update))
        assert spared.cells() == plain.cells(), f"seed {seed}"
        for (row, _), shown in zip(stands.rows, spared.cells(), strict=True):
            if standing.ODD not in row.text:
                there = "".join(str(cell[0] or standing.SECOND) for cell in shown)
                known = [at for at, letter in enumerate(row.text) if letter != standing.UNKNOWN]
                assert [row.text[at] for at in known] == [there[at] for at in known], f"seed {seed}: what stands there"


def full(*lines: str, style: Style | None = None) -> LayoutUpdate:
    rows = [[Strip([Segment(line, style)]).adjust_cell_length(WIDTH, style)] for line in lines]
    return LayoutUpdate(rows, Region(0, 0, WIDTH, HEIGHT))


def test_nothing_is_written_of_what_stands_there_already() -> None:
    stands, style = Standing(CONSOLE), Style.parse("bold red on blue")
    written(stands, full("one", "世界", "three", style=style))
    assert written(stands, full("one", "世界", "three", style=style)) == ""
    assert written(stands, full("one", "世界", "threw", style=style)) == "\x1b[3;5H\x1b[1;31;44mw\x1b[0m"


def test_neighbours_are_reached_by_the_shortest_way() -> None:
    stands = Standing(CONSOLE)
    written(stands, full("", "", ""))
    assert written(stands, full("a  b", "", "")) == "\x1b[1;1Ha  b"
    assert written(stands, full("c  b  d    ef", "", "")) == "\x1b[1;1Hc\x1b[5Cd\x1b[4Cef"
    red = Style.parse("red")
    row = [Segment("g", red), Segment("  b  d    e"), Segment("h", red), Segment("   ")]
    mixed = LayoutUpdate([[Strip(row)]], Region(0, 0, WIDTH, 1))
    assert written(stands, mixed) == "\x1b[1;1H\x1b[31mg\x1b[11Ch\x1b[0m"


def test_after_forgetting_all_is_written() -> None:
    stands = Standing(CONSOLE)
    text = written(stands, full("one", "two", "three"))
    assert written(stands, full("one", "two", "three")) == ""
    stands.forget()
    assert written(stands, full("one", "two", "three")) == text


def test_on_a_terminal_of_another_size_nothing_is_known() -> None:
    stands = Standing(CONSOLE)
    text = written(stands, full("one", "two", "three"))
    stands.update((WIDTH + 1, HEIGHT), ())
    assert written(stands, full("one", "two", "three")) == text


@pytest.mark.parametrize("odd", ["👩‍👩‍👧", "⚠\ufe0f", "e\u0301", "नमस्ते", "\t", "\u200b"])
def test_a_row_with_text_of_doubtful_width_is_always_written_whole(odd: str) -> None:
    stands = Standing(CONSOLE)
    update = full("one", f"two {odd} more", "three")
    written(stands, update)
    again = written(stands, update)
    assert f"two {odd} more" in again
    assert "one" not in again
    assert "three" not in again
    assert "two" in written(stands, full("one", "two", "three")), "what the doubtful one has left behind"
    assert written(stands, full("one", "two", "three")) == ""


def test_what_a_doubtful_row_does_not_paint_may_look_like_anything() -> None:
    stands = Standing(CONSOLE)
    written(stands, full("one", "😀 and text", "three"))
    halves = {0: Strip([Segment("two     ")]), 8: Strip([Segment("        ")])}
    rows, ends = [halves] * HEIGHT, [[8, WIDTH]] * HEIGHT
    written(stands, ChopsUpdate(rows, [(1, 0, 8)], ends))
    assert written(stands, ChopsUpdate(rows, [(1, 8, WIDTH)], ends)), "the emoji may have moved it"
    assert written(stands, ChopsUpdate(rows, [(1, 0, WIDTH)], ends)).count("two") == 1, "and what was left of it"
    assert not written(stands, ChopsUpdate(rows, [(1, 0, WIDTH)], ends))


def test_an_update_that_does_not_fit_the_terminal_is_refused() -> None:
    with pytest.raises(IndexError):
        Standing(CONSOLE).update((WIDTH - 1, HEIGHT), pieces(full("one", "two", "three")) or ())
    with pytest.raises(IndexError):
        Standing(CONSOLE).update((WIDTH, HEIGHT - 1), pieces(full("one", "two", "three")) or ())


@pytest.mark.parametrize(("letters", "width"), [(standing.ONE, 1), (standing.TWO, 2)])
def test_on_the_width_of_known_letters_all_agree(letters: str, width: int) -> None:
    known = [chr(code) for code in range(0x20, 0x30000) if re.fullmatch(f"[{letters}]", chr(code))]
    assert len(known) > 100
    assert [letter for letter in known if Segment(letter).cell_length != width or wcwidth(letter) != width] == []


CODES = st.sampled_from(
    ["1", "2", "3", "4", "5", "7", "9", "21", "53", "31", "97", "38;5;200", "38;2;1;2;3", "44", "48;5;7"]
)
INKS = st.lists(CODES, max_size=4, unique=True).map(lambda codes: f"\x1b[{';'.join(codes)}m" if codes else "")


@settings(max_examples=300, deadline=None)
@given(INKS, INKS)
def test_a_change_of_ink_is_a_change_of_what_differs(old: str, new: str) -> None:
    there, fresh = Emulated(), Emulated()
    there.feed(f"\r{old}a{ink.change(old, new)}b")
    fresh.feed(f"\r{old}a{ink.RESET}{new}b")
    assert there.cells() == fresh.cells()
    assert len(ink.change(old, new)) <= len(ink.RESET + new)


def test_bold_and_dim_are_taken_away_together() -> None:
    assert ink.change("\x1b[1;2;31m", "\x1b[2;31m") == "\x1b[22;2m"
    assert ink.change("\x1b[1;38;2;1;2;3;48;2;1;2;3m", "\x1b[38;2;1;2;3;48;2;1;2;3m") == "\x1b[22m"
    assert ink.change("\x1b[1m", "") == "\x1b[0m"


def test_a_link_is_ended() -> None:
    start = ink.Inks(CONSOLE).of(STYLES[-1])
    assert start.startswith("\x1b]8;id=")
    assert ink.change(start, "") == ink.RESET + ink.END_LINK
    assert ink.change("\x1b[31m", start) == ink.RESET + start
