"""`info breakpoints` as text."""

from __future__ import annotations

from stepdbg.protocol.breakpoints import Book, Breakpoint, Kind, title


def lines(book: Book, width: int = 100) -> list[str]:
    """A line each, under a header; below it what there is to say of one."""
    if not book.rows:
        return ["no breakpoints and no watches"]
    what = max(5, min(max(len(title(row.as_shown)) for row in book.rows), max(width - 40, 20)))
    made = [f"{'num':>3}  {'on':<3} {'hits':>6}  {'where':<{what}}  condition".rstrip()]
    for row in book.rows:
        made.append(_line(row, what))
        made += [f"     {text}" for text in _more(row)]
    return [text[:width] if len(text) > width else text for text in made]


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
