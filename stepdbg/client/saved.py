"""Breakpoints kept from one run of a script to the next, in the user's own state folder."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from platformdirs import user_state_dir

from stepdbg.errors import ProtocolError
from stepdbg.protocol import codec
from stepdbg.protocol.breakpoints import Spec


class SavedBreakpoints:
    """Those of one script. `target`: its path, or the module's name. Nothing of it matters enough to fail for."""

    def __init__(self, target: str, *, module: bool = False, folder: Path | None = None) -> None:
        self.target = f"-m {target}" if module else os.path.realpath(target)
        base = folder or Path(os.environ.get("STEPDBG_STATE") or user_state_dir("stepdbg")) / "breakpoints"
        name = hashlib.sha256(self.target.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self.path = base / f"{name}.json"

    def load(self) -> tuple[Spec, ...]:
        """What was saved; nothing where there is no such file, or none that can be read."""
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return ()
        if not isinstance(data, dict) or not isinstance(data.get("breakpoints"), list):
            return ()
        found = []
        for plain in data["breakpoints"]:
            try:
                found.append(codec.from_plain(Spec, plain))
            except ProtocolError:
                continue  # of another version
        return tuple(found)

    def save(self, specs: tuple[Spec, ...]) -> None:
        """Keep these; without any the file goes. Raises OSError."""
        if not specs:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = {"script": self.target, "breakpoints": [codec.to_plain(spec) for spec in specs]}
        beside = self.path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(data, indent=1), encoding="utf-8")
        beside.replace(self.path)
