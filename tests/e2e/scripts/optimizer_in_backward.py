"""One optimizer a parameter, stepping inside backward from hooks."""

# e2e: keys="n n n n n c" slow

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizers = {parameter: torch.optim.SGD([parameter], lr=0.1) for parameter in model.parameters()}


def step_now(parameter):
    optimizers[parameter].step()
    optimizers[parameter].zero_grad()


for parameter in model.parameters():
    parameter.register_post_accumulate_grad_hook(step_now)

for iteration in range(5):
    loss = model(torch.randn(8, 4)).square().mean()
    loss.backward()
    print(f"iteration {iteration}  loss {loss.item():.6f}")
