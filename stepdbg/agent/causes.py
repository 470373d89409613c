"""Why a graph does not reach a parameter: the nearest cause that the module calls of the iteration prove.

What is said is what was seen. That an output lost its history is claimed only where its very storage turns up again:
taken without history by a call whose nodes are in the graph, or kept by a node of the graph.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from threading import get_ident
from typing import Any, Protocol

import torch
from torch.nn import Module
from torch.nn.parameter import is_lazy

from stepdbg.agent.calls import WITHOUT, Call, Site, storage_of
from stepdbg.agent.naming import Named, Names

MAX_STEPS = 2_000
"""Calls that are followed from a module's output, at most."""

CUTS = "(detach(), .data, no_grad, an integer cast)"


class Recorded(Protocol):
    """What is needed of a recorded graph."""

    leaves: dict[int, Any]
    seqs: list[int]

    def covers(self, first: int, last: int) -> bool:
        """Whether there is a node with first <= sequence number < last."""
        ...


class Tree:
    """The modules under the roots: where each is, and which parameters it holds itself."""

    def __init__(self, names: Names) -> None:
        self.modules: dict[int, Module] = {}
        self.holders: dict[int, list[int]] = {}
        """id of a parameter → ids of the modules that hold it."""
        self.roots: dict[int, dict[int, None]] = {}
        """id of a root → ids of the parameters under it, in order."""
        self._names = names
        self._parents: dict[int, int] = {}
        for root_id, (_, root) in names.modules.items():
            waiting, seen = [root], {root_id}
            own = self.roots.setdefault(root_id, {})
            while waiting:
                module = waiting.pop()
                self.modules[id(module)] = module
                for tensor in module.__dict__.get("_parameters", {}).values():
                    if isinstance(tensor, torch.Tensor):
                        own[id(tensor)] = None
                        holders = self.holders.setdefault(id(tensor), [])
                        if id(module) not in holders:
                            holders.append(id(module))
                children = [m for m in module.__dict__.get("_modules", {}).values() if isinstance(m, Module)]
                for child in reversed(children):
                    if id(child) not in seen:
                        seen.add(id(child))
                        self._parents.setdefault(id(child), id(module))
                        waiting.append(child)

    def chain(self, module: int) -> list[int]:
        """The module and those around it, the root last; containers that nothing can call are left out."""
        found = [module]
        while found[-1] in self._parents:
            found.append(self._parents[found[-1]])
        return [m for m in found if not self.container(m)] or found

    def path(self, module: int) -> str:
        """Its name; empty for one under no root."""
        return self._names.paths.get(module, ("", ""))[0]

    def container(self, module: int) -> bool:
        """Whether there is nothing in it to call, as in a ModuleList."""
        known = self.modules[module]
        # Looked up in the classes: that of a ScriptModule answers `type(known).forward` with an error.
        forward = next(vars(kind)["forward"] for kind in type(known).__mro__ if "forward" in vars(kind))
        own = "forward" in known.__dict__ or type(known).__call__ is not Module.__call__
        return forward is Module.forward and not own


class Causes:
    """Finds the cause for one parameter after the other. `calls`: those of the graph's iteration, or why not known."""

    def __init__(
        self,
        names: Names,
        tree: Tree,
        record: Recorded,
        calls: list[Call] | str,
        *,
        line_of: Callable[[int], Site | None],
        kept: Callable[[], Collection[int]],
        reruns: Collection[int],
        what: str,
    ) -> None:
        self._names, self._tree, self._record = names, tree, record
        self._unknown = calls if isinstance(calls, str) else ""
        self._calls: list[Call] = []
        self._line_of, self._kept_now, self._reruns = line_of, kept, reruns
        self._what = what
        self._of_holder: dict[int, tuple[int, str]] = {}
        self._in_graph_known: dict[int, bool] = {}
        self._dark_known: dict[int, bool] = {}
        self._by_module: dict[int, list[int]] = {}
        self._elsewhere: set[int] = set()
        """Modules that were called in another thread: its nodes have numbers of their own."""
        if not isinstance(calls, str):
            here = get_ident()
            self._elsewhere = {self._unwrapped(c.module) for c in calls if c.thread != here}
            self._calls = [c._replace(module=self._unwrapped(c.module)) for c in calls if c.thread == here]
        for at, call in enumerate(self._calls):
            self._by_module.setdefault(call.module, []).append(at)

    def of(self, named: Named) -> str:
        """Why the graph does not arrive at this parameter (which requires grad), in one line."""
        holders = self._tree.holders.get(id(named.tensor))
        if not named.tensor.is_leaf:
            return "it is not a leaf: it was computed from other tensors, and gradients go on to those"
        if not holders:
            return f"no module holds it, and this {self._what} does not use it, or it was cut off {CUTS}"
        if is_lazy(named.tensor):
            return f"{self._tree.path(holders[0])} is lazy: it makes its parameters when it is first called"
        if self._unknown:
            return self._unknown
        return max((self._holder(module) for module in holders), key=lambda found: found[0])[1]

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────────

    def _holder(self, module: int) -> tuple[int, str]:
        """(how near the cause is, the cause) for what this module holds."""
        known = self._of_holder.get(module)
        if known is None:
            known = self._of_holder[module] = self._find(self._tree.chain(module))
        return known

    def _unwrapped(self, module: int) -> int:
        return self._names.wrapped.get(module, module)

    def _find(self, chain: list[int]) -> tuple[int, str]:
        if self._tree.container(chain[0]):
            path = self._tree.path(chain[0])
            return 0, f"{path} only holds it, and this {self._what} does not use it, or it was cut off {CUTS}"
        elsewhere = next((module for module in chain if module in self._elsewhere), None)
        if elsewhere is not None and not any(module in self._by_module for module in chain):
            return 0, f"{self._tree.path(elsewhere)} was called in another thread: what it made there is not followed"
        if chain[0] in self._by_module:
            return self._called(chain)
        above = next((n for n, module in enumerate(chain) if module in self._by_module), None)
        inside = chain[:above]
        top = next((m for m in reversed(inside) if m not in self._touched), inside[0])
        path = self._tree.path(top)
        own_call = any(type(self._tree.modules[m]).__call__ is not Module.__call__ for m in inside)
        if above is not None:
            rank, text = self._called(chain[above:])
            if own_call or _compiling() or isinstance(self._tree.modules[chain[above]], torch.jit.ScriptModule):
                return rank - 1, text  # what is called in there is not seen
            if rank == _IN_GRAPH:
                around = self._tree.path(chain[above])
                return 1, f"{path} was not called in this iteration; {around} was, and does not use this parameter here"
            return 1, f"{path} was not called itself in this iteration; {text}"
        if own_call:
            return 0, f"whether {path} was called is not known: its class has a __call__ of its own"
        if _compiling():
            return 0, f"no call of {path} was seen in this iteration (inside compiled code calls are not)"
        if top in self._touched:
            return 0, f"{path} was not called in this iteration, only modules inside it; nothing uses this parameter"
        return 0, f"{path} was not called in this iteration"

    def _called(self, chain: list[int]) -> tuple[int, str]:
        """For a module that was called: `chain[0]`."""
        path = self._tree.path(chain[0])
        called = [module for module in chain if module in self._by_module]
        if self._in_graph(chain[0]):
            return (
                _IN_GRAPH,
                f"{path} runs in this graph, but nothing there leads to this parameter: unused, or cut off {CUTS}",
            )
        dark = self._outermost(called, self._dark)
        if dark is not None:
            return 2, self._without_graph(dark)
        starts = [at for at in self._by_module[chain[0]] if self._made(at)]
        text = self._cut(starts)
        if text:
            return 4, text
        outer = self._outermost(called, lambda module: not self._in_graph(module) and not self._dark(module))
        outer = chain[0] if outer is None else outer
        path = self._tree.path(outer)
        if all(self._calls[at].put_out == WITHOUT for at in self._by_module[outer] if self._made(at)):
            return 3, f"the output of {path} does not require grad: it was cut off inside {CUTS}"
        made = [self._calls[at] for at in self._by_module[outer] if self._made(at)]
        own = any(storage not in call.took for call in made for storage in call.outputs)
        what = f"the output of {path}" if own else f"what {path} computed"  # it may put out something else
        return 3, f"{what} is not used by this {self._what}, or was cut off on the way {CUTS}"

    def _without_graph(self, module: int) -> str:
        path, calls = self._tree.path(module), [self._calls[at] for at in self._by_module[module]]
        if any(call.grad for call in calls):
            return f"{path} was called and made no graph: its forward ran under no_grad, or uses no parameter"
        if all(call.first - 1 in self._reruns for call in calls):
            return f"{path} was called under no_grad, likely by a checkpoint that runs it again in backward"
        return f"{path} was called under no_grad" + (f" (all {len(calls)} times)" if len(calls) > 1 else "")

    @staticmethod
    def _outermost(called: Iterable[int], holds: Callable[[int], bool]) -> int | None:
        found = None
        for module in called:
            if not holds(module):
                break
            found = module
        return found

    @cached_property
    def _touched(self) -> set[int]:
        """Modules that were called, and all around them."""
        found: set[int] = set()
        for module in self._by_module:
            if module in self._tree.modules:
                found.update(self._tree.chain(module))
        return found

    def _made(self, at: int) -> bool:
        call = self._calls[at]
        return call.grad and call.last > call.first

    def _covered(self, at: int) -> bool:
        call = self._calls[at]
        return call.last > call.first and self._record.covers(call.first, call.last)

    def _in_graph(self, module: int) -> bool:
        known = self._in_graph_known.get(module)
        if known is None:
            known = self._in_graph_known[module] = any(self._covered(at) for at in self._by_module[module])
        return known

    def _dark(self, module: int) -> bool:
        """Whether no call of it made a graph."""
        known = self._dark_known.get(module)
        if known is None:
            made = any(self._made(at) for at in self._by_module[module])
            known = self._dark_known[module] = not made and not self._in_graph(module)
        return known

    # ── where an output lost its history ────────────────────────────────────────────────────────────────────

    @cached_property
    def _takers(self) -> dict[int, list[int]]:
        """Storage → calls that took it."""
        found: dict[int, list[int]] = {}
        for at, call in enumerate(self._calls):
            for storage in dict.fromkeys(abs(s) for s in call.took):
                found.setdefault(storage, []).append(at)
        return found

    @cached_property
    def _makers(self) -> dict[int, list[int]]:
        """Storage → calls that put it out and were not given it."""
        found: dict[int, list[int]] = {}
        for at, call in enumerate(self._calls):
            for storage in call.outputs:
                if storage not in call.took and -storage not in call.took:
                    found.setdefault(storage, []).append(at)
        return found

    @cached_property
    def _kept(self) -> set[int]:
        """Storages that the graph keeps, without those that were there before any call."""
        own = {storage_of(p.tensor) for p in self._names.parameters} | {storage_of(b) for b in self._names.buffers}
        return set(self._kept_now()) - own

    @cached_property
    def _entries(self) -> dict[int, int | None]:
        """Storage that enters the graph without history → the first call that took it so; None: no module's call."""
        found: dict[int, int | None] = {}
        for storage, makers in self._makers.items():
            if any(self._covered(maker) for maker in makers):
                continue  # it may have a history in the graph that another call gave it
            for taker in self._takers.get(storage, ()):
                if taker > makers[0] and -storage in self._calls[taker].took and self._covered(taker):
                    found[storage] = taker
                    break
            else:
                if storage in self._kept:
                    found[storage] = None
        return found

    def _cut(self, starts: list[int]) -> str:
        """Follow what these calls put out to where it enters the graph without history."""
        waiting, seen = deque(starts if self._entries else ()), set(starts)
        steps = 0
        while waiting and steps < MAX_STEPS:
            steps += 1
            at = waiting.popleft()
            ahead = []
            for storage in self._calls[at].outputs:
                if at not in self._makers.get(storage, ()):
                    continue  # it was given it
                if storage in self._entries:
                    return self._told(storage, self._entries[storage])
                ahead += [t for t in self._takers.get(storage, ()) if t > at and storage in self._calls[t].took]
            around = self._around(at)
            for following in ahead if around is None else [*ahead, around]:
                if following not in seen and self._made(following) and not self._covered(following):
                    seen.add(following)
                    waiting.append(following)
        return ""

    def _around(self, at: int) -> int | None:
        """The call that this one ran in."""
        inner = self._calls[at]
        if inner.module not in self._tree.modules:
            return None
        for module in self._tree.chain(inner.module)[1:]:
            returned = self._by_module.get(module, [])
            later = bisect_right(returned, at)
            if later < len(returned):
                call = self._calls[returned[later]]
                if call.first <= inner.first and call.last >= inner.last:
                    return returned[later]
        return None

    def _told(self, storage: int, taker: int | None) -> str:
        maker = next((p for at in reversed(self._makers[storage]) if (p := self._path(at))), "a module")
        text = f"the output of {maker} enters this {self._what} without its history (detach() or .data)"
        if taker is None:
            return text
        inner = self._calls[taker]
        for at in self._takers[storage]:  # the outermost call that took it so, at the same time
            call = self._calls[at]
            if at > taker and call.first <= inner.first and call.last >= inner.last and -storage in call.took:
                taker = at
        place = self._line_of(inner.first)
        where = f"{os.path.basename(place[0])}:{place[1]}" if place else ""  # noqa: PTH119
        who = self._path(taker)
        if who:
            return f"{text}: {who} takes it so" + (f" at {where}" if where else "")
        return text + (f" at {where}" if where else "")

    def _path(self, at: int) -> str:
        return self._tree.path(self._calls[at].module)


_IN_GRAPH = 5


def _compiling() -> bool:
    """Whether torch.compile has compiled anything: in compiled code, module calls are not seen."""
    utils: Any = sys.modules.get("torch._dynamo.utils")
    counters = getattr(utils, "counters", None)
    frames = counters.get("frames") if isinstance(counters, dict) else None
    return bool(frames and frames.get("total"))
