"""Warnings name the line which caused them: file and line must be the script's, as in a bare run."""

# e2e: keys="n n n i c" slow

import warnings
from pathlib import Path

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
x = torch.randn(8, 4)

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for iteration in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), torch.zeros(8))  # warns: (8, 1) against (8,)
        loss.backward()
        nn.utils.clip_grad_norm(model.parameters(), 1.0)  # deprecated name
        scheduler.step()  # too early: warns in the first iteration
        optimizer.step()
        print(f"iteration {iteration}  loss {loss.item():.6f}")

for warning in caught:
    print(Path(warning.filename).name, warning.lineno, warning.category.__name__, str(warning.message)[:60])

nn.MSELoss()(model(x), torch.zeros(8)).backward()  # this one is printed to stderr
