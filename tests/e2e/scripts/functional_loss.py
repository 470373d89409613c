"""Losses of every make: functional ones, plain arithmetic, a sum of both, and one without any module."""

# e2e: keys="n n n n n n i i c" slow

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
free = torch.randn(3, requires_grad=True)
optimizer = torch.optim.SGD([*model.parameters(), free], lr=0.1)
x = torch.randn(12, 4)
labels = torch.arange(12) % 3

losses = {
    "cross_entropy": lambda output: F.cross_entropy(output, labels),
    "mse_loss": lambda output: F.mse_loss(output, F.one_hot(labels, 3).float()),
    "arithmetic": lambda output: ((output - free) ** 2).mean(),
    "sum": lambda output: F.l1_loss(output, torch.zeros(12, 3)) + 0.1 * free.square().sum(),
    "no module": lambda output: (free - 1).abs().sum(),
}

for turn in range(2):
    for name, make in losses.items():
        optimizer.zero_grad()
        loss = make(model(x))
        loss.backward()
        optimizer.step()
        print(f"turn {turn}  {name}  loss {loss.item():.6f}")
