"""torch.func: a loss inside vmap(grad(...)), by-sample gradients that the optimizer steps with, and a stop inside."""

# e2e: keys="n n n n n i c" slow

import torch
from torch import nn
from torch.func import functional_call, grad, grad_and_value, vmap

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
criterion = nn.MSELoss()


def loss_of(parameters, inputs, target):
    output = functional_call(net, parameters, (inputs.unsqueeze(0),))
    return criterion(output, target.unsqueeze(0))


for iteration in range(5):
    inputs = torch.randn(6, 3)
    targets = inputs.sum(1, keepdim=True)
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    gradients, losses = vmap(grad_and_value(loss_of), in_dims=(None, 0, 0))(parameters, inputs, targets)
    alone = grad(loss_of)(parameters, inputs[0], targets[0])
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients.values()]).norm(dim=0)
    optimizer.zero_grad()
    for name, parameter in net.named_parameters():
        parameter.grad = (gradients[name] / norms.clamp(min=1).view(-1, *[1] * parameter.dim())).mean(0)
    optimizer.step()
    both = sum((gradients[name][0] - alone[name]).abs().max().item() for name in alone)
    print(f"iteration {iteration}  loss {losses.mean().item():.6f}  {norms.mean().item():.6f}  same {both < 1e-6}")
