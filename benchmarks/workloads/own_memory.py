"""A model of about as many MB as told; writes the resident bytes of its process into a file once it has been trained.

usage: own_memory.py FILE MEGABYTES ITERATIONS
"""

import gc
import sys
from pathlib import Path

import torch
from torch import nn

target, megabytes, iterations = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
torch.manual_seed(0)
width = max(int((megabytes * 1e6 / 4 / 8) ** 0.5), 4)
net = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(width, width), nn.Tanh())))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
x = torch.randn(32, width)
for _ in range(iterations):
    optimizer.zero_grad()
    loss = net(x).square().mean()
    loss.backward()
    optimizer.step()


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


gc.collect()
weights = sum(p.numel() * 4 for p in net.parameters())
target.write_text(f"{resident()} {weights}", encoding="ascii")
