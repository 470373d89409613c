"""The script profiles its own loop with cProfile: the profiler stays on and counts its functions right."""

# e2e: keys="n n n i c" slow

import cProfile
import pstats
from pathlib import Path

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train_one(iteration):
    optimizer.zero_grad()
    loss = model(torch.randn(8, 4)).square().mean()
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")


profiler = cProfile.Profile()
profiler.enable()
for number in range(5):
    train_one(number)
profiler.disable()

for (file, _line, name), (calls, *_rest) in pstats.Stats(profiler).stats.items():
    if Path(file).name == Path(__file__).name:
        print(name, calls)
