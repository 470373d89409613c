"""The gradients on the way from a loss to one parameter, node by node, where the user has it explained.

At the next backward the nodes of that parameter's path are hooked: a pre-hook reads what flows into a node, a post-hook
what the node hands on along the path. Both read, change nothing and hold nothing, and go when the backward is left
(`flows.Hooks` takes them out with the others). A post-hook keeps what flowed into its node until it is done, so a
backward that is watched may need that much more memory at its peak.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from torch import Tensor

from stepdbg.agent import tensors
from stepdbg.agent.dynamo import step_over
from stepdbg.agent.flows import Backward, Hooks, flow_of
from stepdbg.agent.graph import chain
from stepdbg.agent.graph.walk import Walk, is_leaf_class
from stepdbg.agent.quiet import quiet
from stepdbg.protocol.chain import Way
from stepdbg.protocol.graph import Flow

KEPT = 8
"""Backwards whose chains are remembered, at most."""


@dataclass(frozen=True)
class Wish:
    """Whose chain is watched."""

    name: str
    ref: weakref.ref[Tensor]
    way: Way


@dataclass
class ChainNoted:
    """What one backward brought to the nodes of one path."""

    key: int
    """Id of the parameter."""
    seqs: tuple[int, ...]
    """Sequence numbers of the nodes on the path, but for the last one: by these it is found again."""
    iteration: int
    micro_batch: int
    entering: dict[int, Flow] = field(default_factory=dict)
    """By position on the path."""
    leaving: dict[int, Flow] = field(default_factory=dict)
    had_grad: bool | None = None
    """Whether there was a `.grad` to add to; None: the backward did not come to AccumulateGrad."""
    grad_before: float | None = None
    grad_after: float | None = None
    times: int = 1


class ChainFlows:
    """What is wished, and what the last backwards brought."""

    def __init__(self) -> None:
        self.wish: Wish | None = None
        self._noted: deque[ChainNoted] = deque(maxlen=KEPT)

    def put_in(self, hooks: Hooks, roots: Sequence[Any], backward: Backward) -> None:
        """Hook the path of the parameter that is wished, if this graph has one. A pass over the graph. Call inside
        `quiet()`.
        """
        wish = self.wish
        parameter = wish.ref() if wish is not None else None
        if wish is None or parameter is None:
            return
        walk = Walk(roots)
        leaves = (i for i, node in enumerate(walk.nodes) if is_leaf_class(type(node)))
        target = next((i for i in leaves if walk.nodes[i].variable is parameter), None)
        if target is None:
            return
        above = chain.above(walk.starts, walk.ends, target)
        starting = list(range(len(dict.fromkeys(roots))))
        longest = wish.way is Way.LONGEST
        path = chain.find(walk.starts, walk.ends, starting, target, longest=longest, above=above)
        if path is None:
            return
        nodes = [walk.nodes[number] for number in path.nodes]
        seqs = tuple(node._sequence_nr() for node in nodes[:-1])
        before = self.of(id(parameter), seqs)
        times = before.times + 1 if before is not None else 1
        noted = ChainNoted(id(parameter), seqs, backward.iteration, backward.micro_batch, times=times)
        for at, node in enumerate(nodes[:-1]):
            hooks.add(node.register_prehook(_Entering(hooks, noted, at)))
            hooks.add(node.register_hook(_Leaving(hooks, noted, at, _edge(node, path.edges[at]))))
        hooks.add(nodes[-1].register_prehook(_Arriving(hooks, noted, len(nodes) - 1, wish.ref)))
        hooks.at_end(_Ending(noted, wish.ref))
        self._noted.append(noted)

    def of(self, key: int, seqs: tuple[int, ...]) -> ChainNoted | None:
        """What the last backward through this very path brought."""
        return next((n for n in reversed(self._noted) if (n.key, n.seqs) == (key, seqs)), None)


def _edge(node: Any, number: int) -> int:
    """Which of its inputs the edge of that number is of, counting those that lead anywhere."""
    leading = [at for at, (following, _) in enumerate(node.next_functions) if following is not None]
    return leading[number]


class _Watching:
    """Stands at one node while a backward runs."""

    __slots__ = ("_at", "_hooks", "_noted")

    def __init__(self, hooks: Hooks, noted: ChainNoted, at: int) -> None:
        self._hooks, self._noted, self._at = hooks, noted, at

    def _read(self, read: Callable[[], None]) -> None:
        began = perf_counter()
        try:
            with quiet():
                read()
        except Exception:
            pass  # what cannot be read is unknown; the script goes on
        except BaseException as error:  # the user's Ctrl-C, which came while we were here
            error.__traceback__ = None
            raise
        self._hooks.seconds += perf_counter() - began


class _Entering(_Watching):
    """Before the node: what flows into it."""

    __slots__ = ()

    def __call__(self, grads: tuple[Tensor | None, ...]) -> None:
        def read() -> None:
            self._noted.entering[self._at] = flow_of(grads)

        self._read(read)


class _Leaving(_Watching):
    """After the node: what it hands on along the path."""

    __slots__ = ("_edge",)

    def __init__(self, hooks: Hooks, noted: ChainNoted, at: int, edge: int) -> None:
        super().__init__(hooks, noted, at)
        self._edge = edge

    def __call__(self, inputs: tuple[Tensor | None, ...], _outputs: tuple[Tensor | None, ...]) -> None:
        def read() -> None:
            self._noted.leaving[self._at] = flow_of(inputs[self._edge : self._edge + 1])

        self._read(read)


class _Arriving(_Watching):
    """Before AccumulateGrad: what is added, and to what."""

    __slots__ = ("_ref",)

    def __init__(self, hooks: Hooks, noted: ChainNoted, at: int, ref: weakref.ref[Tensor]) -> None:
        super().__init__(hooks, noted, at)
        self._ref = ref

    def __call__(self, grads: tuple[Tensor | None, ...]) -> None:
        def read() -> None:
            self._noted.entering[self._at] = flow_of(grads)
            parameter = self._ref()
            if parameter is not None:
                self._noted.had_grad = parameter.grad is not None
                self._noted.grad_before = norm_of(parameter.grad)

        self._read(read)


class _Ending:
    """When the backward has been left: what the sum is now."""

    def __init__(self, noted: ChainNoted, ref: weakref.ref[Tensor]) -> None:
        self._noted, self._ref = noted, ref

    def __call__(self) -> None:
        parameter = self._ref()
        if self._noted.had_grad is not None and parameter is not None:
            self._noted.grad_after = norm_of(parameter.grad)


def norm_of(tensor: Tensor | None) -> float | None:
    """2-norm over the finite elements; None where there is no tensor or it cannot be read. Call inside `quiet()`."""
    return None if tensor is None else tensors.norms([tensor])[0].value


for _hook in (_Entering, _Leaving, _Arriving):
    step_over(_hook.__call__, and_what_it_calls=True)  # the engine calls it, also from within a compiled region
