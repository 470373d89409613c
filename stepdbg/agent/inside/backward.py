"""Places inside a BACKWARD: before and after each node of autograd. The engine is held inside hooks of ours.

Every node gets a hook before and one after it when the phase is entered, and all are taken out when it is left. They
read and change nothing. A hook after a node makes the engine keep what flowed into it until it is done; for an
AccumulateGrad, which may take the gradient that comes in as `.grad` itself, torch counts that in. Nodes of a graph
that a node runs by itself (a reentrant checkpoint) are not hooked: they run as one with it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stepdbg.agent.deep import nodes_behind
from stepdbg.agent.dynamo import step_over
from stepdbg.agent.flows import obstacle, root_nodes
from stepdbg.agent.graph.makers import makers
from stepdbg.agent.inside import held
from stepdbg.protocol.inside import Grain, Place
from stepdbg.protocol.naming import entered

if TYPE_CHECKING:
    from types import FrameType

    from stepdbg.agent.inside.inside import Inside
    from stepdbg.agent.tracker import Tracker

ACCUMULATE = "AccumulateGrad"


class Node:
    """What is known of one node: plain data, and its leaf weakly. It does not hold the node."""

    __slots__ = ("leaf", "maker", "name", "note", "seq")

    def __init__(self, name: str, seq: int, maker: int, leaf: weakref.ref[Tensor] | None, note: str) -> None:
        self.name, self.seq, self.maker, self.leaf, self.note = name, seq, maker, leaf, note


class Backward:
    """The hooks of one backward."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self.thread = get_ident()
        self._handles: list[Any] = []
        self.told = False
        """Whether any place was told of."""
        self._module = ""
        """Path of the module that the node before was made in. Leaves run between the nodes of their modules."""

    def put_in(self, tracker: Tracker, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Hook every node that the call of `backward` with these arguments leads to. Returns why not, in one line.

        About 5 µs a node. Call inside `quiet()`.
        """
        problem = obstacle()
        if problem:
            return problem
        nodes = nodes_behind(root_nodes(args, kwargs))
        watch = tracker.control.watch if tracker.control is not None else None
        if watch is not None:
            watch.looked_at.hold(nodes, watch.references())
        seqs = {node: node._sequence_nr() for node in nodes if type(node).__name__ != ACCUMULATE}
        made_by = makers(list(tracker.spans), seqs.values())
        for node in nodes:
            name = type(node).__name__
            leaf = weakref.ref(node.variable) if name == ACCUMULATE else None
            seq = seqs.get(node, -1)
            known = Node(name, seq, made_by.get(seq, 0), leaf, _note(node, name))
            self._handles.append(node.register_prehook(_Before(self, known)))
            self._handles.append(node.register_hook(_After(self, known)))
        return ""

    def take_out(self) -> None:
        """Remove every hook. AccumulateGrad nodes outlive the graph: what is left there would fire ever after."""
        while self._handles:
            self._handles.pop().remove()

    @property
    def hooked(self) -> bool:
        """Whether there are hooks to take out."""
        return bool(self._handles)

    def before(self, node: Node, grads: Sequence[Tensor | None]) -> None:
        """A node is about to run with these gradients."""
        if self._inside.may_stop(Grain.NODE, 1):
            self._tell(node, "before", lambda: _leaf_grad(node, held.of_gradients("grad_in", grads)))

    def after(self, node: Node, out: Sequence[Tensor | None], grads: Sequence[Tensor | None]) -> None:
        """It has run, and hands on `out`."""
        if self._inside.may_stop(Grain.NODE, 1):
            name = "grad_out"
            self._tell(
                node,
                "after",
                lambda: _leaf_grad(node, {**held.of_gradients(name, out), **held.of_gradients("grad_in", grads)}),
            )

    def broken(self, error: Exception) -> None:
        """Something of ours failed in a hook: the engine goes on."""
        self._inside.broken(error)

    def _tell(self, node: Node, when: str, holding: held.Holding) -> None:
        self.told = True
        inside, leaf = self._inside, node.leaf() if node.leaf is not None else None
        module = inside.path_of(node.maker) if node.maker else ""
        came_into: Sequence[str] = ()
        if when == "before" and node.leaf is None:
            came_into, self._module = entered(self._module, module), module
        place = Place(
            Grain.NODE,
            when,
            node.name,
            module,
            1,
            inside.parameter_called(leaf) if leaf is not None else "",
            node.seq if node.leaf is None else None,
            node.note,
            shown=inside.parameter_shown(leaf),
        )
        inside.reached(place, self._frame(), holding, entered=came_into)

    def _frame(self) -> FrameType | None:
        """Where the script called the backward: on a device, hooks run in a thread of the engine's."""
        if get_ident() == self.thread:
            return sys._getframe(1)
        return sys._current_frames().get(self.thread)


def _leaf_grad(node: Node, found: held.Held) -> held.Held:
    """With `.grad` of the leaf, where it is one: before the node what is there to add to, after it the sum."""
    leaf = node.leaf() if node.leaf is not None else None
    if leaf is None:
        return found
    grad = leaf.grad
    return {"self.grad": (grad, "" if grad is not None else "no gradient yet"), **found, "self": (leaf, "")}


def _note(node: Any, name: str) -> str:
    forward: Any = getattr(type(node), "_forward_cls", None)
    if forward is None:
        return ""
    module = str(getattr(forward, "__module__", ""))
    if module.startswith("torch._functorch"):
        return "compiled: runs as one"
    if module == "torch.utils.checkpoint":
        return "checkpoint: what it runs again is not shown"
    return f"custom: {name.removesuffix('Backward')}"


class _Before:
    """Stands before one node while a backward runs."""

    __slots__ = ("_backward", "_node")

    def __init__(self, backward: Backward, node: Node) -> None:
        self._backward, self._node = backward, node

    def __call__(self, grads: tuple[Tensor | None, ...]) -> None:
        """Hold the engine here, if that is due; None lets the gradients pass unchanged."""
        _safely(self._backward, self._backward.before, self._node, grads)


class _After:
    """Stands after one node."""

    __slots__ = ("_backward", "_node")

    def __init__(self, backward: Backward, node: Node) -> None:
        self._backward, self._node = backward, node

    def __call__(self, out: tuple[Tensor | None, ...], grads: tuple[Tensor | None, ...]) -> None:
        """The same, with what the node hands on."""
        _safely(self._backward, self._backward.after, self._node, out, grads)


def _safely(backward: Backward, function: Any, *args: Any) -> None:
    try:
        function(*args)
    except Exception as error:
        backward.broken(error)
    except BaseException as error:  # the user's Ctrl-C, which came while we were here
        error.__traceback__ = None
        raise


for _hook in (_Before, _After):
    step_over(_hook.__call__, and_what_it_calls=True)
