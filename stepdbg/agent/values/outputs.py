"""What the modules that the user marked put out, kept to be looked at until the iteration ends.

A weak reference to each tensor, and a copy of it while all copies together stay under LIMIT: nothing of the script's
lives longer. Only while stepping; a free run keeps nothing. The copies are made on the tensor's own device.
"""

from __future__ import annotations

import re
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from stepdbg.agent import tensors
from stepdbg.agent.calls import MAX_TENSORS, tensors_in
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.values import Marked

if TYPE_CHECKING:
    from stepdbg.agent.tracker import Tracker

LIMIT = 64 << 20
"""Bytes of the copies of one iteration, at most."""

CALLS = 8
"""Calls of one module kept in an iteration: the last ones."""

_NAME = re.compile(r"(?P<module>.+) output(?:\[(?P<item>[0-9]{1,6})\])?(?: #(?P<call>[0-9]{1,9}))?")


@dataclass(frozen=True)
class Output:
    """One tensor that a module put out."""

    ref: weakref.ref[Tensor]
    copy: Tensor | None
    note: str = ""
    """Why there is no copy."""


@dataclass
class _Module:
    ref: weakref.ref[Module]
    path: str
    calls: int = 0
    log: deque[tuple[int, tuple[Output, ...]]] | None = None
    note: str = ""

    @property
    def kept(self) -> int:
        return sum(_bytes(outputs) for _, outputs in self.log or ())


class Outputs:
    """Which modules are marked, and what they put out. One per session."""

    def __init__(self) -> None:
        self.by_id: dict[int, _Module] = {}
        """By id of the module; the same object always, empty while nothing is marked: a wrapper looks at it."""
        self.nbytes = 0
        """Of all copies."""

    def mark(self, module: Module, path: str, on: bool | None) -> None:
        """Mark it, or no longer; None: the other of the two."""
        known = self._of(module)
        if known is not None and on is not True:
            del self.by_id[id(module)]
            self._count()
        elif known is None and on is not False:
            self.by_id[id(module)] = _Module(weakref.ref(module), path)

    def listed(self) -> tuple[Marked, ...]:
        """All that are marked and still exist."""
        self._forget_dead()
        return tuple(Marked(m.path, m.calls, m.kept, m.note) for m in self.by_id.values())

    def note(self, tracker: Tracker, module: Any, result: Any) -> None:
        """A marked module has returned `result` while stepping. Never raises; its time is none of the script's."""
        control = tracker.control
        if control is None or tracker.recording() is not None or control.capturing():
            return
        began = perf_counter()
        try:
            self._keep(module, result)
        except Exception as error:
            control.broken(error)
        control.held += perf_counter() - began

    def entry_points(self) -> tuple[Callable[..., Any], ...]:
        """The functions through which the script comes in here."""
        return (Outputs.note,)

    def _keep(self, module: Any, result: Any) -> None:
        marked = self._of(module)
        if marked is None:
            return
        if marked.log is None:
            marked.log = deque(maxlen=CALLS)
        if len(marked.log) == CALLS:
            self.nbytes -= _bytes(marked.log.popleft()[1])
        with quiet():
            outputs = tuple(self._output(tensor) for tensor in islice(tensors_in(result), MAX_TENSORS))
        marked.calls += 1
        marked.log.append((marked.calls, outputs))
        marked.note = "" if outputs else "puts out no tensor"

    def clear(self) -> None:
        """Let go of everything that was kept; what is marked stays marked."""
        for marked in self.by_id.values():
            marked.log, marked.calls, marked.note = None, 0, ""
        self.nbytes = 0

    def tensors(self) -> Iterator[Tensor]:
        """Every copy."""
        for marked in self.by_id.values():
            for _, outputs in marked.log or ():
                yield from (output.copy for output in outputs if output.copy is not None)

    def find(self, name: str, path_of: Callable[[str], str]) -> tuple[Tensor | None, Tensor | None, str] | None:
        """The tensor called "net.2 output" ("… output[1] #3", with any of the module's names: `path_of` tells its path,
        or nothing): the copy, what is alive of the original, and a remark.

        Without both the remark says why. None: nothing of that name is marked.
        """
        match = _NAME.fullmatch(name)
        path = path_of(match["module"]) if match and self.by_id else ""
        marked = next((m for m in self.by_id.values() if m.path == path), None) if path else None
        if not match or not marked:
            return None
        log = dict(marked.log or ())
        if not log:
            return None, None, f"{marked.path} has not been called in this iteration since it was marked"
        call = int(match["call"] or marked.calls)
        if call not in log:
            there = f"{min(log)} to {max(log)}" if len(log) > 1 else str(max(log))
            return None, None, f"call {call} of {marked.path} is not kept: {there} of this iteration is"
        outputs = log[call]
        item = int(match["item"] or 0)
        if item >= len(outputs):
            return None, None, f"{marked.path} put out {len(outputs)} tensors in call {call}"
        found = outputs[item]
        alive = found.ref()
        which = f"call {call} of {marked.calls} in this iteration"
        if len(outputs) > 1:
            which += f", tensor {item} of {len(outputs)}: output[0] to output[{len(outputs) - 1}]"
        if found.copy is None and alive is None:
            return None, None, f"{which}: {found.note}, and the script has let go of it"
        return found.copy, alive, f"{which}: {found.note}, shown as it is now" if found.note else which

    def _of(self, module: Any) -> _Module | None:
        marked = self.by_id.get(id(module))
        return marked if marked is not None and marked.ref() is module else None

    def _forget_dead(self) -> None:
        for key in [key for key, marked in self.by_id.items() if marked.ref() is None]:
            del self.by_id[key]
        self._count()

    def _count(self) -> None:
        self.nbytes = sum(marked.kept for marked in self.by_id.values())

    def _output(self, tensor: Tensor) -> Output:
        copy, note = None, ""
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            note = "not copied inside a torch.func transform"
        elif type(tensor) is not Tensor and type(tensor) is not Parameter:
            note = f"a {type(tensor).__name__} is not copied"
        elif tensor.is_meta:
            note = "a meta tensor has no values"
        elif self.nbytes + _size(tensor) > LIMIT:
            note = f"not copied, over the limit of {LIMIT >> 20} MiB"
        else:
            copy = tensor.detach().clone()
            self.nbytes += _size(copy)
        return Output(weakref.ref(tensor), copy, note)


def _bytes(outputs: tuple[Output, ...]) -> int:
    return sum(_size(output.copy) for output in outputs if output.copy is not None)


def _size(tensor: Tensor) -> int:
    return tensors.nbytes(tensor)
