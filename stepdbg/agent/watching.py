"""What is recorded beyond what is there to be read, because the user asked: gradients, stacks, outputs of modules."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import get_ident
from time import perf_counter
from typing import Any

from torch import Tensor

from stepdbg.agent.chainflows import ChainFlows, Wish
from stepdbg.agent.deep import LookedAt, nodes_behind
from stepdbg.agent.flows import Backward, Flows, Hooks, root_nodes
from stepdbg.agent.quiet import quiet
from stepdbg.agent.stacks import Stacks
from stepdbg.agent.values.outputs import Outputs
from stepdbg.protocol import messages as m
from stepdbg.protocol.graph import Watching


class Watched:
    """The one place that backwards are reported to, and that the user's wish is kept at."""

    def __init__(self) -> None:
        self.flows = Flows()
        self.chains = ChainFlows()
        self.stacks = Stacks()
        self.outputs = Outputs()
        self._hooks: list[Hooks] = []

    def set(self, query: m.SetWatching, parameter: Callable[[str], Tensor]) -> Watching:
        """Do as the user asks; what is None stays as it is. `parameter`: finds one by its name, or raises."""
        if query.chain is not None:
            wished = query.chain
            self.chains.wish = Wish(wished, weakref.ref(parameter(wished)), query.way) if wished else None
        if query.gradients is not None:
            self.flows.on = query.gradients
        if query.stacks is not None:
            self.stacks.set(query.stacks)
        notes = []
        if query.gradients:
            notes.append("gradients are noted from the next backward on, while stepping")
        if query.stacks:
            own = "the script notes stacks itself: anomaly mode is on"
            notes.append(own if self.stacks.script_has_its_own else "nodes made from here on tell their line")
        wish = self.chains.wish
        return Watching(self.flows.on, self.stacks.on, "; ".join(notes), wish.name if wish is not None else "")

    def runs_free(self) -> None:
        """A free run begins: it pays for nothing."""
        self.outputs.clear()
        self.stacks.free(True)

    def ran_free(self, number: int) -> None:
        """It has ended, when autograd had come to this sequence number."""
        self.stacks.free(False)
        self.flows.ran_free(number)

    def stop(self) -> None:
        """Switch off and leave nothing behind."""
        self.flows.on = False
        self.chains.wish = None
        self.stacks.set(False)
        self.outputs.clear()
        self.outputs.by_id.clear()
        while self._hooks:
            self._hooks.pop().take_out()

    def backward_begins(
        self,
        call: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        backward: Backward,
        spans: Iterable[Sequence[int]],
        looked_at: LookedAt,
        references: Sequence[weakref.ref[Tensor]],
    ) -> Hooks | None:
        """A backward, called with these arguments, is about to run. Returns its hooks, where it is to be watched."""
        self.stacks.pause()
        for left in [h for h in self._hooks if h.thread == get_ident()]:
            self._take_out(left)  # a Ctrl-C came between hooks and backward
        if not self.flows.begins(backward):
            return None
        hooks = Hooks(backward)
        self._hooks.append(hooks)
        began = perf_counter()
        try:
            with quiet():
                roots = root_nodes(call, kwargs)
                nodes = nodes_behind(roots)
                looked_at.hold(nodes, references)
                hooks.put_in(nodes, roots, spans)
                self.chains.put_in(hooks, roots, backward)
        except BaseException as error:
            self._take_out(hooks)
            if not isinstance(error, Exception):
                self.stacks.resume()  # a Ctrl-C: this backward will not be run
            raise
        hooks.preparing = perf_counter() - began
        return hooks

    def backward_ended(self, hooks: Hooks | None) -> float:
        """The backward has been left, however. Returns the seconds that watching it has taken."""
        self.stacks.resume()
        if hooks is None:
            return 0.0
        began = perf_counter()
        self._take_out(hooks)
        return hooks.seconds + perf_counter() - began

    def _take_out(self, hooks: Hooks) -> None:
        with quiet():
            hooks.take_out()
        if hooks in self._hooks:
            self._hooks.remove(hooks)
