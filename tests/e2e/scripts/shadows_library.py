"""Has modules of its own called as the standard library's in its folder, and puts those back for torch."""

# e2e: slow

# ruff: noqa: E402

import sys

sys.path[0] = f"{sys.path[0]}/_shadows"

import textwrap as my_textwrap

del sys.modules["textwrap"]
sys.path.pop(0)

import torch
from torch import nn

print(my_textwrap.mine())
torch.manual_seed(0)
net = nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    loss = net(torch.randn(8, 4)).square().mean()
    loss.backward()
    optimizer.step()
    print(f"loss {loss.item():.6f}")
