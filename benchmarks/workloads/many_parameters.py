"""A model of about as many parameters as told, in blocks of two linear layers; one AdamW step an iteration.

usage: many_parameters.py PARAMETERS ITERATIONS
"""

import sys

import torch
from torch import nn

parameters, iterations = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
torch.manual_seed(0)


class Block(nn.Module):
    """Four parameters."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(16, 16)
        self.down = nn.Linear(16, 16)

    def forward(self, x):
        return x + 0.01 * self.down(torch.tanh(self.up(x)))


net = nn.Sequential(*(nn.Sequential(*(Block() for _ in range(25))) for _ in range(parameters // 100)))
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
x, y = torch.randn(8, 16), torch.randn(8, 16)
for _ in range(iterations):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(net(x), y)
    loss.backward()
    optimizer.step()
