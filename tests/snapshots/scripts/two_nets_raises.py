"""Two networks and one loss, as in demo_models/two_nets.py; the second batch has a column too few."""

import torch
from torch import nn

torch.manual_seed(0)

net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())
net2 = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())

criterion = nn.BCELoss()
optimiser = torch.optim.SGD(net.parameters(), lr=0.5)

x = torch.randn(32, 4)
y = (x[:, :2].sum(1, keepdim=True) > x[:, 2:].sum(1, keepdim=True)).float()

for _ in range(40):
    optimiser.zero_grad()
    output = net(x)
    loss = criterion(output, y)
    loss.backward()
    optimiser.step()
    x = x[:, :3]
