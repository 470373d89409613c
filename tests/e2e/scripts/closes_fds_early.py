"""Closes every file descriptor that it inherited before it imports torch."""

# ruff: noqa: E402
# e2e: no-phases slow

import os

os.closerange(3, 256)

import torch
from torch import nn

torch.manual_seed(0)
net = nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    net(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
print(sum(p.sum().item() for p in net.parameters()))
