"""The Python stacks that made a graph's nodes, where the user asked for them.

torch notes them in its anomaly mode (`torch.autograd.detect_anomaly`). While they are asked for, that mode is on,
without its check for NaN and its warning, and only outside of backwards: there it would have torch print a second
traceback when one raises. The script does not see it: `torch.is_anomaly_enabled`, `torch.set_anomaly_enabled` and
`torch.is_anomaly_check_nan_enabled`, by which torch's own context managers work too, speak of the script's setting
meanwhile. Where the script has the mode on itself, it stays as the script has it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch

from stepdbg.agent import frames
from stepdbg.agent.dynamo import step_over

_FRAME = re.compile(r'  File "(.*)", line (\d+), in (.*)')

_NAMES = ("is_anomaly_enabled", "is_anomaly_check_nan_enabled", "set_anomaly_enabled")


class Line(NamedTuple):
    """A line of the user's."""

    file: str
    line: int
    function: str


class Stacks:
    """Switches torch's noting of stacks on and off."""

    def __init__(self) -> None:
        self.on = False
        self.used = False
        """Whether any node may have a stack for our sake."""
        self._paused = False
        self._free = False
        self._script = (False, True)
        """The mode as the script has it: enabled, and with the check for NaN."""
        self._ours = (False, True)
        """The mode as we have set it."""
        self._before: dict[str, Any] = {}
        self._instead: dict[str, Any] = {}

    @property
    def script_has_its_own(self) -> bool:
        """Whether the script has anomaly mode on itself."""
        return self._script[0] if self.on else bool(torch.is_anomaly_enabled())

    def set(self, on: bool) -> None:
        """Begin or end noting stacks."""
        if on == self.on:
            return
        if on:
            self._before = {name: getattr(torch, name) for name in _NAMES}
            self._script = self._ours = self._real()
            self._put_in()
            self.on = self.used = True
            self._apply()
        else:
            self._adopt()
            self.on = False
            self._apply()
            self._take_out()

    def pause(self) -> bool:
        """A backward begins: no stacks until it ends. Returns whether this call is what paused it."""
        if not self.on or self._paused:
            return False
        self._paused = True
        self._apply()
        return True

    def resume(self, paused: bool = True) -> None:
        """The backward has ended. `paused`: what `pause` returned, where another backward may be around it."""
        if paused and self._paused:
            self._paused = False
            if self.on:
                self._apply()

    def free(self, free: bool) -> None:
        """A free run begins or ends: it pays for nothing."""
        if self._free is not free:
            self._free = free
            if self.on:
                self._apply()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _real(self) -> tuple[bool, bool]:
        return bool(self._before[_NAMES[0]]()), bool(self._before[_NAMES[1]]())

    def _adopt(self) -> None:
        """What is not as we left it, the script has set by a function that it had in hand before."""
        real = self._real()
        if real != self._ours:
            self._script = real

    def _apply(self) -> None:
        self._adopt()
        wanted = self.on and not self._paused and not self._free and not self._script[0]
        self._ours = (True, False) if wanted else self._script
        self._before["set_anomaly_enabled"](*self._ours)

    def _put_in(self) -> None:
        def is_anomaly_enabled() -> bool:
            self._adopt()
            return self._script[0]

        def is_anomaly_check_nan_enabled() -> bool:
            self._adopt()
            return self._script[1]

        def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
            # Through torch's own first: it refuses what it cannot take.
            self._before["set_anomaly_enabled"](enabled, check_nan)
            self._script = self._ours = (enabled, check_nan)
            self._apply()

        self._instead = dict(
            zip(_NAMES, (is_anomaly_enabled, is_anomaly_check_nan_enabled, set_anomaly_enabled), strict=True)
        )
        for name, function in self._instead.items():
            step_over(function, and_what_it_calls=True)
            setattr(torch, name, function)

    def _take_out(self) -> None:
        for name, function in self._instead.items():
            if getattr(torch, name) is function:
                setattr(torch, name, self._before[name])


def line_of(node: Any) -> Line | None:
    """The user's line that made `node`: of the innermost frame that is the user's. None where no stack was noted."""
    metadata = node.metadata
    entries = metadata.get("traceback_") if metadata else None
    if not isinstance(entries, list):
        return None
    for entry in reversed(entries):
        found = _FRAME.match(str(entry))
        if found is not None and frames.is_user(found[1]):
            return Line(found[1], int(found[2]), found[3])
    return None
