"""Raises in iteration 3, two calls deep."""

# e2e: exit=1 raises keys="n n c"

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def check(loss, iteration):
    if iteration == 3:
        raise ValueError(f"loss {loss.item():.6f} does not please me")


def train_one(iteration):
    x = torch.randn(8, 4)
    optimizer.zero_grad()
    loss = criterion(model(x), x.sum(1, keepdim=True))
    loss.backward()
    check(loss, iteration)
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")


for number in range(1, 6):
    train_one(number)
