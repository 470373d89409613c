"""Over a slow link, only the cells that change: an app that compares what it paints with what stands on the terminal.

It takes Textual's updates just before they are made text, where each has become strips at places of the screen. That is
inside Textual: should it hand over anything else some day, this is written as Textual would write it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from textual.app import App
from textual.geometry import Offset

from stepdbg.client.session import Exited
from stepdbg.ui.standing import Piece, Row, Standing


class Sparing(App[Exited | None]):
    """An app that writes only cells that differ from what it has written before."""

    sparing = True
    """Whether it does: no longer once Textual has handed over what is not understood."""

    def __init__(self) -> None:
        super().__init__()
        self._standing: Standing | None = None
        self._cursor: Offset | None = None
        """Where the terminal's cursor was put last."""
        self.redraws = 0
        """How often the whole screen was written anew."""

    def redraw(self) -> None:
        """Write the whole screen anew, whatever stands there: other programs may have written on it."""
        self.redraws += 1
        if self._standing is not None:
            self._standing.forget()
        self.refresh()

    def on_resize(self) -> None:
        """What a terminal shows after a change of its size, or on coming back from the background, is its own affair.
        Told so also where the size is the same again.
        """
        self.redraw()

    def _display(self, screen: Any, renderable: Any, *more: Any) -> None:
        rows = self._spare(renderable)
        if rows is None:
            super()._display(screen, renderable, *more)
        elif rows or self.cursor_position != self._cursor:
            super()._display(screen, renderable, *more)
            if self._standing is not None:
                self._standing.doubt(rows)  # what has not been noted was not written, or otherwise than we think
        else:
            super()._display(screen, None, *more)

    def _spare(self, update: Any) -> dict[int, Row] | None:
        """Let the update write no more than what differs. Returns the rows as they will then stand on the terminal;
        None if all of it will be written.
        """
        if update is None or not self.sparing or self.is_headless:
            return None
        if self._standing is None:
            self._standing = Standing(self.console)
        standing = self._standing
        try:
            rows = pieces(update)
            if rows is None:
                standing.forget()
                return None
            text, after = standing.update((self.size.width, self.size.height), rows)

            def render_segments(console: Console) -> str:  # noqa: ARG001
                standing.note(after)
                after.clear()
                self._cursor = self.cursor_position
                return text

            update.render_segments = render_segments
        except IndexError:  # laid out for a size that the terminal no longer has
            standing.forget()
            return None
        except Exception:
            self.sparing = False
            return None
        return after


def pieces(update: Any) -> Iterator[tuple[int, list[Piece]]] | None:
    """Its strips with their places, row by row; None where it is no update of places."""
    kind = type(update).__name__
    return _whole(update) if kind == "LayoutUpdate" else _parts(update) if kind == "ChopsUpdate" else None


def _whole(update: Any) -> Iterator[tuple[int, list[Piece]]]:
    for y, line in enumerate(update.strips, update.region.y):
        x, row = update.region.x, []
        for strip in line:
            row.append((x, strip))
            x += strip.cell_length
        yield y, row


def _parts(update: Any) -> Iterator[tuple[int, list[Piece]]]:
    """As `ChopsUpdate.render_segments` picks and crops them."""
    for y, start, end in update.spans:
        row = []
        for stop, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x > end or stop <= start:
                continue
            row.append((x, strip if stop <= end and x >= start else strip.crop(0, min(stop, end) - x)))
        yield y, row
