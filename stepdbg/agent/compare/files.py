"""Tensors out of files: what `torch.save` and safetensors wrote. Nothing in a file is run.

Pickles are read with `weights_only=True`; a large one is mapped, not read, where its format allows that. Paths are
relative to the script's working directory.
"""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stepdbg.agent.compare import safetensors
from stepdbg.agent.compare.safetensors import Stored
from stepdbg.agent.work import NotThereError

MAPPED_FROM = 256 * 1024 * 1024
"""Bytes of a file that is mapped rather than read: one that another program cuts short meanwhile would end ours."""

MAX_READ = 8 * 1024 * 1024 * 1024
"""Bytes of a file that cannot be mapped, at most."""

INSIDE = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "parameters")
"""Keys under which checkpoints keep the parameters, in the order in which they are looked for."""

MAX_KEYS = 1_000_000


class Packed:
    """One tensor of a file that the safetensors package reads, when it is wanted."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        part = file.get_slice(name)
        self.shape = tuple(int(n) for n in part.get_shape())
        self.dtype = safetensors.DTYPES.get(part.get_dtype())

    def read(self) -> Tensor:
        """Its numbers."""
        tensor: Tensor = self._file.get_tensor(self._name)
        return tensor


Source = Tensor | Stored | Packed


def stamp(name: str) -> tuple[int, int]:
    """What changes when the file does: its time and size. Raises NotThereError where it cannot be read."""
    status = _status(name)
    return status.st_mtime_ns, status.st_size


def load(name: str) -> tuple[Mapping[str, Source], str]:
    """The tensors in the file by name, and the key under which they were; empty: at the top.

    Raises NotThereError with one line.
    """
    size = _status(name).st_size
    path = Path(name).expanduser()
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path), ""
        return _state_dict(_unpickled(path, size))
    except NotThereError as error:
        raise NotThereError(f"{name}: {error}") from None
    except OSError as error:
        raise NotThereError(f"{name}: {error.strerror or _one_line(error)}") from None


def _status(name: str) -> Any:
    try:
        status = Path(name).expanduser().stat()
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or _one_line(error)
        where = "" if Path(name).expanduser().is_absolute() else f" in {Path.cwd()}"
        raise NotThereError(f"{name}: {why}{where}") from None
    if not stat.S_ISREG(status.st_mode):
        raise NotThereError(f"{name}: it is no ordinary file")
    return status


def _safetensors(path: Path) -> Mapping[str, Source]:
    own = safetensors.load(path)  # checks the file also where the package reads it
    if not _has_package():
        return own
    try:
        file = importlib.import_module("safetensors").safe_open(str(path), framework="pt")
        return {name: Packed(file, name) for name in own}
    except ImportError:
        return own
    except Exception as error:
        raise NotThereError(f"safetensors refuses it: {_one_line(error)}") from None


def _has_package() -> bool:
    """Whether the package is installed. A file of that name beside the script is the script's, and is not run."""
    try:
        spec = importlib.util.find_spec("safetensors")
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and "-packages" in spec.origin


def _unpickled(path: Path, size: int) -> Any:
    mapped = size > MAPPED_FROM and zipfile.is_zipfile(path)
    if size > MAX_READ and not mapped:
        raise NotThereError(f"{size:,} bytes in a format that cannot be mapped are too many: at most {MAX_READ:,}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({found[1]})" if found is not None else ""
        right = "save a state_dict to compare with it"
        raise NotThereError(f"it holds objects other than tensors{what}, and those are not loaded; {right}") from None
    except Exception as error:
        raise NotThereError(f"torch cannot load it: {_one_line(error)}") from None


def _state_dict(loaded: Any) -> tuple[Mapping[str, Source], str]:
    """Where the tensors are in what a file holds."""
    if isinstance(loaded, Tensor):
        return {"": loaded}, ""
    if not isinstance(loaded, Mapping):
        raise NotThereError(f"it holds a {type(loaded).__name__}, not a state_dict")
    direct = _tensors(loaded)
    if direct and len(direct) * 2 >= len(loaded):
        return direct, ""
    tables = {key: found for key, value in loaded.items() if isinstance(value, Mapping) and (found := _tensors(value))}
    for key in INSIDE:
        if key in tables:
            return tables[key], key
    if tables:  # one for each of several networks
        return {f"{key}.{name}": tensor for key, found in tables.items() for name, tensor in found.items()}, ""
    if direct:
        return direct, ""
    keys = ", ".join(str(key) for key in list(loaded)[:6]) or "nothing"
    raise NotThereError(f"there is no state_dict in it: it holds {keys}")


def _tensors(table: Mapping[Any, Any]) -> dict[str, Source]:
    if len(table) > MAX_KEYS:
        raise NotThereError(f"{len(table):,} entries are too many")
    return {key: value for key, value in table.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
