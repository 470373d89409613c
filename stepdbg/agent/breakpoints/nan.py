"""`watch nan`: the first operation (or autograd node) that makes something not finite of what is finite.

Forward: what each operation puts out is summed; where the sum is not finite its elements are looked at, and then its
inputs. It is the origin where the inputs are finite, or where it makes a NaN of infinities. What is meant to be so is
none: `empty`, and operations that are given an infinity as a number (`masked_fill(mask, -inf)`).

Backward: a hook behind each node looks at what it hands on, and where that is not finite at what it was given. Inside
a node anything goes: `norm` at 0 divides by it and masks the result.

Each sum waits for the device. Cost: 6–10 µs an operation and a pass over what it puts out.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from time import perf_counter
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C._autograd import _get_sequence_nr

from stepdbg.agent import calls
from stepdbg.agent.breakpoints import compiled
from stepdbg.agent.breakpoints.ops import PLAIN, place_of, tensors_in, user_frame
from stepdbg.agent.dynamo import step_over
from stepdbg.agent.inside import held
from stepdbg.agent.inside.forward import runs_as_one
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.inside import Grain, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepdbg.agent.control import Control

MOST_SITES = 200_000
"""Nodes whose line is remembered, at most."""

UNINITIALISED = ("aten::empty", "aten::new_empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty_strided",
                 "aten::resize_", "aten::_to_copy_empty")  # fmt: skip
OVERWRITES = ("aten::copy_", "aten::fill_", "aten::zero_", "aten::uniform_", "aten::normal_", "aten::bernoulli_",
              "aten::set_", "aten::exponential_", "aten::random_")  # fmt: skip
"""What it writes to is none of its inputs."""


PASS_ON = frozenset({
    "AccumulateGrad", "TBackward", "ViewBackward", "UnsafeViewBackward", "TransposeBackward", "PermuteBackward",
    "ReshapeAliasBackward", "SqueezeBackward", "UnsqueezeBackward", "AliasBackward", "CloneBackward", "SplitBackward",
    "SliceBackward", "SelectBackward", "CatBackward", "UnbindBackward",
})  # fmt: skip
"""Nodes that hand on the numbers they were given, and zeros: they make nothing."""


class NanWatch:
    """Sees operations and nodes; `found(place, frame, text, holding)` is told of an origin."""

    def __init__(self, control: Control, found: Callable[[Place, Any, str, held.Holding], None]) -> None:
        self._control = control
        self._found = found
        self._sites: dict[int, tuple[CodeType, int, str]] = {}
        """By sequence number of a node: code and line that made it, and the operation."""
        self._regions = compiled.Regions()
        self._functions: set[int] = set()
        """Numbers of the nodes of compiled functions that have been told of."""
        self._last = _get_sequence_nr()
        self._handles: list[Any] = []

    def clear(self) -> None:
        """Take out every hook and forget all lines."""
        self.release()
        self._sites.clear()
        self._regions.clear()

    # ── forward ─────────────────────────────────────────────────────────────────────────────────────────────

    def before_op(self, func: Any, args: Any) -> bool | None:
        """Whether what the operation writes to in place was finite; None: it writes to nothing that it reads."""
        schema = func._schema
        if not schema.is_mutable or schema.name in OVERWRITES or not args:
            return None
        read = [t for t in tensors_in(args) if _has_numbers(t)]
        return all(_finite(t) for t in read)

    def after_op(self, func: Any, args: Any, kwargs: Any, result: Any, before: bool | None) -> None:
        """An operation has run."""
        number = _get_sequence_nr()
        if number != self._last:
            self._note(number, func)
        view = _views.get(func)
        if view is None:
            view = _views[func] = _is_view(func._schema)
        if view:
            return  # the numbers of an input, which were looked at when they were made
        outputs = tensors_in(result if isinstance(result, (tuple, list)) else (result,))
        for output in outputs:
            if _has_numbers(output) and not _finite(output):
                self._not_finite(
                    func, args, kwargs, output, before, lambda: held.of_call(args, kwargs or {}, (result,))
                )
                return

    def _note(self, number: int, func: Any) -> None:
        frame = user_frame()
        if frame is not None:
            if len(self._sites) > MOST_SITES:
                self._sites.clear()
            site = frame.f_code, frame.f_lineno, str(func)
            for seq in range(max(self._last, number - 64), number):
                self._sites[seq] = site
        self._last = number

    def _not_finite(
        self, func: Any, args: Any, kwargs: Any, output: Tensor, before: bool | None, holding: held.Holding
    ) -> None:
        name = func._schema.name
        values = [*args, *(kwargs or {}).values()]
        if name in UNINITIALISED or _given_infinity(values):
            return
        inputs = [t for t in tensors_in(values) if t is not output and _has_numbers(t)]
        if name in OVERWRITES:
            inputs = [t for t in tensors_in(args[1:]) if _has_numbers(t)]
        finite = before if before is not None else all(_finite(t) for t in inputs)
        with quiet():
            made_nan = not finite and before is None and _nans(output) and not any(_nans(t) for t in inputs)
            within = any(runs_as_one(module) for module in compiled.modules_around(_here())) if made_nan else False
            if not finite and (not made_nan or within):  # within: the whole is looked at when it has returned
                self._of_compiled_function(inputs)
                return
            what = elements(output)
        frame = user_frame()
        self._regions.found_inside(_here())
        cause = "its inputs are finite" if finite else "its inputs have infinities, no nan"
        where = f" in {module}" if (module := self._module()) else ""
        text = f"{func} ({place_of(frame)}{where}) made {what}; {cause}"
        self._found(Place(Grain.OP, "after", str(func), kind=module), frame, text, holding)

    def _module(self) -> str:
        """The path (or class) of the innermost module that runs."""
        module = next(compiled.modules_around(_here()), None)
        return self._called(module) if module is not None else ""

    def _called(self, module: Any) -> str:
        name = self._control.breakpoints.name_of(module)
        return compiled.class_of(module) if name in ("", "self") else name

    # ── compiled code ───────────────────────────────────────────────────────────────────────────────────────

    def module_ran(self, module: Any, first: int, last: int, args: Any, kwargs: Any, result: Any) -> None:
        """A module has returned; one that is compiled is looked at as a whole. 1 µs for any other."""
        region = self._regions.returned(module, first, last) if runs_as_one(module) else None
        if region is None:
            return
        with quiet():  # no operation is under way here: what modes of ours and the script's there are would see this
            bad = next((t for t in calls.tensors_in(result) if _readable(t) and not _finite(t)), None)
            if bad is None or not all(_finite(t) for t in compiled.inputs_of(module, args, kwargs) if _readable(t)):
                return
            what = elements(bad)
        name = self._called(module)
        cause = f"its inputs and parameters are finite; {compiled.NOT_TOLD_APART}"
        place = Place(Grain.MODULE, "after", name, compiled.class_of(module))
        text = f"{name} ({region.place}) made {what}; {cause}"
        self._found(place, user_frame(), text, lambda: held.of_call(args, kwargs, (result,)))

    def _of_compiled_function(self, inputs: list[Tensor]) -> None:
        """A NaN that came out of a compiled function, which is no module: told where it is used first."""
        for tensor in inputs:
            node: Any = tensor.grad_fn
            if type(node).__name__ != compiled.BACKWARD or not _nans(tensor):
                continue
            seq = node._sequence_nr()
            if seq in self._functions or self._regions.that_made(seq) is not None:
                continue
            if len(self._functions) > MOST_SITES:
                self._functions.clear()
            self._functions.add(seq)
            frame = user_frame()
            text = (
                f"a compiled function (called at or before {place_of(frame)}) made {elements(tensor)}; "
                f"its inputs are not known; {compiled.NOT_TOLD_APART}"
            )
            place = Place(Grain.OP, "after", "a compiled function")
            self._found(place, frame, text, partial(held.of_call, (), {}, (tensor,)))
            return

    # ── backward ────────────────────────────────────────────────────────────────────────────────────────────

    def backward_begins(self, roots: list[Any]) -> None:
        """Hook every inner node behind the tensors `roots`. 3 µs a node."""
        from stepdbg.agent.deep import nodes_behind

        self.release()
        with quiet():
            nodes = nodes_behind([r.grad_fn for r in roots if r.grad_fn is not None])
            self._control.watch.looked_at.hold(nodes, self._control.watch.references())
            for node in nodes:
                if type(node).__name__.rstrip("0123456789") not in PASS_ON:
                    self._handles.append(node.register_hook(_NodeHook(self, type(node).__name__, node._sequence_nr())))

    def release(self) -> None:
        """Take the hooks out."""
        while self._handles:
            self._handles.pop().remove()

    def node_ran(self, name: str, seq: int, out: Any, given: Any) -> None:
        """A node has run. `out`: what it hands on, `given`: the gradients it was given."""
        bad = next((t for t in tensors_in(out) if _has_numbers(t) and not _finite(t)), None)
        if bad is None or not all(_finite(t) for t in tensors_in(given) if _has_numbers(t)):
            return
        with quiet():
            what = elements(bad)
        site = self._sites.get(seq)
        region = self._regions.that_made(seq) if name.rstrip("0123456789") in compiled.NODES else None
        if region is not None:
            module = region.module()
            called = f"{self._called(module)}, " if module is not None else ""
            origin = f"{called}{region.place}; {compiled.NOT_TOLD_APART}"
        elif name == compiled.BACKWARD:
            where = f"called at or before {site[0].co_filename.rpartition('/')[2]}:{site[1]}; " if site else ""
            origin = f"{where}{compiled.NOT_TOLD_APART}"
        elif site is not None:
            code, line, op = site
            fits = op.split(".")[1].strip("_").replace("_", "") in name.lower()
            origin = f"{f'{op}, ' if fits else ''}{code.co_filename.rpartition('/')[2]}:{line}"
        else:
            origin = "its line was not noted: its forward ran before the watch was armed"
        text = f"{name} ({origin}) hands on {what}; the gradients it was given are finite"
        place = Place(Grain.NODE, "after", name, seq=seq)
        self._found(place, user_frame(), text, lambda: _gradients(out, given))


def _gradients(out: Any, given: Any) -> held.Held:
    """As where the script is stepped into a backward: what the node hands on, and what it was given."""
    handed_on, came_in = (value if isinstance(value, tuple) else (value,) for value in (out, given))
    return held.of_gradients("grad_out", handed_on) | held.of_gradients("grad_in", came_in)


class _NodeHook:
    """Behind one node of one backward."""

    __slots__ = ("_name", "_seq", "_watch")

    def __init__(self, watch: NanWatch, name: str, seq: int) -> None:
        self._watch, self._name, self._seq = watch, name, seq

    def __call__(self, out: Any, given: Any) -> None:
        """Look, and let it pass as it is."""
        control = self._watch._control
        began, held = perf_counter(), control.held
        try:
            self._watch.node_ran(self._name, self._seq, out, given)
        except Exception as error:
            control.broken(error)
        control.held += perf_counter() - began - (control.held - held)


step_over(_NodeHook.__call__, and_what_it_calls=True)


def _here() -> FrameType:
    """The frame that calls this."""
    return sys._getframe(1)


_views: dict[Any, bool] = {}


def _readable(tensor: Tensor) -> bool:
    """Whether there are numbers, and no code of a subclass's own in the way."""
    return type(tensor) in PLAIN and _has_numbers(tensor)


def _is_view(schema: Any) -> bool:
    """Whether what an operation returns is a view of what it was given."""
    returns = schema.returns
    return not schema.is_mutable and bool(returns) and all(r.alias_info is not None for r in returns)


def _has_numbers(tensor: Tensor) -> bool:
    return (
        (tensor.is_floating_point() or tensor.is_complex())
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and tensor.numel() > 0
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


_SUM = torch.ops.aten.sum.default
_HALF = frozenset({torch.float16, torch.bfloat16})


def _finite(tensor: Tensor) -> bool:
    """Whether every element is. One sum; where that is not finite (it may have overflowed) an exact look."""
    if torch._C._len_torch_function_stack():
        with torch._C.DisableTorchFunction():
            return _finite_now(tensor)
    return _finite_now(tensor)


def _finite_now(tensor: Tensor) -> bool:
    half = tensor.dtype in _HALF
    total = (_SUM(tensor, dtype=torch.float32) if half else _SUM(tensor)).item()
    if isinstance(total, complex):
        total = total.real + total.imag
    if math.isfinite(total):
        return True
    with quiet():
        return bool(torch.isfinite(tensor).all())


def _nans(tensor: Tensor) -> bool:
    return bool(torch.isnan(tensor).any())


def _given_infinity(values: Any) -> bool:
    for value in values:
        if isinstance(value, float) and not math.isfinite(value):
            return True
        if isinstance(value, (list, tuple)) and _given_infinity(value):
            return True
    return False


def elements(tensor: Tensor) -> str:
    """As in "2 of 6 elements not finite (1 nan, 1 -inf), first nan at [0, 1]". Call inside `quiet()`."""
    bad = torch.logical_not(torch.isfinite(tensor))
    count = int(bad.sum())
    nan = int(torch.isnan(tensor).sum())
    kinds = []
    if nan:
        kinds.append(f"{nan:,} nan")
    if tensor.is_complex():
        if count > nan:
            kinds.append(f"{count - nan:,} inf")
        first = "nan" if nan == count else "one"
    else:
        for value, word in ((math.inf, "inf"), (-math.inf, "-inf")):
            if number := int((tensor == value).sum()):
                kinds.append(f"{number:,} {word}")
    index = bad.flatten().to(torch.uint8).argmax().item()
    at = []
    for size in reversed(tensor.shape):
        at.append(int(index % size))
        index //= size
    if not tensor.is_complex():
        value = float(tensor[tuple(reversed(at))])
        first = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    where = f"first {first} at [{', '.join(map(str, reversed(at)))}]" if at else f"it is {first}"
    return f"{count:,} of {tensor.numel():,} elements not finite ({', '.join(kinds)}), {where}"
