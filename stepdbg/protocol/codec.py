"""Dataclasses to JSON and back, validated against their type hints.

`to_plain`/`from_plain` work on any dataclass of this package; `encode`/`decode` on messages, which carry the name of
their class under "is". Decoders are built once per class. No pickle, no code in the data; an unknown name, a missing or
surplus field or a value of the wrong type raises `RemoteProtocolError` naming the field.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import types
import typing
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union

from stepdbg.errors import LocalProtocolError, RemoteProtocolError
from stepdbg.protocol import messages

T = TypeVar("T")
Decoder = Callable[[Any], Any]

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one encoded message, at most."""

_MESSAGES: dict[str, type[Any]] = {c.__name__: c for c in (*messages.TO_CLIENT, *messages.TO_AGENT)}


def encode(message: Any) -> bytes:
    """One message as UTF-8 JSON. Raises LocalProtocolError for what is no message or is too long."""
    name = type(message).__name__
    if _MESSAGES.get(name) is not type(message):
        raise LocalProtocolError(f"{name} is not a message")
    data = json.dumps({"is": name, **to_plain(message)}, ensure_ascii=False, separators=(",", ":"))
    raw = data.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_MESSAGE:
        raise LocalProtocolError(f"{name} takes {len(raw)} bytes, more than {MAX_MESSAGE}")
    return raw


def decode(raw: bytes) -> Any:
    """The message in `raw`. Raises RemoteProtocolError for anything that `encode` cannot have written."""
    try:
        plain = json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"not JSON: {error}") from None
    if not isinstance(plain, dict) or not isinstance(plain.get("is"), str):
        raise RemoteProtocolError("a message is an object with its name under 'is'")
    name = plain.pop("is")
    cls = _MESSAGES.get(name)
    if cls is None:
        raise RemoteProtocolError(f"unknown message {name!r}")
    return from_plain(cls, plain)


def to_plain(value: Any) -> Any:
    """A dataclass (or what its fields hold) as dicts, lists, strings, numbers, booleans and None."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    raise LocalProtocolError(f"cannot be sent: {type(value).__name__}")


def from_plain(cls: type[T], plain: Any) -> T:
    """The dataclass `cls` from its plain form. Raises RemoteProtocolError naming the field that does not fit."""
    build: Callable[[Any], Decoder] = _decoder
    result: T = build(cls)(plain)
    return result


class _MismatchError(Exception):
    """A value that does not fit; grows its path while it travels up."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: list[str] = []


@cache
def _decoder(cls: type[Any]) -> Decoder:
    inner = _build(cls)

    def run(plain: Any) -> Any:
        try:
            return inner(plain)
        except _MismatchError as error:
            where = ".".join([cls.__name__, *reversed(error.path)])
            raise RemoteProtocolError(f"{where}: {error}") from None

    return run


def _build(hint: Any) -> Decoder:
    origin = typing.get_origin(hint)
    if hint is Any:
        return _as_is
    if hint is None or hint is type(None):
        return _exactly(type(None))
    if origin in (Union, types.UnionType):
        return _optional(typing.get_args(hint))
    if origin is tuple:
        item, *rest = typing.get_args(hint)
        if rest == [...]:
            return _sequence(_build(item))
        return _fixed([_build(part) for part in (item, *rest)])
    if origin is dict:
        key, item = typing.get_args(hint)
        if key is not str:
            raise TypeError(f"only dict[str, X] can be sent, not {hint}")
        return _mapping(_build(item))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record(hint)
    if hint is float:
        return _number
    if hint in (str, int, bool):
        return _exactly(hint)
    raise TypeError(f"cannot be sent: {hint}")


def _as_is(plain: Any) -> Any:
    return plain


def _exactly(kind: type[Any]) -> Decoder:
    def run(plain: Any) -> Any:
        # bool is an int to isinstance, and a count must not arrive as True.
        if type(plain) is not kind:
            raise _MismatchError(f"expected {kind.__name__}, got {type(plain).__name__}")
        return plain

    return run


def _number(plain: Any) -> float:
    if type(plain) not in (int, float):
        raise _MismatchError(f"expected float, got {type(plain).__name__}")
    try:
        return float(plain)
    except OverflowError:
        raise _MismatchError("expected float, got an integer too large for one") from None


def _optional(choices: tuple[Any, ...]) -> Decoder:
    others = [c for c in choices if c is not type(None)]
    if len(others) != 1 or len(others) == len(choices):
        raise TypeError(f"only X | None can be sent, not a union of {choices}")
    inner = _build(others[0])
    return lambda plain: None if plain is None else inner(plain)


def _sequence(item: Decoder) -> Decoder:
    return lambda plain: _elements(plain, itertools.repeat(item))


def _fixed(items: list[Decoder]) -> Decoder:
    def run(plain: Any) -> Any:
        if isinstance(plain, list) and len(plain) != len(items):
            raise _MismatchError(f"expected {len(items)} elements, got {len(plain)}")
        return _elements(plain, items)

    return run


def _elements(plain: Any, items: Iterable[Decoder]) -> tuple[Any, ...]:
    if not isinstance(plain, list):
        raise _MismatchError(f"expected a list, got {type(plain).__name__}")
    result = []
    for index, (element, item) in enumerate(zip(plain, items, strict=False)):
        try:
            result.append(item(element))
        except _MismatchError as error:
            error.path.append(str(index))
            raise
    return tuple(result)


def _mapping(item: Decoder) -> Decoder:
    def run(plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise _MismatchError(f"expected an object, got {type(plain).__name__}")
        result = {}
        for key, element in plain.items():
            try:
                result[key] = item(element)
            except _MismatchError as error:
                error.path.append(str(key))
                raise
        return result

    return run


def _enum(kind: type[Enum]) -> Decoder:
    def run(plain: Any) -> Any:
        try:
            return kind(plain)
        except ValueError:
            raise _MismatchError(f"{plain!r} is no {kind.__name__}") from None

    return run


def _record(cls: type[Any]) -> Decoder:
    hints = typing.get_type_hints(cls)
    fields = {f.name: _build(hints[f.name]) for f in dataclasses.fields(cls)}
    needed = {
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }

    def run(plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise _MismatchError(f"expected an object, got {type(plain).__name__}")
        missing = needed - plain.keys()
        if missing:
            raise _MismatchError(f"{min(missing)!r} is missing")
        values = {}
        for name, element in plain.items():
            if name not in fields:
                raise _MismatchError(f"{name!r} is not a field")
            try:
                values[name] = fields[name](element)
            except _MismatchError as error:
                error.path.append(name)
                raise
        return cls(**values)

    return run
