"""Which Python runs the script: the one asked for, else the user's own `python`, else ours.

Nothing is imported to find out: the candidate, in a subprocess, looks for torch (and the module of `-m`) on
its path and says what it found. Costs one start of an interpreter (about 30 ms), never an import of torch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stepdbg.errors import UsageError

OLDEST = (3, 10)
"""The agent's code needs this version, at least, in the script's interpreter."""

PROBE_SECONDS = 30.0
"""An interpreter that has not answered after this long is not used."""

_MARK = "stepdbg-probe:"

# Packages are looked through without running their `__init__`; only where that does not lead to the module (a
# package that makes its own path) is it imported, as `python -m` itself would do.
_PROBE = """
import sys

# A `random.py` of the user's in the working directory is not for the modules that are imported here.
here = [entry for entry in sys.path[:1] if entry == ""]
del sys.path[: len(here)]
import importlib.machinery, importlib.util, json, os

sys.path[:0] = here

def inside(name, places):
    try:
        return importlib.machinery.PathFinder.find_spec(name, places)
    except KeyError:
        # A folder without __init__ looks for its parent among the imported modules, where it is not.
        folders = [os.path.join(place, name.rpartition(".")[2]) for place in places]
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [folder for folder in folders if os.path.isdir(folder)]
        return spec

def locate(name):
    parts = name.split(".")
    spec = importlib.util.find_spec(parts[0])
    for depth in range(1, len(parts)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = inside(".".join(parts[: depth + 1]), list(spec.submodule_search_locations))
    return spec

def look(name):
    try:
        spec = locate(name) or importlib.util.find_spec(name)
    except Exception:
        spec = None
    if spec is None:
        return "missing"
    if spec.submodule_search_locations is None:
        return "module"
    main = inside(name + ".__main__", list(spec.submodule_search_locations))
    return "package without __main__" if main is None else "package"

answer = {"version": list(sys.version_info[:2]), "torch": importlib.util.find_spec("torch") is not None}
if len(sys.argv) > 1:
    answer["module"] = look(sys.argv[1])
print("\\nstepdbg-probe:" + json.dumps(answer))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run the script."""

    path: str
    """As it is started. Symbolic links are kept: a virtual environment is told by them."""
    reason: str
    """Why this one, in words for the screen."""


@dataclass(frozen=True)
class _Found:
    version: tuple[int, int]
    torch: bool
    module: str
    """"module", "package", "missing", "package without __main__"; empty when no module was asked for."""


def choose(requested: str | None = None, module: str | None = None) -> Interpreter:
    """The interpreter to run the script with; `module` is what `-m` names, looked for in it as well.

    Raises UsageError when the requested one cannot run the script, no candidate has torch, or the module
    is not there.
    """
    if requested is not None:
        path = _requested(requested)
        found = _probe(path, module)
        if found is None:
            raise UsageError(f"--python {requested}: not a Python interpreter")
        _check(found, path, f"--python {requested}")
        interpreter = Interpreter(path, "given by --python")
    else:
        interpreter, found = _default(module)
    if module is not None:
        _check_module(found, module, interpreter.path)
    return interpreter


def _default(module: str | None) -> tuple[Interpreter, _Found | None]:
    tried = []
    for name in ("python", "python3"):
        path = shutil.which(name)
        if path is None:
            continue
        found = _probe(path, module)
        if found is not None and found.torch and found.version >= OLDEST:
            return Interpreter(path, f"`{name}` on your PATH"), found
        tried.append(path)
    found = _probe(sys.executable, module)
    if found is None or not found.torch:
        where = ", ".join([*tried, sys.executable])
        raise UsageError(f"no Python with torch found (looked at {where}); name one with --python PATH")
    reason = "stepdbg's own: `python` on your PATH has no torch" if tried else "stepdbg's own: no `python` on PATH"
    return Interpreter(sys.executable, reason), found


def _requested(name: str) -> str:
    """The path of the interpreter called `name`: a path, or a command on PATH as in a shell."""
    if os.sep not in name:
        path = shutil.which(name)
        if path is None:
            raise UsageError(f"--python {name}: no such command on PATH; give a path such as .venv/bin/python")
        return path
    candidate = Path(name).expanduser()
    if candidate.is_dir():
        inner = candidate / "bin" / "python"
        hint = f"; did you mean {inner}?" if inner.exists() else ", not an interpreter"
        raise UsageError(f"--python {name}: a directory{hint}")
    if not candidate.exists():
        raise UsageError(f"--python {name}: no such file")
    if not os.access(candidate, os.X_OK):
        raise UsageError(f"--python {name}: not executable")
    return str(candidate)


def _check(found: _Found, path: str, what: str) -> None:
    if found.version < OLDEST:
        have = ".".join(map(str, found.version))
        raise UsageError(f"{what}: Python {have}; scripts need Python {OLDEST[0]}.{OLDEST[1]} or newer under stepdbg")
    if not found.torch:
        raise UsageError(f"{what}: has no torch; install it there ({path} -m pip install torch) or name another")


def _check_module(found: _Found | None, module: str, path: str) -> None:
    what = found.module if found is not None else "missing"
    if what == "missing":
        raise UsageError(f"-m {module}: no module of that name for {path} in {Path.cwd()}")
    if what == "package without __main__":
        raise UsageError(f"-m {module}: a package without __main__.py; name a module in it (-m {module}.NAME)")


def _is_own(path: str) -> bool:
    """Whether `path` is the interpreter and environment that runs us: the same file, in the same folder."""
    own = sys.executable
    return os.path.realpath(path) == os.path.realpath(own) and os.path.realpath(Path(path).parent) == os.path.realpath(
        Path(own).parent
    )


def _probe(path: str, module: str | None) -> _Found | None:
    """What the interpreter at `path` has; None where it gives no answer, and so is no Python."""
    if module is None and _is_own(path):
        return _Found(sys.version_info[:2], importlib.util.find_spec("torch") is not None, "")
    command = [path, "-c", _PROBE, *([module] if module is not None else [])]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    _before, mark, answer = done.stdout.decode("utf-8", "replace").rpartition(_MARK)
    if not mark:
        return None
    plain = json.loads(answer.splitlines()[0])
    return _Found((plain["version"][0], plain["version"][1]), plain["torch"], plain.get("module", ""))
