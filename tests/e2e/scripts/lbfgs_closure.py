"""LBFGS: the closure's zero_grad, forward and backward run inside step, several times."""

# e2e: slow keys="n n n n n i c"

import torch
from torch import nn

torch.manual_seed(0)
x = torch.linspace(-1, 1, 32)[:, None]
y = x**2
model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")
calls = 0


def closure():
    global calls
    calls += 1
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    return loss


for iteration in range(6):
    loss = optimizer.step(closure)
    print(f"iteration {iteration}  loss {loss.item():.8f}  closure called {calls} times")
