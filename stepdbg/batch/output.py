"""What a batch says: marked lines of text, or one JSON record a line. The schema is in docs/batch.md."""

from __future__ import annotations

import codecs
import json
import os
from abc import ABC, abstractmethod
from typing import IO, Any

from stepdbg._version import __version__
from stepdbg.client.session import Exited, SessionInfo
from stepdbg.commands.info import Told
from stepdbg.launch.summary import how_it_ended
from stepdbg.plain import stop as plain_stop
from stepdbg.protocol import codec
from stepdbg.protocol.messages import Logged
from stepdbg.protocol.records import StopRecord

MARK = "(stepdbg) "
"""What each line of ours begins with: the script may write to the same place."""

WIDTH = 120


class Output(ABC):
    """Where a batch tells what happens. A reader that has gone away is no error: nothing more is told then."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream: IO[str] | None = stream

    def write(self, line: str) -> None:
        """One line, at once."""
        if self._stream is None:
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except BrokenPipeError:
            # What is still buffered must not be tried again at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream = None

    @abstractmethod
    def start(self, info: SessionInfo) -> None:
        """The script was started."""

    @abstractmethod
    def stop(self, stop: StopRecord) -> None:
        """It is held."""

    @abstractmethod
    def command(self, line: str) -> None:
        """That command is run next."""

    @abstractmethod
    def answer(self, line: str, told: Told) -> None:
        """What it gave."""

    @abstractmethod
    def error(self, line: str, text: str) -> None:
        """Why it failed, in one line."""

    @abstractmethod
    def warning(self, text: str) -> None:
        """Something that the user should know."""

    @abstractmethod
    def log(self, logged: Logged) -> None:
        """What a logpoint wrote down while the script ran."""

    @abstractmethod
    def output(self, data: bytes) -> None:
        """The script wrote to its standard output."""

    @abstractmethod
    def exit(self, title: str, exited: Exited, failed: int) -> None:
        """The script has ended, and so many commands failed."""


class Text(Output):
    """Lines for people and `grep`."""

    def _lines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(f"{MARK}{line}".rstrip())

    def start(self, info: SessionInfo) -> None:
        pass

    def stop(self, stop: StopRecord) -> None:
        self._lines(plain_stop.lines(stop, WIDTH))

    def command(self, line: str) -> None:
        self._lines([f"> {line}"])

    def answer(self, line: str, told: Told) -> None:
        del line
        self._lines([f"  {one}" for one in told.lines])

    def error(self, line: str, text: str) -> None:
        del line
        self._lines([f"error: {text}"])

    def warning(self, text: str) -> None:
        self._lines([f"warning: {text}"])

    def log(self, logged: Logged) -> None:
        self._lines([f"log {logged.number}, iteration {logged.iteration}: {logged.text}"])

    def output(self, data: bytes) -> None:
        pass  # it goes to our own standard output by itself

    def exit(self, title: str, exited: Exited, failed: int) -> None:
        said = how_it_ended(title, exited)
        self._lines([f"{said}; {failed} {'command' if failed == 1 else 'commands'} failed" if failed else said])


class Json(Output):
    """One record a line, each with a "type"."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def _record(self, type_: str, /, **fields: Any) -> None:
        self.write(json.dumps({"type": type_, **fields}, ensure_ascii=False, allow_nan=False, default=str))

    def start(self, info: SessionInfo) -> None:
        self._record("start", stepdbg=__version__, command=list(info.command))

    def stop(self, stop: StopRecord) -> None:
        self._record("stop", stop=_plain(stop), lines=plain_stop.lines(stop, WIDTH))

    def command(self, line: str) -> None:
        self._record("command", command=line)

    def answer(self, line: str, told: Told) -> None:
        kind = type(told.record).__name__ if told.record is not None else ""
        self._record("answer", command=line, kind=kind, record=_plain(told.record), lines=told.lines)

    def error(self, line: str, text: str) -> None:
        self._record("error", command=line, error=text)

    def warning(self, text: str) -> None:
        self._record("warning", text=text)

    def log(self, logged: Logged) -> None:
        self._record("log", number=logged.number, iteration=logged.iteration, text=logged.text)

    def output(self, data: bytes) -> None:
        if text := self._decoder.decode(data):
            self._record("output", text=text)

    def exit(self, title: str, exited: Exited, failed: int) -> None:
        del title
        self._record("exit", code=exited.code, signal=exited.signal, failed=failed)


def _plain(record: object) -> Any:
    """A record in JSON's types; numbers that JSON has none for are "nan", "inf" and "-inf"."""
    if isinstance(record, (list, tuple)):
        return [_plain(item) for item in record]
    if record is None or isinstance(record, (str, int, bool)):
        return record
    if isinstance(record, float):
        return _float(record)
    if isinstance(record, dict):
        return {str(key): _plain(value) for key, value in record.items()}
    return _plain(codec.to_plain(record))


def _float(value: float) -> float | str:
    """A float as JSON can have it."""
    return value if value - value == 0 else str(value)
