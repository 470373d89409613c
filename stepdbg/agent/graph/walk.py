"""Going through a graph, without recursion and without changing how it is freed (see `agent.deep`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from stepdbg.agent.work import GivenUpError, Work

EVERY = 4096
"""Nodes between two looks at whether the walk is still wanted."""


class WalkGivenUpError(GivenUpError):
    """The walk was not wanted any more. `nodes` were looked at until then, and must be let go with care."""

    def __init__(self, message: str, nodes: list[Any]) -> None:
        super().__init__(message)
        self.nodes = nodes


class Walk:
    """All nodes behind the roots, numbered as found (the roots first), and the edges between them.

    Edges of node `i` lead to `ends[starts[i]:starts[i + 1]]`, in the order of `next_functions`; an edge that leads
    nowhere is left out, one that is there twice (x * x) is there twice. 1 µs a node.
    """

    def __init__(self, roots: Sequence[Any], work: Work | None = None) -> None:
        nodes: list[Any] = list(dict.fromkeys(roots))
        number: dict[Any, int] = {node: index for index, node in enumerate(nodes)}
        self.nodes = nodes
        ends: list[int] = []
        starts = [0]
        try:
            known = number.get
            for node in nodes:  # grows while it is gone through
                for following, _ in node.next_functions:
                    if following is not None:
                        at = known(following)
                        if at is None:
                            at = number[following] = len(nodes)
                            nodes.append(following)
                        ends.append(at)
                starts.append(len(ends))
                if work is not None and not len(starts) % EVERY:
                    work.step(len(starts), 0, "nodes")
        except GivenUpError as error:
            raise WalkGivenUpError(str(error), nodes) from None
        self.ends = ends
        self.starts = starts


def is_leaf_class(kind: type[Any]) -> bool:
    """Whether nodes of this class accumulate into a leaf tensor."""
    return kind.__name__ == "AccumulateGrad"


def variable_of(leaf: Any) -> Tensor | None:
    """The tensor that an AccumulateGrad adds to."""
    variable = getattr(leaf, "variable", None)
    return variable if isinstance(variable, Tensor) else None
