"""The functions that stand in front of torch's, made to be invisible to the script.

* Tracebacks. Python adds a frame to a traceback when an exception leaves it, but not again on a bare `raise`. So each
  wrapper takes its own entry off in its `except` clause and re-raises: a caught and printed traceback is the bare
  run's, letter for letter. (Python 3.10 keeps a second copy of the traceback; there only uncaught ones are clean.)
* Warnings. `warnings.warn(stacklevel=2)` counts frames, but not those of files with "importlib" and "_bootstrap" in
  their name (`warnings._is_internal_frame`). That is why this file has its name: warnings are attributed to the same
  line of the script as in a bare run.
* Compilers. `_torchdynamo_inline` and `__prepare_scriptable__` are torch's own ways for a wrapper to name the function
  that should be compiled in its place; what `torch.compile` and `torch.jit.script` capture does not change.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from time import perf_counter
from types import CodeType
from typing import Any

from stepdbg.agent.tracker import Tracker
from stepdbg.protocol.records import Phase

Function = Callable[..., Any]


def phase_wrapper(
    tracker: Tracker,
    original: Function,
    phase: Phase,
    is_compiling: Callable[[], bool],
    *,
    method: bool,
    skipped_result: Function | None = None,
    passes: Callable[[Any], bool] | None = None,
    through: CodeType | None = None,
) -> Function:
    """`original`, as the phase `phase`.

    `method`: the first argument is what the phase concerns; otherwise the function itself is. `skipped_result` gives
    the return value when the user skips the phase (None: it cannot be skipped). `passes(first_argument)` is true for
    calls that are no phase of the loop (a scheduler's constructor). `through`: a caller in torch that only passes the
    call on (`Tensor.backward`), so that its own caller is the site.
    """
    local = tracker.local
    skippable = skipped_result is not None
    is_step, is_backward = phase is Phase.STEP, phase is Phase.BACKWARD
    stacks = tracker.watched.stacks
    after_free = tracker.after_free(phase, original.__name__)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if local.closed or not tracker.armed or is_compiling() or (passes is not None and passes(args[0])):
            paused = is_backward and stacks.pause()
            try:
                inside = is_step and not is_compiling() and tracker.step_inside_begins(args, kwargs)
                result = original(*args, **kwargs)
                if inside:
                    tracker.step_inside(args[0])
                return result
            except BaseException as error:
                _forget_this_frame(error)
                raise
            finally:
                stacks.resume(paused)
        if tracker.free and (perf_counter() < tracker.next_look or not tracker.look()):
            local.closed = True
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                local.closed = False
                _forget_this_frame(error)
                tracker.raised_free(phase, args[0] if method else original, sys._getframe(1), error)
                raise
            local.closed = False
            if after_free is not None:
                after_free(args, kwargs)
            return result
        active = None
        try:
            subject = args[0] if method else original
            frame = sys._getframe(1)
            if frame.f_code is through and frame.f_back is not None:
                frame = frame.f_back
            active = tracker.enter(phase, subject, frame, skippable, args, kwargs)
            if active is None:
                return original(*args, **kwargs)
            if active.skipped and skipped_result is not None:
                tracker.leave(active, None, None)
                return skipped_result(*args, **kwargs)
            result = original(*args, **kwargs)
            if active.inside:
                tracker.inside.ran(active, result, frame)
        except BaseException as error:
            _forget_this_frame(error)
            if active is not None:
                tracker.leave(active, None, error)
            raise
        tracker.leave(active, result, None)
        return result

    call._torchdynamo_inline = original  # type: ignore[attr-defined]
    call.__prepare_scriptable__ = lambda: original  # type: ignore[attr-defined]
    return call


def module_call(  # noqa: C901  (one function more would cost more than all that it does)
    tracker: Tracker,
    original: Function,
    is_dynamo_compiling: Callable[[], bool],
    sequence_number: Callable[[], int],
) -> Function:
    """`torch.nn.Module.__call__`: a phase where user code calls a module, a span of sequence numbers elsewhere.

    The path for a module inside another is the hot one: two calls to read the counter that autograd numbers its nodes
    by, an append when it has moved, and a note of the call (`calls.py`).
    """
    local = tracker.local
    spans = tracker.spans
    grad_enabled = tracker.grad_enabled
    recomputing = tracker.backward_threads
    note = tracker.calls.note
    outputs = tracker.watched.outputs
    inside = tracker.inside
    marked = outputs.by_id
    told = tracker.calls.told

    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: C901, N807
        if is_dynamo_compiling() or not tracker.armed or (tracker.free and local.closed):
            try:
                return original(self, *args, **kwargs)
            except BaseException as error:
                _forget_this_frame(error)
                raise
        if tracker.free and (perf_counter() < tracker.next_look or not tracker.look()):
            local.closed = True
            try:
                result = original(self, *args, **kwargs)
            except BaseException as error:
                local.closed = False
                _forget_this_frame(error)
                tracker.raised_free(None, self, sys._getframe(1), error)
                raise
            local.closed = False
            return result
        active = call = None
        try:
            if not local.closed:
                active = tracker.enter_module(self, sys._getframe(1))
            elif (forward := inside.forward) is not None:
                call = inside.module_before(forward, self, args, kwargs, sys._getframe(1))
            grad = grad_enabled()
            first = sequence_number()
            result = original(self, *args, **kwargs)
            last = sequence_number()
            if last != first:
                spans.append((first, last, id(self)))
            if not recomputing:  # what a checkpoint calls again in backward is no call of the loop's
                note(id(self), grad, first, last, args, kwargs, result)
                if marked and id(self) in marked:
                    outputs.note(tracker, self, result)
                for tell in told:
                    tell(self, first, last, args, kwargs, result)
            if call is not None and forward is not None:
                ended, call = call, None
                inside.module_after(forward, ended, self, args, kwargs, sys._getframe(1), result)
        except BaseException as error:
            _forget_this_frame(error)
            if call is not None and forward is not None:
                forward.after(call, self, args, kwargs, None)
            if active is not None:
                tracker.leave(active, None, error)
            raise
        if active is not None:
            tracker.leave(active, result, None)
        return result

    return __call__


def optimizer_patch(original: Function, instrument_class: Callable[[Any], None]) -> Function:
    """`Optimizer._patch_step_function`: torch calls it for every optimizer built, copied or unpickled."""

    @functools.wraps(original)
    def _patch_step_function(self: Any) -> None:
        try:
            original(self)
            instrument_class(self)
        except BaseException as error:
            _forget_this_frame(error)
            raise

    return _patch_step_function


def scheduler_init(original: Function, instrument_class: Callable[[Any], None]) -> Function:
    """`LRScheduler.__init__`: the first time that a user's own subclass with its own `step` is seen."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        try:
            instrument_class(self)
            original(self, *args, **kwargs)
        except BaseException as error:
            _forget_this_frame(error)
            raise

    return __init__


def scaler_step(tracker: Tracker, original: Function) -> Function:
    """`GradScaler.step`: no phase itself (the optimizer's step inside is), but it may leave that step out."""

    @functools.wraps(original)
    def step(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        before = tracker.steps_seen
        try:
            result = original(self, optimizer, *args, **kwargs)
        except BaseException as error:
            _forget_this_frame(error)
            raise
        if tracker.armed and tracker.steps_seen == before:
            tracker.step_left_out(optimizer)
        return result

    return step


def scaler_scale(tracker: Tracker, original: Function) -> Function:
    """`GradScaler.scale`: noted, so that gradients of the backward to come are labelled as scaled."""

    @functools.wraps(original)
    def scale(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            result = original(self, *args, **kwargs)
            tracker.loss_scaled = self.is_enabled()
        except BaseException as error:
            _forget_this_frame(error)
            raise
        return result

    return scale


def _forget_this_frame(error: BaseException) -> None:
    """Take the entry of the calling wrapper off the front of the traceback; call it in an `except` clause."""
    trace = error.__traceback__
    if trace is not None:
        error.__traceback__ = trace.tb_next
