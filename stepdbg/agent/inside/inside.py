"""The phase that is gone into, and its places: told to whoever waits for them, and held at where that is due.

Nothing of this is there while nobody steps inside and no breakpoint waits: then the wrapper of a module call reads one
attribute, and a phase that is entered asks once. What is put in (hooks on nodes, a dispatch mode) is taken out when the
phase is left, however it is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import Module

from stepdbg.agent import frames, naming
from stepdbg.agent.inside import held, stepped
from stepdbg.agent.inside.backward import Backward
from stepdbg.agent.inside.forward import Call, Forward, in_a_transform, runs_as_one
from stepdbg.agent.inside.turns import Turns, code_of
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.inside import Grain, Place, Target
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from stepdbg.agent.active import Active
    from stepdbg.agent.control import Control
    from stepdbg.agent.tracker import Tracker

_GRAINS = {
    Phase.FORWARD: (Grain.MODULE, Grain.OP),
    Phase.LOSS: (Grain.MODULE, Grain.OP),
    Phase.BACKWARD: (Grain.NODE,),
    Phase.STEP: (Grain.PARAMETER,),
    Phase.CLIP: (Grain.PARAMETER,),
}
"""What there is inside each phase."""


class Inside:
    """One for the session."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self.forward: Forward | None = None
        """Of the FORWARD or LOSS that is gone into: the wrapper of module calls looks here."""
        self.holding: held.Holding | None = None
        """The tensors at the place that a breakpoint is being asked about; None: no place is."""
        self._backward: Backward | None = None
        self._turns: Turns | None = None
        """Of the STEP that is gone into; phases of its closure are gone into meanwhile."""
        self._active: Active | None = None
        self._around: Sequence[Active] = ()
        self._frame: FrameType | None = None
        """Where the phase was called, for the user's names; held only while the phase runs."""
        self._thread = 0
        self._waits: frozenset[Grain] = frozenset()
        self._told: frozenset[Grain] = frozenset()
        self._names: tuple[dict[int, tuple[str, str]], dict[int, tuple[str, str]]] | None = None

    # ── what the parts ask ──────────────────────────────────────────────────────────────────────────────────

    @property
    def level(self) -> int:
        """The deepest level that the user steps at."""
        control = self._tracker.control
        return control.going.level if control is not None else 0

    def waits_for(self, grain: Grain) -> bool:
        """Whether every place of this grain is told of, at whatever level."""
        return grain in self._waits

    def may_stop(self, grain: Grain, depth: int) -> bool:
        """Whether anybody wants to know of such a place."""
        return depth <= self.level or grain in self._waits

    def module_called(self, module: Any) -> tuple[str, str]:
        """Path and class of a module; its class for both where no variable of the user's leads to it."""
        kind = type(module).__name__
        return self._known()[0].get(id(module), (kind, kind))[0], kind

    def path_of(self, module: int) -> str:
        """Path of the module with that id, empty where it is not known."""
        return self._known()[0].get(module, ("", ""))[0]

    def parameter_called(self, parameter: Tensor | None) -> str:
        """Its name in full; empty: it has none."""
        return self._known()[1].get(id(parameter), ("", ""))[0] if parameter is not None else ""

    def parameter_shown(self, parameter: Tensor | None) -> str:
        """The same as the user reads it."""
        return self._known()[1].get(id(parameter), ("", ""))[1] if parameter is not None else ""

    def _known(self) -> tuple[dict[int, tuple[str, str]], dict[int, tuple[str, str]]]:
        if self._names is None:
            called = [s.what() for _, s in self._tracker.loop.rail() if s.phase in (Phase.FORWARD, Phase.LOSS)]
            subject = self._active.station.what() if self._active is not None else None
            roots = [thing for thing in (subject, *called) if isinstance(thing, Module)]
            control = self._tracker.control
            with quiet():
                stack = [frame for frame, _ in frames.of_call(self._frame)]
                optimizers = control.known_optimizers() if control is not None else []
                names = naming.collect(stack, roots, optimizers, self._tracker.prefixes)
            paths = dict(names.paths)
            for wrapper, inner in names.wrapped.items():
                if inner in paths:
                    paths.setdefault(wrapper, paths[inner])
            self._names = paths, {id(named.tensor): (named.name, named.shown) for named in names.parameters}
        return self._names

    def called(self, active: Active, frame: FrameType, target: Target | None) -> bool:
        """Whether the phase that is about to run is the call of the module that `target` names."""
        module = active.station.what()
        if target is None or not isinstance(module, Module):
            return False
        self._active, self._frame, self._names = active, frame, None
        try:
            return self.module_called(module)[0] == target.name
        except Exception as error:
            self.broken(error)
            return False
        finally:
            self._active = self._frame = self._names = None

    # ── a phase ─────────────────────────────────────────────────────────────────────────────────────────────

    def begins(
        self, control: Control, active: Active, subject: Any, call: tuple[Sequence[Any], Mapping[str, Any]],
        frame: FrameType,
    ) -> None:  # fmt: skip
        """A phase is about to run, and is not stopped at any more. Raises only what a stop raises (a Ctrl-C)."""
        going = control.going
        if self._active is None and not (going.level or going.target or control.breakpoints.inside):
            return  # nobody wants to go into anything: the common case by far
        grains = _GRAINS.get(active.phase)
        if grains is None or active.skipped or not self._tracker.armed or self._tracker.free:
            return
        if self._active is not None:
            if self._thread != get_ident():
                return  # one phase at a time: another thread's is gone into
            self._take_out()  # a STEP around this one, or a Ctrl-C came between what was put in and its phase
        self._look_up(control, grains)
        if not (control.going.level > 0 or self._waits) or control.capturing():
            return
        self._active, self._around, self._frame, self._names = active, self._tracker.local.stack, frame, None
        self._thread = get_ident()
        active.inside = True
        args, kwargs = call
        try:
            if active.phase in (Phase.FORWARD, Phase.LOSS):
                self._open(control, active, subject)
            elif active.phase is Phase.BACKWARD:
                self._hook(control, args, kwargs)
            elif active.phase is Phase.CLIP:
                active.clip = stepped.clip_begins(self, subject, args, kwargs, frame)
        except Exception as error:
            self.ends(active)
            control.broken(error)
        except BaseException:
            self.ends(active)
            raise

    def _look_up(self, control: Control, grains: Sequence[Grain]) -> None:
        self._told = frozenset(grain for grain in grains if control.breakpoints.wants(grain))
        self._waits = self._told | control.going.grains().intersection(grains)

    def _open(self, control: Control, active: Active, subject: Any) -> None:
        if not runs_as_one(subject):
            self.forward = Forward(self, subject)
        elif control.going.level > 0:
            control.going.remark = f"{active.phase.value} was not gone into: the module is compiled and runs as one"

    def _hook(self, control: Control, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._backward = Backward(self)
        with quiet():
            problem = self._backward.put_in(self._tracker, args, kwargs)
        if problem and control.going.level > 0:
            control.going.remark = f"backward was not gone into: {problem.removeprefix('not watched: ')}"

    def step_begins(self, active: Active, args: Sequence[Any], kwargs: Mapping[str, Any], frame: FrameType) -> None:
        """The STEP is about to run, and all that is noted before it has been: from here on its operations are seen."""
        if self._active is not active or self._turns is not None or in_a_transform():
            return
        try:
            closure = args[1] if len(args) > 1 else kwargs.get("closure")
            if active.station.what() is None or (closure is not None and code_of(closure) is None):
                return
            with quiet():
                turns = Turns(self, self._tracker, active, frame, closure)
            self._turns = turns
            turns.begins()
        except Exception as error:
            self.broken(error)

    def phase_begins(self, frame: FrameType) -> None:
        """A phase is about to run, perhaps in the closure of a STEP gone into. Raises only what a stop raises."""
        turns = self._turns
        if turns is not None:
            try:
                turns.pauses(frame)
            except Exception as error:
                self.broken(error)

    def is_at(self, active: Active, frame: FrameType) -> bool:
        """Whether that STEP, called from `frame`, is what the script is in here: its closure may have phases."""
        control = self._tracker.control
        if control is not None and self._active is None:
            self._look_up(control, _GRAINS[active.phase])
            self._active, self._around, self._frame, self._names = active, self._tracker.local.stack, frame, None
            self._thread = get_ident()
        if control is None or self._active is not active:
            return False
        turns = self._turns_of(active)
        if turns is not None and turns.gone_into:
            control.going.stays_inside()
        return True

    def ran(self, active: Active, result: Any, frame: FrameType) -> None:
        """The phase has returned: what is shown of it after the fact. Raises only what a stop raises."""
        turns = self._turns_of(active)
        if turns is not None:
            turns.ends()
        control = self._tracker.control
        here = self.is_at(active, frame) if active.phase is Phase.STEP else self._active is active
        if control is None or not here:
            return
        try:
            if active.phase is Phase.STEP:
                stepped.step_ran(self, self._tracker, active, turns, frame)
            elif active.phase is Phase.CLIP and active.clip is not None:
                stepped.clip_ran(self, active.clip, result, frame)
        except Exception as error:
            control.broken(error)

    def ends(self, active: Active) -> None:
        """The phase has been left, however. Takes everything out; never raises."""
        active.inside, active.clip = False, None
        turns = self._turns_of(active)
        if turns is not None:
            self._turns = None
            turns.ends()
        if self._active is active or self._active is None:
            self._take_out()

    def _turns_of(self, active: Active) -> Turns | None:
        return self._turns if self._turns is not None and self._turns.active is active else None

    def _take_out(self) -> None:
        forward, self.forward = self.forward, None
        backward, self._backward = self._backward, None
        self._active, self._around, self._frame, self._names = None, (), None, None
        self._waits = self._told = frozenset()
        if forward is not None:
            forward.ends()
        if backward is not None and backward.hooked:
            with quiet():
                backward.take_out()

    # ── places ──────────────────────────────────────────────────────────────────────────────────────────────

    def module_before(
        self, forward: Forward, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], frame: FrameType
    ) -> Call | None:
        """A module inside the phase is about to be called. Raises only what a stop raises."""
        try:
            return forward.before(module, args, kwargs, frame)
        except Exception as error:
            self.broken(error)
            return None

    def module_after(
        self,
        forward: Forward,
        call: Call,
        module: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        frame: FrameType,
        result: Any,
    ) -> None:
        """It has returned."""
        try:
            forward.after(call, module, args, kwargs, frame, result)
        except Exception as error:
            self.broken(error)

    def reached(
        self,
        place: Place,
        frame: FrameType | None,
        holding: held.Holding,
        *,
        steps: bool = True,
        entered: Sequence[str] = (),
    ) -> None:
        """A place: tell the breakpoints of it, and hold the script there if that is due.

        `steps`: whether the user's stepping may stop here; else only a target or a breakpoint does. `entered`: of a
        node, the modules that backward comes into with it.
        """
        control, active = self._tracker.control, self._active
        if control is None or active is None or not self._tracker.armed or control.capturing():
            return
        if self._tracker.recording() is not None:
            return
        going, why = control.going, None
        due = (steps or going.target is not None) and going.at_place(place, frame, entered)
        if place.grain in self._told:
            self.holding = holding
            try:
                why = control.breakpoints.at_place(place, frame, entered)
            except Exception as error:
                control.broken(error)
            finally:
                self.holding = None
        if due or why is not None:
            control.hold_inside(active, self._around, place, frame, holding, why or "")
            self._look_up(control, _GRAINS[active.phase])

    def broken(self, error: Exception) -> None:
        """Something of ours failed inside the phase: told of, and the script is spared."""
        control = self._tracker.control
        if control is not None:
            control.broken(error)
