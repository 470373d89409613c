"""`info breakpoints` as text, and what is watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stepdbg.plain import text
from stepdbg.protocol.breakpoints import Book, Breakpoint, Kind, title

BARS = "▁▂▃▄▅▆▇█"

MOST_BARS = 24
"""Stops that a history shows, at most: the last ones."""

Numbers = Callable[[int], Sequence[float | None]]
"""What the watched expression of that number gave at each stop, oldest first; None where that was no number."""


def watching(book: Book | None) -> list[Breakpoint]:
    """The expressions that are watched."""
    rows = book.rows if book is not None else ()
    return [row for row in rows if row.spec.kind is Kind.EXPRESSION and row.spec.enabled]


def watched(book: Book, numbers: Numbers, width: int = 100) -> list[str]:
    """A line for each watched expression: what it gives now, and its history."""
    made = []
    for row in watching(book):
        told = f"watch {row.number}  {row.spec.target} = {row.value or row.note or 'not evaluated'}"
        history = bars(numbers(row.number))
        made.append(
            text.cut(told, width - len(history) - 2 if history else width) + (f"  {history}" if history else "")
        )
    return made


def bars(numbers: Sequence[float | None]) -> str:
    """The last numbers as bars from the smallest to the largest; a blank where there is none that is finite."""
    shown = numbers[-MOST_BARS:]
    finite = [n for n in shown if n is not None and abs(n) != float("inf") and n == n]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    span = high - low

    def bar(number: float | None) -> str:
        if number is None or number != number or abs(number) == float("inf"):
            return " "
        return BARS[int((number - low) / span * (len(BARS) - 1))] if span > 0 else BARS[0]

    return "".join(map(bar, shown))


def lines(book: Book, width: int = 100, numbers: Numbers | None = None) -> list[str]:
    """A line each, under a header; below it what there is to say of one."""
    if not book.rows:
        return ["no breakpoints and no watches"]
    what = max(5, min(max(len(title(row.as_shown)) for row in book.rows), max(width - 40, 20)))
    made = [f"{'num':>3}  {'on':<3} {'hits':>6}  {'where':<{what}}  condition".rstrip()]
    for row in book.rows:
        made.append(_line(row, what))
        made += [f"     {more}" for more in _more(row)]
        if numbers is not None and row.spec.kind is Kind.EXPRESSION and (history := bars(numbers(row.number))):
            made.append(f"     {history}")
    return [text.cut(line, width) for line in made]


def _line(row: Breakpoint, what: int) -> str:
    spec = row.spec
    hits = "" if spec.kind is Kind.EXPRESSION else f"{row.hits:,}"
    on = "yes" if spec.enabled else "no"
    tail = row.value if spec.kind is Kind.EXPRESSION else spec.condition and f"if {spec.condition}"
    return f"{row.number:>3}  {on:<3} {hits:>6}  {title(row.as_shown):<{what}}  {tail}".rstrip()


def _more(row: Breakpoint) -> list[str]:
    spec, more = row.spec, []
    if row.note:
        more.append(f"{'not there: ' if row.stale else ''}{row.note}")
    if spec.once:
        more.append("goes with its first stop")
    if spec.ignore:
        more.append(f"lets {spec.ignore:,} more hits pass")
    if spec.log:
        more.append(f"writes {spec.log!r} and goes on")
    if spec.commands:
        more.append(f"runs {'; '.join(spec.commands)}")
    return more
