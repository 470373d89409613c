"""Graphs of 30,000 nodes, one after the other, on a stack of 8 MiB: freed by recursion they would overflow it."""

# e2e: keys="n n n n i c" slow timeout=120

import resource
import threading
import weakref

import torch
from torch import nn

LENGTH = 30_000


def train():
    torch.manual_seed(0)
    cell = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.01)
    before = None
    for iteration in range(4):
        optimizer.zero_grad()
        state = cell(torch.randn(1, 2))
        for _ in range(LENGTH // 2):
            state = state * 0.9999 + 0.0001
        loss = nn.functional.mse_loss(state, torch.zeros(1, 2))
        loss.backward()
        optimizer.step()
        gone = before is None or before() is None
        before = weakref.ref(state)
        print(f"iteration {iteration}  loss {loss.item():.6f}  last state gone {gone}")


def in_thread():
    threading.stack_size(8 << 20)
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()


soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
limit = 8 << 20
resource.setrlimit(resource.RLIMIT_STACK, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
train()
in_thread()
