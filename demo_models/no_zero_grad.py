"""The classic bug: zero_grad() is missing, so gradients pile up and the loss misbehaves."""

import torch
from torch import nn

torch.manual_seed(0)

x = torch.randn(64, 3)
y = x @ torch.tensor([[2.0], [-1.0], [0.5]]) + 0.3

model = nn.Linear(3, 1)
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)

for iteration in range(60):
    prediction = model(x)
    loss = criterion(prediction, y)
    loss.backward()  # adds to what the last iteration left in .grad
    optimizer.step()
    if iteration % 6 == 5:
        norm = model.weight.grad.norm().item()
        print(f"iteration {iteration + 1:2d}  loss {loss.item():9.3f}  gradient norm {norm:7.3f}")
