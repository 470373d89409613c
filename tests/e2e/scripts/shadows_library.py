"""Has modules of its own called as the standard library's (in its own folder), and uses them with torch."""

# ruff: noqa: E402

import sys

sys.path[0] = f"{sys.path[0]}/_shadows"

import textwrap

import torch
from torch import nn

print(textwrap.mine())
torch.manual_seed(0)
net = nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    loss = net(torch.randn(8, 4)).square().mean()
    loss.backward()
    optimizer.step()
    print(f"loss {loss.item():.6f}")
