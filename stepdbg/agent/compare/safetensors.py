"""Reading `.safetensors` with the standard library and torch: eight bytes of length, a JSON header, raw numbers.

The format is https://huggingface.co/docs/safetensors (version 0.x): little-endian, row-major, and the tensors fill the
rest of the file without holes. Everything in the header is checked before a byte of a tensor is read.
"""

from __future__ import annotations

import json
import struct
import sys
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.work import NotThereError

MAX_HEADER = 100_000_000
"""Bytes of a header, at most: as the format's own library has it."""

DTYPES = {
    name: dtype
    for name, attribute in {
        "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "I64": "int64", "I32": "int32", "I16": "int16",
        "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
        "C64": "complex64",
    }.items()
    if (dtype := getattr(torch, attribute, None)) is not None
}  # fmt: skip


class Stored:
    """One tensor of a file: read when it is wanted."""

    def __init__(self, path: Path, dtype: torch.dtype, shape: tuple[int, ...], start: int, nbytes: int) -> None:
        self._path, self._start, self._nbytes = path, start, nbytes
        self.dtype, self.shape = dtype, shape

    def read(self) -> Tensor:
        """Its numbers. Raises NotThereError where the file is not what it was."""
        data = bytearray(self._nbytes)
        try:
            with self._path.open("rb") as file:
                file.seek(self._start)
                got = file.readinto(data)
        except OSError as error:
            raise NotThereError(f"cannot be read: {error.strerror or error}") from None
        if got != self._nbytes:
            raise NotThereError("the file has become shorter meanwhile")
        if not data:
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.frombuffer(data, dtype=self.dtype).reshape(self.shape)


def load(path: Path) -> dict[str, Stored]:
    """The tensors in the file by name. Raises NotThereError with one line where it is malformed, OSError."""
    if sys.byteorder != "little":
        raise _bad("numbers in it are little-endian, and this machine is not")
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if len(first) < 8:
            raise _bad(f"{size} bytes are too few")
        (length,) = struct.unpack("<Q", first)
        if length > min(MAX_HEADER, size - 8):
            raise _bad(f"a header of {length:,} bytes does not fit into {size:,}")
        raw = file.read(length)
    try:
        header = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _bad("its header is no JSON") from None
    if not isinstance(header, dict):
        raise _bad("its header is no table of tensors")
    header.pop("__metadata__", None)
    found = {name: _stored(path, name, entry, 8 + length, size) for name, entry in header.items()}
    end = 8 + length
    for stored in sorted(found.values(), key=lambda s: s._start):
        if stored._start < end:
            raise _bad("tensors lie over one another")
        end = stored._start + stored._nbytes
    return found


def _stored(path: Path, name: str, entry: Any, base: int, size: int) -> Stored:
    try:
        kind, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in (*shape, start, end))
    except (TypeError, KeyError, ValueError):
        raise _bad(f"the entry of {name} is not complete") from None
    dtype = DTYPES.get(kind) if isinstance(kind, str) else None
    if dtype is None:
        raise _bad(f"{name} is of the unknown type {kind}")
    if not whole or len(shape) > 64 or end < start or base + end > size:
        raise _bad(f"{name} lies outside the file")
    nbytes = prod(shape) * torch.empty((), dtype=dtype).element_size()
    if nbytes != end - start:
        raise _bad(f"{name} has {end - start:,} bytes where its shape takes {nbytes:,}")
    return Stored(path, dtype, tuple(shape), base + start, nbytes)


def _bad(why: str) -> NotThereError:
    return NotThereError(f"not a safetensors file: {why}")
