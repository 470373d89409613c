"""Looking must not touch: reading a spectral norm's weight iterates it, lazy layers have no shape yet."""

# e2e: keys="n n n n i c" slow

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

torch.manual_seed(0)
critic = nn.Sequential(spectral_norm(nn.Linear(6, 6)), nn.ReLU(), nn.LazyLinear(1))
unused = nn.LazyBatchNorm1d()
x = torch.randn(12, 6)
optimizer = None

for iteration in range(5):
    output = critic(x)
    if optimizer is None:
        optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    loss = (output - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")

print(f"{critic[0].parametrizations.weight[0]._u.sum().item():.6f}")
