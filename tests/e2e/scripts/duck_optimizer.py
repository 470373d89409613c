"""An optimizer that is no torch.optim.Optimizer, and gradients of torch.func that no tensor ever holds."""

# e2e: keys="n n n c" slow

import torch
from torch import nn
from torch.func import functional_call, grad

torch.manual_seed(0)


class SignDescent:
    def __init__(self, parameters, lr):
        self.parameters = list(parameters)
        self.lr = lr

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self):
        for parameter in self.parameters:
            parameter.sub_(self.lr * parameter.grad.sign())


model = nn.Linear(4, 1)
optimizer = SignDescent(model.parameters(), lr=0.01)
x = torch.randn(8, 4)


def loss_of(parameters):
    return functional_call(model, parameters, (x,)).square().mean()


for iteration in range(3):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    print(f"iteration {iteration}  loss {loss.item():.6f}")

for iteration in range(3):
    gradients = grad(loss_of)({name: value.detach() for name, value in model.named_parameters()})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter -= 0.1 * gradients[name]
    print(f"functional {iteration}  loss {loss_of(dict(model.named_parameters())).item():.6f}")
