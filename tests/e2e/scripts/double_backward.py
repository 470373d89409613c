"""backward(create_graph=True): parameters' gradients have graphs, and a second backward goes through them.

What a parameter, its gradient and their graphs hold of each other is a circle that torch warns of: it is broken by
setting the gradients to None. Whether they were let go then is printed.
"""

# e2e: keys="n n n n n n i c" slow

import warnings
import weakref

import torch
from torch import nn

warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)

for iteration in range(4):
    inputs, targets = torch.randn(16, 4), torch.randn(16, 1)
    loss = nn.functional.mse_loss(net(inputs), targets)
    loss.backward(create_graph=True)
    norm = sum(p.grad.square().sum() for p in net.parameters())
    gradients = [weakref.ref(p.grad) for p in net.parameters()]
    for parameter in net.parameters():
        parameter.grad = None
    (0.1 * norm).backward()
    optimizer.step()
    line = f"iteration {iteration}  loss {loss.item():.6f}  norm {norm.item():.6f}"
    del loss, norm
    print(line, "gradients alive", sum(ref() is not None for ref in gradients))
    optimizer.zero_grad()
