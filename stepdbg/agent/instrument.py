"""What is wrapped in torch, and how it is put back. Everything is installed by `Instruments` and restored by it."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
import torch.utils.data.dataloader as dataloader_module
from torch._C._autograd import _get_sequence_nr
from torch.nn import Module
from torch.optim import Optimizer, lr_scheduler

from stepdbg.agent import wrap_importlib_bootstrap as wrap
from stepdbg.agent.collected import alive, subclasses
from stepdbg.agent.dynamo import step_over
from stepdbg.agent.tracker import Tracker
from stepdbg.protocol.records import Phase

LOSSES = (
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
)
"""The functional losses of `torch.nn.functional`."""

_MISSING = object()


class Instruments:
    """Puts wrappers into torch, remembers what was there, and puts it back."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._undo: list[tuple[Any, str, Any]] = []
        self._optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._is_compiling = torch.compiler.is_compiling
        self._done: weakref.WeakSet[Any] = weakref.WeakSet()

    def optimizers(self) -> list[Any]:
        """The optimizers alive that were built since `install`."""
        return list(self._optimizers)

    def install(self) -> None:
        """Instrument torch. Call `restore` to undo all of it."""
        tracker = self._tracker
        entries: tuple[Callable[..., Any], ...] = (wrap._forget_this_frame, is_criterion, _in_constructor)
        for entry in (*tracker.entry_points(), *entries):
            step_over(entry, and_what_it_calls=True)
        tracker.is_criterion = is_criterion
        tracker.known_optimizers = lambda: [id(o) for o in self._optimizers]
        tracker.sequence_number = _get_sequence_nr
        tracker.grad_enabled = torch.is_grad_enabled
        tracker.recording = torch._C._get_tracing_state
        tracker.not_a_caller = vars(torch.nn.utils.parametrize)
        call = wrap.module_call(tracker, Module.__call__, torch.compiler.is_dynamo_compiling, _get_sequence_nr)
        self._set(Module, "__call__", call)
        step_over(call, and_what_it_calls=False)
        # Compiled code calls forward directly where `__call__` is the one that dynamo knows. It notes that when it is
        # imported: usually later, and then it notes ours.
        for name in ("torch._dynamo.utils", "torch._dynamo.variables.nn_module"):
            if name in sys.modules:
                self._set(sys.modules[name], "unpatched_nn_module_call", call)
        self._phase(Module, "zero_grad", Phase.ZERO_GRAD, method=True, skip=_nothing)
        self._phase(Optimizer, "zero_grad", Phase.ZERO_GRAD, method=True, skip=_nothing)
        patch = wrap.optimizer_patch(Optimizer._patch_step_function, self._optimizer)
        self._set(Optimizer, "_patch_step_function", patch)
        self._phase(torch.autograd, "backward", Phase.BACKWARD, skip=_nothing, through=torch.Tensor.backward.__code__)
        self._phase(torch.autograd, "grad", Phase.BACKWARD)
        self._phase(dataloader_module._BaseDataLoaderIter, "__next__", Phase.DATA, method=True)
        self._clipping()
        self._schedulers()
        self._scaler()
        for name in LOSSES:
            if hasattr(torch.nn.functional, name):
                self._phase(torch.nn.functional, name, Phase.LOSS)

    def adopt(self) -> None:
        """Take up the optimizers that are there already, in a run that has begun. Goes through all objects once."""
        self._tracker.loop.came_late = True
        for optimizer in alive(subclasses(Optimizer)):
            self._optimizer(optimizer)
            self._scheduled(optimizer)

    def restore(self) -> None:
        """Put everything back as it was; wrappers that the script holds pass through from now on."""
        self._tracker.armed = False
        self._tracker.watched.stop()
        self._tracker.passes.stop()
        self._tracker.memory.stop()
        self._tracker.before.clear()
        self._tracker.calls.clear()
        while self._undo:
            holder, name, before = self._undo.pop()
            if before is _MISSING:
                delattr(holder, name)
            else:
                setattr(holder, name, before)

    def name_phase(self, phase: Phase, path: str, module: ModuleType) -> None:
        """Instrument the function `path` ("Class.method" or "function") of `module`, from the phase map.

        Raises LookupError when there is no such function.
        """
        *parents, name = path.split(".")
        holder: Any = module
        for part in parents:
            holder = getattr(holder, part, None)
        if holder is None or not callable(getattr(holder, name, None)):
            raise LookupError(f"{module.__name__} has no function {path}")
        skippable = phase in (Phase.ZERO_GRAD, Phase.STEP, Phase.SCHEDULER)
        self._phase(holder, name, phase, method=bool(parents), skip=_nothing if skippable else None)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _set(self, holder: Any, name: str, value: Any) -> None:
        # In the holder's own dictionary: an inherited attribute is not restored by assigning it.
        self._undo.append((holder, name, vars(holder).get(name, _MISSING)))
        setattr(holder, name, value)

    def _phase(
        self,
        holder: Any,
        name: str,
        phase: Phase,
        *,
        method: bool = False,
        skip: Callable[..., Any] | None = None,
        passes: Callable[[Any], bool] | None = None,
        through: CodeType | None = None,
    ) -> None:
        original = getattr(holder, name)
        wrapper = wrap.phase_wrapper(
            self._tracker,
            original,
            phase,
            self._is_compiling,
            method=method,
            skipped_result=skip,
            passes=passes,
            through=through,
        )
        step_over(wrapper, and_what_it_calls=False)
        self._set(holder, name, wrapper)

    def _optimizer(self, optimizer: Any) -> None:
        """A new optimizer: instrument its class, once, where that class brings its own `step` or `zero_grad`."""
        self._optimizers.add(optimizer)
        self._tracker.loop.has_optimizers = True
        for cls in type(optimizer).__mro__:
            if cls is Optimizer or cls is object or cls in self._done:
                continue
            self._done.add(cls)
            if "step" in vars(cls):
                hooked = getattr(vars(cls)["step"], "hooked", None)
                self._phase(cls, "step", Phase.STEP, method=True, skip=_nothing)
                if hooked is not None:
                    vars(cls)["step"].hooked = hooked
            if "zero_grad" in vars(cls):
                self._phase(cls, "zero_grad", Phase.ZERO_GRAD, method=True, skip=_nothing)

    def _scheduled(self, optimizer: Any) -> None:
        """A scheduler gives its optimizer a `step` of its own, which keeps the class's as it was then, in a closure."""
        step = vars(optimizer).get("step")
        steps: list[Any] = [vars(cls).get("step") for cls in type(optimizer).__mro__]
        wrappers = {wrapper.__wrapped__: wrapper for wrapper in steps if hasattr(wrapper, "__wrapped__")}
        for cell in getattr(step, "__closure__", None) or ():
            kept = cell.cell_contents
            if isinstance(kept, FunctionType) and kept in wrappers:
                self._undo.append((cell, "cell_contents", kept))
                cell.cell_contents = wrappers[kept]

    def _clipping(self) -> None:
        module = torch.nn.utils.clip_grad
        for name, skip in (("clip_grad_norm_", _norm_only), ("clip_grad_value_", _nothing)):
            self._phase(module, name, Phase.CLIP, skip=skip)
            self._set(torch.nn.utils, name, getattr(module, name))

    def _schedulers(self) -> None:
        known = [lr_scheduler.LRScheduler]
        for cls in known:
            known.extend(c for c in cls.__subclasses__() if c not in known)
        for cls in known:
            self._scheduler_class(cls)
        init = lr_scheduler.LRScheduler.__init__
        self._set(
            lr_scheduler.LRScheduler,
            "__init__",
            wrap.scheduler_init(init, lambda scheduler: self._scheduler_mro(type(scheduler))),
        )

    def _scheduler_mro(self, cls: type[Any]) -> None:
        for base in cls.__mro__:
            if issubclass(base, lr_scheduler.LRScheduler):
                self._scheduler_class(base)

    def _scheduler_class(self, cls: type[Any]) -> None:
        if cls not in self._done and "step" in vars(cls):
            self._done.add(cls)
            self._phase(cls, "step", Phase.SCHEDULER, method=True, skip=_nothing, passes=_in_constructor)

    def _scaler(self) -> None:
        scaler = torch.amp.GradScaler
        self._phase(scaler, "unscale_", Phase.UNSCALE, method=True)
        self._set(scaler, "step", wrap.scaler_step(self._tracker, scaler.step))
        self._set(scaler, "scale", wrap.scaler_scale(self._tracker, scaler.scale))


def is_criterion(kind: type[Any]) -> bool:
    """Whether a module class that the user calls is a loss: one of torch's, or named like one."""
    known = _criteria.get(kind)
    if known is None:
        named = kind.__name__.endswith(("Loss", "Criterion"))
        known = _criteria[kind] = named or issubclass(kind, torch.nn.modules.loss._Loss)
    return known


_criteria: weakref.WeakKeyDictionary[type[Any], bool] = weakref.WeakKeyDictionary()


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    return None


def _norm_only(parameters: Any, max_norm: float = 0.0, *args: Any, **kwargs: Any) -> Any:
    """What a skipped `clip_grad_norm_` returns: the norm, which loops often log; nothing is scaled."""
    del max_norm
    if isinstance(parameters, torch.Tensor):
        parameters = [parameters]
    with torch.no_grad():
        grads = [p.grad for p in parameters if p.grad is not None]
        return torch.nn.utils.get_total_norm(grads, *args, **kwargs)


def _in_constructor(scheduler: Any) -> bool:
    """A scheduler's constructor calls its own `step` once; that is no phase of the loop."""
    state: Mapping[str, Any] = getattr(scheduler, "__dict__", {})
    return bool(state.get("_is_initial", False))
