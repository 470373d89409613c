"""Ends itself by SIGTERM, which it does not handle: the exit status is a signal's."""

# e2e: exit=143 keys="n n c" slow

import os
import signal

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for iteration in range(10):
    optimizer.zero_grad()
    loss = model(torch.randn(8, 4)).square().mean()
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}", flush=True)
    if iteration == 3:
        os.kill(os.getpid(), signal.SIGTERM)
