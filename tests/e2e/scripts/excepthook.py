"""The script replaces sys.excepthook; its own hook must be the one that speaks, and the exit status is 1."""

# e2e: exit=1 raises keys="n n c" slow

import sys

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def hook(kind, error, trace):
    lines = []
    while trace is not None:
        lines.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    print(f"my hook: {kind.__name__}: {error} at {' > '.join(lines)}")


sys.excepthook = hook


def train():
    for iteration in range(5):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        if iteration == 2:
            raise RuntimeError("two is enough")


train()
