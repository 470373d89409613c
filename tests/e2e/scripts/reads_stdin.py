"""Asks for a name before training and for a yes at the end."""

# e2e: stdin="alice\n" prompt="name?"

import sys

import torch
from torch import nn

name = input("name? ")
print(f"hello {name}, on a terminal: {sys.stdin.isatty()} {sys.stdout.isatty()} {sys.stderr.isatty()}")

torch.manual_seed(len(name))
model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(8, 2)

for _ in range(4):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    print(f"loss {loss.item():.6f}")
