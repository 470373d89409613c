"""What is armed while `watch nan` or `watch change` is: the operations' mode, the nodes' hooks, the comparisons."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from stepdbg.agent import pointing
from stepdbg.agent.breakpoints.changes import ChangeWatch
from stepdbg.agent.breakpoints.nan import NanWatch
from stepdbg.agent.breakpoints.ops import Ops
from stepdbg.agent.dynamo import step_over
from stepdbg.agent.inside import held
from stepdbg.protocol.inside import Place
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from types import FrameType

    from stepdbg.agent.active import Active
    from stepdbg.agent.control import Control
    from stepdbg.agent.naming import Names

Stop = Callable[[int, Place, Any, str, held.Holding], None]
"""Told of the watch's number, where it is, the frame, what was found and what is there to look at."""

_BACKWARD, _STEP = Phase.BACKWARD, Phase.STEP


class Watches:
    """Puts in what is wanted, in the thread that reaches the boundary, and takes it out again."""

    def __init__(self, control: Control, stop: Stop) -> None:
        self._control = control
        self._stop = stop
        self.nan: int | None = None
        """Number of the enabled `watch nan`."""
        self.changes: dict[int, ChangeWatch] = {}
        """By number, of the enabled ones."""
        self._ops: Ops | None = None
        self._nan: NanWatch | None = None
        self._steps_seen = 0
        self._hooked: Active | None = None
        self.inside = False
        """Whether an operation's result is being looked at: then the mode cannot be taken out."""

    @property
    def armed(self) -> bool:
        """Whether there is anything to watch."""
        return self.nan is not None or bool(self.changes)

    @property
    def in_use(self) -> bool:
        """Whether something of it is in the script still."""
        return self._ops is not None or self._nan is not None

    def set_changes(self, targets: dict[int, str], names: Names | None) -> None:
        """Watch those parameters for changes, by number; those that are watched already go on.

        Without `names` (while the script runs) what is new is found at the next stop.
        """
        for number in [n for n in self.changes if n not in targets]:
            del self.changes[number]
        for number, target in targets.items():
            if number not in self.changes and names is not None:
                found = pointing.parameters(names, target)
                if found:
                    self.changes[number] = ChangeWatch(found)

    def sync(self) -> None:
        """Put in or take out what is wanted; called at boundaries, in the script's own thread, outside `quiet()`."""
        calls = self._control.tracker.calls
        if self.nan is not None and self._nan is None:
            self._nan = NanWatch(self._control, self._found_nan)
            calls.told.append(self._module_ran)
        elif self.nan is None and self._nan is not None:
            self._nan.clear()
            self._nan, self._hooked = None, None
            calls.told.clear()
        if self.armed:
            if self._ops is None:
                self._ops = Ops()
                self._ops.before, self._ops.after = self._before, self._after
            self._ops.on = True
            self._ops.put_in()
        elif self._ops is not None:
            self._ops.on = False
            self._ops.take_out()
            self._ops = None

    def at_boundary(self, frame: FrameType) -> list[tuple[int, str]]:
        """A phase is about to run: which watches have found something, and what."""
        if self._nan is not None:
            self._nan.release()
        self.sync()
        tracker = self._control.tracker
        seen, self._steps_seen = self._steps_seen, tracker.steps_seen
        # A step inside another phase (a hook of a backward), or around this one (a closure's): nobody can tell whose
        # change it is.
        stepped = tracker.steps_seen != seen or any(active.phase is _STEP for active in tracker.local.stack[:-1])
        told = [(n, watch.at_boundary(frame, stepped=stepped)) for n, watch in self.changes.items()]
        return [(number, text) for number, text in told if text is not None]

    def stepped(self) -> None:
        """An optimizer's step is over."""
        self._steps_seen = self._control.tracker.steps_seen
        for watch in self.changes.values():
            watch.settle()

    def begins(self, active: Active) -> None:
        """That phase runs now: of a backward, hook its nodes."""
        self.sync()
        if self._nan is not None and active.phase is _BACKWARD and not active.skipped:
            control = self._control
            began = perf_counter()
            self._nan.backward_begins([t for ref in control.watch.roots if (t := ref()) is not None])
            control.held += perf_counter() - began

    # ── what runs ───────────────────────────────────────────────────────────────────────────────────────────

    def _told(self) -> bool:
        tracker = self._control.tracker
        stack = tracker.local.stack
        return tracker.armed and not self.inside and not (stack and stack[-1].phase is _STEP)

    def _before(self, func: Any, args: Any) -> Any:
        if self._nan is None or not func._schema.is_mutable or not self._told():
            return None
        try:
            return self._nan.before_op(func, args)
        except Exception as error:
            self._control.broken(error)
            return None

    def _after(self, func: Any, args: Any, kwargs: Any, result: Any, before: Any) -> None:
        if not self._told():
            return
        self.inside = True
        try:
            if self.changes and func._schema.is_mutable:
                for number, watch in list(self.changes.items()):
                    found = watch.after_op(func, args, kwargs)
                    if found is not None:
                        self._stop(number, *found, lambda: held.of_call(args, kwargs or {}, (result,)))
            if self._nan is not None:
                self._nan.after_op(func, args, kwargs, result, before)
        except Exception as error:
            self._control.broken(error)
        finally:
            self.inside = False

    def _module_ran(self, module: Any, first: int, last: int, args: Any, kwargs: Any, result: Any) -> None:
        """The wrapper of module calls tells of one that has returned."""
        if self._nan is None or self._ops is None or not self._told() or not self._ops.is_lowest():
            return
        self.inside = True
        try:
            self._nan.module_ran(module, first, last, args, kwargs, result)
        except Exception as error:
            self._control.broken(error)
        finally:
            self.inside = False

    def _found_nan(self, place: Place, frame: Any, text: str, holding: held.Holding) -> None:
        if self.nan is not None:
            self._stop(self.nan, place, frame, text, holding)


step_over(Watches._module_ran, and_what_it_calls=True)
