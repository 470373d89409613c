"""A loop of about 250 µs an iteration; writes the seconds of each block of 1,000 iterations into a file.

usage: toy.py FILE [BLOCKS]
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

target = Path(sys.argv[1])
blocks = int(sys.argv[2]) if len(sys.argv) > 2 else 10

torch.set_num_threads(1)  # so small that threads only get into each other's way
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
criterion = nn.MSELoss()
optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
x = torch.randn(160, 32)
y = x.sum(1, keepdim=True)

seconds = []
for _ in range(blocks):
    start = perf_counter()
    for _ in range(1000):
        optimiser.zero_grad()
        output = net(x)
        loss = criterion(output, y)
        loss.backward()
        optimiser.step()
    seconds.append((perf_counter() - start) / 1000)

target.write_text(json.dumps(seconds[1:]))  # the first block warms up
