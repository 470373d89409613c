"""A model under torch.compile as users call it: the inductor backend, which builds C++ for a CPU."""

# e2e: slow timeout=170

import shutil

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 1))
compiler = shutil.which("g++") or shutil.which("clang++")
fast = torch.compile(model, backend="inductor" if compiler else "aot_eager")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(32, 4)
y = x.sum(1, keepdim=True)

for iteration in range(6):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(fast(x), y)
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")
