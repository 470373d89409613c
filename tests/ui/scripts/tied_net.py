"""A small model with buffers, optimizer state, tied, frozen and unowned parameters."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x):
        return x + torch.relu(self.norm(self.fc(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.blocks = nn.ModuleList([Block(8) for _ in range(3)])
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embed.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.lost = nn.Parameter(torch.ones(3))

    def forward(self, index):
        x = self.embed(index)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


torch.manual_seed(0)
net = Net()
optimizer = torch.optim.AdamW([p for name, p in net.named_parameters() if name != "lost"], lr=0.01)
index = torch.arange(20)
for _ in range(4):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(index), index)
    loss.backward()
    optimizer.step()
