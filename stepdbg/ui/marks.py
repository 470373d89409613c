"""`is:MARK` in a search: completed, or refused with the words there are. Pure."""

from __future__ import annotations

from collections.abc import Iterable

PREFIX = "is:"


def read(pattern: str, marks: Iterable[str]) -> tuple[str, str]:
    """The pattern to ask for, with the mark written out where its beginning is enough, and what is wrong with it (one
    line; empty when nothing is).
    """
    word = pattern.strip().lower()
    if not word.startswith(PREFIX):
        return pattern, ""
    begun = word.removeprefix(PREFIX).strip()
    known = list(marks)
    starting = [mark for mark in known if mark.startswith(begun)]
    if begun in known:
        return PREFIX + begun, ""
    if len(starting) == 1:
        return PREFIX + starting[0], ""
    forms = _listed([PREFIX + mark for mark in starting or known])
    return pattern, f"No mark “{begun}”: {forms}." if begun and not starting else f"{forms}?"


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)
