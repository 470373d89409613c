"""The configuration file: TOML, read once at the start. The command line overrides it.

    theme = "textual-dark"
    stop-at = "backward"            # first, never, or a phase
    on-detach = "end"               # or continue
    python = ".venv/bin/python"
    previous-values = 256           # MiB of what parameters were before a step; 0: none
    names = "full"                  # net.0.weight always; short: only where two modules would clash
    history = false                 # keep no lines of the prompt from one session to the next

    [keys]
    next = "n,space"

    [phases]
    step = ["mylib.optim:Optimizer.step"]

What is wrong in it is named with file, line and the nearest right form.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import tomllib
from platformdirs import user_config_dir

from stepdbg.commands import BY_NAME, COMMANDS, RESERVED_KEYS
from stepdbg.errors import UsageError
from stepdbg.protocol.records import Phase

PHASES = tuple(phase.value for phase in Phase)
STOPS = ("first", "never", *PHASES)
ON_DETACH = ("end", "continue")
NAMES = ("full", "short")
MOST_PREVIOUS = 1 << 20
"""MiB of previous values that may be asked for."""

_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_KEY = re.compile(r"((ctrl|shift|alt|super|hyper|meta)\+)*(\S|[a-z][a-z0-9_]+)")
_ASSIGNMENT = re.compile(r"""\s*(?P<name>(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_TABLE = re.compile(r"\s*\[\s*(?P<name>[^\[\]]+?)\s*\]")


@dataclass(frozen=True)
class Config:
    """What the file says; None or empty where it says nothing."""

    theme: str | None = None
    stop_at: str | None = None
    on_detach: str | None = None
    python: str | None = None
    previous_values: int | None = None
    """In MiB."""
    names: str | None = None
    history: bool | None = None
    keys: dict[str, str] = field(default_factory=dict)
    """Command name → keys in Textual's names, separated by commas."""
    phases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Phase value → functions as "pkg.mod:Class.method"."""
    path: Path | None = None
    """The file that was read; None when there is none."""
    theme_line: int = 1
    """Where the theme is set: its name can be checked only once the screen's library is loaded."""

    def check_theme(self, names: Iterable[str]) -> None:
        """Raise UsageError when the theme is none of `names`."""
        choices = sorted(names)
        if self.theme is not None and self.theme not in choices:
            hint = nearest(self.theme, choices) or "; themes are " + ", ".join(choices)
            raise UsageError(f"{self.path}:{self.theme_line}: theme: no theme {self.theme!r}{hint}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """A hint (`; did you mean X?`) with the nearest choice; empty when none is near."""
    found = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def check_phase(name: str) -> str:
    """`name` if it is a phase's value. Raises UsageError that lists them."""
    if name not in PHASES:
        raise UsageError(f"no phase {name!r}{nearest(name, PHASES) or '; phases are ' + ', '.join(PHASES)}")
    return name


def check_stop(name: str) -> str:
    """`name` if stepdbg can stop there first. Raises UsageError that lists the right forms."""
    if name not in STOPS:
        raise UsageError(f"{name!r} is no place to stop{nearest(name, STOPS)} (one of {', '.join(STOPS)})")
    return name


def check_on_detach(name: str) -> str:
    """`name` if it is "end" or "continue". Raises UsageError."""
    if name not in ON_DETACH:
        raise UsageError(f"{name!r} is neither end nor continue")
    return name


def check_names(name: str) -> str:
    """`name` if it is "full" or "short". Raises UsageError."""
    if name not in NAMES:
        raise UsageError(f"{name!r} is neither full nor short")
    return name


def check_previous(text: str) -> int:
    """The number of MiB in `text`. Raises UsageError with the right form."""
    if not (text.isascii() and text.isdecimal()) or int(text) > MOST_PREVIOUS:
        raise UsageError(f"{text!r} is no number of MiB; write a whole one from 0 (none) to {MOST_PREVIOUS}")
    return int(text)


def check_function(name: str) -> str:
    """`name` if it has the form of a function's address. Raises UsageError with that form."""
    if not _FUNCTION.fullmatch(name):
        raise UsageError(f"{name!r} names no function; write package.module:Class.method")
    return name


def load(path: Path | None = None) -> Config:
    """The configuration: `path`, else STEPDBG_CONFIG, else the user's own file if there is one.

    Raises UsageError in one line naming file, line and key.
    """
    asked = path is not None or bool(os.environ.get("STEPDBG_CONFIG"))
    if path is None:
        path = Path(os.environ.get("STEPDBG_CONFIG") or Path(user_config_dir("stepdbg")) / "config.toml")
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        if asked:
            raise UsageError(f"{path}: no such configuration file") from None
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"{path}: cannot read the configuration: {what}") from None
    return _Reader(path, text).read()


class _Reader:
    """One pass over the parsed file; knows the line of every key for its errors."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.lines = _lines(text)

    def read(self) -> Config:
        try:
            data = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise self._syntax(str(error)) from None
        allowed = ("theme", "stop-at", "on-detach", "python", "previous-values", "names", "history", "keys", "phases")
        for name in data:
            if name not in allowed:
                self._fail(
                    (name,),
                    f"unknown key {name!r}{nearest(name, allowed) or '; keys are ' + ', '.join(allowed)}",
                )
        return Config(
            theme=self._string(data, "theme"),
            stop_at=self._string(data, "stop-at", check_stop),
            on_detach=self._string(data, "on-detach", check_on_detach),
            python=self._string(data, "python"),
            previous_values=self._previous(data),
            names=self._string(data, "names", check_names),
            history=self._flag(data, "history"),
            keys=self._keys(self._table(data, "keys")),
            phases=self._phases(self._table(data, "phases")),
            path=self.path,
            theme_line=self.lines.get(("theme",), 1),
        )

    def _syntax(self, message: str) -> UsageError:
        match = re.fullmatch(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", message)
        what = match["what"] if match else message
        line = (match["line"] if match else None) or str(self.text.count("\n") + 1)
        return UsageError(f"{self.path}:{line}: not TOML: {what[:1].lower()}{what[1:]}")

    def _fail(self, where: tuple[str, ...], problem: str) -> NoReturn:
        line = self.lines.get(where) or self.lines.get(where[:1]) or 1
        raise UsageError(f"{self.path}:{line}: {problem}")

    def _string(self, data: dict[str, Any], name: str, check: Callable[[str], str] | None = None) -> str | None:
        value = data.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            self._fail((name,), f'{name}: expected text, as in {name} = "…"')
        if check is not None:
            try:
                check(value)
            except UsageError as error:
                self._fail((name,), f"{name}: {error}")
        return value

    def _flag(self, data: dict[str, Any], name: str) -> bool | None:
        value = data.get(name)
        if value is not None and not isinstance(value, bool):
            self._fail((name,), f"{name}: expected true or false, as in {name} = false")
        return value

    def _previous(self, data: dict[str, Any]) -> int | None:
        name = "previous-values"
        value = data.get(name)
        if value is None:
            return None
        if type(value) is not int:
            self._fail((name,), f"{name}: expected a number of MiB, as in {name} = 256")
        try:
            return check_previous(str(value))
        except UsageError as error:
            self._fail((name,), f"{name}: {error}")

    def _table(self, data: dict[str, Any], name: str) -> dict[str, Any]:
        value = data.get(name, {})
        if not isinstance(value, dict):
            self._fail((name,), f"{name}: expected a table, [{name}]")
        return value

    def _phases(self, table: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        result = {}
        for name, value in table.items():
            where = ("phases", name)
            functions = [value] if isinstance(value, str) else value
            if not isinstance(functions, list) or not all(isinstance(f, str) for f in functions):
                self._fail(where, f'phases.{name}: expected a list, as in ["package.module:Class.method"]')
            try:
                check_phase(name)
                result[name] = tuple(check_function(f) for f in functions)
            except UsageError as error:
                self._fail(where, f"phases.{name}: {error}")
        return result

    def _keys(self, table: dict[str, Any]) -> dict[str, str]:
        result: dict[str, str] = {}
        for name, value in table.items():
            where = ("keys", name)
            if name not in BY_NAME:
                self._fail(where, f"keys: no command {name!r}{nearest(name, BY_NAME)}")
            if not isinstance(value, str) or not value.strip():
                self._fail(where, f'keys.{name}: expected keys as text, as in "n,space"')
            keys = [key.strip() for key in value.split(",")]
            for key in keys:
                if not _KEY.fullmatch(key):
                    self._fail(where, f"keys.{name}: {key!r} is no key; keys are written n, f5, ctrl+n, space")
                if key in RESERVED_KEYS:
                    self._fail(where, f"keys.{name}: {key!r} is reserved for a later command")
            result[name] = ",".join(keys)
        self._check_clashes(result)
        return result

    def _check_clashes(self, keys: dict[str, str]) -> None:
        """A key does one thing: also against the defaults of the commands that the file leaves alone."""
        taken = {key: c.name for c in COMMANDS if c.name not in keys for key in c.keys}
        for name, value in keys.items():
            for key in value.split(","):
                if taken.setdefault(key, name) != name:
                    self._fail(("keys", name), f"keys.{name}: {key!r} is already the key of {taken[key]}")


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Line number of every table and key, by its path; tomllib does not tell them."""
    result: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = _path(match["name"])
            result.setdefault(table, number)
        elif match := _ASSIGNMENT.match(line):
            path = (*table, *_path(match["name"]))
            for length in range(1, len(path) + 1):
                result.setdefault(path[:length], number)
    return result


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
