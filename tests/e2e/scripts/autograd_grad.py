"""No optimizer and no backward(): torch.autograd.grad, by an iterator of parameters, and arithmetic on p.data."""

# e2e: keys="n n n n c" slow

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
x = torch.randn(16, 3)
y = x.sum(1, keepdim=True)
lr = 0.1

for iteration in range(6):
    loss = nn.functional.mse_loss(model(x), y)
    gradients = torch.autograd.grad(loss, model.parameters())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.data -= lr * gradient
    print(f"iteration {iteration}  loss {loss.item():.6f}")
