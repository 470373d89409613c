"""What stays true beyond a free run is noted in it, and nothing else: iterations, backwards, what the gradients are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from stepdbg.agent.active import Active
from stepdbg.agent.loop import Loop
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from stepdbg.agent.control import Control

_BACKWARD, _FORWARD, _LOSS, _STEP, _ZERO_GRAD = (
    Phase.BACKWARD, Phase.FORWARD, Phase.LOSS, Phase.STEP, Phase.ZERO_GRAD,
)  # fmt: skip


class FreeRun:
    """The part of the tracker that wrappers call in a free run."""

    free: bool
    control: Control | None
    loop: Loop
    loss_scaled: bool
    steps_seen: int
    last: Active | None
    known_optimizers: Callable[[], Iterable[int]]
    is_criterion: Callable[[type[Any]], bool]
    recording: Callable[[], Any]
    sequence_number: Callable[[], int]

    def _begin(
        self, control: Control, phase: Phase, subject: Any, frame: FrameType, skippable: bool, depth: int
    ) -> Active:
        raise NotImplementedError

    def _next_free(self, control: Control) -> None:
        raise NotImplementedError

    def look(self) -> bool:
        """Every few milliseconds of a free run: look at the socket. True when the free run is over here."""
        control = self.control
        if control is None:
            return False
        try:
            control.look()
        except Exception as error:
            control.broken(error)
        return not self.free

    def after_free(self, phase: Phase, name: str) -> Callable[[tuple[Any, ...], Mapping[str, Any]], None] | None:
        """What the wrapper of the function `name` calls when it has run in a free run, with the arguments of the call.

        None: nothing of this phase outlasts it.
        """
        return {
            _ZERO_GRAD: self.cleared_free,
            _BACKWARD: self.grad_free if name == "grad" else self.backward_free,
            _STEP: self.stepped_free,
            Phase.UNSCALE: lambda _args, _kwargs: self._label_free("unscaled"),
            Phase.CLIP: lambda _args, _kwargs: self._label_free("clipped"),
        }.get(phase)

    def cleared_free(self, _args: tuple[Any, ...], _kwargs: Mapping[str, Any]) -> None:
        """Gradients were cleared in a free run."""
        self.loop.cleared()
        self._label_free("")

    def _label_free(self, label: str) -> None:
        if self.control is not None:
            self.control.watch.grad_label = label

    def grad_free(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """`torch.autograd.grad` has run in a free run."""
        self.backward_free(args, kwargs, "grad")

    def backward_free(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], method: str = "backward") -> None:
        """A backward has run in a free run: its root is the loss, whatever made it."""
        control, loop = self.control, self.loop
        if control is None:
            return
        if loop.over:
            self._next_free(control)
        loop.backwards += 1
        loop.had_backward = True
        try:
            control.watch.backward_ran(args, kwargs, method, self.loss_scaled)
        except Exception as error:
            control.broken(error)
        self.loss_scaled = False

    def stepped_free(self, args: tuple[Any, ...], _kwargs: Mapping[str, Any]) -> None:
        """An optimizer has stepped in a free run."""
        control, loop = self.control, self.loop
        if control is None:
            return
        if loop.over:
            self._next_free(control)
        self.steps_seen += 1
        if loop.alone == id(args[0]):
            loop.over = True
        else:
            loop.stepped(id(args[0]), self.known_optimizers)
        if loop.over:
            loop.over_at = self.sequence_number()

    def raised_free(self, phase: Phase | None, subject: Any, frame: FrameType, error: BaseException) -> None:
        """A phase (None: of a module) has raised in a free run: note where, for the post-mortem."""
        control = self.control
        if control is None or self.recording() is not None or isinstance(error, StopIteration):
            return
        if phase is None:
            phase = _LOSS if self.is_criterion(type(subject)) else _FORWARD
        try:
            active = self._begin(control, phase, subject, frame, False, 0)
            active.station.failed = True
            self.last = active
        except Exception as failure:
            control.broken(failure)
