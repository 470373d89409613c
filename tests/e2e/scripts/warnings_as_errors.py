"""Every warning is an error: nothing of ours may warn inside the script."""

# e2e: keys="n n n n i c" slow

import warnings

import torch
from torch import nn

warnings.simplefilter("error")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(8, 4)

for iteration in range(5):
    optimizer.zero_grad()
    target = torch.zeros(8) if iteration == 2 else torch.zeros(8, 1)
    try:
        loss = criterion(model(x), target)
    except UserWarning as warning:
        print("refused:", str(warning)[:40])
        continue
    loss.backward()
    nn.utils.clip_grad_value_(model.parameters(), 0.5)
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")
