"""Prints 100,000 lines around a small loop: the screen must keep up, and no line may be lost."""

# e2e: slow keys="n n i c" timeout=120

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.randn(16, 4)

for iteration in range(50):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    for line in range(2000):
        print(f"{iteration:3d} {line:4d} loss {loss.item():.6f}")
