"""Memory that grows: a running sum keeps every graph. Other leaks: --bug list, retain or cache."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--bug", choices=("total", "list", "retain", "cache", "none"), default="total")
parser.add_argument("--iterations", type=int, default=40)
arguments = parser.parse_args()
torch.manual_seed(0)

x = torch.randn(64, 8)
y = x.pow(2).sum(1, keepdim=True)

net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

total_loss = 0.0
outputs = []
cache = {}
for iteration in range(arguments.iterations):
    optimizer.zero_grad()
    output = net(x)
    loss = (output - y).pow(2).mean()
    loss.backward(retain_graph=arguments.bug == "retain")  # keeps what it need not
    optimizer.step()
    if arguments.bug == "total":
        total_loss += loss  # the sum has a graph that leads to all earlier ones
    else:
        total_loss += loss.item()
    if arguments.bug == "list":
        outputs.append(output)  # each with its graph
    if arguments.bug == "cache":
        cache[iteration] = output.detach()  # no graph, but nothing is ever let go
    if iteration % 10 == 9:
        print(f"iteration {iteration + 1:2d}  mean loss {torch.as_tensor(total_loss).item() / (iteration + 1):7.3f}")
