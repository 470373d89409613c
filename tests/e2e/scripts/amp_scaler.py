"""Autocast to bfloat16 with a GradScaler: unscale, clip, step, update; one iteration overflows."""

# e2e: keys="n n n n n n n i i c"

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
x = torch.randn(32, 8)
y = x.mean(1, keepdim=True)

for iteration in range(6):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
        loss = criterion(output.float(), y)
    if iteration == 2:
        loss = loss * float("inf")
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    scale = scaler.get_scale()
    print(f"iteration {iteration}  loss {loss.item():.6f}  norm {norm.item():.6f}  scale {scale:.0f}")
