"""Parameter by parameter through an optimizer's step that works so: the script is really held before and after each.

Which operation belongs to which parameter follows from the tensors it works on (`own.py`). A parameter's turn begins at
the first operation of its update, before that runs, and ends before the first one of the next parameter's.

* An operation that writes the parameter itself always belongs to its update. One that reads it, or works on its
  gradient or state, begins the update only if it stands in a loop that writes tensors in place (`loops.py`): making the
  state of all parameters, or a norm over all gradients, does not.
* Operations on lists (`torch._foreach_*`, `torch._fused_*`) write all parameters at once. These are not held at; they
  are shown after the fact (`stepped.py`), and so is a step of which no operation is seen.
* What a closure does, and a backward in it, is none of the update.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Mapping, Sequence
from threading import get_ident
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stepdbg.agent.dynamo import step_over
from stepdbg.agent.inside import held
from stepdbg.agent.inside.loops import Loop, Loops
from stepdbg.agent.inside.own import Own, Touched
from stepdbg.agent.inside.turns_importlib_bootstrap import TurnMode
from stepdbg.agent.optim.copies import copy_of, plain_of
from stepdbg.agent.optim.holdings import plain_number, state_of
from stepdbg.agent.optim.kept import place_of, version_of
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.inside import Grain, Place

if TYPE_CHECKING:
    from stepdbg.agent.active import Active
    from stepdbg.agent.inside.inside import Inside
    from stepdbg.agent.tracker import Tracker

BEFORE = "held: still its old value"
BEFORE_VALUE = "held: still its old value; its gradient or state is written"
AFTER = "held: its new value"

IDLE = 2
"""Turns one after the other in which nothing was written: then it was no loop of updates."""


class _Turn:
    """The update of one parameter."""

    def __init__(self, number: int, parameter: Tensor, again: int) -> None:
        self.number, self.ref, self.again = number, weakref.ref(parameter), again
        self.place = place_of(parameter)
        self.written = self.touched = False
        """Whether the parameter itself was written; whether its gradient or state was."""
        self.was: Tensor | None = None
        """A copy of the value, where the parameter has been updated in this step before."""

    def has_updated(self) -> bool:
        parameter = self.ref()
        return self.written or (parameter is not None and place_of(parameter) != self.place)


class Turns:
    """The turns of one step that is gone into, in its thread."""

    def __init__(self, inside: Inside, tracker: Tracker, active: Active, frame: FrameType, closure: Any) -> None:
        optimizer = active.station.what()
        self.active = active
        self.held: dict[int, int] = {}
        """Parameters that were updated in turns of their own: how many."""
        self.at_once: set[int] = set()
        """Those that were written by operations on lists."""
        self.seen = False
        """Whether any operation was seen that works on a parameter."""
        self.gone_into = inside.level > 0
        """Whether the user went into the step, so that `next` in its closure leads to its turns as well."""
        self._inside, self._tracker, self._frame = inside, tracker, frame
        self._optimizer = weakref.ref(optimizer)
        self._thread = get_ident()
        self._closure = code_of(closure)
        self._loops = Loops()
        self._own = Own(optimizer)
        self._versions = [version_of(p) if (p := owned.ref()) is not None else None for owned in self._own.owned]
        self._current: _Turn | None = None
        self._early: set[int] = set()
        """Those whose gradient or state was written before their turn began."""
        self._proven: set[Loop] = set()
        """Loops in which a parameter was written."""
        self._idle, self._cautious = 0, False
        self._mode: TurnMode | None = None

    def begins(self) -> None:
        """From here on operations are seen."""
        self._mode = TurnMode(self)
        self._mode.push()

    def ends(self) -> None:
        """Take the mode off; the step has been left, however."""
        mode, self._mode = self._mode, None
        if mode is not None:
            mode.pop()

    def pauses(self, frame: FrameType) -> None:
        """The step has run to its end, or runs its closure: the turn under way, if it has updated anything, is over."""
        if get_ident() == self._thread:
            self._close(frame)

    def number_of(self, parameter: Tensor) -> int | None:
        """The number that a parameter has here."""
        return self._own.number_of(parameter)

    def has_changed(self, number: int) -> bool:
        """Whether a parameter was written since the step began, as far as its version tells."""
        parameter = self._own.owned[number].ref()
        return parameter is not None and version_of(parameter) != self._versions[number]

    # ── operations ──────────────────────────────────────────────────────────────────────────────────────────

    def op_before(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """An operation is about to run. Raises only what a stop raises."""
        if self._mode is None or get_ident() != self._thread:
            return
        try:
            frame = sys._getframe(2)
            if self._in_closure(frame):
                self._own.stale = True  # it may have made the gradients
                self.pauses(frame)
            elif (touched := self._own.touched(func, args, kwargs)) is not None:
                self.seen = True
                self._works_on(touched, frame)
        except Exception as error:
            self._inside.broken(error)

    def _in_closure(self, frame: FrameType | None) -> bool:
        """Whether the operation is none of the update: of a phase inside, of a backward, or of the closure."""
        stack = self._tracker.local.stack
        if not stack or stack[-1] is not self.active or torch._C._current_graph_task_id() != -1:
            return True
        while self._closure is not None and frame is not None and frame is not self._frame:
            if frame.f_code is self._closure:
                return True
            frame = frame.f_back
        return False

    def _works_on(self, touched: Touched, frame: FrameType) -> None:
        written = touched.written
        if touched.at_once or len(written) > 1:
            if self._current is not None and self._current.number not in written:
                self._close(frame)
            self._current = None
            self.at_once.update(written)
            return
        number, itself = next(iter(written.items()), (-1, False))
        if not written:
            if len(touched.read) != 1:
                return
            number = next(iter(touched.read))
        if number in self.at_once:
            return
        loop = self._loops.around(frame, self._frame)
        if itself and loop is not None:
            self._proven.add(loop)
        current = self._current
        if current is None or current.number != number:
            if not (itself or self._begins(number, loop, frame, writes=bool(written))):
                self._early.update(written)
                return
            if not itself and current is not None and not current.has_updated() and self._gives_up(current):
                self._early.update(written)
                return
            current = self._open(number, frame)
        if current is not None and written:
            current.written, current.touched = current.written or itself, True

    def _begins(self, number: int, loop: Loop | None, frame: FrameType, *, writes: bool) -> bool:
        """Whether an operation that does not write the parameter itself begins its update."""
        if number in self.held:
            return False
        if loop is not None and loop in self._proven:
            return True
        if self._cautious or self._loops.at_once(frame):
            return False
        return writes if loop is None else loop.writes

    def _gives_up(self, current: _Turn) -> bool:
        """The turn under way has updated nothing, and another parameter is worked on: whether to wait for real ones."""
        self._idle += 1
        if current.touched or self._idle >= IDLE:
            self._cautious = True
            if current.touched:
                self._early.add(current.number)
        return self._cautious

    # ── turns ───────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, number: int, frame: FrameType) -> _Turn | None:
        self._close(frame)
        parameter, optimizer = self._own.owned[number].ref(), self._optimizer()
        if parameter is None or optimizer is None:
            return None
        turn = self._current = _Turn(number, parameter, self.held.get(number, 0))
        control = self._tracker.control
        stops = control.stops if control is not None else 0
        detail = BEFORE_VALUE if number in self._early else BEFORE
        self._reach(turn, "before", detail, frame, _Waiting(optimizer, parameter))
        with quiet(), torch.inference_mode(False), torch.no_grad():
            if turn.again:
                turn.was = self._copied(parameter)
            else:
                held_here = control is not None and control.stops != stops
                self._tracker.before.turn_begins(optimizer, parameter, held=held_here)
        return turn

    def _close(self, frame: FrameType) -> None:
        turn, self._current = self._current, None
        if turn is None or not turn.has_updated():
            return
        self._idle = 0
        self.held[turn.number] = turn.again + 1
        parameter, optimizer = turn.ref(), self._optimizer()
        if parameter is None or optimizer is None:
            return
        self._tracker.before.turn_ended(optimizer, parameter)
        self._reach(turn, "after", AFTER, frame, Ran(self._tracker, optimizer, parameter, turn.was))

    def _copied(self, parameter: Tensor) -> Tensor | None:
        if not self._inside.may_stop(Grain.PARAMETER, 1):
            return None
        before, plain = self._tracker.before, plain_of(parameter)[0]
        fits = plain is not None and plain.numel() * plain.element_size() <= before.limit - before.nbytes
        return copy_of(plain, None) if plain is not None and fits else None

    def _reach(self, turn: _Turn, when: str, detail: str, frame: FrameType, holding: held.Holding) -> None:
        inside, owned, parameter = self._inside, self._own.owned[turn.number], turn.ref()
        if not inside.is_at(self.active, self._frame) or not inside.may_stop(Grain.PARAMETER, 1):
            return
        name = inside.parameter_called(parameter) or f"param_groups[{owned.group}].params[{owned.position}]"
        group = f"group {owned.group}" if owned.groups > 1 else ""
        if turn.again:
            detail = f"{detail} (update {turn.again + 1} of this step)"
        before = self._tracker.before
        before.in_turns = True
        try:
            shown = inside.parameter_shown(parameter)
            place = Place(Grain.PARAMETER, when, name, group, 1, name, detail=detail, shown=shown)
            inside.reached(place, frame, holding)
        finally:
            before.in_turns = False


step_over(Turns.op_before, and_what_it_calls=True)


class _Waiting:
    """Finds what a parameter is updated from."""

    def __init__(self, optimizer: Any, parameter: Tensor) -> None:
        self._optimizer, self._parameter = weakref.ref(optimizer), weakref.ref(parameter)

    def __call__(self) -> held.Held:
        parameter, optimizer = self._parameter(), self._optimizer()
        if parameter is None or optimizer is None:
            return {}
        grad = parameter.grad
        return {
            "value": (parameter, "the parameter, not updated yet"),
            "grad": (grad, "the gradient that the update uses" if grad is not None else "its .grad is None"),
            **state_held(optimizer, parameter),
        }


class Ran:
    """Finds what one parameter was and is, once it has been updated. `was`: a copy, where it is not kept as usual."""

    def __init__(self, tracker: Tracker, optimizer: Any, parameter: Tensor, was: Tensor | None = None) -> None:
        self._tracker, self._was = tracker, was
        self._optimizer, self._parameter = weakref.ref(optimizer), weakref.ref(parameter)

    def __call__(self) -> held.Held:
        parameter, optimizer = self._parameter(), self._optimizer()
        if parameter is None:
            return {}
        before = self._tracker.before
        found, grad = before.step_of(parameter), parameter.grad
        value = self._was if self._was is not None else before.value_of(parameter)
        why = before.why_not(parameter) if value is None else "a copy, made before the step"
        if self._was is not None:
            why = "a copy, made before this update"
        result: held.Held = {"after": (parameter, "the parameter now"), "before": (value, why)}
        if value is not None:
            now = plain_of(parameter)[0]
            if now is not None and now.shape == value.shape:
                result["change"] = now.to("cpu") - value, "after - before, computed here"
        used, why_not = before.grad_of(parameter, found[1]) if found is not None else (grad, "")
        result["grad"] = used if used is not None else grad, why_not or "the gradient that the step had"
        return {**result, **(state_held(optimizer, parameter) if optimizer is not None else {})}


def state_held(optimizer: Any, parameter: Tensor) -> held.Held:
    """The optimizer's state of a parameter, as it is."""
    result: held.Held = {}
    for name, value in list(state_of(optimizer, parameter).items())[: held.MOST]:
        if isinstance(value, Tensor):
            result[f"state[{name!r}]"] = value, "the optimizer's state of it"
        elif (number := plain_number(value)) is not ...:
            result[f"state[{name!r}]"] = None, f"is {number}"
    return result


def code_of(closure: Any) -> CodeType | None:
    """The code that runs when a closure is called."""
    while isinstance(closure, functools.partial):
        closure = closure.func
    code = getattr(closure, "__code__", None)
    if code is None and closure is not None:
        code = getattr(getattr(type(closure), "__call__", None), "__code__", None)  # noqa: B004  (it is asked for its code)
    return code if isinstance(code, CodeType) else None
