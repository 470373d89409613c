"""A submodule raises in its forward (caught, traceback printed), then a loss raises and nobody catches it."""

# e2e: exit=1 raises keys="n n c" slow

import traceback

import torch
from torch import nn


class Fussy(nn.Module):
    def forward(self, x):
        if x.shape[0] % 2:
            raise ValueError(f"{x.shape[0]} rows cannot be paired")
        return x.unflatten(0, (-1, 2)).mean(1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), Fussy())

    def forward(self, x):
        return self.body(x)


torch.manual_seed(0)
model = Model()
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for rows in (4, 5, 6, 8):
    optimizer.zero_grad()
    try:
        output = model(torch.randn(rows, 4))
    except ValueError:
        traceback.print_exc()
        continue
    # The targets of the last batch are of the wrong shape: the loss itself raises.
    targets = torch.zeros(rows // 2, 3) if rows < 8 else torch.zeros(5, 7)
    loss = criterion(output, targets)
    loss.backward()
    optimizer.step()
    print(f"{rows} rows  loss {loss.item():.6f}")
