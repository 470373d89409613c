"""Two networks and one loss: which of the two does loss.backward() know?"""

import torch
from torch import nn

torch.manual_seed(0)

net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())
net2 = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())

criterion = nn.BCELoss()
optimiser = torch.optim.SGD(net.parameters(), lr=0.5)

# A point belongs to class 1 when its first two coordinates are together larger than its last two.
x = torch.randn(32, 4)
y = (x[:, :2].sum(1, keepdim=True) > x[:, 2:].sum(1, keepdim=True)).float()

for iteration in range(40):
    optimiser.zero_grad()
    output = net(x)
    loss = criterion(output, y)
    loss.backward()
    optimiser.step()
    if iteration % 10 == 9:
        print(f"iteration {iteration + 1:3d}  loss {loss.item():.4f}")

accuracy = ((net(x) > 0.5) == y.bool()).float().mean().item()
print(f"net says {accuracy:.0%} of the points right")
print("net2 has no gradient:", all(p.grad is None for p in net2.parameters()))
