"""Phases that the script names itself: as a block, as a decorator, and one that raises."""

# e2e: keys="n n n n i c" slow

import torch
from torch import nn

import stepdbg

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


@stepdbg.phase("penalty")
def penalty():
    return sum(parameter.square().sum() for parameter in model.parameters())


for iteration in range(5):
    x = torch.randn(8, 4)
    with stepdbg.phase("augment"):
        x = x + 0.1 * torch.randn_like(x)
        with stepdbg.phase("flip"):
            x = x.flip(0)
    try:
        with stepdbg.phase("check"):
            if iteration == 1:
                raise LookupError("a phase may fail")
    except LookupError as error:
        print(error)
    optimizer.zero_grad()
    loss = model(x).square().mean() + 0.01 * penalty()
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")
