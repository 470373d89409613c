"""A warm-up for each iteration, a plateau scheduler for each epoch, and a chained one."""

# e2e: keys="n n n n n i c" slow

import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
warmup = schedulers.SequentialLR(
    optimizer,
    [schedulers.LinearLR(optimizer, 0.1, total_iters=3), schedulers.CosineAnnealingLR(optimizer, 5)],
    milestones=[3],
)
plateau = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
x = torch.randn(16, 4)

for epoch in range(3):
    for _ in range(3):
        optimizer.zero_grad()
        loss = (model(x) - 1).square().mean()
        loss.backward()
        optimizer.step()
        warmup.step()
        print(f"epoch {epoch}  lr {optimizer.param_groups[0]['lr']:.6f}  loss {loss.item():.6f}")
    plateau.step(loss.item())
