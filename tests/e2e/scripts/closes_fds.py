"""Closes every file descriptor that it inherited, as programs do that become daemons; then trains."""

# e2e: no-phases slow

import os

import torch
from torch import nn

torch.manual_seed(0)
net = nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
os.closerange(3, 256)
for _ in range(4):
    optimizer.zero_grad()
    loss = net(torch.randn(8, 4)).square().mean()
    loss.backward()
    optimizer.step()
    print(f"loss {loss.item():.6f}")
