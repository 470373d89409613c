"""Leaves by sys.exit(3) in the middle of its training, out of a function, with a finally on the way."""

# e2e: slow exit=3 keys="n n c"

import atexit
import sys

import torch
from torch import nn

atexit.register(print, "atexit ran")
torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train():
    for iteration in range(10):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        optimizer.step()
        print(f"iteration {iteration}  loss {loss.item():.6f}")
        if iteration == 3:
            sys.exit(3)


try:
    train()
finally:
    print("finally ran")
