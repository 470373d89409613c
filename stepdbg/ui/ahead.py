"""Steps that are to be made once the one under way is done: typed ahead, or several asked for in one (`next 3`)."""

from __future__ import annotations

from stepdbg.client.store import Status, View
from stepdbg.commands import BY_NAME
from stepdbg.commands.command import Command
from stepdbg.commands.running import read_times
from stepdbg.protocol.messages import Action
from stepdbg.protocol.records import StopReason

STEPS = {Action.NEXT: "next", Action.ITERATION: "iteration", Action.INTO: "step", Action.OUT: "out"}
"""Commands that may be given while a step still runs and the screen does not show that yet: each is done at a stop of
its own, unless it is one for another reason than stepping. Others would do something to a phase that nobody has seen.
"""


class Ahead:
    """Them, in order."""

    def __init__(self) -> None:
        self._waiting: list[Command] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, command: Command, argument: str) -> bool:
        """To be done, as often as it says, after all others; False: it is none that may wait."""
        if command.name not in STEPS.values():
            return False
        self._waiting += [command] * read_times(argument)
        return True

    def again(self, action: Action, times: int) -> None:
        """To be done so many times more, before all others."""
        if times:
            self._waiting[:0] = [BY_NAME[STEPS[action]]] * times

    def clear(self) -> None:
        """None of them any more."""
        self._waiting.clear()

    def pop(self, view: View) -> Command | None:
        """The next one, if it may be done now that the script is held; else all are forgotten."""
        command = self._waiting.pop(0)
        stepped = view.status is Status.STOPPED and view.history[-1].stop.reason is StopReason.STEP
        if stepped and command.available(view) is None:
            return command
        self.clear()
        return None
