"""Optimizers that update parameter by parameter: groups, a closure, noise, a step that fails, and lists beside them."""

# e2e: slow keys="n n n n n i c"

import sys
import traceback
import warnings

import torch
from torch import nn

torch.manual_seed(0)
x = torch.linspace(-1, 1, 24)[:, None]
y = x.sin()


class Langevin(torch.optim.Optimizer):
    """Its own loop, with noise of its own; raises at a gradient that is too large."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p.grad.abs().max() > 1e6:
                    raise ValueError("a gradient is too large")
                p -= group["lr"] * p.grad
                p.add_(torch.randn_like(p), alpha=1e-3)
                if p.dim() > 1:
                    warnings.warn("noise was added to a matrix", stacklevel=2)


def net():
    return nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))


nets = {name: net() for name in ("sgd", "adam", "lists", "langevin", "closure")}
parameters = {name: list(model.parameters()) for name, model in nets.items()}
first, *rest = parameters["adam"]
optimizers = {
    "sgd": torch.optim.SGD(parameters["sgd"], lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True, foreach=False),
    "adam": torch.optim.AdamW([{"params": [first], "lr": 0.1}, {"params": rest}], lr=0.01, amsgrad=True, foreach=False),
    "lists": torch.optim.Adam(parameters["lists"], lr=0.01, foreach=True),
    "langevin": Langevin(parameters["langevin"], lr=0.05),
}
with_closure = torch.optim.SGD(parameters["closure"], lr=0.1, momentum=0.5, foreach=False)


def closure():
    with_closure.zero_grad()
    loss = nn.functional.mse_loss(nets["closure"](x), y)
    loss.backward()
    return loss


for iteration in range(3):
    losses = []
    for name, optimizer in optimizers.items():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(nets[name](x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    losses.append(with_closure.step(closure).item())
    print(iteration, *(f"{loss:.9f}" for loss in losses))

optimizers["langevin"].zero_grad()
(nets["langevin"](x).sum() * 1e9).backward()
try:
    optimizers["langevin"].step()
except ValueError:
    traceback.print_exc(file=sys.stdout)
print(torch.rand(2))
