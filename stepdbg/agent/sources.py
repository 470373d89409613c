"""Source files as the script's machine has them. Standard library only: needed without torch as well."""

from __future__ import annotations

import linecache
import time
import tokenize
from pathlib import Path

from stepdbg.protocol.records import SourceText

MAX_SOURCE = 2 * 1024 * 1024
"""Characters of one file, at most."""

_STARTED = time.time()


def read(file: str) -> SourceText:
    """The text of a source file as it is on disk now, or from where Python itself has it."""
    if file.startswith("<"):
        cached = linecache.cache.get(file)
        text = "".join(cached[2]) if cached is not None and len(cached) == 4 else None
        return SourceText(file, text, False, "" if text else "this code was not read from a file")
    try:
        changed = Path(file).stat().st_mtime > _STARTED
        with tokenize.open(file) as handle:
            text = handle.read(MAX_SOURCE)
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        return SourceText(file, None, False, f"cannot be read: {error}")
    return SourceText(file, text, changed)
