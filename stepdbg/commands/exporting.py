"""Writing a graph to a file: fetched page by page, written beside its place, and moved there once it is complete."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from stepdbg.errors import UsageError
from stepdbg.export import Edge, Writer, format_of
from stepdbg.protocol.graph import GraphEdges, GraphPage, Lens
from stepdbg.protocol.messages import GetGraph, GetGraphEdges, Query, Working

ROWS = 500
"""Rows in a page: decoding one, and making text of it, keeps the screen waiting for some 20 ms."""
EDGES = 5000

Tell = Callable[[str, int, int], None]
"""Takes what is being done, how much of it is done, and of how much (0: nobody knows)."""


class Ask(Protocol):
    """Asks the script that is held."""

    def __call__(self, query: Query, progress: Callable[[Working], None] | None = None) -> Awaitable[Any]:
        """As `Session.request`."""


async def export_graph(ask: Ask, lens: Lens, name: str, *, over: bool, tell: Tell) -> str:
    """Write the graph as `lens` shows it to the file `name`, over one that is there only with `over`.

    Returns one line that says what was written. Raises UsageError with one line where that cannot be, and leaves
    everything as it was then, as it does when it is cancelled.
    """
    kind = format_of(name)
    # First of all, so that nothing is computed for a place that cannot be written.
    draft = Draft(target_of(name, over=over), name, over=over)
    try:
        page: GraphPage = await ask(GetGraph(0, 0, ROWS, lens), lambda w: tell(f"reading {w.what}", w.done, w.total))
        if page.recorded_at is None:
            raise UsageError(page.note.rstrip(".") or "there is no graph yet")
        if not page.total:
            raise UsageError(f"nothing in the graph matches “{lens.pattern}”" if lens.pattern else "there are no rows")
        lens = replace(lens, graph=page.graph)
        edges: list[Edge] = []
        async for some, total in _edges(ask, lens):
            edges += some
            tell(f"exporting {name}", len(edges), total + page.total)
        writer = kind.writer(page, lens, edges)
        await _write(writer, draft, ask, page, lens, partial(tell, f"exporting {name}"))
        draft.keep()
    except OSError as error:
        raise UsageError(f"cannot write {name}: {_reason(error)}") from None
    finally:
        draft.discard()
    size = f"{_plural(writer.nodes, 'node')}, {_plural(writer.edges, 'edge')}"
    remark = kind.remark(writer.edges, draft.characters)
    return f"{name}: {size} ({remark})" if remark else f"{name}: {size}"


def target_of(name: str, *, over: bool) -> Path:
    """Where the file `name` goes. Raises UsageError where none can be."""
    try:
        path = Path(name).expanduser()
        if not path.parent.is_dir():
            raise UsageError(f"cannot write {name}: there is no folder {path.parent}")
        if path.is_dir():
            raise UsageError(f"cannot write {name}: it is a folder")
        path.lstat()
        if not over:
            raise _there_is_one(name)
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise UsageError(f"cannot write {name}: it is no ordinary file")
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RuntimeError) as error:  # no such user, a name too long, a loop of links …
        raise UsageError(f"cannot write {name}: {_reason(error)}") from None
    return path


class Draft:
    """A file beside `target` that takes its place at the end."""

    def __init__(self, target: Path, name: str, *, over: bool) -> None:
        self._target, self._name, self._over = target, name, over
        self.characters = 0
        """Written so far."""
        self._path = target.with_name(f".stepdbg-{secrets.token_hex(6)}.part")
        try:
            self._file = self._path.open("x", encoding="utf-8", newline="\n")
        except OSError as error:
            raise UsageError(f"cannot write {name}: {_reason(error)}") from None

    def write(self, text: str) -> None:
        """Add text."""
        self.characters += self._file.write(text)

    def keep(self) -> None:
        """Put it in its place. Raises UsageError if a file has come to be there meanwhile, OSError."""
        self._file.close()
        if self._over:
            with suppress(OSError):
                shutil.copymode(self._target, self._path)
            self._path.replace(self._target)
            return
        try:
            os.link(self._path, self._target)  # which a file that is there cannot survive unnoticed
        except FileExistsError:
            raise _there_is_one(self._name) from None
        except OSError:  # a file system without links
            if os.path.lexists(self._target):
                raise _there_is_one(self._name) from None
            self._path.replace(self._target)

    def discard(self) -> None:
        """Remove what is left beside the target."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink()


async def _write(
    writer: Writer, draft: Draft, ask: Ask, first: GraphPage, lens: Lens, tell: Callable[[int, int], None]
) -> None:
    draft.write(writer.begin())
    page, done = first, 0
    everything = first.total + writer.edges
    while True:
        if (page.stop, page.graph, page.total) != (first.stop, first.graph, first.total) or not page.rows:
            raise UsageError("the graph became another one while it was read")
        draft.write(writer.rows(page.rows))
        done += len(page.rows)
        tell(writer.edges + done, everything)
        if done >= first.total:
            break
        page = await ask(GetGraph(0, done, ROWS, lens))
    for piece in writer.end():
        draft.write(piece)
        await asyncio.sleep(0)


async def _edges(ask: Ask, lens: Lens) -> AsyncIterator[tuple[tuple[Edge, ...], int]]:
    done = 0
    while True:
        page: GraphEdges = await ask(GetGraphEdges(0, done, EDGES, lens))
        done += len(page.edges)
        yield page.edges, page.total
        if done >= page.total:
            return
        if not page.edges:
            raise UsageError("the graph became another one while it was read")


def _there_is_one(name: str) -> UsageError:
    return UsageError(f"there is a {name}: export! {name} replaces it")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
