"""Fine-tuning gone wrong: a head made anew after the optimizer was built, beside a teacher and averaged weights."""

# e2e: slow keys="n n n n n i c"

import copy

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 10))
net[0].bias.requires_grad_(False)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
net[2] = nn.Linear(8, 3)
teacher = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
average = copy.deepcopy(net)
unused = nn.LazyLinear(3)

for iteration in range(4):
    x = torch.randn(16, 4)
    with torch.no_grad():
        target = teacher(x).argmax(1)
    with torch.inference_mode():
        before = average(x).mean()
    loss = F.cross_entropy(net(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for mean, now in zip(average.parameters(), net.parameters(), strict=True):
            mean.lerp_(now, 0.1)
    print(f"iteration {iteration}  loss {loss.item():.6f}  before {before.item():.6f}")
