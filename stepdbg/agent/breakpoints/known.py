"""What conditions know without looking at the user's frame."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from stepdbg.agent.losswatch import Seen, number_of
from stepdbg.agent.quiet import quiet
from stepdbg.agent.trends import gradient_norm, learning_rates, parameters_of
from stepdbg.protocol.records import Phase

if TYPE_CHECKING:
    from stepdbg.agent.control import Control

_modes, _function_modes = torch._C._len_torch_dispatch_stack, torch._C._len_torch_function_stack


class Now:
    """Finds out what each of the names is; None where it is not known here."""

    def __init__(self, control: Control) -> None:
        self._control: Control = weakref.proxy(control)
        self._loss: float | None = None
        self._plain: Seen | None = None
        """The loss looked at last that is one number in CPU memory."""

    def value(self, name: str) -> Any:
        """That of one of `conditions.OWN`."""
        return _WAYS[name](self)

    def note_loss(self) -> None:
        """A backward is about to run: what it starts from is read, for when it is gone."""
        value = self._read()
        if value is not None:
            self._loss = value

    def loss(self) -> float | None:
        """The loss as last seen. Copies one number off the device."""
        value = self._read()
        return self._loss if value is None else value

    def _read(self) -> float | None:
        seen = self._control.watch.seen
        tensor = seen.ref() if seen is not None else None
        if tensor is None:
            return None
        if seen is not self._plain:
            if tensor.numel() != 1:
                return None
            if type(tensor) is torch.Tensor and tensor.device.type == "cpu" and tensor.is_floating_point():
                self._plain = seen
        if seen is self._plain and not (_modes() or _function_modes()):
            # What `quiet()` keeps from the script's modes and tracers (20 µs): none of them sees a number being read.
            return float(tensor.item())
        with quiet():
            return number_of(tensor)

    def iteration(self) -> int:
        """That which is being run."""
        return self._control.tracker.loop.iteration

    def micro_batch(self) -> int:
        """Of this iteration."""
        return self._control.tracker.loop.micro_batch

    def phase(self) -> str:
        """The phase that is about to run, or being run."""
        stack = self._control.tracker.local.stack
        return stack[-1].phase.value if stack else ""

    def lr(self) -> float | None:
        """The learning rate of the optimizer that is about to step, else of the first one, of its first group."""
        optimizers = self._optimizers()
        with quiet():
            rates = learning_rates([("", o) for o in optimizers[:1]])
        return rates[0][1] if rates else None

    def grad_norm(self) -> float | None:
        """2-norm of all gradients of the optimizer that is about to step, else of every optimizer's parameters.

        A pass over all of them. NaN where some are not finite: those are left out of the norm otherwise.
        """
        parameters = {id(p): p for o in self._optimizers() for p in parameters_of(o)}
        with quiet():
            norm, nonfinite, _ = gradient_norm(parameters.values())
        return math.nan if nonfinite else norm

    def _optimizers(self) -> list[Any]:
        stack = self._control.tracker.local.stack
        if stack and stack[-1].phase is Phase.STEP:
            optimizer = stack[-1].station.what()
            if optimizer is not None:
                return [optimizer]
        return self._control.known_optimizers()


_WAYS: dict[str, Callable[[Now], Any]] = {
    "loss": Now.loss,
    "iteration": Now.iteration,
    "micro_batch": Now.micro_batch,
    "phase": Now.phase,
    "lr": Now.lr,
    "grad.norm": Now.grad_norm,
}
