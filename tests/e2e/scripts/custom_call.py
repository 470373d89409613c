"""A module with a __call__ of its own, and one that is called through .forward()."""

# e2e: keys="n n n n i c" slow

import torch
from torch import nn


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def __call__(self, x, scale=1.0):
        return super().__call__(x) * scale

    def forward(self, x):
        return torch.tanh(self.layer(x))


torch.manual_seed(0)
own = Own()
direct = nn.Linear(4, 1)
optimizer = torch.optim.SGD([*own.parameters(), *direct.parameters()], lr=0.1)

for iteration in range(5):
    x = torch.randn(8, 4)
    optimizer.zero_grad(set_to_none=False)
    loss = direct.forward(own(x, scale=2.0)).square().mean()
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")
