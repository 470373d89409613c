"""A graph of about as many nodes as told, by a chain of operations or an unrolled LSTM; one backward an iteration.

usage: deep_graph.py KIND NODES ITERATIONS [FILE]

With FILE, which a bare run is given, it is timed how long a bare Python walk of `next_functions` takes; the seconds
of each iteration are written there.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

kind, nodes, iterations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
target = Path(sys.argv[4]) if len(sys.argv) > 4 else None
torch.set_num_threads(1)
torch.manual_seed(0)


class Chain(nn.Module):
    """Multiply and add, over and over."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.ones(16))

    def forward(self):
        y = self.start
        for _ in range(nodes // 2):
            y = y * 1.0001 + 0.001
        return y


class Unrolled(nn.Module):
    """A cell unrolled over time: 15 nodes a step."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(2, 4)

    def forward(self):
        hidden, state = torch.zeros(1, 4), torch.zeros(1, 4)
        x = torch.ones(1, 2)
        for _ in range(nodes // 15):
            hidden, state = self.cell(x, (hidden, state))
        return hidden


def walk(root):
    """What anybody would write to count nodes."""
    seen, waiting = {root}, [root]
    while waiting:
        for following, _ in waiting.pop().next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def let_go(seen):
    """Newest first: freed in another order, so deep a graph overflows the stack once Python has looked at it."""
    oldest_first = sorted(seen, key=lambda node: -1 if hasattr(node, "variable") else node._sequence_nr())
    seen.clear()
    while oldest_first:
        oldest_first.pop()


net = {"chain": Chain, "lstm": Unrolled}[kind]()
optimizer = torch.optim.SGD(net.parameters(), lr=1e-9)
seconds = []
for _ in range(iterations):
    optimizer.zero_grad()
    loss = net().sum()
    held = set()
    if target is not None:
        began = perf_counter()
        held = walk(loss.grad_fn)
        seconds.append((perf_counter() - began, len(held)))
    loss.backward()
    optimizer.step()
    del loss
    let_go(held)
if target is not None:
    target.write_text(json.dumps(seconds))
