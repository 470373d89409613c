"""What is read from the list of breakpoints, on the screen and in a batch alike."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stepdbg.errors import UsageError
from stepdbg.protocol.breakpoints import WATCHES, Breakpoint, title

_HIT = re.compile(r"(?:^|; )(?:breakpoint|watch) (\d+):(?! its \w+ was cancelled)")


def hit(rows: Iterable[Breakpoint], why: str) -> list[Breakpoint]:
    """Those that a stop was made for. `why`: as `StopRecord.why`."""
    numbers = {int(number) for number in _HIT.findall(why)}
    return [row for row in rows if row.number in numbers]


def watches(rows: Iterable[Breakpoint], what: str) -> list[Breakpoint]:
    """The watch of that number or text; "all": every one. Raises UsageError where nothing is watched so."""
    known = [row for row in rows if row.spec.kind in WATCHES]
    texts = {row.number: title(row.as_shown).removeprefix("watch ") for row in known}
    in_full = {row.number: title(row.spec).removeprefix("watch ") for row in known}
    # A text may be a number: then the watch of that text is meant, the last one made.
    named = [row for row in known if what in (texts[row.number], in_full[row.number])] or [
        row for row in known if str(row.number) == what
    ]
    chosen = known if what == "all" else named[-1:]
    if not chosen:
        raise UsageError(f"unwatch: {what} is not watched: {', '.join(texts.values()) or 'nothing'} is")
    return chosen
